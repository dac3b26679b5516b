"""Training through the same code as `segan train`: it learns, it resumes exactly, it refuses what is not its own."""

import copy
import dataclasses
import itertools
import json
import math
import os
import pickle
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import hiss, voice, write_pairs
from pesq import pesq
from torchaudio.functional import preemphasis

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.families.spectral import SpectralDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.training import AdversarialConfig, DataConfig, MixingConfig, TrainingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.loader import SamplingPlan, batches
from segan_cli.data.mixing import draw_utterances, spec_from_dict
from segan_cli.data.training_data import load_training_data
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import CheckpointError, OutputError, TrainingError
from segan_cli.losses.adversarial import OBJECTIVES
from segan_cli.measures.catalog import CORE, measure_all
from segan_cli.measures.score import Undefined
from segan_cli.networks.checkpoint import load_model, save_model
from segan_cli.process.workers import worker_pool
from segan_cli.system import cpu_count
from segan_cli.training import loop
from segan_cli.training.batch import Batch, deemphasise, prepare
from segan_cli.training.log import Throughput, ThroughputMeter, TrainingLog, spectrogram_image
from segan_cli.training.metricgan import pesq_quality
from segan_cli.training.run import RunOptions, TrainingRun, explained_errors
from segan_cli.training.state import PARTS, TrainState, learning_rate_factor, model_of, read_state
from segan_cli.training.step import balanced_gradient, train_step

TINY = ModelConfig(
    "tiny",
    ConvolutionalConfig((8, 16, 32), (4, 4, 4), (1, 1, 1), 15, latent_channels=4),
    ConvolutionalDiscriminatorConfig((4, 8, 8), (4, 8, 8), 15),
    segment_length=4096,
    hop=2048,
)


def fast(**changes):
    defaults = {"batch_size": 2, "reference_segments": 2, "warmup_steps": 1, "spectral_weight": 0.0}
    return TrainingConfig(**{**defaults, "deemphasised_losses": False, **changes})


@pytest.fixture(autouse=True)
def quick_diagnostics(monkeypatch):
    """Few segments for the discriminator's accuracy, which tests/test_diagnostics.py measures."""
    monkeypatch.setattr("segan_cli.training.diagnostics.ACCURACY_SEGMENTS", 4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    data = DataConfig(speech=(str(write_pairs(folder / "pairs")),))
    return load_training_data(data, MixingConfig(), 0, Cache(folder / "cache", 16_000)).training


def drawing(source, state, n=2):
    """A function that gives a state its segments, step by step."""
    feed = batches(source, SamplingPlan(0, state.model_config.segment_length + 1, 1, 0, range(n)), 0, 0)
    return lambda: prepare(state, *next(feed))


def one_batch(source, state, n=2):
    """The same segments again and again."""
    batch = drawing(source, state, n)()
    return lambda: batch


def run_loop(state, source, validation, run, pool, callback, **options):
    """The loop as `segan train` runs it, with errors explained."""
    with explained_errors(state.training, state.device, run, state):
        return loop.train(state, source, validation, run, pool, callback, **options)


class Silent:
    """A callback that prints nothing and can stop after a step."""

    def __init__(self, until=None):
        self.until, self.step, self.scores, self.failure_modes, self.noisy = until, 0, {}, {}, {}

    def on_step(self, step, metrics, throughput):
        self.step = step

    def on_validation_start(self, step):
        pass

    def on_diagnostics(self, step, metrics, failure_modes):
        self.failure_modes = failure_modes

    def on_validation(self, step, scores, noisy, best):
        self.scores[step], self.noisy = scores, noisy

    def stop(self):
        return self.until is not None and self.step + 1 >= self.until


def lines(run, kind=None):
    """The lines of a run's log: of training, or of a kind (validation, noisy)."""
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in found if (kind in line if kind else not {"validation", "noisy"} & set(line))]


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_overfitting_one_segment_divides_the_l1_loss_by_three(source, optimizer):
    config = fast(steps=60, batch_size=1, optimizer=optimizer, generator_learning_rate=5e-3, warmup_steps=5)
    state = TrainState(TINY, config)
    draw = one_batch(source, state, 1)
    state.discriminator.set_reference(draw().clean.repeat(2, 1, 1), draw().noisy.repeat(2, 1, 1))
    losses = [train_step(state, draw)["l1"] for _ in range(config.steps)]
    assert min(losses[-10:]) < losses[0] / 3


