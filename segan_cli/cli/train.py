"""`segan train`."""

import json
import os
import re
import shlex
import typing
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from segan_cli.cli.options import (
    DECIBELS,
    MODEL_TO_TRAIN,
    NAME,
    PATH,
    SEED,
    Finite,
    SectionedCommand,
    Whole,
    flag,
    option,
    section,
)
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.recipe import DEFAULT, load_recipe, recipe_for, shipped_recipes
from segan_cli.config.schema import override
from segan_cli.config.training import ObjectiveName, Recipe, TrainingConfig
from segan_cli.errors import CheckpointError, ConfigError, StoppedError, TrainingError
from segan_cli.system import MAX_JOBS, require_extra

if TYPE_CHECKING:
    from segan_cli.training.run import RunOptions

FIXED_FIELDS = {"model.preset", "model.generator.family", "model.discriminator.family"}
WITHOUT = "none"  # of --adversarial: reconstruction losses alone
WRITTEN = (  # by a training run to its folder
    "*.safetensors", "last.pt", "log.jsonl", "segments.jsonl", "validation.jsonl", "data.json", "split.json",
)  # fmt: skip
MAX_RUN_NAME = 64  # characters of an automatic run name
RECIPE_OPTIONS = {  # option → field of the recipe
    "data": "data.speech",
    "noise": "data.noise",
    "rir": "data.rirs",
    "valid_data": "data.valid_speech",
    "valid_noise": "data.valid_noise",
    "steps": "training.steps",
    "batch_size": "training.batch_size",
    "learning_rate": "training.generator_learning_rate",
    "adversarial": "training.adversarial.objective",
    "snr": "training.mixing.snr_db",
    "precision": "training.precision",
    "seed": "training.seed",
}


@click.command(cls=SectionedCommand)
@section(
    "Data",
    option("--data PATH[:WEIGHT]", "Speech; repeatable.", NAME, multiple=True),
    option("--noise PATH[:WEIGHT]", "Noise; repeatable.  [default: generated]", NAME, multiple=True),
    option("--rir PATH[:WEIGHT]", "Room impulse responses; repeatable.", NAME, multiple=True),
    option("--valid-data PATH", "Validation speech.  [default: held-out speakers]", NAME, multiple=True),
    option("--valid-noise PATH", "Validation noise.  [default: held-out files]", NAME, multiple=True),
    option("--snr MIN MAX", "Range of the SNR of mixes, in dB.", DECIBELS, nargs=2),
    option("--cache FOLDER", "Folder for decoded audio.  [default: cache, next to --run-dir]", PATH),
)
@section(
    "Run",
    option("--run-dir FOLDER", "Output folder.  [default: runs/PRESET]", PATH),
    flag("--resume", "Resume the training in --run-dir."),
    option("--init MODEL", "Start from the weights of a shipped model, a model file or a last.pt.", MODEL_TO_TRAIN),
    option("--steps N", "Number of training steps.", int),
    option("--seed N", "Random seed.", SEED),
    flag("--tensorboard", "Write TensorBoard logs to --run-dir."),
)
@section(
    "Model and recipe",
    option(
        "--recipe RECIPE",
        f"TOML file, or one of {', '.join(shipped_recipes())}.  [default: that of the preset, or segan-spectral]",
        NAME,
    ),
    option("--preset PRESET", "See segan models.  [default: from the recipe]", click.Choice(list(PRESETS))),
    option("--width X", "Multiply all channel counts.", Finite(0, 1_000, min_open=True)),
    option("--batch-size N", "Segments per step, over all processes.", int),
    option("--learning-rate X", "Learning rate of the generator.", Finite(0)),
    option(
        "--adversarial OBJECTIVE",
        "Adversarial loss: least-squares, hinge, wasserstein-gp, metricgan …, or none.  [default: from the recipe]",
        click.Choice([*typing.get_args(ObjectiveName), WITHOUT]),
    ),
    option("--set FIELD=VALUE", "Set a recipe field; repeatable.", name="assignments", multiple=True),
)
@section(
    "Performance",
    option("-d --device", "Device: auto, cpu, cuda or mps.", default="auto", show_default=True),
    option("--precision", "Precision of the networks.", click.Choice(["fp32", "bf16", "fp16"])),
    option("--workers N", "Data loading processes.  [default: depends on device]", Whole(0, MAX_JOBS)),
)
def train(**options: Any) -> None:
    """Train a speech enhancement model.

    --data is a corpus (VoiceBank-DEMAND, VCTK, LibriSpeech, LibriTTS, LJSpeech, Common Voice), a folder with clean and
    noisy folders, a folder of clean speech, or a manifest (CSV, JSONL). Clean speech is mixed with --noise, or with
    generated noise. The run folder holds best.safetensors (the best model, for segan enhance --model), last.pt (the
    state for --resume), recipe.toml, split.json and log.jsonl.

    \b
    Examples:
      segan train --data vctk/
      segan train --data libri/ --data vctk/:2 --noise noises/ --rir rooms/
      segan train --run-dir runs/second --resume
      segan train --data mine/ --init default --steps 5000
      torchrun --standalone --nproc-per-node 4 -m segan_cli train --data vctk/
    """
    given = SimpleNamespace(**options)
    run_dir, resume, init = given.run_dir, given.resume, given.init
    if init is not None:
        check_init(init)
    require_extra("train", "segan train")
    if resume:
        check_resumable(run_dir, init)
    if resume and given.width is not None and given.preset is None and given.recipe is None:
        raise ConfigError("--width has no effect with --resume, which keeps the network; omit it")
    base = str(run_dir / "recipe.toml") if run_dir and resume and given.recipe is None else given.recipe
    of_recipe, model = {name: options[name] for name in RECIPE_OPTIONS}, None if base else init
    recipe = resolve_recipe(base, given.preset, given.width, model, of_recipe, given.assignments)
    run_dir = run_dir or unused_folder(Path("runs"), recipe.model.preset)
    check_run_folder(run_dir, resume)

    from segan_cli.training.run import RunOptions

    cache = given.cache or run_dir.parent / "cache"
    run_training(recipe, RunOptions(run_dir, cache, resume, init, given.workers, given.tensorboard), given.device)


