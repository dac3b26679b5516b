"""The toy problems do what their documentation says, and the documentation shows what was measured."""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

report, toys = (importlib.import_module(name) for name in ("report", "toys"))
bilinear, density, divergences, memorisation, mixtures, speech, stretching = (
    importlib.import_module(name)
    for name in ("bilinear", "density", "divergences", "memorisation", "mixtures", "speech", "stretching")
)
PAGES = {  # adversarial has the others
    "training": "training", "quality": "quality", "memory": "performance", "speed": "performance",
    "overlap": "performance", "recordings": "recordings", "recognition": "recordings",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["ablation", "bilinear", "density", "divergences", "memorisation", "mixtures", "speech", "stretching", *PAGES],
)
def test_the_documentation_shows_the_results(name):
    page = (report.ROOT / "docs" / f"{PAGES.get(name, 'adversarial')}.md").read_text("utf-8")
    for heading, text in importlib.import_module(name).tables(report.load(name)).items():
        assert f"<!-- {heading} -->\n{text}\n<!-- end of {heading} -->" in page


def test_only_simultaneous_steps_of_the_bilinear_game_diverge():
    ends = {name: math.hypot(*bilinear.trajectory(*play, 100)[-1]) for name, play in bilinear.PLAYS.items()}
    assert ends["simultaneous"] == pytest.approx((1 + bilinear.RATE**2) ** 50, rel=1e-3)
    assert 0.9 < ends["alternating"] < 1.1
    damped = abs(complex(1 - bilinear.RATE / 4, bilinear.RATE * math.sqrt(1 - 1 / 16))) ** 100
    assert ends["simultaneous, R1 0.5"] == pytest.approx(damped, rel=0.3)
    assert ends["alternating, unrolled 1"] < 0.7


@pytest.mark.parametrize("distance", [0.5, 2.0])
@pytest.mark.parametrize("name", divergences.ESTIMATES)
def test_a_trained_discriminator_reaches_the_theoretical_divergence(name, distance):
    game, kind, estimate = divergences.ESTIMATES[name]
    loss, slope = divergences.trained(game, kind, distance, steps=500)
    assert estimate(loss) == pytest.approx(divergences.theory(distance)[name], abs=5e-3)
    if distance == 2.0:  # disjoint: only a Wasserstein critic shows the way
        expected = {"w1": 1.0, "w1, penalty": 1.0 + 2.0 / 20}.get(name, 0.0)
        assert slope == pytest.approx(expected, abs=1e-3)


def test_divergences_of_disjoint_segments_are_those_of_the_papers():
    """Infinite, log 2 and the distance (arXiv 1701.07875, example 1)."""
    far = divergences.theory(1.5)
    assert (far["kl"], far["js"], far["w1"]) == (math.inf, math.log(2), 1.5)
    assert divergences.theory(0.0) == dict.fromkeys(far, 0.0)
    assert divergences.theory(0.5)["js"] == pytest.approx(0.346574, abs=1e-6)  # half of the mass is shared


def test_each_generator_loss_has_the_gradient_of_its_documented_divergence():
    """Two Gaussians of standard deviation 1, one apart: KL is ½ either way, so its slope is 1; W₁ has slope 1."""
    slopes = divergences.descents(1.0)
    for name, row in slopes.items():
        assert row["loss"] == pytest.approx(row["divergence"], abs=1e-9), name
    assert slopes["maximum-likelihood"]["loss"] == pytest.approx(0.5, abs=1e-6)
    assert slopes["non-saturating"]["loss"] == pytest.approx(0.5 - slopes["minimax"]["loss"], abs=1e-6)
    assert slopes["minimax"]["loss"] == pytest.approx(0.198986, abs=1e-6)
    assert slopes["least-squares"]["loss"] == pytest.approx(0.114437, abs=1e-6)
    assert slopes["hinge"]["loss"] == pytest.approx(2 * math.exp(-1 / 8) / math.sqrt(2 * math.pi), abs=1e-3)
    assert slopes["wasserstein-clip"]["loss"] == pytest.approx(1.0, abs=1e-6)


def test_a_game_is_reproducible_and_learns_the_modes_of_an_easy_target():
    target = toys.Mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 0.3)
    setting = toys.Setting(toys.AdversarialConfig("non-saturating"), steps=300)
    scores = [mixtures.measure(target, toys.play(target, setting, seed)) for seed in (0, 0)]
    assert scores[0] == scores[1]
    assert scores[0]["modes"] == 2
    assert scores[0]["quality"] > 0.7