def test_deemphasis_inverts_preemphasis():
    heard = torch.randn(2, 1, 4096)
    torch.testing.assert_close(deemphasise(preemphasis(heard, 0.95), 0.95), heard, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("preset", "objective"),
    [
        *zip(itertools.cycle(PRESETS), OBJECTIVES, strict=False),
        *zip(reversed(PRESETS), list(OBJECTIVES)[4:], strict=False),
    ],
)
def test_three_steps_of_every_preset_and_objective_are_finite_and_move_weights(preset, objective):
    """Each preset with two objectives or more, all objectives: three steps are finite and move most weights."""
    model = dataclasses.replace(scaled(PRESETS[preset], 0.02), segment_length=4096, hop=2048)
    state = TrainState(model, fast(adversarial=AdversarialConfig(objective), deemphasised_losses=True))
    rng = torch.Generator().manual_seed(0)
    draws = np.random.default_rng(0)

    def draw():
        clean = 0.05 * torch.randn(2, 1, 4096, generator=rng)
        noisy = clean + 0.02 * torch.randn(2, 1, 4096, generator=rng)
        z = state.model_config.generator.draw_latent(draws, 2, 4096)
        return Batch(noisy, clean, None if z is None else torch.from_numpy(z))

    def judge(clean, candidates):  # stands for PESQ, which has its own test; one case in four is undefined
        error = [float(np.mean((c - x) ** 2)) for c, x in zip(clean, candidates, strict=True)]
        return torch.tensor([np.nan if i == 1 else 1 / (1 + 1e3 * e) for i, e in enumerate(error)])

    if state.discriminator.needs_reference:
        state.discriminator.set_reference(draw().clean, draw().noisy)
    before = copy.deepcopy((state.generator.state_dict(), state.discriminator.state_dict()))
    for _ in range(3):
        report = train_step(state, draw, judge if objective == "metricgan" else None)
        assert all(np.isfinite(value) for value in report.values()), report
    for network, old in zip((state.generator, state.discriminator), before, strict=True):
        new = network.state_dict()
        moved = {name: not torch.equal(old[name], new[name]) for name, _ in network.named_parameters()}
        assert sum(moved.values()) > 0.5 * len(moved), moved  # single channels may die behind a PReLU from 0
    if objective == "wasserstein-clip":
        weights = [p for name, p in state.discriminator.named_parameters() if "norms" not in name]
        assert all(p.abs().max() <= 0.01 for p in weights)


def test_each_discriminator_step_uses_new_segments(source):
    state = TrainState(TINY, fast(adversarial=AdversarialConfig(discriminator_steps=3)))
    drawn, feed = [], drawing(source, state)

    def draw():
        drawn.append(feed())
        return drawn[-1]

    train_step(state, draw)
    assert len(drawn) == 3
    assert {int(s["step"]) for s in state.discriminator_optimizer.state.values()} == {3}
    assert {int(s["step"]) for s in state.generator_optimizer.state.values()} == {1}


def test_pesq_is_measured_in_worker_processes_and_silence_is_undefined():
    clean = [np.pad(voice(1.0, seed=i), (0, 384)) for i in range(2)]
    noisy = clean[0] + hiss(1.024, seed=1)
    with worker_pool() as pool:
        quality = pesq_quality(pool)([*clean, clean[0], 0 * clean[0]], [*clean, noisy, clean[0]])
    assert quality[:2].tolist() == pytest.approx([(4.64 + 0.5) / 5] * 2, abs=0.01)
    score, other_way = (pesq(16_000, *pair, "wb") for pair in ((clean[0], noisy), (noisy, clean[0])))
    assert float(quality[2]) == pytest.approx((score + 0.5) / 5)
    assert abs(score - other_way) > 5e-3  # so the order of the two shows
    assert quality[3].isnan()


def test_segments_of_undefined_quality_are_counted(source):
    """Three of eight candidates have no quality, in each of two steps of the discriminator."""
    state = TrainState(TINY, fast(adversarial=AdversarialConfig("metricgan", discriminator_steps=2)))

    def judge(clean, candidates):
        assert len(clean) == len(candidates) == 4
        return torch.tensor([np.nan, 0.5, np.nan, np.nan])

    report = train_step(state, drawing(source, state), judge)
    assert report["quality_undefined"] == 2 * 3
    assert "d_real_accuracy" not in report


def test_metricgan_trains_with_a_worker_pool(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=2, validate_every=2, adversarial=AdversarialConfig("metricgan")))
    (line,) = lines(tmp_path / "run")
    assert np.isfinite(line["adversarial"])
    assert 0 <= line["quality_undefined"] <= 4


@pytest.mark.parametrize("norm", ["virtual", "batch", "none"])
@pytest.mark.parametrize(
    "game",
    [
        {"unrolled_steps": 2}, {"instance_noise": 0.1}, {"mismatched_share": 0.5}, {"r1_weight": 1e6},
        {"label_smoothing": 0.1}, {"objective": "wasserstein-gp"},
    ],
    ids=str,
)  # fmt: skip
def test_every_option_changes_the_step_with_every_norm(source, norm, game):
    model = dataclasses.replace(TINY, discriminator=dataclasses.replace(TINY.discriminator, norm=norm))
    weights = []
    for options in ({}, game):
        state = TrainState(model, fast(adversarial=AdversarialConfig(**options)))
        draw = one_batch(source, state)
        if norm == "virtual":
            state.discriminator.set_reference(draw().clean, draw().noisy)
        for _ in range(2):  # the first step of RMSprop has the size of no gradient
            assert all(map(np.isfinite, train_step(state, draw).values()))
        weights.append(torch.cat([p.detach().flatten() for p in state.generator.parameters()]))
    assert not torch.equal(*weights)


def test_resuming_lists_changed_settings(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=1, validate_every=1))
    state = TrainState(TINY, fast(steps=5, validate_every=1, adversarial=AdversarialConfig("hinge")))
    assert state.load(tmp_path / "run" / "last.pt") == [
        "training.steps: 1 before, 5 now",
        "training.adversarial.objective: least-squares before, hinge now",
    ]