def check_init(init: str) -> None:
    """Raise CheckpointError unless `--init` is a model, or a file that may hold a training state."""
    from segan_cli.audio.files import suggestion
    from segan_cli.backends.pretrained import check_model

    if Path(init).suffix != ".pt":
        check_model(init, onnx=False)
    elif not Path(init).is_file():
        raise CheckpointError(f"{init}: no such file; {suggestion(Path(init))}")


def check_resumable(run_dir: Path | None, init: str | None) -> None:
    """Raise ConfigError if options do not allow to resume, TrainingError if the run folder contains no training."""
    if run_dir is None:
        raise ConfigError("--resume: give the folder of the training with --run-dir")
    for name in ("recipe.toml", "last.pt"):
        if not (run_dir / name).is_file():
            raise TrainingError(f"{run_dir}: contains no training run to resume ({name} is missing)")
    if init is not None:
        raise ConfigError(f"--init has no effect, because {run_dir / 'last.pt'} holds the weights; omit it")


def check_run_folder(run_dir: Path, resume: bool) -> None:
    """Raise TrainingError if the run folder is a file, or contains files of a training run that is not resumed."""
    if os.path.lexists(run_dir) and not run_dir.is_dir():
        raise TrainingError(f"{run_dir}: is not a folder; give another --run-dir")
    if resume or int(os.environ.get("RANK", 0)) != 0:
        return
    if (run_dir / "recipe.toml").exists():
        raise TrainingError(f"{run_dir}: contains a training run; use --resume to continue it, or another --run-dir")
    if written := sorted(path.name for pattern in WRITTEN for path in run_dir.glob(pattern)):
        raise TrainingError(f"{run_dir}: contains {written[0]}, which would be overwritten; give another --run-dir")