@pytest.mark.parametrize("name", [*mixtures.ROWS, *mixtures.CONDITIONAL])
def test_every_row_of_the_mixture_benchmark_gives_finite_scores(name):
    setting = {**mixtures.ROWS, **mixtures.CONDITIONAL}[name]
    quick = mixtures.replace(setting, steps=3)
    _, scores = mixtures.run((name, quick, "ring", 0))
    assert all(math.isfinite(value) for value in scores.values())


def test_modes_quality_and_width_are_measured_on_the_target_itself():
    target = toys.grid()
    points, modes = target.sample(2_500)
    scores = mixtures.measure(target, toys.Played(lambda n: (points, modes), lambda x: x[:, 0]))
    assert scores["modes"] == 25
    assert scores["quality"] == pytest.approx(0.989, abs=0.01)  # of a round Gaussian within three deviations
    assert scores["width"] == pytest.approx(0.97, abs=0.04)
    assert scores["obeyed"] == scores["quality"]
    half = points[target.nearest(points)[1] < 12].repeat(3, 1)[:2_500]
    assert mixtures.measure(target, toys.Played(lambda n: (half, modes), lambda x: x[:, 0]))["modes"] == 12


def test_the_optimal_discriminator_has_no_distance():
    """An exact copy of the target and a logit of 0 everywhere: all distances vanish."""
    torch.manual_seed(0)
    perfect = toys.Played(density.TARGET.sample, lambda x: torch.zeros(len(x)))
    view = density.look(perfect)
    assert view["distance"] < 0.02
    assert view["from_half"] == 0.0
    assert view["from_optimum"] < 0.01


def test_the_slope_of_a_generator_equals_the_ratio_of_densities():
    """The target's quantile function, the perfect generator, compresses z in the modes and stretches it between."""
    x = torch.linspace(-4, 4.5, 200_001, dtype=torch.float64)
    cdf = 0.5 * (torch.special.ndtr((x + 1) / 0.5) + torch.special.ndtr((x - 1.5) / 0.5))

    class Quantile(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            share = (z.double() / (2 * stretching.BOUND) + 0.5).clamp(1e-7, 1 - 1e-7)
            found = x[torch.searchsorted(cdf, share)].float()
            ctx.save_for_backward(found)
            return found

        @staticmethod
        def backward(ctx, gradient):
            return gradient * stretching.LATENT_DENSITY / stretching.target(ctx.saved_tensors[0])

    seen = stretching.view(Quantile.apply)
    for place in seen["places"].values():
        assert place["slope"] == pytest.approx(place["predicted"], rel=0.05)
    assert seen["places"]["gap at 0.25"]["slope"] > 10 * seen["places"]["mode at −1"]["slope"]
    assert seen["distance"] < 0.01
    doubled = stretching.view(lambda z: 2 * z)
    assert doubled["slope"] == pytest.approx([2.0] * len(doubled["slope"]))
    assert max(doubled["density"]) == pytest.approx(stretching.LATENT_DENSITY / 2, rel=0.01)
    assert doubled["distance"] < 0.01


def test_similarity_is_the_largest_correlation_over_all_lags():
    torch.manual_seed(0)
    x = torch.randn(3, 256)
    shifted = torch.zeros_like(x)
    shifted[:, 20:] = -3 * x[:, :-20]
    found = memorisation.similarity(x, torch.cat((x, shifted, torch.zeros(1, 256))))
    torch.testing.assert_close(found[:, :3].diagonal(), torch.ones(3))
    assert (found[:, 3:6].diagonal() > 0.93).all()
    assert (found[:, :3].fill_diagonal_(0.0) < 0.4).all()
    assert (found[:, 6] == 0).all()


def test_memorising_and_denoising_generators_are_told_apart():
    torch.manual_seed(0)
    clean, training = torch.randn(8, 512), torch.randn(40, 512)
    noisy = clean + 0.5 * torch.randn(8, 512)
    denoises = memorisation.memorisation(lambda rows: 0.9 * rows, noisy, clean, training)
    memorises = memorisation.memorisation(memorisation.lookup(training), noisy, clean, training)
    ignores = memorisation.memorisation(lambda rows: training[:1].expand(len(rows), -1), noisy, clean, training)
    assert denoises["own"] > 0.85
    assert denoises["nearer"] == 0.0
    assert denoises["training"] < 0.3
    assert denoises["shuffled"] < 0.3
    assert (memorises["training"], ignores["training"]) == pytest.approx((1.0, 1.0))
    assert memorises["nearer"] == ignores["nearer"] == 1.0
    assert memorises["shuffled"] < 0.5  # another mixture, another segment
    assert ignores["shuffled"] == pytest.approx(1.0)
