"""The game: what the discriminator sees, what unrolling does, what training with each option changes."""

import copy
from typing import get_args

import pytest
import torch
from torch import nn

from segan_cli.config.families.convolutional import ConvolutionalDiscriminatorConfig
from segan_cli.config.families.spectral import SpectralDiscriminatorConfig
from segan_cli.config.training import METRIC, SEPARABLE, AdversarialConfig, ObjectiveName
from segan_cli.errors import ConfigError
from segan_cli.losses.adversarial import OBJECTIVES, SeparableLoss, feature_matching
from segan_cli.networks.convolutional import ConvolutionalDiscriminator
from segan_cli.networks.spectral_discriminator import SpectralDiscriminator
from segan_cli.training.adversary import Adversary, discriminator_stats


class Linear(nn.Module):
    """D(x) = y x, the discriminator of the bilinear game."""

    def __init__(self, y):
        super().__init__()
        self.y = nn.Parameter(torch.tensor(y))

    def forward(self, candidate, condition):
        return (self.y * candidate)[:, 0]


def small(**changes):
    config = ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5, **changes)
    network = ConvolutionalDiscriminator(config, 64, 4)
    if config.norm == "virtual":
        network.set_reference(torch.randn(4, 1, 64), torch.randn(4, 1, 64))
    return network


def adversary(network, optimizer=torch.optim.RMSprop, rate=1e-3, **options):
    return Adversary(network, optimizer(network.parameters(), rate), AdversarialConfig(**options))


def test_a_discriminator_without_its_condition_cannot_tell_mismatched_pairs():
    """Real: noisy is the candidate with noise. Fake: noisy is another one with noise. Candidates are alike."""
    accuracies = {}
    for sees_pair in (True, False):
        torch.manual_seed(0)
        network = small()
        judge = adversary(network, torch.optim.Adam, 1e-2)

        def segments(n=32, sees_pair=sees_pair):
            clean = torch.randn(n, 1, 64)
            noisy = clean + 0.1 * torch.randn_like(clean)
            return clean, clean.roll(1, 0), noisy if sees_pair else torch.zeros_like(noisy)

        for _ in range(80):
            loss, _ = judge(*segments())
            judge.optimizer.zero_grad()
            loss.backward()
            judge.optimizer.step()
        real, fake, noisy = segments(256)
        with torch.no_grad():
            right = torch.cat((judge.discriminate(real, noisy) > 0.5, judge.discriminate(fake, noisy) < 0.5))
        accuracies[sees_pair] = float(right.float().mean())
    assert accuracies[True] > 0.8
    assert accuracies[False] < 0.6


class Product(Linear):
    """D(x, y) = x·y, so that every pair has a logit of its own."""

    def forward(self, candidate, condition):
        return self.y * (candidate * condition).sum((1, 2))


def test_the_mismatched_term_is_the_fake_loss_of_clean_beside_another_noisy():
    network = Product(1.0)
    real, fake, noisy = torch.randn(3, 3, 1, 64)
    plain = adversary(network)
    mixed, _ = adversary(network, mismatched_share=0.25)(real, fake, noisy)
    on_real, on_fake, on_mismatched = (
        plain.discriminate(x, n) for x, n in ((real, noisy), (fake, noisy), (real, noisy.roll(1, 0)))
    )
    on_real, on_fake, on_mismatched = (x.square().mean() for x in (on_real - 1, on_fake, on_mismatched))
    torch.testing.assert_close(mixed, 0.5 * on_real + 0.375 * on_fake + 0.125 * on_mismatched)


class Patches(nn.Module):
    """Three patches of a scaled candidate, with one hidden layer."""

    def forward(self, candidate, condition, features=None):
        hidden = 2 * candidate[:, 0, :3]
        if features is not None:
            features.append(hidden)
        return hidden * torch.tensor([1.0, 2.0, 3.0])


def patches(**options):
    network = Patches()
    return Adversary(network, torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1), AdversarialConfig(**options))


def test_losses_use_single_patches_and_statistics_use_their_mean():
    real, fake, noisy = torch.ones(2, 1, 3), torch.zeros(2, 1, 3), torch.zeros(2, 1, 3)
    loss, logits = patches()(real, fake, noisy)
    assert float(loss) == pytest.approx(0.5 * (1 + 9 + 25) / 3)  # logits 2, 4, 6 on real, 0 on fake
    assert logits["real"].tolist() == [4.0, 4.0]
    assert logits["fake"].tolist() == [0.0, 0.0]