def run_training(recipe: Recipe, options: "RunOptions", device: str) -> None:
    """Run training with a progress bar, until it is finished or stopped by a signal."""
    from segan_cli.cli.console import progress_bar, say
    from segan_cli.cli.training_reporter import TrainingReporter
    from segan_cli.process.stopping import RaiseOnSignal, StopAfterStep, listening
    from segan_cli.training.distributed import open_processes
    from segan_cli.training.run import lock_run_dir, open_data, open_state, prepare_run

    run_dir = options.run_dir
    with (
        listening(RaiseOnSignal()),
        open_processes(device) as processes,
        lock_run_dir(run_dir) if processes.is_main else nullcontext(),
        progress_bar(processes.is_main) as bar,
    ):
        reporter = TrainingReporter(bar)
        state, changes = open_state(recipe, options, processes)
        data = open_data(recipe, options, processes, reporter.on_reading)
        if processes.is_main:
            reporter.on_data(data)
        training = prepare_run(recipe, options, state, changes, data)
        if processes.is_main:
            reporter.on_start(training)
        with listening(StopAfterStep()) as stop:
            finished = training.train(reporter, stop)
            processes.barrier()  # a process that leaves while others still use the group may abort
    if not processes.is_main:
        return
    if not finished:  # raised after the other processes have left, too
        command = shlex.join(["segan", "train", "--run-dir", str(run_dir), "--resume"])
        raise StoppedError(
            f"stopped at step {training.state.step}, saved {run_dir / 'last.pt'}; to resume: {command}",
            stop.signal_number,
        )
    model = shlex.quote(str(run_dir / "best.safetensors"))
    if reporter.is_worse_than_noisy:
        say("warning: the best model scores below the noisy input; train longer")
    say(f"best model: {reporter.best_line or 'unchanged since the last start'}")
    say(f"use it:     segan enhance noisy.wav -o clean.wav --model {model}")


def resolve_recipe(
    base: str | None, preset: str | None, width: float | None, init: str | None, recipe_options: dict[str, Any],
    assignments: Sequence[str],
) -> Recipe:  # fmt: skip
    """Load a recipe and apply all options to it; `init` provides the model unless a preset is given.

    Without a base, loads the shipped recipe for the model. Raises ConfigError if an option does not fit.
    """
    if any(assignment.partition("=")[0] in FIXED_FIELDS for assignment in assignments):
        raise ConfigError("--set cannot change model.preset or a family; use --preset")
    model = None
    if preset is not None:
        model = PRESETS[preset]
    elif init is not None:
        from segan_cli.training.state import model_of

        model = model_of(init)
    recipe = load_recipe(base or (recipe_for(model) if model else DEFAULT))
    if model is not None:
        recipe = replace(recipe, model=model)
    if width is not None:
        recipe = replace(recipe, model=scaled(recipe.model, width))
    given = {name: value for name, value in recipe_options.items() if value not in (None, ())}
    if given.get("adversarial") == WITHOUT:
        del given["adversarial"]
        assignments = ("training.adversarial.weight=0", *assignments)
    recipe = override(
        recipe, [*(f"{RECIPE_OPTIONS[name]}={json.dumps(value)}" for name, value in given.items()), *assignments]
    )
    if "adversarial" in given:
        check_adversary(recipe.training)
    return recipe


def check_adversary(training: TrainingConfig) -> None:
    """Raise ConfigError if an adversarial objective would have no effect."""
    adversarial, field = training.adversarial, "training.adversarial"
    if not adversarial.weight:
        raise ConfigError(
            f"--adversarial {adversarial.objective} has no effect: {field}.weight is 0 in this recipe; add"
            f" --set {field}.weight=1"
        )
    if adversarial.start >= training.steps:
        raise ConfigError(
            f"--adversarial {adversarial.objective} has no effect: it starts at step {adversarial.start}, the"
            f" training ends at {training.steps}; add --set {field}.start=0"
        )


def unused_folder(parent: Path, name: str) -> Path:
    """A path in `parent` that does not exist yet: the name in safe characters, numbered if necessary."""
    safe = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:MAX_RUN_NAME] or "run"
    folder, number = parent / safe, 1
    while folder.exists():
        number += 1
        folder = parent / f"{safe}-{number}"
    return folder
