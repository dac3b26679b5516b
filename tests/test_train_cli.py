"""`segan train` as a user meets it: real processes, real signals, real corpora in small."""

import json
import random
import shlex
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import PATIENCE_S, TINY, Running, alone, command, complaint, segan, wait_until
from corpora import noises, plain, vctk80
from corpora import pairs as make_pairs
from rich.progress import Progress

from segan_cli.backends.pretrained import find_model
from segan_cli.cli import main
from segan_cli.cli.training_reporter import TrainingReporter
from segan_cli.config.recipe import load_recipe
from segan_cli.data.cache import CacheEntry
from segan_cli.data.recordings import CorpusSummary, Recording, Recordings
from segan_cli.data.training_data import TrainingData
from segan_cli.networks.checkpoint import Model, load_model, save_model
from segan_cli.networks.families import build_generator
from segan_cli.storage.atomic import locked
from segan_cli.training.run import TrainingRun
from segan_cli.training.state import TrainState, read_state


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path / "tiny.toml"


@pytest.fixture
def complain(monkeypatch, capsys, tmp_path):
    """The one line that a command ends in, run in this process and in the test's folder."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["segan", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        assert said.out == ""
        assert caught.value.code in (1, 2)
        line = said.err.strip().splitlines()[-1]
        assert line.startswith("segan: ")
        return line, caught.value.code, len(said.err.splitlines())

    return run


def lines(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def tensors(state):
    """Every tensor of a saved state, by place."""
    parts, about = read_state(state, torch.device("cpu"))
    found = {}

    def walk(place, value):
        if isinstance(value, torch.Tensor):
            found[place] = value
        elif isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                walk(f"{place}.{key}", item)

    walk("", parts)
    return found, about["step"]


def test_training_on_vctk_alone_improves_the_scores(tmp_path, recipe, monkeypatch):
    """One option: the corpus is found, noises are generated, validation gets better, and the model works."""
    vctk80(tmp_path / "vctk")
    monkeypatch.chdir(tmp_path)
    result = segan(
        "train", "--data", "vctk/", "--recipe", recipe, "--steps", 50, "--batch-size", 4, "--learning-rate", 0.004,
        "--set", "training.validate_every=25", "--set", "training.validation_mixes=2",
        "--set", "training.log_every=25",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "vctk/: VCTK 0.80, 9 files, 0.00 h of speech, 3 speakers, 48 kHz" in result.stderr
    run = tmp_path / "runs" / "segan-gated"
    scores = [line["validation"] for line in lines(run) if "validation" in line]
    assert len(scores) == 2
    assert scores[-1]["pesq_wb"] > scores[0]["pesq_wb"]
    assert scores[-1]["si_sdr_db"] > scores[0]["si_sdr_db"] + 0.5
    assert scores[-1]["stoi"] > scores[0]["stoi"]
    use = next(line for line in result.stderr.splitlines() if line.startswith("use it:"))
    arguments = shlex.split(use.replace("noisy.wav", str(tmp_path / "vctk/VCTK-Corpus/wav48/p225/p225_000.wav")))[3:]
    done = segan(*arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clean.wav").exists()


def test_a_run_folder_has_all_files_and_resumes_without_other_options(tmp_path, recipe, complain):
    spoiled = plain(tmp_path / "corpus")
    run = tmp_path / "run"
    first = segan(
        "train",
        "--data",
        tmp_path / "corpus",
        "--noise",
        noises(tmp_path / "noise"),
        "--run-dir",
        run,
        "--recipe",
        recipe,
        "--workers",
        0,
    )
    assert first.returncode == 0, first.stderr
    for words in (
        f"{spoiled['left']} skipped",
        "bad_clipped.wav: clipped",
        "speakers: 3 in 9 recordings",
        "noise: 5 in",
    ):
        assert words in first.stderr, words
    assert {path.name for path in run.iterdir()} == {
        "best.safetensors", "last.pt", "log.jsonl", "recipe.toml", "data.json", "split.json", "validation.jsonl"
    }  # fmt: skip
    assert len(json.loads((run / "data.json").read_text())[0]["skipped"]) == spoiled["left"]
    stored = load_recipe(str(run / "recipe.toml"))
    assert (stored.training.steps, stored.model.segment_length) == (4, 4096)
    assert stored.data.speech == (str(tmp_path / "corpus"),)
    assert load_model(run / "best.safetensors").provenance["training"]["warmup_steps"] == 1

    line = complain("train", "--run-dir", run, "--resume", "--set", "training.validation_mixes=7")[0]
    assert "validation.jsonl: has 1 mixes, not 7; scores of different numbers of mixes cannot be compared" in line
    assert "validation of the noisy mixes: PESQ " in first.stderr
    again = segan("train", "--run-dir", run, "--resume", "--steps", 6, "--workers", 0)
    assert again.returncode == 0, again.stderr
    assert "training.steps: 4 before, 6 now" in again.stderr
    assert tensors(run / "last.pt")[1] == 6
    assert [line["step"] for line in lines(run) if "validation" in line] == [2, 4, 6]
    history = load_model(run / "best.safetensors").provenance["runs"]
    assert [entry["from_step"] for entry in history][:1] == [0]

    assert "use --resume" in complain("train", "--data", tmp_path / "corpus", "--run-dir", run)[0]
    other = complain("train", "--run-dir", run, "--resume", "--preset", "segan-slim", "--width", 0.1)
    assert "another model" in other[0]
    line, _, n = complain("train", "--run-dir", run, "--resume", "--steps", 5)
    assert f"{run}: is at step 6 already, beyond --steps 5; give the total number" in line
    assert (n, load_recipe(str(run / "recipe.toml")).training.steps) == (1, 6)
    log = lines(run)
    files = {path: path.read_bytes() for path in run.iterdir()}
    spec = json.loads((run / "validation.jsonl").read_text())["speech"]["name"]
    Path(spec).rename(tmp_path / "away.wav")
    line = complain("train", "--run-dir", run, "--resume", "--steps", 7)[0]
    assert f"needs {spec}, which the data no longer contains; restore it" in line
    assert {path: path.read_bytes() for path in run.iterdir()} == files
    (tmp_path / "away.wav").rename(spec)
    (run / "last.pt").unlink()
    assert (
        "contains no training run to resume (last.pt is missing)" in complain("train", "--run-dir", run, "--resume")[0]
    )
    assert lines(run) == log


def test_a_training_interrupted_by_signals_ends_with_the_same_weights_and_scores(tmp_path, recipe):
    """Stopped by two signals, each at a random step, and resumed."""
    make_pairs(tmp_path / "pairs")
    run, whole, cache = tmp_path / "run", tmp_path / "whole", tmp_path / "cache"
    options = ["--steps", 20, "--set", "training.validate_every=10", "--workers", 0, "--cache", cache]
    arguments = ["train", "--data", tmp_path / "pairs", "--recipe", recipe, *options, "--run-dir"]
    uninterrupted = segan(*arguments, whole)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    draws = random.Random()
    signals = [draws.choice([signal.SIGTERM, signal.SIGINT]), signal.SIGKILL]
    resume = ["train", "--run-dir", run, "--resume", "--cache", cache, "--workers", 0]
    cuts = []
    for number in signals:
        running = Running(*(resume if cuts else [*arguments, run]))
        cuts.append(count(run) + draws.randint(1, 6))
        running.wait_until(lambda: count(run) >= min(cuts[-1], 20))
        running.send_signal(number)
        ended = running.end()
        said = ended.stderr
        if ended.returncode == 0:  # it came to its end before the signal came
            continue
        assert ended.returncode == (-9 if number == signal.SIGKILL else 128 + number), (said, cuts)
        assert "Traceback" not in said, (said, cuts)
        if number != signal.SIGKILL:
            last = said.splitlines()[-1]
            assert f"--run-dir {run} --resume" in last
            assert f"stopped at step {count(run)}, saved" in last
            assert tensors(run / "last.pt")[1] == count(run)
    result = segan(*resume)
    assert result.returncode == 0, (result.stderr, cuts)
    (ours, step), (theirs, their_step) = tensors(run / "last.pt"), tensors(whole / "last.pt")
    assert step == their_step == 20
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), cuts
    validations = [[line for line in lines(folder) if "validation" in line] for folder in (run, whole)]
    assert validations[0] == validations[1]
    assert len(validations[0]) == 2
    best = [load_model(folder / "best.safetensors") for folder in (run, whole)]
    assert best[0].provenance["steps"] == best[1].provenance["steps"]
    assert all(map(torch.equal, *(model.generator.state_dict().values() for model in best)))


def count(run):
    """Steps that a log knows, also while it is being written."""
    if not (run / "log.jsonl").exists():
        return 0
    return sum('"l1"' in line and line.endswith("}") for line in (run / "log.jsonl").read_text().splitlines())


def test_preset_objective_and_field_options_reach_the_model(pairs, tmp_path):
    run = tmp_path / "run"
    result = segan(
        "train", "--data", pairs, "--run-dir", run, "--preset", "segan-dilated", "--width", 0.05,
        "--adversarial", "hinge", "--steps", 2, "--batch-size", 2, "--snr", 5, 10, "--learning-rate", 0.0005,
        "--workers", 0,
        "--set", "training.validation_mixes=1", "--set", "training.adversarial.start=0",
        "--set", "model.generator.skip_merge=sum", "--set", "model.generator.latent_channels=0",
        "--set", "model.discriminator.spectral_norm=true", "--set", "training.adversarial.r1_weight=0.1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "health: D(clean)" in result.stderr
    about = load_model(run / "best.safetensors")
    generator = about.config.generator
    assert (generator.skip_merge, generator.latent_channels, generator.channels) == ("sum", 0, (3, 6, 13, 26, 51))
    assert about.config.discriminator.spectral_norm
    training = about.provenance["training"]
    assert (training["generator_learning_rate"], training["mixing"]["snr_db"]) == (0.0005, [5.0, 10.0])
    assert "z_effect" not in lines(run)[0]


FIRST_LINES = """\
vctk: VCTK 0.92, 12 files, 1.50 h of speech, 4 speakers, 16 and 48 kHz, 5 skipped, weight 2
  note: it has no licence
  skipped: a
  skipped: b
  skipped: c
  skipped: 2 more, see data.json
