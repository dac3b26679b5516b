"""Training through the same code as `segan train`: it learns, it resumes exactly, it refuses what is not its own."""

import contextlib
import copy
import dataclasses
import json
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import hiss, voice
from torchaudio.functional import preemphasis

from segan_cli.checkpoint import load_model
from segan_cli.config import (
    AdversarialConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    MixingConfig,
    ModelConfig,
    TrainingConfig,
)
from segan_cli.data.corpus import Recordings, find_pair, load
from segan_cli.data.mixing import MixedSource, PairedSource, batch, draw_utterances
from segan_cli.data.sources import Folders, open_sources
from segan_cli.errors import CheckpointError, CorpusError, TrainingError
from segan_cli.losses.adversarial import OBJECTIVES
from segan_cli.metrics import worker_pool
from segan_cli.presets import PRESETS, scaled
from segan_cli.training.fit import fit
from segan_cli.training.state import TrainState
from segan_cli.training.step import (
    deemphasise,
    draw_windows,
    instance_noise,
    learning_rate_factor,
    pesq_judge,
    train_step,
)

TINY = ModelConfig(
    "tiny",
    GeneratorConfig((8, 16, 32), (4, 4, 4), (1, 1, 1), 15, latent_channels=4),
    DiscriminatorConfig((4, 8, 8), (4, 8, 8), 15),
    window=4096,
    hop=2048,
)


def fast(**changes):
    defaults = {"batch_size": 2, "reference_windows": 2, "warmup_steps": 1, "spectral_weight": 0.0}
    return TrainingConfig(**{**defaults, "deemphasised_losses": False, **changes})


@pytest.fixture
def source(pairs, tmp_path):
    clean, noisy = (load(pairs / side, 16_000, tmp_path / "cache") for side in ("clean", "noisy"))
    return PairedSource(clean, noisy)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_overfitting_one_window_divides_the_l1_loss_by_three(source, optimizer):
    config = fast(steps=60, batch_size=1, optimizer=optimizer, generator_learning_rate=5e-3, warmup_steps=5)
    state = TrainState(TINY, config)
    noisy, clean = draw_windows(source, np.random.default_rng(3), 1, TINY)
    state.discriminator.set_reference(clean.repeat(2, 1, 1), noisy.repeat(2, 1, 1))
    losses = [train_step(state, lambda: (noisy, clean))["l1"] for _ in range(config.steps)]
    assert min(losses[-10:]) < losses[0] / 3


def test_a_step_moves_both_networks_and_the_average(source):
    state = TrainState(TINY, fast(spectral_weight=1.0))
    before = {
        name: [p.clone() for p in getattr(state, name).parameters()]
        for name in ("generator", "average", "discriminator")
    }
    report = train_step(state, lambda: draw_windows(source, state.rng, 2, TINY))
    assert {"discriminator", "adversarial", "l1", "spectral"} <= set(report)
    for name, old in before.items():
        new = getattr(state, name).parameters()
        assert any(not torch.equal(a, b) for a, b in zip(old, new, strict=True)), name


def test_deemphasis_gives_back_what_is_heard():
    heard = torch.randn(2, 1, 4096)
    torch.testing.assert_close(deemphasise(preemphasis(heard, 0.95), 0.95), heard, atol=1e-4, rtol=0)