def test_a_metric_objective_judges_the_mean_over_patches():
    judge = patches(objective="metricgan")
    real, fake, noisy = torch.ones(2, 1, 3), torch.zeros(2, 1, 3), torch.zeros(2, 1, 3)
    assert judge.discriminate(real, noisy).tolist() == [4.0, 4.0]
    loss, _ = judge(real, fake, noisy, quality=torch.full((2, 2), 0.5))
    assert float(loss) == pytest.approx((4 - 1) ** 2 + 0.5**2)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_feature_matching_adds_the_distance_from_clean_in_the_hidden_layers(weight):
    real, fake, noisy = torch.ones(2, 1, 3), torch.full((2, 1, 3), 0.25), torch.zeros(2, 1, 3)
    loss = patches(feature_matching_weight=weight).generator_loss(real, fake, noisy)
    adversarial = 0.5 * ((0.5 - 1) ** 2 + (1 - 1) ** 2 + (1.5 - 1) ** 2) / 3
    assert float(loss) == pytest.approx(adversarial + weight * 0.75)


@pytest.mark.parametrize(("unrolled_steps", "has_graph"), [(0, False), (1, True)])
def test_features_of_clean_have_a_graph_only_where_unrolled_weights_need_it(monkeypatch, unrolled_steps, has_graph):
    seen = []

    def compare(fake, real):
        seen.append([any(layer.requires_grad for layer in side) for side in (fake, real)])
        return feature_matching(fake, real)

    monkeypatch.setattr("segan_cli.training.adversary.feature_matching", compare)
    judge = adversary(small(), feature_matching_weight=1.0, unrolled_steps=unrolled_steps)
    real, noisy = torch.randn(2, 4, 1, 64)
    judge.generator_loss(real, torch.randn(4, 1, 64, requires_grad=True), noisy)
    assert seen == [[True, has_graph]]


def test_every_discriminator_reports_its_hidden_layers():
    candidate, noisy = torch.randn(2, 3, 1, 64)
    for network, n_layers in (
        (small(), 2),
        (SpectralDiscriminator(SpectralDiscriminatorConfig((4, 4), frames=(32, 16))), 4),
    ):
        features = []
        logits = network(candidate, noisy, features)
        assert len(features) == n_layers
        assert all(len(layer) == 3 for layer in features)
        torch.manual_seed(0)
        assert logits.shape == network.eval()(candidate, noisy).shape


def test_resolutions_are_separate_networks_whose_patches_are_joined():
    torch.manual_seed(0)
    network = SpectralDiscriminator(
        SpectralDiscriminatorConfig((4, 4), frames=(64, 32), kernel_size=3, freq_stride=4)
    ).eval()
    candidate, noisy = torch.randn(2, 3, 1, 256)
    parts = [resolution(candidate, noisy) for resolution in network.resolutions]
    # bins 33 → 9 → 5 and 17 → 5 → 3, frames 9 → 5 → 3 and 17 → 9 → 5
    assert [part.shape for part in parts] == [(3, 5 * 3), (3, 3 * 5)]
    assert torch.equal(network(candidate, noisy), torch.cat(parts, 1))


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.AdamW, torch.optim.SGD])
@pytest.mark.parametrize(
    "changes", [{}, {"norm": "batch", "leaky_slope": None, "hidden": (8,)}, {"norm": "none", "spectral_norm": True}]
)
def test_unrolling_restores_the_discriminator_exactly(optimizer, changes):
    torch.manual_seed(0)
    judge = adversary(small(**changes), optimizer, unrolled_steps=3)
    real, noisy = torch.randn(2, 4, 1, 64)
    fake = torch.randn(4, 1, 64, requires_grad=True)
    loss, _ = judge(real, fake.detach(), noisy)  # so that the optimiser has a history
    loss.backward()
    judge.optimizer.step()
    before = copy.deepcopy((judge.network.state_dict(), judge.optimizer.state_dict()))
    twin = copy.deepcopy(judge.network)
    plain = Adversary(twin, judge.optimizer, AdversarialConfig()).generator_loss(real, fake, noisy)
    unrolled = judge.generator_loss(real, fake, noisy)
    (gradient,) = torch.autograd.grad(unrolled, fake)
    assert torch.isfinite(gradient).all()
    assert not torch.equal(plain, unrolled)
    after = (judge.network.state_dict(), judge.optimizer.state_dict())
    assert_equal(before, after)


