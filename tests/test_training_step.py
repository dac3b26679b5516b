"""One training step by value: who is shown what, every gradient, the averaged weights, the segments, the quality."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from torch import nn

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.training import AdversarialConfig, TrainingConfig
from segan_cli.training.batch import Batch, prepare
from segan_cli.training.metricgan import Examples, ReplayBuffer
from segan_cli.training.state import TrainState
from segan_cli.training.step import generator_step, measure_quality, train_step

T = 1024
PLAIN = ModelConfig(
    "plain",
    ConvolutionalConfig((4, 8), (4, 8), (1, 1), 15, latent_channels=2),
    ConvolutionalDiscriminatorConfig((4,), (8,), 15, norm="none"),
    segment_length=T,
    hop=T // 2,
)


def state_of(model=PLAIN, game=None, **changes):
    """A training on l1 alone whose learning rates stay as they are."""
    defaults = {
        "steps": 1000, "batch_size": 4, "warmup_steps": 0, "schedule": "constant", "l1_weight": 1.0,
        "spectral_weight": 0.0, "deemphasised_losses": False, "clip_norm": None,
    }  # fmt: skip
    return TrainState(model, TrainingConfig(**{**defaults, **changes}, adversarial=AdversarialConfig(**game or {})))


@pytest.fixture
def batch():
    """Four segments whose three sides have nothing in common."""
    torch.manual_seed(1)
    return Batch(0.1 * torch.randn(4, 1, T), 0.1 * torch.randn(4, 1, T), torch.randn(4, 2, T // 32))


def enhanced_by(state, batch):
    with torch.no_grad():
        return torch.cat(
            [
                state.generator(part.noisy, part.z)
                for part in batch.micro_batches(state.training.gradient_accumulation_steps)
            ]
        )


class Linear(nn.Module):
    """D(x, y) = a w·x + b w·y with a fixed w, so that every gradient can be written down."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(-0.4))
        self.w = torch.linspace(-1, 1, T)

    def forward(self, candidate, condition):
        return self.a * (candidate[:, 0] @ self.w) + self.b * (condition[:, 0] @ self.w)


def with_linear_discriminator(state):
    """Let a linear discriminator play, down its plain gradient."""
    network = Linear()
    state.discriminator = state.adversary.network = network
    state.discriminator_optimizer = state.adversary.optimizer = torch.optim.SGD(network.parameters(), 0.0)
    return network


def shown(state):
    """What the discriminator is shown from now on: pairs of candidate and condition."""
    seen = []
    state.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    return seen


def output_gradients(state):
    """The gradients that come to the generator's output from now on."""
    seen = []

    def listen(module, inputs, output):
        if output.requires_grad:
            output.register_hook(seen.append)

    state.generator.register_forward_hook(listen)
    return seen


BOTH_KINDS = [("clean", "noisy"), ("enhanced", "noisy")]


@pytest.mark.parametrize("gradient_accumulation_steps", [1, 2])
@pytest.mark.parametrize(
    ("objective", "first", "second"),
    [
        ("least-squares", BOTH_KINDS, [("enhanced", "noisy")]),
        ("relativistic-least-squares", BOTH_KINDS, [("enhanced", "noisy"), ("clean", "noisy")]),
        (
            "metricgan",
            [("clean", "clean"), ("enhanced", "clean"), ("noisy", "clean")],
            [("enhanced", "clean")],
        ),
    ],
)
def test_what_the_discriminator_gets_in_both_steps(batch, objective, first, second, gradient_accumulation_steps):
    state = state_of(game={"objective": objective}, gradient_accumulation_steps=gradient_accumulation_steps)
    seen = shown(state)
    parts = batch.micro_batches(gradient_accumulation_steps)
    sides = [
        {"clean": part.clean, "noisy": part.noisy, "enhanced": enhanced}
        for part, enhanced in zip(parts, enhanced_by(state, batch).chunk(gradient_accumulation_steps), strict=True)
    ]

    def name(side, n):
        return next(name for name, known in sides[n].items() if torch.allclose(known, side, atol=1e-6))

    def quality(clean, candidates):
        return torch.zeros(len(candidates))

    train_step(state, lambda: batch, quality if objective == "metricgan" else None)
    order = [n for turn in (first, second) for n in range(gradient_accumulation_steps) for _ in turn]
    assert [tuple(name(side, n) for side in pair) for pair, n in zip(seen, order, strict=True)] == (
        first * gradient_accumulation_steps + second * gradient_accumulation_steps
    )