def test_log_lines_have_exactly_the_documented_keys(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=2, validate_every=2))
    (line,) = lines(tmp_path / "run")
    assert set(line) == {
        "step", "d_real", "d_fake", "d_real_accuracy", "d_fake_accuracy", "generator_gradient",
        "discriminator_gradient", "adversarial_gradient", "reconstruction_gradient", "l1", "adversarial",
        "discriminator", "z_effect", "output_diversity", "d_training_accuracy", "d_held_out_accuracy",
        "failure_modes", "waiting", "audio_per_s",
    }  # fmt: skip
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    assert all(f"`{name}`" in page for name in line)
    (line,) = lines(tmp_path / "run", "validation")
    (noisy,) = lines(tmp_path / "run", "noisy")
    assert set(line["validation"]) == set(noisy["noisy"]) == {"pesq_wb", "stoi", "si_sdr_db"}


def test_log_lines_have_the_means_of_the_steps_since_the_line_before(source, tmp_path):
    state = train(source, tmp_path / "run", fast(steps=4, validate_every=4, log_every=2))
    metrics = list(state.health.recent)
    assert len(metrics) == 4
    for line, (first, second) in zip(lines(tmp_path / "run"), (metrics[:2], metrics[2:]), strict=True):
        assert {name: line[name] for name in first} == pytest.approx(
            {name: (first[name] + second[name]) / 2 for name in first}
        )
        assert line["audio_per_s"] > 0
        assert 0 < line["waiting"] < 1
        assert ("failure_modes" in line) == ("z_effect" in line) == (line["step"] == 4)


def test_throughput_is_measured_over_the_steps_since_the_start(monkeypatch):
    """Batches of 8 s come after 1 s and after 0.5 s; the steps end after 2 s and after 4 s."""
    clock = iter([100.0, 100.0, 101.0, 102.0, 102.0, 102.5, 104.0])
    monkeypatch.setattr("segan_cli.training.log.time.monotonic", lambda: next(clock))
    meter, batches = ThroughputMeter(8.0), iter("ab")
    assert meter.wait_for(batches) == "a"
    assert meter.step() == Throughput(steps_per_s=0.5, audio_per_s=4.0, waiting=0.5)
    assert meter.wait_for(batches) == "b"
    assert meter.step() == Throughput(steps_per_s=0.5, audio_per_s=4.0, waiting=1.5 / 4)


def test_the_scalers_of_fp16_are_saved_and_resumed(tmp_path):
    state = TrainState(TINY, fast(precision="fp16"))
    for scaler, scale, n_steps in ((state.generator_scaler, 1024.0, 7), (state.discriminator_scaler, 64.0, 9)):
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": n_steps})
    state.save(tmp_path / "last.pt")
    resumed = TrainState(TINY, fast(precision="fp16"))
    resumed.load(tmp_path / "last.pt")
    scalers = [scaler.state_dict() for scaler in (resumed.generator_scaler, resumed.discriminator_scaler)]
    assert [(scaler["scale"], scaler["_growth_tracker"]) for scaler in scalers] == [(1024.0, 7), (64.0, 9)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("adamw", {"betas": (0.8, 0.99), "eps": 1e-8, "weight_decay": 1e-4}),
        ("rmsprop", {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0}),
    ],
)
def test_optimisers_have_these_settings_for_all_weights(kind, settings):
    state = TrainState(TINY, fast(optimizer=kind, generator_learning_rate=0.03, discriminator_learning_rate=0.02))
    for network, optimizer, rate in (
        (state.generator, state.generator_optimizer, 0.03),
        (state.discriminator, state.discriminator_optimizer, 0.02),
    ):
        (group,) = optimizer.param_groups
        assert {name: group[name] for name in settings} == settings
        assert group["lr"] == rate
        assert list(map(id, group["params"])) == list(map(id, network.parameters()))


@pytest.mark.parametrize("validate_every", [50, 4])  # found by the next step, or by the check-up after the bad one
def test_a_diverging_training_stops_and_keeps_its_files(source, tmp_path, validate_every):
    """A learning rate beyond all measure, set in the middle of a run, ends in numbers that are not finite."""
    run = tmp_path / "run"
    state = train(source, run, fast(steps=4, validate_every=2), until=3)
    before = (run / "last.pt").read_bytes(), (run / "best.safetensors").read_bytes()
    state.training = fast(steps=40, validate_every=validate_every)
    object.__setattr__(state.training, "generator_learning_rate", 1e20)  # which no config may have
    validation = [source.render(spec) for spec in draw_utterances(source, 1, 0)]
    with ThreadPoolExecutor(1) as pool, pytest.raises(TrainingError, match=r"not finite.*last\.pt keeps"):
        run_loop(state, source, validation, run, pool, Silent())
    assert before == ((run / "last.pt").read_bytes(), (run / "best.safetensors").read_bytes())
    fresh = TrainState(TINY, fast())
    fresh.load(run / "last.pt")
    assert all(torch.isfinite(p).all() for p in fresh.generator.parameters())


def test_the_discriminator_starts_at_the_configured_step(source):
    state = TrainState(TINY, fast(adversarial=AdversarialConfig(start=1)))
    draw = drawing(source, state)
    assert "discriminator" not in train_step(state, draw)
    assert {"discriminator", "adversarial"} <= set(train_step(state, draw))


def test_a_loss_that_is_not_finite_stops_the_training(source):
    state = TrainState(TINY, fast())
    batch = drawing(source, state)()
    with pytest.raises(TrainingError, match="step 1"):
        train_step(state, lambda: dataclasses.replace(batch, noisy=batch.noisy * torch.nan))


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    config = fast(steps=100, warmup_steps=10)
    factors = [learning_rate_factor(step, config) for step in range(100)]
    assert factors[9] == 1.0
    assert np.all(np.diff(factors[:10]) > 0)
    assert np.all(np.diff(factors[9:]) < 0)
    assert factors[-1] == pytest.approx(0.01)