FROZEN = {
    "virtual batch norm": lambda: small(),
    "spectral norm": lambda: small(norm="none", spectral_norm=True),
    "batch norm": lambda: small(norm="batch", phase_shuffle=2),
    "running statistics": lambda: RunningStatistics(),
    "spectral discriminator": lambda: SpectralDiscriminator(SpectralDiscriminatorConfig((4, 4), frames=(32, 16))),
}


class RunningStatistics(nn.Module):
    """A discriminator whose batch norm keeps running statistics, as torch's does by default."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(2), nn.Conv1d(2, 1, 3))

    def forward(self, candidate, condition):
        return self.layers(torch.cat((candidate, condition), 1)).mean((1, 2))


@pytest.mark.parametrize("unrolled_steps", [0, 1])
@pytest.mark.parametrize("kind", FROZEN)
def test_the_generator_step_changes_nothing_in_the_discriminator(kind, unrolled_steps):
    """Weights, spectral norm's singular vectors, running statistics, gradients and the optimiser's state all stay."""
    torch.manual_seed(0)
    judge = adversary(FROZEN[kind](), unrolled_steps=unrolled_steps)
    real, fake, noisy = torch.randn(3, 4, 1, 64)
    loss, _ = judge(real, fake, noisy)  # so that gradients and the optimiser have a history
    loss.backward()
    judge.optimizer.step()
    before = copy.deepcopy((judge.network.state_dict(), judge.optimizer.state_dict()))
    gradients = [p.grad.clone() for p in judge.network.parameters()]
    point = fake.clone().requires_grad_()
    (push,) = torch.autograd.grad(judge.generator_loss(real, point, noisy), point)
    assert float(push.abs().sum()) > 0
    assert_equal(before, (judge.network.state_dict(), judge.optimizer.state_dict()))
    assert_equal(gradients, [p.grad for p in judge.network.parameters()])
    assert judge.network.training


def assert_equal(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("objective", ["non-saturating", "least-squares", "wasserstein-clip"])
@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.Adam, torch.optim.SGD])
def test_the_generator_gradient_includes_the_unrolled_steps(optimizer, objective):
    """The gradient is the central difference of the unrolled loss along a random direction."""
    torch.manual_seed(0)
    judge = adversary(small(norm="none").double(), optimizer, 1e-2, objective=objective, unrolled_steps=3)
    real, fake, noisy = torch.randn(3, 4, 1, 64, dtype=torch.float64)
    loss, _ = judge(real, fake, noisy)  # so that the optimiser has a history
    loss.backward()
    judge.optimizer.step()
    direction = torch.randn_like(fake)
    point = fake.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(judge.generator_loss(real, point, noisy), point)
    up, down = (float(judge.generator_loss(real, fake + e * direction, noisy).detach()) for e in (1e-6, -1e-6))
    assert float((gradient * direction).sum()) == pytest.approx((up - down) / 2e-6, rel=1e-3, abs=1e-9)


def test_unrolled_losses_of_the_bilinear_game_are_exact():
    """D(x) = yx against real 0 by Wasserstein: a step is y' = y - ηx, so -y'x = -yx + ηx², of slope -y + 2ηx."""
    judge = adversary(Linear(2.0), torch.optim.SGD, 0.1, objective="wasserstein-clip", unrolled_steps=1)
    fake = torch.tensor([[3.0]], requires_grad=True)
    loss = judge.generator_loss(torch.zeros(1, 1), fake, torch.zeros(1, 0))
    assert float(loss.detach()) == pytest.approx(-2.0 * 3.0 + 0.1 * 9.0)
    (slope,) = torch.autograd.grad(loss, fake)
    assert float(slope) == pytest.approx(-2.0 + 2 * 0.1 * 3.0)


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.Adam])
def test_an_unrolled_step_equals_a_step_of_the_optimiser(optimizer):
    """With second moments that no longer move, the unrolled weights are those after a real step."""
    judge = adversary(Linear(2.0), optimizer, 0.1, objective="wasserstein-clip", unrolled_steps=1)
    judge.optimizer.param_groups[0] |= {"betas": (0.0, 0.9)} if optimizer is torch.optim.Adam else {"alpha": 0.9}
    real, fake, condition = torch.zeros(1, 1), torch.full((1, 1), 3.0), torch.zeros(1, 0)
    for _ in range(200):
        loss, _ = judge(real, fake, condition)
        judge.optimizer.zero_grad()
        loss.backward()
        judge.optimizer.step()
    ahead = judge.unroll(real, fake, condition)["y"]
    loss, _ = judge(real, fake, condition)
    judge.optimizer.zero_grad()
    loss.backward()
    judge.optimizer.step()
    assert float(ahead) == pytest.approx(float(judge.network.y), rel=1e-5)


def test_weight_clipping_does_not_clip_normalisation_layers():
    torch.manual_seed(0)
    judge = adversary(small(), objective="wasserstein-clip")
    judge.clip_weights()
    for name, p in judge.network.named_parameters():
        if "norms" not in name:
            assert p.abs().max() <= 0.01, name
    assert judge.network.norms[0].gain.mean() > 0.9


def test_instance_noise_is_added_to_real_and_fake():
    torch.manual_seed(0)
    seen = []

    class Spy(Linear):
        def forward(self, candidate, condition):
            seen.append(candidate)
            return super().forward(candidate, condition)

    judge = adversary(Spy(1.0))
    real, fake, condition = torch.zeros(1000, 1), torch.ones(1000, 1), torch.zeros(1000, 0)
    judge(real, fake, condition, std=0.5)
    judge.generator_loss(real, fake, condition, std=0.5)
    judge.generator_loss(real, fake, condition)
    assert [round(float(x.mean()), 0) for x in seen] == [0, 1, 1, 1]
    assert [float(x.std()) for x in seen] == pytest.approx([0.5, 0.5, 0.5, 0.0], abs=0.05)


def test_gradient_penalties_are_part_of_the_discriminator_loss():
    real, fake, condition = torch.randn(4, 1), torch.randn(4, 1), torch.zeros(4, 0)
    for options, extra in (
        ({"r1_weight": 2.0}, 2.0 * 0.5 * 3.0**2),
        ({"objective": "wasserstein-gp", "gradient_penalty_weight": 7.0}, 7.0 * (3.0 - 1) ** 2),
    ):
        with_penalty, _ = adversary(Linear(3.0), **options)(real, fake, condition)
        plain_objective = "wasserstein-clip" if "objective" in options else "least-squares"
        without, _ = adversary(Linear(3.0), objective=plain_objective)(real, fake, condition)
        assert float(with_penalty - without) == pytest.approx(extra, rel=1e-4)


def test_only_wasserstein_clip_clips_weights():
    for name, bound in (("wasserstein-clip", 0.01), ("least-squares", 3.0)):
        judge = adversary(Linear(3.0), objective=name)
        judge.clip_weights()
        assert float(judge.network.y) == pytest.approx(bound)


def test_a_metric_game_judges_noisy_speech_too():
    """The discriminator learns 1 for clean, and the measured quality of enhanced and of noisy."""
    judge = adversary(Linear(1.0), objective="metricgan")
    real, fake, noisy = (torch.full((2, 1), x) for x in (0.5, 0.25, 0.125))
    quality = torch.tensor([[0.25, 0.125], [0.75, torch.nan]])
    loss, _ = judge(real, fake, noisy, quality=quality)
    assert float(loss) == pytest.approx(0.25 + (0.0 + 0.25 + 0.0) / 3)
    assert float(judge.generator_loss(real, fake, noisy, quality=quality)) == pytest.approx(0.75**2)


class Beside(torch.nn.Module):
    """A judge that says how far a candidate is from what it is shown beside it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, candidate, condition):
        return self.weight * (candidate - condition).mean((1, 2))