hum: audio files, 1 recording, 0.10 h of noise, 44.1 kHz
speakers: 3 in 9 recordings for training, 1 in 1 recording for validation
note: one speaker
changed since the last start: steps: 4 before, 1 now
generator: segan-spectral, 115,472 weights
discriminator: least-squares, 70,995 weights, from step 0, at full strength from step 1000
warning: the discriminator would be at full strength from step 1000, but the training ends at step 1; add --set \
training.adversarial.start=0 --set training.adversarial.ramp_steps=0
warning: the learning rates rise for 500 steps, but the training ends at step 1; add --set training.warmup_steps=0
training on cpu with 2 processes, run folder out, resuming at step 1 of 1
"""


def speakers(n_speakers, n):
    """Recordings of so many speakers."""
    entry = CacheEntry("", Path(), 0, 16_000, 0.1, 0.0, 16_000, 16_000, Path())
    return Recordings(tuple(Recording(f"r{i}", f"p{i % n_speakers}", entry, entry.length) for i in range(n)))


@pytest.fixture
def reporter():
    with Progress(disable=True) as bar:
        yield TrainingReporter(bar)


def test_the_first_lines_describe_the_data_and_both_networks(reporter, capsys):
    rates_hz = {48_000: 9, 16_000: 3}
    corpora = (
        CorpusSummary("vctk", "VCTK 0.92", "speech", 12, 5_400.0, 4, True, rates_hz, tuple("abcde"), 2.0,
                      ("it has no licence",)),
        CorpusSummary("hum", "audio files", "noise", 1, 360.0, 1, False, {44_100: 1}, (), 1.0, unit="recording"),
    )  # fmt: skip
    splits = {"speakers": (speakers(3, 9), speakers(1, 1)), "rirs": (Recordings(()), Recordings(()))}
    reporter.on_data(TrainingData(None, None, corpora, ("one speaker",), splits))
    recipe = load_recipe("segan-spectral")
    state = TrainState(recipe.model, replace(recipe.training, steps=1))
    state.step, state.processes = 1, SimpleNamespace(world_size=2, device="cpu")
    reporter.on_start(TrainingRun(state, None, [], SimpleNamespace(run_dir="out"), ["steps: 4 before, 1 now"]))
    assert capsys.readouterr().err == FIRST_LINES


LINES = """\
step 2: l1 0.0100, adversarial 0.5000, discriminator 0.2500
  health: D(clean) 1.23, accuracy on clean 75%, grad norm G 1e+03
  warning: it overfits