def test_losses_are_of_what_is_heard_when_asked(source):
    losses = {}
    for heard in (False, True):
        state = TrainState(TINY, fast(deemphasised_losses=heard))
        losses[heard] = train_step(state, lambda: draw_windows(source, np.random.default_rng(0), 2, TINY))["l1"]
    assert losses[True] > 1.5 * losses[False]  # de-emphasis makes low frequencies, where speech is loudest, louder


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_family_plays_every_game(preset, objective):
    """Twenty steps on narrow networks: everything stays finite and both networks move."""
    model = dataclasses.replace(scaled(PRESETS[preset], 0.02), window=4096, hop=2048)
    state = TrainState(model, fast(adversarial=AdversarialConfig(objective), deemphasised_losses=True))
    rng = torch.Generator().manual_seed(0)

    def draw():
        clean = 0.05 * torch.randn(2, 1, 4096, generator=rng)
        return clean + 0.02 * torch.randn(2, 1, 4096, generator=rng), clean

    def judge(clean, candidates):  # stands for PESQ, which has its own test; one case in five is undefined
        error = [float(np.mean((c - x) ** 2)) for c, x in zip(clean, candidates, strict=True)]
        return torch.tensor([np.nan if i == 1 else 1 / (1 + 1e3 * e) for i, e in enumerate(error)])

    if model.discriminator.norm == "virtual":
        state.discriminator.set_reference(*draw())
    before = copy.deepcopy((state.generator.state_dict(), state.discriminator.state_dict()))
    for _ in range(20):
        report = train_step(state, draw, judge if objective == "metricgan" else None)
        assert all(np.isfinite(value) for value in report.values()), report
    for network, old in zip((state.generator, state.discriminator), before, strict=True):
        new = network.state_dict()
        assert all(torch.isfinite(value).all() for value in new.values())
        moved = {name: not torch.equal(old[name], new[name]) for name, _ in network.named_parameters()}
        assert sum(moved.values()) > 0.5 * len(moved), moved  # single channels may die behind a PReLU from 0
    if objective == "wasserstein-clip":
        weights = [p for name, p in state.discriminator.named_parameters() if "norms" not in name]
        assert all(p.abs().max() <= 0.01 for p in weights)


def test_each_discriminator_step_gets_windows_of_its_own(source):
    state = TrainState(TINY, fast(adversarial=AdversarialConfig(discriminator_steps=3)))
    drawn = []

    def draw():
        drawn.append(draw_windows(source, state.rng, 2, TINY))
        return drawn[-1]

    train_step(state, draw)
    assert len(drawn) == 3
    assert {int(s["step"]) for s in state.discriminator_optimizer.state.values()} == {3}
    assert {int(s["step"]) for s in state.generator_optimizer.state.values()} == {1}


def test_the_two_networks_have_learning_rates_of_their_own(source):
    config = fast(generator_learning_rate=2e-3, discriminator_learning_rate=5e-4, steps=100)
    state = TrainState(TINY, config)
    train_step(state, lambda: draw_windows(source, state.rng, 2, TINY))
    rates = [o.param_groups[0]["lr"] for o in (state.generator_optimizer, state.discriminator_optimizer)]
    assert rates == pytest.approx([2e-3, 5e-4])


def test_instance_noise_fades_to_the_last_step():
    state = TrainState(TINY, fast(steps=10, adversarial=AdversarialConfig(instance_noise=0.5)))
    levels = []
    for state.step in (0, 5, 10):
        levels.append(instance_noise(state))
    assert levels == pytest.approx([0.5, 0.25, 0.0])


@pytest.mark.parametrize("objective", ["least-squares", "wasserstein-clip"])
def test_a_gradient_share_makes_the_adversary_as_loud_as_asked(source, objective):
    """The generator's step with a share is that of the reconstruction's gradient plus the adversary's at that size."""
    pushes = {}
    for share in (0.0, 0.5):
        game = AdversarialConfig(objective, gradient_share=share)
        state = TrainState(TINY, fast(adversarial=game))
        seen = []

        def listen(module, inputs, output, seen=seen):
            output.register_hook(seen.append)

        state.generator.register_forward_hook(listen)
        report = train_step(state, lambda: draw_windows(source, np.random.default_rng(0), 2, TINY))
        pushes[share] = seen[0]
    difference = float((pushes[0.5] - pushes[0.0]).norm())
    assert difference == pytest.approx(0.5 * report["reconstruction_gradient"], rel=1e-3)