def train(source, run, config, until=None, model=TINY, pool=None, n_validation=1, **options):
    run.mkdir(exist_ok=True)
    state = TrainState(model, config)
    if (run / "last.pt").exists():
        state.load(run / "last.pt")
    state.history.append({"command": "segan train", "from_step": state.step})
    validation = [source.render(spec) for spec in draw_utterances(source, n_validation, 0)]
    callback = Silent(until)
    with ThreadPoolExecutor(1) as threads:
        finished = run_loop(state, source, validation, run, pool or threads, callback, stop=callback.stop, **options)
    assert finished == (state.step == config.steps)
    return state


@pytest.mark.parametrize(
    ("game", "changes"),
    [
        ({}, {}),
        ({"instance_noise": 0.1, "discriminator_steps": 2}, {"norm": "batch", "phase_shuffle": 3}),
        ({"objective": "wasserstein-gp"}, {"norm": "none", "spectral_norm": True}),
        ({"unrolled_steps": 1, "mismatched_share": 0.5}, {}),
        ({"objective": "metricgan", "replay_size": 3, "replay_share": 0.5}, {}),
    ],
)
def test_resuming_gives_the_same_weights_as_never_stopping(source, tmp_path, game, changes):
    config = fast(steps=4, validate_every=2, adversarial=AdversarialConfig(**game))
    model = dataclasses.replace(TINY, discriminator=dataclasses.replace(TINY.discriminator, **changes))
    whole = train(source, tmp_path / "whole", config, model=model)
    train(source, tmp_path / "parts", config, until=3, model=model)
    resumed = train(source, tmp_path / "parts", config, model=model)
    assert resumed.step == whole.step == 4
    for name in PARTS:
        ours, theirs = (getattr(state, name).state_dict() for state in (whole, resumed))
        if name.endswith("optimizer"):
            ours, theirs = ours["state"], theirs["state"]
            assert all(torch.equal(ours[i][k], theirs[i][k]) for i in ours for k in ours[i])
        elif name == "replay":
            assert len(whole.replay) == game.get("replay_size", 0)
            torch.testing.assert_close(theirs, ours, rtol=0, atol=0, equal_nan=True)
        else:
            assert all(torch.equal(ours[k], theirs[k]) for k in ours), name


def test_a_training_writes_the_best_model_a_state_and_a_log(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=4, validate_every=2))
    model = load_model(tmp_path / "run" / "best.safetensors")
    assert model.config == TINY
    assert model.provenance["runs"] == [{"command": "segan train", "from_step": 0}]
    assert [line["step"] for line in lines(tmp_path / "run")] == [2, 4]
    scores = {line["step"]: line["validation"]["pesq_wb"] for line in lines(tmp_path / "run", "validation")}
    assert model.provenance["steps"] == max(scores, key=scores.get)
    assert model.provenance["validation"]["pesq_wb"] == max(scores.values())
    assert model.provenance["training"]["steps"] == 4
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"best.safetensors", "last.pt", "log.jsonl"}


def test_validated_and_saved_models_have_averaged_weights(source, tmp_path):
    """Its scores are those of what it makes of the noisy utterance, against the clean one, in this order."""
    state = train(source, tmp_path / "run", fast(steps=2, validate_every=2, generator_learning_rate=0.02))
    model = load_model(tmp_path / "run" / "best.safetensors")
    assert all(map(torch.equal, model.generator.state_dict().values(), state.ema_generator.state_dict().values()))
    assert not any(map(torch.equal, model.generator.parameters(), state.generator.parameters()))
    noisy, clean = source.render(draw_utterances(source, 1, 0)[0])
    (scores,), (before,) = lines(tmp_path / "run", "validation"), lines(tmp_path / "run", "noisy")
    assert scores["validation"] == pytest.approx(
        measure_all(clean, Enhancer(model, device="cpu").enhance(noisy, 16_000))
    )
    assert before["noisy"] == pytest.approx(measure_all(clean, noisy))


class Doubled:
    """A source whose noisy side is twice the clean one."""

    def __init__(self, source):
        self.draw, self.inner = source.draw, source

    def render(self, spec):
        _, clean = self.inner.render(spec)
        return 2 * clean, clean


@pytest.mark.parametrize(("objective", "beside"), [("least-squares", 2.0), ("metricgan", 1.0)])
def test_the_reference_batch_is_clean_with_the_condition_of_the_objective(source, tmp_path, objective, beside):
    state = TrainState(TINY, fast(steps=1, adversarial=AdversarialConfig(objective)))
    with ThreadPoolExecutor(1) as pool:
        run_loop(state, Doubled(source), [source.render(draw_utterances(source, 1, 0)[0])], tmp_path, pool, Silent())
    clean, other = state.discriminator.reference.unbind(1)
    assert clean.abs().amax(1).min() > 0
    torch.testing.assert_close(other, beside * clean)


def test_a_state_of_another_model_or_a_damaged_one_is_refused(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=1, validate_every=1))
    other = TrainState(dataclasses.replace(TINY, pre_emphasis=0.9), fast())
    with pytest.raises(CheckpointError, match="another model"):
        other.load(tmp_path / "run" / "last.pt")
    with pytest.raises(CheckpointError, match="optimizer rmsprop"):
        TrainState(TINY, fast(optimizer="adamw")).load(tmp_path / "run" / "last.pt")
    for content in (b"", b"not a state", (tmp_path / "run" / "last.pt").read_bytes()[:5000]):
        (tmp_path / "run" / "last.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a training state"):
            TrainState(TINY, fast()).load(tmp_path / "run" / "last.pt")