validation of the noisy mixes: PESQ 1.500, STOI 0.800, SI-SDR undefined dB
validation at step 2: PESQ 1.400, STOI 0.800, SI-SDR 5.000 dB, best so far
validation at step 4: PESQ 1.300, STOI 0.900, SI-SDR 5.000 dB
validation at step 6: PESQ 1.600, STOI 0.900, SI-SDR 5.000 dB, best so far
"""


def test_the_lines_of_a_training_state_losses_health_and_scores(reporter, capsys):
    losses = {"l1": 0.01, "adversarial": 0.5, "discriminator": 0.25}
    health = {"d_real": 1.234, "d_real_accuracy": 0.75, "generator_gradient": 1_000.0}
    reporter.on_diagnostics(2, losses | health, {"overfitting": "it overfits"})
    noisy = {"pesq_wb": 1.5, "stoi": 0.8, "si_sdr_db": None}
    worse = []
    for step, pesq, stoi, best in ((2, 1.4, 0.8, True), (4, 1.3, 0.9, False), (6, 1.6, 0.9, True)):
        reporter.on_validation(step, {"pesq_wb": pesq, "stoi": stoi, "si_sdr_db": 5.0}, noisy, best)
        worse.append(reporter.is_worse_than_noisy)
    assert capsys.readouterr().err == LINES
    assert worse == [True, True, False]
    assert (reporter.best, reporter.best_line) == ("PESQ 1.600", "step 6: PESQ 1.600, STOI 0.900, SI-SDR 5.000 dB")


def test_lines_are_wrapped_on_a_terminal(reporter, monkeypatch, capsys):
    monkeypatch.setattr("segan_cli.cli.training_reporter.stderr_console", SimpleNamespace(is_terminal=True))
    health = ("d_real_accuracy", "d_fake_accuracy", "d_held_out_accuracy", "z_effect")
    reporter.on_diagnostics(1, dict.fromkeys(health, 0.5), {})
    parts = ["accuracy on clean 50%, accuracy on enhanced 50%, on held-out pairs", "50%, effect of z 0.5"]
    assert capsys.readouterr().err == f"step 1:\n  health: {parts[0]}\n    {parts[1]}\n"


def test_adversarial_none_trains_with_reconstruction_losses_alone(pairs, tmp_path, recipe):
    run = tmp_path / "run"
    result = segan(
        "train", "--data", pairs, "--run-dir", run, "--recipe", recipe, "--adversarial", "none", "--steps", 1,
        "--workers", 0, "--set", "training.warmup_steps=0",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "discriminator: none" in result.stderr
    assert "but the training ends" not in result.stderr
    assert not {"adversarial", "discriminator"} & set(lines(run)[0])


def test_init_default_starts_from_the_weights_of_the_shipped_model(pairs, tmp_path, complain):
    run = tmp_path / "run"
    result = segan(
        "train", "--data", pairs, "--run-dir", run, "--init", "default", "--steps", 1, "--batch-size", 2,
        "--workers", 0, "--learning-rate", 0, "--set", "training.validation_mixes=1",
        "--set", "training.adversarial.weight=0",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    ours = load_model(run / "best.safetensors")
    shipped = load_model(find_model("default"))
    for name, weights in shipped.generator.state_dict().items():
        assert torch.equal(ours.generator.state_dict()[name], weights), name
    assert ours.provenance["runs"][:-1] == shipped.provenance["runs"]
    start = ("train", "--data", pairs, "--run-dir", tmp_path / "b", "--init")
    line, _, n = complain(*start, "default", "--preset", "segan", "--width", 0.1)
    assert line.endswith(
        "default: weights of another network; omit --preset, --width and --recipe to train its network"
    )
    assert n == 1  # no data were read
    assert "no such model" in complain(*start, "none")[0]


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("training.batchsize=3", "training.batchsize: no such key; did you mean batch_size?"),
        ("training.batch_size=many", "training.batch_size: 'many'; it must be a whole number"),
        ("training.adversarial.objective=hing", "it must be one of minimax, "),
        ("model.generator.strides=[2]", "model.generator.strides: no such key; did you mean freq_stride?"),
        ("model.generator.embed_dim=9", "embed_dim 9 is not a multiple of the 4 heads"),
        ("model.generator.family=convolutional", "use --preset"),
        ("training=3", "it is a section"),
        ("model.generator=3", "it is a section"),
        ("training.gradient_accumulation_steps=3", "batch_size 32 is not a multiple of gradient_accumulation_steps 3"),
        ("nonsense", "give SECTION.FIELD=VALUE"),
        ("model.preset=segan", "use --preset"),
        ("model.pre_emphasis=1", "pre_emphasis: 1.0; it must lie between 0 and 1"),
        ("training.mixing.snr_db=[9,1]", "the lower first"),
    ],
)
def test_an_invalid_field_gets_one_line(tmp_path, complain, assignment, says):
    line, code, n = complain("train", "--data", "pairs", "--run-dir", "run", "--set", assignment)
    assert says in line
    assert (code, n) == (2, 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "no speech to train on; give a folder with --data"),
        (("--data", "none"), 1, "none: no such folder"),
        (("--data", "pairs:0"), 2, "pairs:0: weight 0; it must lie between 0.001"),
        (("--data", "pairs", "--noise", "pairs/noisy"), 1, "omit --noise"),
        (("--data", "pairs", "--rir", "pairs/noisy"), 1, "already contains noisy/clean pairs; omit --rir"),
        (
            ("--data", "pairs", "--valid-noise", "pairs/noisy"),
            1,
            "already contains noisy/clean pairs; omit --valid",
        ),
        (("--resume", "--run-dir", "old", "--width", "0.5"), 2, "--width has no effect with --resume"),
        (("--data", "s3://b/m.csv"), 1, "s3://b/m.csv: segan train reads local files only"),
        (("--data", "s3://b/in"), 1, "s3://b/in: segan train reads local files only"),
        (("--data", "pairs", "--set", "training.plugin_weights.none=1"), 2, "none"),
        (("--data", "pairs", "--resume"), 2, "--resume: give the folder of the training with --run-dir"),
        (
            ("--data", "pairs", "--adversarial", "hinge", "--set", "training.adversarial.weight=0"),
            2,
            "weight is 0 in this recipe; add --set training",
        ),
        (("--data", "pairs", "--resume", "--run-dir", "none"), 1, "none: contains no training run to resume"),
        (("--data", "pairs", "--run-dir", "file"), 1, "is not a folder"),
        (("--data", "pairs", "--run-dir", "file/run"), 1, "file"),
        (("--data", "pairs", "--device", "cuda"), 2, "device cuda: not available"),
        (("--data", "pairs", "--device", "abacus"), 2, "device abacus: unknown"),
        (("--data", "pairs", "--recipe", "none"), 1, "none: cannot be read (No such file or directory); give a TOML"),
        (("--data", "pairs", "--recipe", "wrong.toml"), 1, "wrong.toml: training.step: no such key; did you mean st"),
        (("--data", "pairs", "--recipe", "broken.toml"), 1, "broken.toml: not a TOML file"),
        (("--data", "pairs", "--cache", "file"), 1, "the cache cannot be used"),
        (("--data", "pairs", "--init", "m.onnx"), 1, "m.onnx: torch does not read ONNX; give the model that it was"),
        (("--resume", "--run-dir", "old", "--init", "default"), 2, "--init has no effect, because old/last.pt holds"),
    ],
)
def test_invalid_training_options_get_one_line(pairs, tmp_path, complain, arguments, code, says):
    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("this machine has a GPU")
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "wrong.toml").write_text('[model]\npreset = "segan"\n[training]\nstep = 3\n')
    (tmp_path / "broken.toml").write_text("[model\n")
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "old").mkdir()
    for name in ("recipe.toml", "last.pt"):
        (tmp_path / "old" / name).touch()
    line, ended, n = complain("train", *arguments)
    assert says in line
    assert (ended, n) == (code, 1)
    left = [path.name for path in tmp_path.glob("runs/*")]
    assert left == ["cache"] * (tmp_path / "runs").exists()  # of decoded audio; no empty folder


def test_a_loss_that_is_not_finite_ends_in_one_line(pairs, tmp_path, recipe):
    config = load_recipe(str(recipe)).model
    generator = build_generator(config.generator)
    for weights in generator.parameters():
        torch.nn.init.constant_(weights, 3e38)
    save_model(tmp_path / "vast.safetensors", Model(generator, config, {"runs": []}))
    result = segan(
        "train", "--data", pairs, "--run-dir", tmp_path / "run", "--recipe", recipe, "--steps", 30, "--workers", 0,
        "--init", tmp_path / "vast.safetensors", "--set", "training.clip_norm=none",
        "--set", "training.validate_every=30",
    )  # fmt: skip
    assert "not finite; lower the learning rates" in complaint(result)
    assert "keeps the last good state" in complaint(result)
    assert tensors(tmp_path / "run" / "last.pt")[1] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="the driver alone takes more addresses")
def test_memory_that_runs_out_ends_in_one_line(pairs, tmp_path, recipe):
    """An address space too small for the network's activations, for real."""
    result = segan(
        "train", "--data", pairs, "--run-dir", tmp_path / "run", "--recipe", recipe, "--workers", 0,
        "--batch-size", 128, "--set", "model.generator.channels=[4096,16]", "--set", "model.generator.strides=[1,32]",
        memory=8_000_000_000,
    )  # fmt: skip
    assert "cpu ran out of memory with batch_size 128" in complaint(result)
    assert "training.gradient_accumulation_steps=2" in complaint(result)