@pytest.mark.parametrize(("step", "std"), [(0, 0.5), (3, 1 / 3), (8, 1 / 18)])
def test_instance_noise_of_both_steps_decays_to_the_last_step(batch, step, std):
    state = state_of(game={"instance_noise": 0.5}, steps=10)
    state.step = step
    seen, enhanced = shown(state), enhanced_by(state, batch)
    train_step(state, lambda: batch)
    for (candidate, condition), plain in zip(seen, (batch.clean, enhanced, enhanced), strict=True):
        assert float((candidate - plain).detach().std()) == pytest.approx(std, rel=0.1)
        assert torch.equal(condition, batch.noisy)


def least_squares_by_hand(network, real, fake, condition):
    """Loss of the discriminator, its gradients by a and b, and what it says of both kinds."""
    with torch.no_grad():
        x, g, y = ((side[:, 0] @ network.w) for side in (real, fake, condition))
        on_real, on_fake = network(real, condition), network(fake, condition)
        loss = 0.5 * (on_real - 1).square().mean() + 0.5 * on_fake.square().mean()
        by_a = ((on_real - 1) * x + on_fake * g).mean()
        by_b = ((on_real - 1 + on_fake) * y).mean()
    return loss, by_a, by_b, on_real, on_fake


@pytest.mark.parametrize("gradient_accumulation_steps", [1, 4])
def test_the_discriminator_step_equals_one_computed_by_hand(batch, gradient_accumulation_steps):
    state = state_of(discriminator_learning_rate=0.01, gradient_accumulation_steps=gradient_accumulation_steps)
    network = with_linear_discriminator(state)
    loss, by_a, by_b, on_real, on_fake = least_squares_by_hand(
        network, batch.clean, enhanced_by(state, batch), batch.noisy
    )
    report = train_step(state, lambda: batch)
    assert report["discriminator"] == pytest.approx(float(loss), rel=1e-5)
    assert (report["d_real"], report["d_fake"]) == pytest.approx((float(on_real.mean()), float(on_fake.mean())), 1e-4)
    assert report["discriminator_gradient"] == pytest.approx(float(torch.hypot(by_a, by_b)), rel=1e-4)
    assert float(network.a.detach()) == pytest.approx(0.7 - 0.01 * float(by_a), rel=1e-5)
    assert float(network.b.detach()) == pytest.approx(-0.4 - 0.01 * float(by_b), rel=1e-5)


@pytest.mark.parametrize("gradient_accumulation_steps", [1, 4])
def test_separate_steps_equal_two_steps_computed_by_hand(batch, gradient_accumulation_steps):
    """The second starts from the weights that the first has left; each has its own gradient, clipped on its own."""
    state = state_of(
        game={"separate_steps": True},
        discriminator_learning_rate=0.01,
        gradient_accumulation_steps=gradient_accumulation_steps,
    )
    network, enhanced = with_linear_discriminator(state), enhanced_by(state, batch)
    x, g, y = (side[:, 0] @ network.w for side in (batch.clean, enhanced, batch.noisy))
    a, b, losses, norms, answers = 0.7, -0.4, [], [], []
    for candidates, label in ((x, 1.0), (g, 0.0)):
        logits = a * candidates + b * y
        by_a, by_b = ((logits - label) * candidates).mean(), ((logits - label) * y).mean()
        losses.append(float(0.5 * (logits - label).square().mean()))
        norms.append(float(torch.hypot(by_a, by_b)))
        answers.append(float(logits.mean()))
        a, b = a - 0.01 * float(by_a), b - 0.01 * float(by_b)
    report = train_step(state, lambda: batch)
    assert (float(network.a.detach()), float(network.b.detach())) == pytest.approx((a, b), rel=1e-5)
    assert report["discriminator"] == pytest.approx(sum(losses), rel=1e-5)
    assert report["discriminator_gradient"] == pytest.approx(sum(norms) / 2, rel=1e-4)
    assert (report["d_real"], report["d_fake"]) == pytest.approx(answers, rel=1e-4)
    assert {"d_real_accuracy", "d_fake_accuracy", "adversarial"} <= set(report)