class Intruder:
    """Makes a file when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def test_no_code_in_a_state_is_run(tmp_path):
    torch.save({"step": Intruder(tmp_path / "ran")}, tmp_path / "zipped.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Intruder(tmp_path / "ran")))
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    (tmp_path / "ran").unlink()
    for name in ("zipped.pt", "plain.pt"):
        with pytest.raises(CheckpointError, match="not a training state"):
            TrainState(TINY, fast()).load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_the_reference_batch_is_set_without_an_adversary_too(source, tmp_path):
    state = train(source, tmp_path / "run", fast(steps=1, validate_every=1, adversarial=AdversarialConfig(weight=0.0)))
    assert state.discriminator.reference.abs().sum() > 0


def test_a_failed_save_keeps_the_previous_state(source, tmp_path):
    """A file-size limit stands in for a full disk: the write breaks off in the middle, for real."""
    resource = pytest.importorskip("resource")
    run = tmp_path / "run"
    state = train(source, run, fast(steps=1, validate_every=1))
    before = (run / "last.pt").read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            state.save(run / "last.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (run / "last.pt").read_bytes() == before
    assert not list(run.glob("*.part"))


def gradients(state, draw):
    """Of both networks after one step."""
    state.training = dataclasses.replace(state.training, clip_norm=None)
    report = train_step(state, draw)
    networks = (state.generator, state.discriminator)
    return [torch.cat([p.grad.flatten() for p in network.parameters()]) for network in networks], report


def relative(a, b):
    return float((a - b).norm() / a.norm())


def test_micro_batches_give_the_gradients_of_the_whole_batch(source):
    results = []
    for gradient_accumulation_steps in (1, 2, 4):
        terms = {"spectral_weight": 1.0, "perceptual_weight": 1.0}
        state = TrainState(TINY, fast(batch_size=4, gradient_accumulation_steps=gradient_accumulation_steps, **terms))
        results.append(gradients(state, drawing(source, state, 4)))
    (whole, report), *others = results
    for parts, other in others:
        assert all(relative(a, b) < 1e-4 for a, b in zip(whole, parts, strict=True))
        for name in ("l1", "spectral", "perceptual", "discriminator", "adversarial", "d_real", "generator_gradient"):
            assert other[name] == pytest.approx(report[name], rel=1e-3), name
        for name in ("reconstruction_gradient", "adversarial_gradient"):
            assert other[name] == pytest.approx(report[name], rel=1e-3), name


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.05)])
def test_half_precision_gives_nearly_the_same_gradients(source, precision, tolerance):
    states = [TrainState(TINY, fast(precision=name)) for name in ("fp32", precision)]
    for name in ("generator_scaler", "discriminator_scaler") if precision == "fp16" else ():
        setattr(states[1], name, torch.amp.GradScaler("cpu", init_scale=16.0))  # as after some steps
    whole, half = (gradients(state, drawing(source, state)) for state in states)
    for a, b in zip(whole[0], half[0], strict=True):
        assert 0 < relative(a, b) < tolerance
        assert b.dtype == torch.float32
    assert half[1]["l1"] == pytest.approx(whole[1]["l1"], rel=0.02)


def test_an_fp16_overflow_skips_the_step_and_halves_the_scale(source):
    state = TrainState(TINY, fast(precision="fp16"))
    state.generator_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    draw = one_batch(source, state)
    before = [p.clone() for p in state.generator.parameters()]
    report = train_step(state, draw)
    assert not math.isfinite(report["generator_gradient"])
    state.health.observe(report)
    assert "generator_gradient" not in state.health.means()
    assert all(map(torch.equal, before, state.generator.parameters()))
    assert state.generator_scaler.get_scale() == 2.0**23
    for _ in range(16):
        report = train_step(state, draw)
    assert report["generator_gradient"] > 0
    assert not all(map(torch.equal, before, state.generator.parameters()))
    with pytest.raises(TrainingError, match="not finite"):
        train_step(state, lambda: dataclasses.replace(draw(), clean=draw().clean * torch.nan))


@pytest.mark.parametrize(("schedule", "middle", "end"), [("linear", 0.505, 0.01), ("constant", 1.0, 1.0)])
def test_linear_and_constant_schedules_have_these_factors(schedule, middle, end):
    config = fast(steps=110, warmup_steps=10, schedule=schedule)
    factors = [learning_rate_factor(step, config) for step in (0, 9, 59, 109)]
    assert factors == pytest.approx([0.1, 1.0, middle, end])


def test_decay_steps_limit_the_decay_to_the_last_steps():
    config = fast(steps=110, warmup_steps=10, schedule="linear", decay_steps=20)
    factors = [learning_rate_factor(step, config) for step in (9, 10, 89, 94, 99, 109)]
    assert factors == pytest.approx([1.0, 1.0, 1.0, 0.7525, 0.505, 0.01])
    cosine = dataclasses.replace(config, schedule="cosine", decay_steps=1_000)  # no more than there are
    assert learning_rate_factor(59, cosine) == pytest.approx(0.505)


def test_the_latent_of_a_segment_does_not_depend_on_the_process(source):
    state = TrainState(TINY, fast())
    (whole,) = itertools.islice(batches(source, SamplingPlan(0, 4097, 1, 0, range(4)), 5, 0), 1)
    (part,) = itertools.islice(batches(source, SamplingPlan(0, 4097, 1, 0, range(2, 4)), 5, 0), 1)
    z, its = prepare(state, *whole).z, prepare(state, *part).z
    assert z.shape == (4, 4, 64)
    assert torch.equal(z[2:], its)
    assert len({float(segment.sum()) for segment in z}) == 4


def test_without_ema_decay_the_average_equals_the_generator(source):
    state = TrainState(TINY, fast(ema_decay=0.0))
    train_step(state, drawing(source, state))
    assert all(map(torch.equal, state.ema_generator.parameters(), state.generator.parameters()))


class Lost(Future):
    """A score that never comes: the process dies while it is waited for."""

    def result(self, timeout=None):
        raise SystemError


class Dying(ThreadPoolExecutor):
    """A pool that scores the noisy utterance and dies at the first model's."""

    submitted = 0

    def submit(self, *call):
        self.submitted += 1
        return super().submit(*call) if self.submitted == 1 else Lost()