@pytest.mark.parametrize(("objective", "distance"), [("metricgan", 0.25 - 0.5), ("least-squares", 0.25 - 0.125)])
def test_a_metric_discriminator_is_conditioned_on_clean_and_others_on_noisy(objective, distance):
    judge = adversary(Beside(), objective=objective)
    real, fake, noisy = (torch.full((2, 1, 4), x) for x in (0.5, 0.25, 0.125))
    expected = judge.objective.generator(torch.full((2,), distance), real=torch.zeros(2))
    torch.testing.assert_close(judge.generator_loss(real, fake, noisy, quality=torch.ones(2, 2)), expected)


def stats_of(real, fake, objective):
    return discriminator_stats({"real": torch.tensor(real), "fake": torch.tensor(fake)}, OBJECTIVES[objective])


def test_discriminator_statistics_equal_values_computed_by_hand():
    stats = stats_of([1.0, 0.2] * 4, [0.0, 0.2] * 4, "least-squares")
    assert stats["d_real"] == pytest.approx(0.6)
    assert stats["d_fake"] == pytest.approx(0.1)
    assert stats["d_real_accuracy"] == 0.5
    assert stats["d_fake_accuracy"] == 1.0
    assert stats["d_prime"] == pytest.approx(0.5 / ((0.16 + 0.01) / 2) ** 0.5, rel=1e-4)
    few = stats_of([9.0], [8.0], "wasserstein-gp")
    assert "d_prime" not in few  # one example has no deviation
    assert set(stats_of([1.0], [0.5], "metricgan")) == {"d_real", "d_fake"}


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name not in METRIC])
def test_the_boundary_is_that_of_the_labels_or_else_halfway_between_the_means(objective):
    labelled = {"minimax", "non-saturating", "maximum-likelihood", "hinge"}
    middle = 0.0 if objective in labelled else 0.5 if objective == "least-squares" else 7.0
    offsets = (0.1, 0.3, -0.2, 0.2)  # their mean is 0.1
    stats = stats_of([middle + offset for offset in offsets], [middle - offset for offset in offsets], objective)
    assert (float(stats["d_real_accuracy"]), float(stats["d_fake_accuracy"])) == (0.75, 0.75)