def adversarial_gradient_by_hand(network, enhanced, condition):
    """The generator's least-squares loss, and its gradient on the output."""
    with torch.no_grad():
        error = network(enhanced, condition) - 1
        return 0.5 * error.square().mean(), (error * network.a / len(error))[:, None, None] * network.w


@pytest.mark.parametrize(("step", "factor"), [(10, 0.0), (15, 0.25), (30, 1.0), (99, 1.0)])
def test_the_adversarial_gradient_rises_linearly_after_the_start(batch, step, factor):
    state = state_of(game={"weight": 0.1, "start": 10, "ramp_steps": 20}, l1_weight=2.0)
    state.step = step
    network, enhanced, seen = with_linear_discriminator(state), enhanced_by(state, batch), output_gradients(state)
    train_step(state, lambda: batch)
    _, push = adversarial_gradient_by_hand(network, enhanced, batch.noisy)
    pull = 2.0 * (enhanced - batch.clean).sign() / enhanced.numel()
    torch.testing.assert_close(seen[0], pull + factor * 0.1 * push, rtol=1e-4, atol=1e-9)


def test_update_every_three_updates_the_discriminator_at_every_third_step(batch):
    state = state_of(game={"update_every": 3}, discriminator_learning_rate=0.01)
    network = with_linear_discriminator(state)
    weights = []
    for _ in range(6):
        metrics = train_step(state, lambda: batch)
        assert metrics["adversarial"] > 0
        weights.append(float(network.a.detach()))
        assert ("discriminator" in metrics) == (state.step % 3 == 1)
    assert weights[0] == weights[1] == weights[2] != weights[3] == weights[4] == weights[5]