def test_a_locked_run_folder_is_refused(tmp_path, complain, pairs):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / "training"):
        assert "another training run uses it" in complain("train", "--data", "pairs", "--run-dir", "run")[0]


def test_a_training_killed_before_its_first_validation_resumes_from_its_initial_weights(tmp_path, pairs, recipe):
    """`--init` is part of the first state, so that a resumption does not begin with other weights."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    options = ("--cache", cache, "--workers", 0)
    first = segan("train", "--data", pairs, "--recipe", recipe, "--run-dir", tmp_path / "first", *options)
    assert first.returncode == 0, first.stderr
    running = Running(
        "train", "--data", pairs, "--recipe", recipe, "--run-dir", run, *options, "--learning-rate", 0,
        "--init", tmp_path / "first" / "best.safetensors", "--steps", 5000, "--set", "training.validate_every=5000",
        "--set", "training.adversarial.weight=0",
    )  # fmt: skip
    running.wait_until(lambda: count(run) >= 3)
    running.send_signal(signal.SIGKILL)
    running.end()
    resumed = segan("train", "--run-dir", run, "--resume", *options, "--steps", 2)
    assert resumed.returncode == 0, resumed.stderr
    init, ours = (load_model(folder / "best.safetensors").generator for folder in (tmp_path / "first", run))
    assert all(map(torch.equal, init.state_dict().values(), ours.state_dict().values()))


def start_two(*words):
    """Two processes of a training, in the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [Running(*words, RANK=rank, LOCAL_RANK=rank, **group) for rank in "01"]