def test_the_config_knows_the_properties_of_every_objective():
    assert tuple(OBJECTIVES) == get_args(ObjectiveName)
    assert tuple(name for name, objective in OBJECTIVES.items() if objective.metric) == METRIC
    separable = [name for name, objective in OBJECTIVES.items() if isinstance(objective.discriminator, SeparableLoss)]
    assert [*SEPARABLE] == separable


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        (objective, options)
        for objective in SEPARABLE
        for options in ({}, {"mismatched_share": 0.25}, {"r1_weight": 2.0}, {"label_smoothing": 0.1})
        if objective != "hinge" or "label_smoothing" not in options  # which has no label to smooth
    ],
)
def test_real_and_fake_terms_of_a_separable_loss_add_up_to_the_joint_loss(objective, options):
    torch.manual_seed(0)
    judge = adversary(small(norm="none").double(), objective=objective, separate_steps=True, **options)
    for parameter in judge.network.parameters():  # large enough for every term to count
        nn.init.normal_(parameter, std=0.3)
    real, fake, noisy = torch.randn(3, 4, 1, 64, dtype=torch.float64)
    joint, logits = judge(real, fake, noisy)
    parts = [judge(real, fake, noisy, side=side) for side in judge.sides]
    torch.testing.assert_close(sum(loss for loss, _ in parts), joint)
    assert_equal({**parts[0][1], **parts[1][1]}, logits)
    assert set(parts[0][1]) == {"real"}


def test_separate_steps_use_the_gradient_of_one_side_only():
    judge = adversary(Linear(1.0), separate_steps=True)
    real, fake, condition = torch.tensor([[2.0]]), torch.tensor([[3.0]]), torch.zeros(1, 0)
    slopes = []
    for side in judge.sides:
        (slope,) = torch.autograd.grad(judge(real, fake, condition, side=side)[0], judge.network.y)
        slopes.append(float(slope))
    assert slopes == [(1.0 * 2.0 - 1) * 2.0, (1.0 * 3.0) * 3.0]  # of ½ (y x - 1)² and of ½ (y g)²


@pytest.mark.parametrize("objective", ["wasserstein-clip", "wasserstein-gp", "relativistic-least-squares", "metricgan"])
def test_separate_steps_are_refused_for_inseparable_losses(objective):
    with pytest.raises(ConfigError, match="not a term on real plus a term on fake; use minimax"):
        AdversarialConfig(objective, separate_steps=True)
    assert not isinstance(OBJECTIVES[objective].discriminator, SeparableLoss)


def test_separate_steps_with_unrolling_are_refused():
    with pytest.raises(ConfigError, match="set unrolled_steps=0"):
        AdversarialConfig(separate_steps=True, unrolled_steps=1)