def test_pesq_is_measured_in_worker_processes_and_silence_is_undefined():
    clean = [np.pad(voice(1.0, seed=i), (0, 384)) for i in range(2)]
    noisy = clean[0] + hiss(1.024, seed=1)
    with worker_pool() as pool:
        quality = pesq_judge(pool)([*clean, clean[0], 0 * clean[0]], [*clean, noisy, clean[0]])
    assert quality[:2].tolist() == pytest.approx([(4.64 + 0.5) / 5] * 2, abs=0.01)
    assert 0.2 < float(quality[2]) < 0.8
    assert quality[3].isnan()


def test_a_metric_training_counts_the_undefined(source):
    """Three of eight candidates have no quality, in each of two steps of the discriminator."""
    state = TrainState(TINY, fast(adversarial=AdversarialConfig("metricgan", discriminator_steps=2)))

    def judge(clean, candidates):
        assert len(clean) == len(candidates) == 4
        return torch.tensor([np.nan, 0.5, np.nan, np.nan])

    report = train_step(state, lambda: draw_windows(source, state.rng, 2, TINY), judge)
    assert report["quality_undefined"] == 2 * 3
    assert "d_real_accuracy" not in report


def test_metricgan_trains_through_the_pool(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=2, validate_every=2, adversarial=AdversarialConfig("metricgan")))
    (line,) = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert np.isfinite(line["adversarial"])
    assert line["quality_undefined"] in range(2 * 4 + 1)


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
        windows = draw_windows(source, np.random.default_rng(0), 2, model)
        if norm == "virtual":
            state.discriminator.set_reference(*windows)
        for _ in range(3):
            assert all(map(np.isfinite, train_step(state, lambda windows=windows: windows).values()))
        weights.append(torch.cat([p.detach().flatten() for p in state.generator.parameters()]))
    assert not torch.equal(*weights)


def test_a_resumed_training_says_what_changed(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=1, validate_every=1))
    state = TrainState(TINY, fast(steps=5, validate_every=1, adversarial=AdversarialConfig("hinge")))
    assert state.load(tmp_path / "run" / "last.pt") == [
        "training.steps: 1 before, 5 now",
        "training.adversarial.objective: least-squares before, hinge now",
    ]


def test_the_log_tells_the_health_of_the_training(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=2, validate_every=2))
    (line,) = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {
        "d_real", "d_fake", "d_real_accuracy", "d_fake_accuracy", "generator_gradient", "discriminator_gradient",
        "adversarial_gradient", "reconstruction_gradient", "l1", "adversarial", "discriminator", "z_effect", "spread",
        "pesq_wb", "illnesses",
    } <= set(line)  # fmt: skip


@pytest.mark.parametrize("validate_every", [50, 4])  # found by the next step, or by the check-up after the bad one
def test_a_training_that_diverges_stops_and_keeps_what_it_had(source, tmp_path, validate_every):
    """A learning rate beyond all measure, set in the middle of a run, ends in numbers that are not finite."""
    run = tmp_path / "run"
    state = train(source, run, fast(steps=4, validate_every=2), until=3)
    before = (run / "last.pt").read_bytes(), (run / "best.safetensors").read_bytes()
    state.training = fast(steps=40, validate_every=validate_every, generator_learning_rate=1e20)
    with ThreadPoolExecutor(1) as pool, pytest.raises(TrainingError, match=r"not finite.*last\.pt keeps"):
        fit(state, source, draw_utterances(source, 1, 0), run, pool, lambda *_: None)
    assert before == ((run / "last.pt").read_bytes(), (run / "best.safetensors").read_bytes())
    fresh = TrainState(TINY, fast())
    fresh.load(run / "last.pt")
    assert all(torch.isfinite(p).all() for p in fresh.generator.parameters())


def test_the_discriminator_waits_for_its_start(source):
    state = TrainState(TINY, fast(adversarial=AdversarialConfig(start=1)))
    windows = draw_windows(source, state.rng, 2, TINY)
    assert "discriminator" not in train_step(state, lambda: windows)
    assert {"discriminator", "adversarial"} <= set(train_step(state, lambda: windows))