@pytest.fixture
def endless(pairs, tmp_path, recipe):
    """The words of a training that goes on until it is stopped."""
    return (
        "train", "--data", pairs, "--recipe", recipe, "--run-dir", tmp_path / "run", "--steps", 100000,
        "--set", "training.validate_every=100000", "--workers",
    )  # fmt: skip


def assert_saved(said, run):
    assert "last.pt; to resume: " in said
    assert tensors(run / "last.pt")[1] == count(run) >= 2


def test_a_signal_to_all_processes_saves_the_state(tmp_path, endless):
    """As batch systems send it: to both ranks, and to the workers that prepare segments."""
    processes = start_two(*endless, 1)
    processes[0].wait_until(lambda: count(tmp_path / "run") >= 2)
    for process in processes:
        process.send_signal(signal.SIGTERM, to_children=True)
    results = [process.end() for process in processes]
    assert [result.returncode for result in results] == [143, 0], results
    assert results[1].stderr == ""
    assert_saved(results[0].stderr, tmp_path / "run")


def test_a_signal_to_torchrun_saves_the_state(tmp_path, endless):
    words = command(*endless, 0)
    words[1:2] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=alone(), start_new_session=True)
    wait_until(lambda: process.poll() is not None or count(tmp_path / "run") >= 2)
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, said
    assert_saved(said, tmp_path / "run")


