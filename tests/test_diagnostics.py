"""The discriminator's accuracy on training and on held-out pairs, and the diagnosis that it overfits."""

import numpy as np
import pytest
import torch
from torch import nn

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.training import AdversarialConfig, TrainingConfig
from segan_cli.data.loader import SamplingPlan
from segan_cli.training.batch import Batch
from segan_cli.training.diagnostics import cut_segments, discriminator_accuracy, measure_diagnostics
from segan_cli.training.health import Health
from segan_cli.training.state import TrainState

T = 256
MODEL = ModelConfig(
    "m",
    ConvolutionalConfig((2,), (4,), (1,), 5, latent_channels=0),
    ConvolutionalDiscriminatorConfig((4,), (4,), 5, norm="none", phase_shuffle=2, spectral_norm=True),
    segment_length=T,
    hop=T // 2,
    pre_emphasis=0.0,
)


class Negative(nn.Module):
    """A generator that inverts the sign of its input."""

    def forward(self, noisy, z):
        return -noisy


class Weighted(nn.Module):
    """D(x, y) = w·x."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, candidate, condition):
        return candidate[:, 0] @ self.weight


def state_of(discriminator=None, **game):
    state = TrainState(MODEL, TrainingConfig(batch_size=6, adversarial=AdversarialConfig(**game)))
    state.generator = Negative()
    if discriminator is not None:
        state.discriminator = state.adversary.network = discriminator
    return state


def segments(levels):
    """Segments [n, 1, T] of one constant each."""
    return torch.tensor(levels)[:, None, None].expand(-1, 1, T)


def test_the_accuracy_is_the_mean_of_both_sides():
    """The logit is the level; 0.5 parts real from fake: 3 of 4 clean and 1 of 4 enhanced segments are right."""
    state = state_of(Weighted(torch.full((T,), 1 / T)))
    clean, noisy = segments([0.6, 0.4, 0.9, 2.0]), segments([-0.6, -0.8, 1.0, -3.0])
    assert discriminator_accuracy(state, Batch(noisy, clean)) == (3 / 4 + 1 / 4) / 2


def test_measuring_leaves_the_discriminator_as_it_is():
    state = state_of()
    before = {name: value.clone() for name, value in state.discriminator.state_dict().items()}
    batch = Batch(torch.randn(10, 1, T), torch.randn(10, 1, T))
    assert len({discriminator_accuracy(state, batch) for _ in range(3)}) == 1
    assert state.discriminator.training
    for name, value in state.discriminator.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_segments_are_cut_from_the_utterances_in_turn():
    pairs = [(np.arange(n, dtype=np.float32), -np.arange(n, dtype=np.float32)) for n in (10, 3, 5)]
    noisy, clean = cut_segments(pairs, 5, 40)
    assert noisy.shape == clean.shape == (40, 1, 5)
    assert torch.equal(clean, -noisy)
    assert (noisy.diff() == 1).all()
    starts = noisy[:, 0, 0]
    assert set(starts[0::2].tolist()) == {0, 1, 3, 4, 5}  # nearly all places of the utterance of 10
    assert set(starts[1::2].tolist()) == {0}  # the only place of that of 5; that of 3 is too short
    assert torch.equal(cut_segments(pairs, 5, 40)[0], noisy)
    assert cut_segments(pairs, 11, 4) is None


class Zeros:
    """Training data: silence."""

    def draw(self, rng, length):
        return length

    def render(self, length):
        return np.zeros(length, np.float32), np.zeros(length, np.float32)


def diagnostics(validation, **game):
    weight = Weighted(torch.full((T,), 1 / T))
    return measure_diagnostics(state_of(weight, **game), Zeros(), SamplingPlan(0, T + 1, 1, 0, range(6)), validation)


def test_training_pairs_are_those_of_the_training_and_held_out_pairs_those_of_the_validation():
    """Silence counts as fake, right for enhanced and wrong for clean; the held-out clean level of 1 counts as real."""
    metrics = diagnostics([(np.ones(1000, np.float32), np.ones(1000, np.float32))])
    assert metrics["d_training_accuracy"] == 0.5
    assert metrics["d_held_out_accuracy"] == 1.0


@pytest.mark.parametrize("game", [{"objective": "metricgan"}, {"weight": 0.0}, {"start": 1}])
def test_no_accuracy_is_reported_without_a_classifying_discriminator(game):
    assert "d_held_out_accuracy" not in diagnostics([(np.ones(1000, np.float32),) * 2], **game)


def test_utterances_shorter_than_a_segment_are_left_out():
    assert "d_held_out_accuracy" not in diagnostics([(np.ones(T, np.float32),) * 2])


@pytest.mark.parametrize(("offset", "overfits"), [(0.0, True), (0.5, False)])
def test_a_discriminator_that_memorises_its_training_pairs_is_recognised(offset, overfits):
    """Clean and enhanced are alike but for an offset: without it nothing that is learnt holds for other pairs."""
    torch.manual_seed(0)
    state = state_of(Weighted(torch.zeros(T)))
    training, held_out = (Batch(torch.randn(64, 1, T), torch.randn(64, 1, T) + offset) for _ in range(2))
    optimizer = torch.optim.SGD(state.discriminator.parameters(), 0.003)
    for _ in range(300):
        loss, _ = state.adversary(training.clean, -training.noisy, training.noisy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    metrics = {
        "d_training_accuracy": discriminator_accuracy(state, training),
        "d_held_out_accuracy": discriminator_accuracy(state, held_out),
    }
    assert metrics["d_training_accuracy"] > 0.9
    assert (metrics["d_held_out_accuracy"] < 0.65) == overfits
    found = Health().diagnose(metrics)
    assert set(found) == ({"discriminator overfits"} if overfits else set())
    if overfits:
        assert "of held-out pairs; train on more speech" in found["discriminator overfits"]


@pytest.mark.parametrize(("gap", "named"), [(0.19, False), (0.21, True), (-0.3, False)])
def test_a_large_accuracy_gap_is_called_overfitting(gap, named):
    found = Health().diagnose({"d_training_accuracy": 0.7, "d_held_out_accuracy": 0.7 - gap})
    assert ("discriminator overfits" in found) == named