def test_a_loss_that_is_not_finite_stops_the_training(source):
    state = TrainState(TINY, fast())
    noisy, clean = draw_windows(source, state.rng, 2, TINY)
    with pytest.raises(TrainingError, match="step 1"):
        train_step(state, lambda: (noisy * torch.nan, clean))


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    config = fast(steps=100, warmup_steps=10)
    factors = [learning_rate_factor(step, config) for step in range(101)]
    assert factors[9] == factors[10] == 1.0
    assert np.all(np.diff(factors[:10]) > 0)
    assert np.all(np.diff(factors[10:]) < 0)
    assert factors[-1] == pytest.approx(0.01)


def train(source, run, config, until=None, model=TINY):
    run.mkdir(exist_ok=True)
    state = TrainState(model, config)
    if (run / "last.pt").exists():
        state.load(run / "last.pt")
    state.history.append({"command": "segan train", "from_step": state.step})
    validation = draw_utterances(source, 1, 0)

    def report(step, losses, scores):
        if step == until:
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool, contextlib.suppress(KeyboardInterrupt):
        fit(state, source, validation, run, pool, report)
    return state


@pytest.mark.parametrize(
    ("game", "changes"),
    [
        ({}, {}),
        ({"instance_noise": 0.1, "discriminator_steps": 2}, {"norm": "batch", "phase_shuffle": 3}),
        ({"objective": "wasserstein-gp"}, {"norm": "none", "spectral_norm": True}),
        ({"unrolled_steps": 1, "mismatched_share": 0.5}, {}),
    ],
)
def test_resuming_gives_the_same_weights_as_never_stopping(source, tmp_path, game, changes):
    config = fast(steps=6, validate_every=3, adversarial=AdversarialConfig(**game))
    model = dataclasses.replace(TINY, discriminator=dataclasses.replace(TINY.discriminator, **changes))
    whole = train(source, tmp_path / "whole", config, model=model)
    train(source, tmp_path / "parts", config, until=4, model=model)  # stops after step 4; step 3's state was saved
    resumed = train(source, tmp_path / "parts", config, model=model)
    assert resumed.step == whole.step == 6
    for name, part in whole.parts().items():
        ours, theirs = part.state_dict(), resumed.parts()[name].state_dict()
        if name.endswith("optimizer"):
            ours, theirs = ours["state"], theirs["state"]
            assert all(torch.equal(ours[i][k], theirs[i][k]) for i in ours for k in ours[i])
        else:
            assert all(torch.equal(ours[k], theirs[k]) for k in ours), name


def test_a_run_leaves_a_model_and_a_log(source, tmp_path):
    train(source, tmp_path / "run", fast(steps=4, validate_every=2))
    model = load_model(tmp_path / "run" / "best.safetensors")
    assert model.config == TINY
    assert model.provenance["runs"] == [{"command": "segan train", "from_step": 0}]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert model.provenance["steps"] in (2, 4)
    assert not list((tmp_path / "run").glob("*.part"))


def test_another_models_state_is_refused(source, tmp_path):
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


def test_the_reference_batch_is_there_before_the_discriminator_joins(source, tmp_path):
    state = train(source, tmp_path / "run", fast(steps=1, validate_every=1, adversarial=AdversarialConfig(weight=0.0)))
    assert state.discriminator.reference.abs().sum() > 0