@pytest.mark.parametrize("weight", [0.005, 0.1])
def test_the_output_gradient_is_the_weighted_sum_of_both_losses(batch, weight):
    """The adversary's part is of the weight that was asked for, by the discriminator as it is after its own step."""
    state = state_of(game={"weight": weight}, discriminator_learning_rate=0.01, l1_weight=2.0)
    network, enhanced, seen = with_linear_discriminator(state), enhanced_by(state, batch), output_gradients(state)
    report = train_step(state, lambda: batch)
    loss, push = adversarial_gradient_by_hand(network, enhanced, batch.noisy)
    pull = 2.0 * (enhanced - batch.clean).sign() / enhanced.numel()
    assert report["adversarial"] == pytest.approx(float(loss), rel=1e-4)
    assert report["adversarial_gradient"] == pytest.approx(float(weight * push.norm()), rel=1e-4)
    assert report["reconstruction_gradient"] == pytest.approx(float(pull.norm()), rel=1e-4)
    assert 0.1 < float(weight * push.norm() / pull.norm()) < 100  # neither hides the other
    torch.testing.assert_close(seen[0], pull + weight * push, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kind", [{"norm": "virtual"}, {"norm": "batch"}, {"norm": "none", "spectral_norm": True}])
def test_the_generator_step_does_not_change_the_discriminator(batch, kind):
    state = state_of(dataclasses.replace(PLAIN, discriminator=dataclasses.replace(PLAIN.discriminator, **kind)))
    train_step(state, lambda: batch)
    before = {name: value.clone() for name, value in state.discriminator.state_dict().items()}
    generator = [p.detach().clone() for p in state.generator.parameters()]
    generator_step(state, batch.micro_batches(1))
    assert not all(map(torch.equal, generator, state.generator.parameters()))
    for name, value in state.discriminator.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_gradient_share_scales_the_adversarial_gradient(batch):
    state = state_of(game={"gradient_share": 0.5}, discriminator_learning_rate=0.0)
    network, enhanced, seen = with_linear_discriminator(state), enhanced_by(state, batch), output_gradients(state)
    train_step(state, lambda: batch)
    _, push = adversarial_gradient_by_hand(network, enhanced, batch.noisy)
    pull = (enhanced - batch.clean).sign() / enhanced.numel()
    torch.testing.assert_close(seen[0], pull + 0.5 * pull.norm() / push.norm() * push, rtol=1e-4, atol=1e-9)


def test_ten_generator_steps_lower_the_loss(batch):
    state = state_of(game={"weight": 0.0}, generator_learning_rate=1e-4)
    losses = [train_step(state, lambda: batch)["l1"] for _ in range(10)]
    assert losses[-1] < losses[0]


def heard(segments):
    """Segments as they sound, by the recursion sample by sample."""
    return torch.from_numpy(lfilter([1.0], [1.0, -0.95], segments.numpy().astype(np.float64)))


def test_reconstruction_losses_are_computed_after_deemphasis(batch):
    """The default: enhanced and clean both de-emphasised, the gradient brought back through the filter."""
    state = state_of(game={"weight": 0.0}, deemphasised_losses=True)
    enhanced, seen = enhanced_by(state, batch), output_gradients(state)
    report = train_step(state, lambda: batch)
    difference = heard(enhanced) - heard(batch.clean)
    assert report["l1"] == pytest.approx(float(difference.abs().mean()), rel=1e-4)
    expected = heard((difference.sign() / difference.numel()).flip(-1)).flip(-1)
    assert float((seen[0] - expected).norm() / expected.norm()) < 1e-2


def test_the_reconstruction_loss_gets_the_enhanced_side_first(batch):
    """Losses of perception are not symmetric."""
    state = state_of(game={"weight": 0.0})
    enhanced, calls, reconstruction = enhanced_by(state, batch), [], state.reconstruction
    state.reconstruction = lambda *sides: calls.append(sides) or reconstruction(*sides)
    train_step(state, lambda: batch)
    torch.testing.assert_close(calls[0][0].detach(), enhanced)
    torch.testing.assert_close(calls[0][1], batch.clean)


def test_two_micro_batches_have_the_generator_gradient_of_the_whole(batch):
    found = []
    for gradient_accumulation_steps in (1, 2):
        state = state_of(gradient_accumulation_steps=gradient_accumulation_steps, discriminator_learning_rate=0.0)
        with_linear_discriminator(state)
        train_step(state, lambda: batch)
        found.append(torch.cat([p.grad.flatten() for p in state.generator.parameters()]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-4


def test_averaged_weights_are_a_moving_average_with_warm_up(batch):
    """Its decay is (1 + n) / (10 + n) after n steps, until that reaches the one that was asked for."""
    state = state_of(ema_decay=0.2, generator_learning_rate=1e-2)
    expected = [p.detach().double() for p in state.generator.parameters()]
    for decay in (1 / 10, 2 / 11, 0.2, 0.2):
        train_step(state, lambda: batch)
        weights = [p.detach().double() for p in state.generator.parameters()]
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
        for ours, value in zip(state.ema_generator.parameters(), expected, strict=True):
            torch.testing.assert_close(ours.double(), value, rtol=1e-5, atol=1e-7)


def test_a_snapshot_of_the_average_does_not_change_with_the_training(batch):
    state = state_of(generator_learning_rate=1e-2)
    train_step(state, lambda: batch)
    model = state.ema_snapshot()
    then = [p.clone() for p in state.ema_generator.parameters()]
    train_step(state, lambda: batch)
    assert all(map(torch.equal, model.generator.parameters(), then))
    assert not any(map(torch.equal, then, state.ema_generator.parameters()))
    assert model.provenance["steps"] == 1
    assert not model.generator.training


def test_gradients_are_clipped_to_clip_norm(batch):
    state = state_of(clip_norm=1e-3, discriminator_learning_rate=1.0)
    network = with_linear_discriminator(state)
    report = train_step(state, lambda: batch)
    moved = torch.stack((network.a.detach() - 0.7, network.b.detach() + 0.4))
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)
    assert report["discriminator_gradient"] > 1e-2  # before clipping


def test_both_learning_rates_follow_the_schedule(batch):
    state = state_of(warmup_steps=4, generator_learning_rate=0.04, discriminator_learning_rate=0.01)
    for step in (1, 2, 3, 4, 5):
        train_step(state, lambda: batch)
        rates = [o.param_groups[0]["lr"] for o in (state.generator_optimizer, state.discriminator_optimizer)]
        assert rates == pytest.approx([0.04 * min(1, step / 4), 0.01 * min(1, step / 4)])


# Segments


def test_segments_are_pre_emphasised_and_their_first_sample_is_dropped():
    audio = [torch.randn(2, 1, T + 1) for _ in range(2)]
    batch = prepare(state_of(), *audio, [(0, 0, 0), (0, 0, 1)])
    for ours, samples in zip((batch.noisy, batch.clean), audio, strict=True):
        torch.testing.assert_close(ours, samples[..., 1:] - 0.95 * samples[..., :-1])


def test_both_sides_are_scaled_by_the_level_of_the_noisy_side():
    model = dataclasses.replace(PLAIN, generator=dataclasses.replace(PLAIN.generator, input_rms=0.05), pre_emphasis=0.0)
    noisy, clean = torch.randn(2, 1, T + 1), torch.randn(2, 1, T + 1)
    batch = prepare(state_of(model), noisy, clean, [(0, 0, 0), (0, 0, 1)])
    gain = 0.05 / noisy[..., 1:].square().mean(-1, keepdim=True).sqrt()
    torch.testing.assert_close(batch.noisy, gain * noisy[..., 1:])
    torch.testing.assert_close(batch.clean, gain * clean[..., 1:])


def test_the_latent_of_a_segment_depends_on_its_key_and_the_seed():
    audio = torch.randn(3, 1, T + 1)
    keys = [(0, 0, 0), (0, 0, 1), (1, 0, 0)]
    z = prepare(state_of(), audio, audio, keys).z
    assert z.shape == (3, 2, T // 32)
    assert len({float(segment.sum()) for segment in z}) == 3
    assert torch.equal(prepare(state_of(), audio[:1], audio[:1], keys[2:]).z, z[2:])
    assert not torch.isclose(prepare(state_of(seed=1), audio, audio, keys).z, z).all(-1).any()


def test_micro_batches_split_noisy_clean_and_latent_alike(batch):
    parts = batch.micro_batches(2)
    for name in ("noisy", "clean", "z"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
        assert len(getattr(parts[0], name)) == 2


# The measured quality of a metric objective


def test_quality_is_measured_of_deemphasised_enhanced_and_noisy(batch):
    """What is measured against what, and which candidate learns which quality."""
    state = state_of(game={"objective": "metricgan"}, discriminator_learning_rate=0.0)
    network, enhanced = with_linear_discriminator(state), enhanced_by(state, batch)
    given, quality = [], torch.tensor([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, np.nan])

    def rate(clean, candidates):
        given.append((clean, candidates))
        return quality

    report = train_step(state, lambda: batch, rate)
    ((references, candidates),) = given
    for ours, sides in ((references, (batch.clean, batch.clean)), (candidates, (enhanced, batch.noisy))):
        np.testing.assert_allclose(np.stack(ours), torch.cat([heard(side)[:, 0] for side in sides]), atol=1e-4)
    with torch.no_grad():
        on_clean, *others = (network(side, batch.clean) for side in (batch.clean, enhanced, batch.noisy))
    expected = (on_clean - 1).square().mean() + (torch.cat(others) - quality)[:7].square().mean()
    assert report["discriminator"] == pytest.approx(float(expected), rel=1e-4)
    assert report["adversarial"] == pytest.approx(float((others[0] - 1).square().mean()), rel=1e-4)
    assert report["quality_undefined"] == 1


# Quality


def test_the_quality_of_enhanced_and_noisy_is_measured_by_example_after_deemphasis():
    def metric(clean, degraded):
        return torch.tensor([float(10 * c.sum() + d.sum()) for c, d in zip(clean, degraded, strict=True)])

    state = SimpleNamespace(model_config=SimpleNamespace(pre_emphasis=0.5), device=torch.device("cpu"))
    sides = (torch.tensor([[[scale, 0.0]], [[2 * scale, 0.0]], [[3 * scale, 0.0]]]) for scale in (1.0, 100.0, 1000.0))
    quality = measure_quality(state, metric, *sides)
    assert quality.numpy() == pytest.approx(1.5 * np.outer([1, 2, 3], [110.0, 1010.0]))


# Replay


def test_replayed_examples_of_the_first_step_enter_the_second_loss(batch):
    """The second step's loss is over its own examples and the first one of the first step, as it was then."""
    state = state_of(
        game={"objective": "metricgan", "replay_size": 1, "replay_share": 0.25}, discriminator_learning_rate=0.0
    )
    network, earlier = with_linear_discriminator(state), enhanced_by(state, batch)
    second = Batch(batch.clean.roll(1, 0), batch.noisy.flip(0), batch.z)
    qualities = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]), torch.linspace(0.3, 0.8, 8)
    first = train_step(state, lambda: batch, lambda clean, candidates: qualities[0])
    now = enhanced_by(state, second)
    report = train_step(state, lambda: second, lambda clean, candidates: qualities[1])

    def loss(clean, enhanced, noisy, quality):
        with torch.no_grad():
            on_clean, on_enhanced, on_noisy = (network(side, clean) for side in (clean, enhanced, noisy))
        error = torch.cat((on_enhanced, on_noisy)) - quality
        return float((on_clean - 1).square().mean() + error.square().mean())

    expected = loss(batch.clean, earlier, batch.noisy, qualities[0])
    assert first["discriminator"] == pytest.approx(expected, rel=1e-4)
    quality = qualities[1]
    expected = loss(
        torch.cat((second.clean, batch.clean[:1])),
        torch.cat((now, earlier[:1])),
        torch.cat((second.noisy, batch.noisy[:1])),
        torch.cat((quality[:4], torch.tensor([0.1]), quality[4:], torch.tensor([0.6]))),
    )
    assert report["discriminator"] == pytest.approx(expected, rel=1e-4)
    assert torch.equal(state.replay.examples[2], second.noisy[:1])  # a buffer of one has the latest


@given(size=st.integers(1, 6), counts=st.lists(st.integers(1, 4), max_size=8), seed=st.integers(0, 99))
def test_a_replay_buffer_keeps_whole_examples_up_to_its_size(size, counts, seed):
    buffer, rng, n_added = ReplayBuffer(size), np.random.default_rng(seed), 0

    def numbered(first, n):
        values = torch.arange(first, first + n, dtype=torch.float32)
        segments = values[:, None, None].expand(n, 1, 3)
        return Examples(segments, segments + 0.25, segments + 0.5, torch.stack((values + 0.1, values + 0.2), 1))

    for n in counts:
        buffer.add(numbered(n_added, n), rng)
        n_added += n
        assert len(buffer) == min(size, n_added)
    new = numbered(1000, 2)
    copy = ReplayBuffer(size)
    copy.load_state_dict(buffer.state_dict())
    extended = copy.extended(new, size, rng)
    numbers = extended.clean[:, 0, 0]
    assert numbers[:2].tolist() == [1000, 1001]
    assert len(set(numbers.tolist())) == len(numbers) == 2 + len(buffer)
    if counts:
        assert bool((numbers[2:] < n_added).all())
        if size >= counts[-1]:
            assert set(range(n_added - counts[-1], n_added)) <= set(numbers.int().tolist())
    assert torch.equal(extended.enhanced[:, 0, 0], numbers + 0.25)
    assert torch.equal(extended.noisy[:, 0, 0], numbers + 0.5)
    torch.testing.assert_close(extended.quality, torch.stack((numbers + 0.1, numbers + 0.2), 1))
