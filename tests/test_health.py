"""Failure modes are reported in training runs that have them, and not in others."""

import json

import pytest
import torch
from torch import nn

from segan_cli.config.training import AdversarialConfig
from segan_cli.training.adversary import Adversary, discriminator_stats
from segan_cli.training.diagnostics import diversity
from segan_cli.training.health import HISTORY_STEPS, Health


class Slope(nn.Module):
    """D(x) = y x."""

    def __init__(self):
        super().__init__()
        self.y = nn.Parameter(torch.tensor(1.0))

    def forward(self, candidate, condition):
        return (self.y * candidate)[:, 0]


def bilinear(r1_weight, steps=3 * HISTORY_STEPS, rate=0.5):
    """Play the game of one slope against one point, real at 0 (arXiv 1801.04406, the Dirac-GAN)."""
    torch.manual_seed(0)
    network, point = Slope(), nn.Parameter(torch.tensor([[1.0]]))
    players = [torch.optim.SGD(network.parameters(), rate), torch.optim.SGD([point], rate)]
    discriminate = Adversary(network, players[0], AdversarialConfig(objective="non-saturating", r1_weight=r1_weight))
    health, real, condition = Health(), 0.1 * torch.randn(16, 1), torch.zeros(16, 0)
    for _ in range(steps):
        fake = point + 0.1 * torch.randn(16, 1)
        loss, logits = discriminate(real, fake.detach(), condition)
        report = discriminator_stats(logits, discriminate.objective)
        for player, its_loss in ((players[0], loss), (players[1], None)):
            player.zero_grad()
            (discriminate.generator_loss(real, fake, condition) if its_loss is None else its_loss).backward()
            player.step()
        health.observe({**report, "adversarial_gradient": float(point.grad.norm())})
    return health.diagnose({})


def test_oscillation_is_reported_and_gone_with_a_gradient_penalty():
    assert set(bilinear(r1_weight=0.0)) == {"oscillation"}
    assert bilinear(r1_weight=1.0) == {}


@pytest.mark.parametrize(("objective", "won"), [("minimax", True), ("non-saturating", False)])
def test_a_winning_discriminator_is_reported_when_its_gradient_vanishes(objective, won):
    """A generator that stays put, a discriminator that learns: minimax then has nothing left to teach."""
    torch.manual_seed(0)
    network = nn.Linear(1, 1)

    class Judge(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = network

        def forward(self, candidate, condition):
            return self.linear(candidate)[:, 0]

    discriminate = Adversary(
        Judge(), torch.optim.Adam(network.parameters(), 0.3), AdversarialConfig(objective=objective)
    )
    health, condition = Health(), torch.zeros(16, 0)
    for _ in range(4 * HISTORY_STEPS):
        real, fake = 0.5 + 0.1 * torch.randn(16, 1), (-0.5 + 0.1 * torch.randn(16, 1)).requires_grad_()
        loss, logits = discriminate(real, fake.detach(), condition)
        report = discriminator_stats(logits, discriminate.objective)
        discriminate.optimizer.zero_grad()
        loss.backward()
        discriminate.optimizer.step()
        (push,) = torch.autograd.grad(discriminate.generator_loss(real, fake, condition), fake)
        health.observe({**report, "adversarial_gradient": float(push.norm())})
    found = health.diagnose({})
    assert ("discriminator won" in found) == won
    if won:
        assert "lower its learning rate" in found["discriminator won"]


def test_a_healthy_training_reports_no_failure():
    torch.manual_seed(0)
    health = Health()
    for _ in range(HISTORY_STEPS):
        d = 0.3 * float(torch.randn(()))
        health.observe({"d_prime": d, "d_real_accuracy": 0.6, "d_fake_accuracy": 0.6, "adversarial_gradient": 1.0})
    assert health.diagnose({"output_diversity": 1.0, "z_effect": 0.1}) == {}


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16])
def test_random_fluctuation_is_not_called_oscillation(batch):
    torch.manual_seed(batch)
    discriminate = Adversary(Slope(), None, AdversarialConfig())
    health = Health()
    for _ in range(HISTORY_STEPS):
        _, logits = discriminate(torch.randn(batch, 1), torch.randn(batch, 1), torch.zeros(batch, 0))
        report = discriminator_stats(logits, discriminate.objective)
        health.observe({**report, "adversarial_gradient": 1.0})
    assert health.diagnose({}) == {}


def test_the_health_state_is_equal_after_resuming():
    health, resumed = Health(), Health()
    for step in range(20):
        health.observe({"d_prime": (-1.0) ** (step // 10), "adversarial_gradient": 5.0 - 0.1 * step})
    resumed.restore(json.loads(json.dumps(health.state())))
    assert resumed.recent == health.recent
    assert resumed.largest_gradient == health.largest_gradient == pytest.approx(4.55)


def test_mode_collapse_and_ignored_latents_are_recognised_from_outputs():
    x = torch.randn(8, 1, 100)
    z = torch.randn(8, 1, 100)
    listens = diversity(lambda z: x + 0.1 * z, z)
    assert listens["z_effect"] == pytest.approx(0.14, abs=0.02)
    assert listens["output_diversity"] == pytest.approx(1.0, abs=0.1)
    ignores = diversity(lambda z: x, z)
    repeats = diversity(lambda z: x[:1] + 0.01 * z, z)
    silent = diversity(lambda z: 0 * x, None)
    assert set(Health().diagnose(listens)) == set()
    assert set(Health().diagnose(ignores)) == {"z ignored"}
    assert set(Health().diagnose(repeats)) == {"mode collapse"}
    assert set(Health().diagnose(silent)) == {"mode collapse"}
    assert "z_effect" not in silent


def test_means_are_taken_over_the_last_steps():
    health = Health()
    for value in (1.0, 3.0, 5.0):
        health.observe({"l1": value, "quality_undefined": value})
    health.observe({"l1": 7.0})
    assert health.means(2) == {"l1": 6.0, "quality_undefined": 5.0}
    assert health.means() == {"l1": 4.0, "quality_undefined": 3.0}


@pytest.mark.parametrize(("gradient", "stopped"), [(0.0, True), (1e-9, False)])
def test_a_generator_whose_gradient_is_0_has_stopped_learning(gradient, stopped):
    health = Health()
    health.observe({"generator_gradient": 5.0})
    for _ in range(10):
        assert "generator stopped" not in health.diagnose({})
        health.observe({"generator_gradient": gradient})
    assert ("generator stopped" in health.diagnose({})) == stopped