def test_an_interrupted_validation_is_scored_after_resuming(source, tmp_path):
    """The process dies while the workers score: the model in work is scored again, and the best one is the same."""
    config = fast(steps=6, validate_every=2, log_every=1)
    train(source, tmp_path / "whole", config)
    run = tmp_path / "parts"
    with Dying(1) as pool, pytest.raises(SystemError):
        train(source, run, config, pool=pool)
    assert (run / "candidate.safetensors").exists()
    assert not (run / "best.safetensors").exists()
    assert read_state(run / "last.pt", torch.device("cpu"))[1]["step"] == 2
    assert lines(run)[-1]["step"] == 4
    train(source, run, config)
    for kind in ("validation", "noisy"):
        assert lines(run, kind) == lines(tmp_path / "whole", kind)
    assert [line["step"] for line in lines(run)] == [1, 2, 3, 4, 5, 6]
    best = [load_model(folder / "best.safetensors") for folder in (tmp_path / "whole", run)]
    assert best[0].provenance["steps"] == best[1].provenance["steps"]
    assert all(map(torch.equal, best[0].generator.state_dict().values(), best[1].generator.state_dict().values()))
    assert not (run / "candidate.safetensors").exists()


def test_an_interrupted_last_validation_is_scored_after_resuming(source, tmp_path):
    config = fast(steps=2, validate_every=2)
    train(source, tmp_path / "whole", config)
    run = tmp_path / "parts"
    with Dying(1) as pool, pytest.raises(SystemError):
        train(source, run, config, pool=pool)
    assert not (run / "best.safetensors").exists()
    train(source, run, config)
    assert lines(run, "validation") == lines(tmp_path / "whole", "validation")
    best = [load_model(folder / "best.safetensors") for folder in (tmp_path / "whole", run)]
    assert all(map(torch.equal, best[0].generator.state_dict().values(), best[1].generator.state_dict().values()))


