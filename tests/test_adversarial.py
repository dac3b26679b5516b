"""Each objective and penalty against its formula: hand-computed values, derivatives, signs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segan_cli.config.training import AdversarialConfig, ObjectiveName
from segan_cli.errors import ConfigError
from segan_cli.losses.adversarial import (
    OBJECTIVES,
    clip_weights,
    feature_matching,
    gradient_penalty,
    metric_discriminator,
    r1,
)

REAL, FAKE = (2.0, -1.0), (0.5, -3.0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def average(function, values):
    return sum(map(function, values)) / len(values)


def half_cross_entropy(real, fake):
    on_real, on_fake = average(lambda x: math.log(sigmoid(x)), real), average(lambda x: math.log(1 - sigmoid(x)), fake)
    return -0.5 * on_real - 0.5 * on_fake


FORMULAS = {  # name: loss of the discriminator, loss of the generator, in plain numbers as the papers write them
    "minimax": (half_cross_entropy, lambda r, f: 0.5 * average(lambda x: math.log(1 - sigmoid(x)), f)),
    "non-saturating": (half_cross_entropy, lambda r, f: -0.5 * average(lambda x: math.log(sigmoid(x)), f)),
    "maximum-likelihood": (
        half_cross_entropy,
        lambda r, f: -0.5 * average(lambda x: sigmoid(x) / (1 - sigmoid(x)), f),  # exp of the inverse sigmoid
    ),
    "least-squares": (
        lambda r, f: 0.5 * average(lambda x: (x - 1) ** 2, r) + 0.5 * average(lambda x: x**2, f),
        lambda r, f: 0.5 * average(lambda x: (x - 1) ** 2, f),
    ),
    "hinge": (
        lambda r, f: average(lambda x: max(0, 1 - x), r) + average(lambda x: max(0, 1 + x), f),
        lambda r, f: -average(float, f),
    ),
    "wasserstein-clip": (lambda r, f: average(float, f) - average(float, r), lambda r, f: -average(float, f)),
    "wasserstein-gp": (lambda r, f: average(float, f) - average(float, r), lambda r, f: -average(float, f)),
    "relativistic-least-squares": (
        lambda r, f: (
            average(lambda x: (x - average(float, f) - 1) ** 2, r)
            + average(lambda x: (x - average(float, r) + 1) ** 2, f)
        ),
        lambda r, f: (
            average(lambda x: (x - average(float, r) - 1) ** 2, f)
            + average(lambda x: (x - average(float, f) + 1) ** 2, r)
        ),
    ),
}
HAND = {  # the same at REAL and FAKE, worked out on paper
    "minimax": (0.615714, -0.255666),
    "non-saturating": (0.615714, 0.880666),
    "maximum-likelihood": (0.615714, -0.424627),
    "least-squares": (3.5625, 4.0625),
    "hinge": (1.75, 1.25),
    "wasserstein-clip": (-1.75, 1.25),
    "wasserstein-gp": (-1.75, 1.25),
    "relativistic-least-squares": (6.4375, 20.4375),
}


def losses(name, real, fake):
    objective = OBJECTIVES[name]
    return objective.discriminator(real, fake, target=1.0), objective.generator(fake, real=real)


def test_every_objective_of_the_config_has_its_losses():
    assert set(OBJECTIVES) == set(ObjectiveName.__args__) == {*FORMULAS, "metricgan"}


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_equal_values_computed_by_hand(name):
    values = [float(loss) for loss in losses(name, torch.tensor(REAL), torch.tensor(FAKE))]
    assert values == pytest.approx(HAND[name], abs=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
@given(
    real=st.lists(st.floats(-6, 6), min_size=2, max_size=5),
    fake=st.lists(st.floats(-6, 6), min_size=2, max_size=5),
)
def test_losses_equal_the_formulas(name, real, fake):
    ours = losses(name, torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64))
    for loss, formula in zip(ours, FORMULAS[name], strict=True):
        assert float(loss) == pytest.approx(formula(real, fake), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_equal_the_derivatives_of_the_formulas(name):
    """Automatic differentiation of the code against central differences of the formula, for every logit."""
    for player, (code, formula) in enumerate(zip(losses_of(name), FORMULAS[name], strict=True)):
        logits = torch.tensor([*REAL, *FAKE], dtype=torch.float64, requires_grad=True)
        code(logits[:2], logits[2:]).backward()
        for i in range(4):
            up, down = ([*REAL, *FAKE] for _ in range(2))
            up[i] += 1e-5
            down[i] -= 1e-5
            slope = (formula(up[:2], up[2:]) - formula(down[:2], down[2:])) / 2e-5
            assert float(logits.grad[i]) == pytest.approx(slope, rel=1e-4, abs=1e-8), (player, i)


def losses_of(name):
    return (lambda r, f: losses(name, r, f)[0]), (lambda r, f: losses(name, r, f)[1])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_discriminator_separates_real_from_fake_and_the_generator_raises_its_logit(name):
    real, fake = (torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    objective = OBJECTIVES[name]
    third = torch.full((3,), 0.1) if objective.metric else 1.0
    objective.discriminator(real, fake, target=third).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    real.grad = fake.grad = None
    objective.generator(fake, real=real).backward()
    assert (fake.grad < 0).all()
    assert objective.relativistic == (real.grad is not None)


def test_the_generator_gradient_vanishes_with_minimax_but_not_with_non_saturating():
    """At a sure discriminator minimax leaves the generator nothing, non-saturating all (arXiv 1701.00160)."""
    slopes = {}
    for name in ("minimax", "non-saturating", "maximum-likelihood"):
        fake = torch.tensor([-10.0], requires_grad=True)
        OBJECTIVES[name].generator(fake, real=fake).backward()
        slopes[name] = -float(fake.grad)
    assert slopes["minimax"] == pytest.approx(0.5 * sigmoid(-10), rel=1e-3)
    assert slopes["maximum-likelihood"] == pytest.approx(0.5 * math.exp(-10), rel=1e-3)
    assert slopes["non-saturating"] == pytest.approx(0.5, rel=1e-3)


def test_maximum_likelihood_stays_finite():
    fake = torch.tensor([9.0, 11.0, 1e4], requires_grad=True)
    loss = OBJECTIVES["maximum-likelihood"].generator(fake, real=fake)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(fake.grad[0]) == pytest.approx(-math.exp(9) / 6, rel=1e-5)
    assert fake.grad[1] == fake.grad[2] == pytest.approx(-math.exp(10) / 6, rel=1e-5)


@pytest.mark.parametrize("name", ["minimax", "least-squares"])
def test_label_smoothing_moves_the_optimal_logit_of_real_only(name):
    """With label 0.9 the least loss on real lies where the discriminator says 0.9; on fake nothing changes."""
    best, nothing = torch.tensor([math.log(9) if name == "minimax" else 0.9], requires_grad=True), torch.zeros(1)
    OBJECTIVES[name].discriminator(best, nothing, target=0.9).backward()
    assert float(best.grad) == pytest.approx(0.0, abs=1e-6)
    one, two = torch.tensor([1.0]), torch.tensor([2.0])
    with_label = [float(OBJECTIVES[name].discriminator(one, fake, target=0.9)) for fake in (one, two)]
    without = [float(OBJECTIVES[name].discriminator(one, fake, target=1.0)) for fake in (one, two)]
    assert with_label[1] - with_label[0] == pytest.approx(without[1] - without[0])


def test_a_metric_discriminator_learns_the_quality_and_ignores_undefined_scores():
    real, fake = torch.tensor([0.5, 1.0]), torch.tensor([0.25, 0.5, 9.0], requires_grad=True)
    loss = metric_discriminator(real, fake, target=torch.tensor([0.75, 0.25, math.nan]))
    assert float(loss.detach()) == pytest.approx(0.125 + (0.25 + 0.0625) / 2)
    loss.backward()
    assert fake.grad.tolist() == pytest.approx([-0.5, 0.25, 0.0])
    assert float(metric_discriminator(real, fake, target=torch.full((3,), math.nan)).detach()) == pytest.approx(0.125)
    assert float(OBJECTIVES["metricgan"].generator(torch.tensor([0.5, 1.0]), real=real)) == pytest.approx(0.125)


def test_gradient_penalties_of_a_linear_discriminator_are_exact():
    """D(x) = w·x has the gradient w everywhere."""
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.randn(5, 2), torch.randn(5, 2)
    penalty = gradient_penalty(lambda x: x @ w, real, fake)
    assert float(penalty.detach()) == pytest.approx((5 - 1) ** 2)
    penalty.backward()
    assert w.grad.tolist() == pytest.approx([2 * 4 * 0.6, 2 * 4 * 0.8])
    w.grad = None
    value = r1(lambda x: x @ w, real)
    assert float(value.detach()) == pytest.approx(0.5 * 25)
    value.backward()
    assert w.grad.tolist() == pytest.approx([3.0, 4.0])


def test_gradient_penalties_of_patches_equal_those_of_their_mean():
    w = torch.tensor([[3.0, 1.0], [4.0, 0.0]], requires_grad=True)  # the mean over both patches has the gradient (2, 2)
    value = r1(lambda x: x @ w, torch.randn(5, 2))
    assert float(value.detach()) == pytest.approx(0.5 * (2**2 + 2**2))


def test_feature_matching_is_the_relative_distance_averaged_over_layers():
    real = [torch.tensor([[2.0, -2.0]]), torch.tensor([[4.0]])]
    fake = [torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0]])]
    assert float(feature_matching(fake, real)) == pytest.approx((0.5 / 2 + 3 / 4) / 2)


def test_the_gradient_penalty_is_taken_between_real_and_fake():
    seen = []

    def discriminate(x):
        seen.append(x)
        return x.sum(1)

    gradient_penalty(discriminate, torch.zeros(100, 2), torch.ones(100, 2))
    assert (seen[0][:, 0] == seen[0][:, 1]).all()
    assert 0.3 < float(seen[0].detach().mean()) < 0.7
    assert float(seen[0].detach().std()) > 0.2


def test_weight_clipping_bounds_every_weight():
    layer = torch.nn.Linear(50, 50)
    clip_weights(layer, 0.01)
    assert all(p.abs().max() <= 0.01 for p in layer.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"objective": "hinge", "label_smoothing": 0.1}, "label_smoothing: hinge has no labels"),
        ({"objective": "metricgan", "mismatched_share": 0.5}, "mismatched_share"),
        ({"label_smoothing": 1.0}, "between 0 and 1"),
        ({"discriminator_steps": 0}, "1 or more"),
        ({"unrolled_steps": -2}, "0 or more"),
        ({"gradient_share": -1.0}, "0 or more"),
        ({"update_every": 0}, "1 or more"),
        ({"update_every": 2, "discriminator_steps": 2}, "update_every: not available"),
        ({"update_every": 2, "unrolled_steps": 1}, "update_every: not available"),
    ],
)
def test_contradictory_options_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        AdversarialConfig(**options)
