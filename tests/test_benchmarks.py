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
bilinear, density, mixtures, speech = (
    importlib.import_module(name) for name in ("bilinear", "density", "mixtures", "speech")
)
PAGES = {  # adversarial has the others
    "training": "training", "quality": "quality", "memory": "performance", "speed": "performance",
    "overlap": "performance", "recordings": "recordings", "recognition": "recordings",
}  # fmt: skip


@pytest.mark.parametrize("name", ["bilinear", "density", "mixtures", "speech", *PAGES])
def test_the_documentation_shows_the_results(name):
    page = (report.ROOT / "docs" / f"{PAGES.get(name, 'adversarial')}.md").read_text("utf-8")
    for heading, text in importlib.import_module(name).tables(report.load(name)).items():
        assert f"<!-- {heading} -->\n{text}\n<!-- end of {heading} -->" in page


def test_only_simultaneous_gradient_descent_diverges_as_in_theory():
    ends = {name: math.hypot(*bilinear.trajectory(*setting)[-1]) for name, setting in bilinear.RUNS.items()}
    assert ends["simultaneous"] == pytest.approx((1 + bilinear.RATE**2) ** (bilinear.STEPS / 2), rel=1e-3)
    assert 0.9 < ends["alternating"] < 1.1
    assert ends["simultaneous, R1 0.5"] < 1e-3
    assert ends["alternating, unrolled 1"] < 0.1


def test_a_game_is_the_same_for_the_same_seed_and_learns_the_modes_of_an_easy_target():
    target = toys.GaussianMixture(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 0.3)
    setting = toys.Setting(toys.AdversarialConfig("non-saturating"), steps=400)
    scores = [mixtures.measure(target, toys.train(target, setting, seed)) for seed in (0, 0)]
    assert scores[0] == scores[1]
    assert scores[0]["modes"] == 2
    assert scores[0]["quality"] > 0.7


@pytest.mark.parametrize("name", [*mixtures.ROWS, *mixtures.CONDITIONAL])
def test_every_row_can_be_trained(name):
    setting = {**mixtures.ROWS, **mixtures.CONDITIONAL}[name]
    quick = mixtures.replace(setting, steps=3)
    _, scores = mixtures.run((name, quick, "ring", 0))
    assert all(math.isfinite(value) for value in scores.values())


def test_modes_quality_and_width_are_measured_on_the_target_itself():
    target = toys.grid()
    points, modes = target.sample(2_500)
    scores = mixtures.measure(target, toys.Networks(lambda n: (points, modes), lambda x: x[:, 0]))
    assert scores["modes"] == 25
    assert scores["quality"] == pytest.approx(0.989, abs=0.01)  # of a round Gaussian within three deviations
    assert scores["width"] == pytest.approx(0.97, abs=0.04)
    assert scores["obeyed"] == scores["quality"]
    half = points[target.nearest(points)[1] < 12].repeat(3, 1)[:2_500]
    assert mixtures.measure(target, toys.Networks(lambda n: (half, modes), lambda x: x[:, 0]))["modes"] == 12


def test_the_best_discriminator_is_recognised():
    """An exact copy of the target and a logit of 0 everywhere: all distances vanish."""
    torch.manual_seed(0)
    perfect = toys.Networks(density.TARGET.sample, lambda x: torch.zeros(len(x)))
    row = density.measure(perfect)
    assert row["distance"] < 0.02
    assert row["from_half"] == 0.0
    assert row["from_optimum"] < 0.01