@pytest.mark.parametrize("content", [b"\x80\x09" + bytes(range(256)), b"", bytes(1000), b"cos\nsystem\n(S'x'\ntR."])
@pytest.mark.filterwarnings("error")
def test_a_file_that_is_not_a_state_is_refused_without_a_warning(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.pt: not a training state"):
        read_state(path, torch.device("cpu"))


def test_the_best_model_is_chosen_by_the_configured_score(source, tmp_path):
    for measure in ("si_sdr_db", "stoi"):
        run = tmp_path / measure
        train(source, run, fast(steps=4, validate_every=1, best_by=measure, generator_learning_rate=0.02))
        scores = {line["step"]: line["validation"][measure] for line in lines(run, "validation")}
        assert load_model(run / "best.safetensors").provenance["steps"] == max(scores, key=scores.get)


def test_the_best_model_is_kept_though_its_line_in_the_log_is_lost(source, tmp_path):
    run = tmp_path / "run"
    train(source, run, fast(steps=2, validate_every=1))
    best = load_model(run / "best.safetensors")
    best.provenance["validation"]["pesq_wb"] = 4.0
    best.provenance["steps"] = 1
    save_model(run / "best.safetensors", best)
    (run / "log.jsonl").write_text("")
    train(source, run, fast(steps=3, validate_every=1))
    assert load_model(run / "best.safetensors").provenance["steps"] == 1


def test_without_any_score_the_latest_model_is_the_best(source, tmp_path, monkeypatch):
    """As for utterances that are too short for PESQ."""
    undefined = dict.fromkeys(CORE, Undefined("too short"))
    monkeypatch.setattr("segan_cli.training.validation.measure_all", lambda clean, degraded: undefined)
    train(source, tmp_path / "run", fast(steps=3, validate_every=1))
    assert load_model(tmp_path / "run" / "best.safetensors").provenance["steps"] == 3


def test_a_model_that_fails_for_an_utterance_is_not_the_best(source, tmp_path, monkeypatch):
    """At step 2 the output for the worse utterance is silent: without it, the mean would be higher."""
    measured = []

    def scores(clean, degraded):
        number = len(measured) - 2  # after those of the two noisy utterances
        measured.append(number)
        value = Undefined("silent signal") if number == 3 else 1.0 + (number % 2 == 0)
        return dict.fromkeys(CORE, value)

    monkeypatch.setattr("segan_cli.training.validation.measure_all", scores)
    train(source, tmp_path / "run", fast(steps=2, validate_every=1), n_validation=2)
    assert [line["validation"]["stoi"] for line in lines(tmp_path / "run", "validation")] == [1.5, None]
    assert load_model(tmp_path / "run" / "best.safetensors").provenance["steps"] == 1


@pytest.mark.filterwarnings("error")
def test_more_workers_than_cores_are_no_reason_for_a_warning(source):
    plan = SamplingPlan(0, 1024, 1, 0, range(2))
    ours, alone = (next(batches(source, plan, 0, workers)) for workers in (cpu_count() + 1, 0))
    assert torch.equal(ours[0], alone[0])


def test_keep_limits_the_number_of_step_models(source, tmp_path):
    (tmp_path / "run").mkdir()
    copies = ["step-0000001-mine.safetensors", "step-best.safetensors"]
    for name in copies:
        (tmp_path / "run" / name).touch()
    train(source, tmp_path / "run", fast(steps=3, validate_every=1, keep=2))
    kept = sorted(path.name for path in (tmp_path / "run").glob("step-*") if path.name not in copies)
    assert kept == ["step-0000002.safetensors", "step-0000003.safetensors"]
    assert all((tmp_path / "run" / name).exists() for name in copies)
    assert load_model(tmp_path / "run" / kept[0]).provenance["steps"] == 2


def test_the_model_of_the_largest_step_is_kept(source, tmp_path):
    (tmp_path / "run").mkdir()
    for step in (9_999_999, 10_000_000):
        (tmp_path / "run" / f"step-{step}.safetensors").touch()
    train(source, tmp_path / "run", fast(steps=1, validate_every=1, keep=1))
    assert [path.name for path in (tmp_path / "run").glob("step-*")] == ["step-10000000.safetensors"]


def test_small_adversarial_gradients_survive_fp16():
    state = TrainState(TINY, fast(precision="fp16"))
    state.generator_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    output = torch.linspace(0.1, 1, 8).view(1, 1, 8).requires_grad_()
    adversarial = 1e-9 * output.half().float().sum()
    _, energies = balanced_gradient(state, output, output.square().sum(), adversarial)
    weight = state.training.adversarial.weight
    assert float(energies["adversarial_gradient"]) == pytest.approx(8 * (weight * 1e-9) ** 2, rel=1e-3)


def test_a_training_starts_from_a_model_or_a_state(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=2, validate_every=1))
    first = TrainState(TINY, fast())
    first.load(tmp_path / "run" / "last.pt")
    for name in ("best.safetensors", "last.pt"):
        init = str(tmp_path / "run" / name)
        assert model_of(init) == TINY
        state = TrainState(TINY, fast(seed=7))
        state.start_from(init)
        assert state.history == [{"command": "segan train", "from_step": 0}]
        assert all(map(torch.equal, state.generator.parameters(), state.ema_generator.parameters()))
        same = all(map(torch.equal, state.discriminator.parameters(), first.discriminator.parameters()))
        assert same == (name == "last.pt")
    assert all(map(torch.equal, state.ema_generator.parameters(), first.ema_generator.parameters()))
    other = dataclasses.replace(TINY, generator=dataclasses.replace(TINY.generator, channels=(8, 16, 16)))
    with pytest.raises(CheckpointError, match="another network"):
        TrainState(other, fast()).start_from(init)


def test_a_state_of_another_format_is_refused(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=1, validate_every=1))
    path = tmp_path / "run" / "last.pt"
    content = torch.load(path, weights_only=True)
    content["about"] = json.dumps({**json.loads(content["about"]), "format": 99})
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="format 99; this version of segan reads up to 3"):
        TrainState(TINY, fast()).load(path)


def test_a_state_with_a_spectral_discriminator_of_one_resolution_is_read(tmp_path):
    """Format 2 named its frame `frame` and its layers without a resolution."""
    model = dataclasses.replace(TINY, discriminator=SpectralDiscriminatorConfig((4, 4), frames=(64,)))
    state = TrainState(model, fast())
    path = tmp_path / "last.pt"
    state.save(path)
    content = torch.load(path, weights_only=True)
    about = json.loads(content["about"])
    (about["model"]["discriminator"]["frame"],) = about["model"]["discriminator"].pop("frames")
    content["about"] = json.dumps({**about, "format": 2})
    content["discriminator"] = {
        name.removeprefix("resolutions.0."): weights for name, weights in content["discriminator"].items()
    }
    torch.save(content, path)
    fresh = TrainState(model, fast(seed=1))
    assert fresh.load(path) == ["training.seed: 0 before, 1 now"]
    for name, weights in state.discriminator.state_dict().items():
        assert torch.equal(fresh.discriminator.state_dict()[name], weights), name


def test_tensorboard_gets_scalars_audio_and_images(source, tmp_path):
    event = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(source, tmp_path / "run", fast(steps=4, validate_every=2, log_every=1), tensorboard=True)
    board = event.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert [e.step for e in board.Scalars("training/l1")] == [1, 2, 3, 4]
    assert [e.step for e in board.Scalars("validation/stoi")] == [2, 4]
    assert set(tags["audio"]) == set(tags["images"]) == {"noisy", "enhanced", "clean"}
    assert board.Images("clean")[0].height == 257
    scores = lines(tmp_path / "run", "validation")
    assert board.Scalars("validation/si_sdr_db")[1].value == pytest.approx(
        scores[1]["validation"]["si_sdr_db"], rel=1e-5
    )