def test_two_processes_train_like_one(pairs, tmp_path, recipe):
    """With half the batch each: one writer, the same numbers."""
    both = ["train", "--data", pairs, "--recipe", recipe, "--batch-size", 4, "--steps", 3, "--workers", 0]
    assert segan(*both, "--run-dir", tmp_path / "one").returncode == 0
    processes = start_two(*both, "--run-dir", tmp_path / "two", "--cache", tmp_path / "cache2")
    results = [process.end() for process in processes]
    assert [result.returncode for result in results] == [0, 0], results
    assert "use it:" in results[0].stderr
    assert results[1].stderr == ""
    one, two = ({line["step"]: line for line in lines(tmp_path / name) if "l1" in line} for name in ("one", "two"))
    assert list(one) == list(two) == [1, 2, 3]
    for name in ("l1", "spectral", "discriminator", "d_real", "generator_gradient", "reconstruction_gradient"):
        for step in one:
            assert two[step][name] == pytest.approx(one[step][name], rel=2e-3), (step, name)
    (ours, _), (theirs, _) = tensors(tmp_path / "one" / "last.pt"), tensors(tmp_path / "two" / "last.pt")
    for name in ours:
        if name.startswith(".generator.") or name.startswith(".ema_generator."):
            assert torch.allclose(ours[name], theirs[name], atol=2e-3), name


def test_a_loss_that_is_not_installed_is_refused_before_data_is_read(tmp_path):
    words = ("train", "--data", tmp_path / "nowhere", "--run-dir", tmp_path / "run", "--preset", "segan-gated")
    result = segan(*words, "--set", "training.plugin_weights.none=1")
    assert "plugin_weights.none: no installed package has a loss of this name" in complaint(result)