def test_a_save_that_fails_keeps_the_state_before(source, tmp_path):
    """A file-size limit stands in for a full disk: the write breaks off in the middle, for real."""
    resource = pytest.importorskip("resource")
    run = tmp_path / "run"
    state = train(source, run, fast(steps=1, validate_every=1))
    before = (run / "last.pt").read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot be written"):
            state.save(run / "last.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (run / "last.pt").read_bytes() == before
    assert not list(run.glob("*.part"))


@pytest.mark.parametrize(("sizes", "flat"), [((1000, 1000, 10), False), ((50, 50), False), ((30, 20, 10, 40), True)])
def test_a_split_holds_out_a_small_part(sizes, flat):
    names = [f"f{i}.wav" if flat else f"s{i}/f{j}.wav" for i, n in enumerate(sizes) for j in range(1 if flat else n)]
    lengths = sizes if flat else (1,) * len(names)
    zeros = (0,) * len(names)
    recordings = Recordings(np.zeros(0, np.int16), tuple(names), zeros, tuple(lengths), zeros, ())
    for seed in range(5):
        kept, held_out = recordings.split(0.05, seed)
        assert kept
        assert held_out
        assert not {names[i].rpartition("/")[0] for i in kept} & {names[i].rpartition("/")[0] for i in held_out} or flat
        share = sum(lengths[i] for i in held_out) / sum(lengths)
        assert share <= max(0.1, min(sizes) / sum(sizes))


def test_voicebank_training_pairs_are_found_beside_its_test_set(tmp_path):
    for name in ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav", "clean_testset_wav", "noisy_testset_wav"):
        (tmp_path / name).mkdir()
    clean, noisy = find_pair(tmp_path)
    assert (clean.name, noisy.name) == ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav")
    for name in ("clean_trainset_56spk_wav", "noisy_trainset_56spk_wav"):
        (tmp_path / name).mkdir()
    with pytest.raises(CorpusError, match="several"):
        find_pair(tmp_path)


def test_mixtures_have_the_drawn_snr_and_level(source):
    mixed = MixedSource(source.clean, source.noisy, MixingConfig(babble_probability=0.0))
    for seed in range(10):
        spec = mixed.draw(np.random.default_rng(seed), None)
        noisy, clean = mixed.render(spec)
        scale = np.sqrt(np.mean(clean**2)) / np.sqrt(
            np.mean(source.clean.excerpt(spec.speech.index, 0, spec.length) ** 2)
        )
        level = scale * source.clean.levels[spec.speech.index]
        noise = np.sqrt(np.mean((noisy - clean) ** 2))
        assert 20 * np.log10(level / noise) == pytest.approx(spec.snr_db, abs=0.1)
        assert 20 * np.log10(level) <= spec.level_db + 0.1


def test_the_same_seed_draws_the_same_windows(source):
    mixed = MixedSource(source.clean, source.noisy, MixingConfig())
    first, again, other = (batch(mixed, np.random.default_rng(seed), 4, 1000) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first[0].shape == (4, 1, 1000)
    assert first[0].dtype == np.float32


def test_pairs_stay_pairs(source):
    noisy, clean = batch(source, np.random.default_rng(0), 16, 8000)
    for a, b in zip(noisy[:, 0], clean[:, 0], strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.5 or np.abs(b).max() < 0.01


def test_validation_never_shares_a_file_with_training(pairs, tmp_path):
    sources = open_sources(Folders(pairs), MixingConfig(), 16_000, 0, tmp_path / "cache")
    kept, held_out = set(sources.training.clean.names), set(sources.validation.clean.names)
    assert kept
    assert held_out
    assert not kept & held_out
    assert sources.validation.clean.names == sources.validation.noisy.names


def test_speech_without_noise_says_what_is_missing(pairs, tmp_path):
    with pytest.raises(CorpusError, match="--noise"):
        open_sources(Folders(pairs / "clean"), MixingConfig(), 16_000, 0, tmp_path / "cache")


def test_partners_are_found_by_name_and_oddities_are_left_out(pairs, tmp_path):
    import soundfile

    (pairs / "noisy" / "u0.wav").unlink()
    soundfile.write(pairs / "noisy" / "a-first.wav", np.ones(100), 16_000)
    soundfile.write(pairs / "noisy" / "u1.wav", 0.1 * np.ones(100), 16_000)
    (pairs / "clean" / "u9.wav").write_text("no audio")
    sources = open_sources(Folders(pairs), MixingConfig(), 16_000, 0, tmp_path / "cache")
    assert {*sources.training.clean.names, *sources.validation.clean.names} == {"u2.wav", "u3.wav"}
    assert "4 left out" in sources.found[0]