def test_an_error_in_training_says_that_the_state_is_kept(source, tmp_path, monkeypatch):
    """A full disk, and a worker that was killed while it scored."""
    state = TrainState(TINY, fast())
    state.save(tmp_path / "last.pt")
    training = TrainingRun(state, SimpleNamespace(training=source), [], RunOptions(tmp_path, tmp_path), [])
    for error, says in (
        (OutputError("log.jsonl: cannot be written (the disk is full)"), "the disk is full"),
        (BrokenProcessPool(), "a worker process died"),
    ):
        monkeypatch.setattr("segan_cli.training.run.train", Mock(side_effect=error))
        with pytest.raises(TrainingError, match=rf"{says}.*; .*last\.pt keeps the last good state"):
            training.train(Silent(), lambda: False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_log_on_a_full_disk_is_named(tmp_path):
    log = TrainingLog(tmp_path, 0)
    log.path = log.segments = Path("/dev/full")
    with pytest.raises(OutputError, match=r"/dev/full: cannot be written \(the disk is full\)"):
        log.write({"step": 1})


def test_out_of_memory_is_one_line_with_a_remedy(source, tmp_path):
    """An allocation beyond the machine, for real, in the place of a batch that is too large."""
    state = TrainState(TINY, fast(steps=1))

    def greedy(module, inputs):
        torch.empty(2**50)

    state.generator.register_forward_pre_hook(greedy)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(TrainingError, match=r"cpu ran out of memory.*training\.gradient_accumulation_steps=2"),
    ):
        run_loop(state, source, [], tmp_path, pool, Silent())


def test_a_killed_data_worker_is_one_line_with_a_remedy(source, tmp_path, monkeypatch):
    """Killed, for real, while it prepares segments."""
    state = TrainState(TINY, fast(steps=50))
    draw = source.draw

    def last_words(rng, length):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(rng, length)

    monkeypatch.setattr(source, "draw", last_words)
    with ThreadPoolExecutor(1) as pool, pytest.raises(TrainingError, match="a data loading process died"):
        run_loop(state, source, [], tmp_path, pool, Silent(), workers=1)


def test_logged_segments_render_to_the_network_inputs(source, tmp_path):
    """What was logged renders to what the networks got, the z aside."""
    seen = []
    state = TrainState(TINY, fast(steps=3, log_segments=True))
    state.generator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    with ThreadPoolExecutor(1) as pool:
        validation = [source.render(spec) for spec in draw_utterances(source, 1, 0)]
        run_loop(state, source, validation, tmp_path, pool, Silent())
    (tmp_path / "last.pt").unlink()
    state.step = 2  # as after a kill in the third step
    with ThreadPoolExecutor(1) as pool:
        run_loop(state, source, validation, tmp_path, pool, Silent())
    logged = [json.loads(line) for line in (tmp_path / "segments.jsonl").read_text().splitlines()]
    assert [line.pop("step") for line in logged] == [1, 1, 2, 2, 3, 3]
    keys = [line.pop("key") for line in logged]
    for step in range(3):
        sides = [source.render(spec_from_dict(line)) for line in logged[2 * step : 2 * step + 2]]
        noisy, clean = (torch.from_numpy(np.stack(side))[:, None] for side in zip(*sides, strict=True))
        again = prepare(state, noisy, clean, [tuple(key) for key in keys[2 * step : 2 * step + 2]])
        assert any(torch.equal(again.noisy, segments) for segments in seen if segments.shape == again.noisy.shape)


def test_a_programming_error_is_raised_unchanged(source, tmp_path):
    state = TrainState(TINY, fast(steps=1))

    def wrong(module, inputs):
        raise RuntimeError("a mistake")

    state.generator.register_forward_pre_hook(wrong)
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="a mistake"):
        run_loop(state, source, [], tmp_path, pool, Silent())


def test_compiled_networks_have_the_same_gradients(source, monkeypatch):
    """Captured as graphs and derived ahead of time; what machine code torch makes of them then is its own affair."""
    if not torch._dynamo.is_dynamo_supported():
        pytest.skip("no torch.compile here")
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    small = ModelConfig(
        "small",
        ConvolutionalConfig((4,), (64,), (1,), 15, latent_channels=0),
        ConvolutionalDiscriminatorConfig((4,), (64,), 15, norm="none"),
        segment_length=4096,
        hop=2048,
    )
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        state = TrainState(small, fast(compile=compiled))
        results.append(gradients(state, one_batch(source, state)))
    assert all(relative(a, b) < 1e-3 for a, b in zip(results[0][0], results[1][0], strict=True))


def test_the_image_of_a_spectrogram_goes_from_the_floor_to_the_loudest_bin():
    tone = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 16_000).astype(np.float32)
    image = spectrogram_image(tone + 1e-2 * np.sin(2 * np.pi * 4_000 * np.arange(8_000) / 16_000).astype(np.float32))
    column = image[0, ::-1, image.shape[2] // 2]  # from 0 Hz on
    bins = len(column) - 1  # of 8 kHz
    assert int(np.argmax(column)) == bins // 8
    assert column[bins // 8] == pytest.approx(1, abs=0.01)
    assert column[bins // 2] == pytest.approx(1 - 40 / 80, abs=0.01)
    assert column[bins * 3 // 4] == 0
