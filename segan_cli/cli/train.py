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
from typing import Any

import click

from segan_cli.cli.numbers import DECIBELS, MOST_WORKERS, SEED, Finite
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.recipe import DEFAULT, load_recipe, recipe_for, shipped_recipes
from segan_cli.config.schema import override
from segan_cli.config.training import ObjectiveName, Recipe
from segan_cli.errors import ConfigError, StoppedError, TrainingError

FOLDER = click.Path(path_type=Path)
LONGEST_NAME = 64  # of a run folder that nobody named
SHORT = {  # options that are short for a field of the recipe
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


@click.command()
@click.option("--data", multiple=True, metavar="DIR[:WEIGHT]", help="Speech: a corpus, a folder, or a manifest.")
@click.option("--noise", multiple=True, metavar="DIR[:WEIGHT]", help="Noise for clean speech.  [default: generated]")
@click.option("--rir", multiple=True, metavar="DIR[:WEIGHT]", help="Room impulse responses.")
@click.option("--valid-data", multiple=True, metavar="DIR", help="Validation speech.  [default: speakers held out]")
@click.option("--valid-noise", multiple=True, metavar="DIR", help="Validation noise.  [default: files held out]")
@click.option("--run-dir", "run", type=FOLDER, help="Folder for what comes of it.  [default: runs/PRESET, numbered]")
@click.option("--resume", is_flag=True, help="Go on with the training in --run-dir.")
@click.option(
    "--recipe", metavar="NAME|FILE", help=f"{', '.join(shipped_recipes())} or a TOML file.  [default: by preset]"
)
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Networks other than the recipe's.")
@click.option("--width", type=Finite(0, 1_000, min_open=True), help="Multiply the number of channels by this.")
@click.option("--init", metavar="MODEL", help="Start from the weights of a model: default, a name, a file.")
@click.option("--steps", type=int, help="Steps in all.")
@click.option("--batch-size", type=int, help="Windows a step, of all processes together.")
@click.option("--learning-rate", type=Finite(0), help="Learning rate of the generator.")
@click.option("--adversarial", type=click.Choice(typing.get_args(ObjectiveName)), help="Adversarial objective.")
@click.option("--snr", nargs=2, type=DECIBELS, help="Range of the SNR of mixtures in dB.")
@click.option("--seed", type=SEED, help="Start of every random draw.")
@click.option(
    "--set", "assignments", multiple=True, metavar="FIELD=VALUE", help="Any field of the recipe.  [repeatable]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cuda, mps or cpu.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Precision of the networks.")
@click.option(
    "--workers", type=click.IntRange(0, MOST_WORKERS), help="Processes that prepare windows.  [default: by device]"
)
@click.option("--cache", type=FOLDER, help="Folder of decoded audio.  [default: cache beside --run-dir]")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files into --run-dir.")
def train(
    run: Path | None,
    resume: bool,
    recipe: str | None,
    preset: str | None,
    width: float | None,
    init: str | None,
    assignments: tuple[str, ...],
    device: str,
    workers: int | None,
    cache: Path | None,
    tensorboard: bool,
    **short: Any,
) -> None:
    """Train a model on the speech in --data.

    --data is a corpus (VoiceBank-DEMAND, VCTK, LibriSpeech, LibriTTS, LJSpeech, Common Voice), a folder with clean/ and
    noisy/ in it, a folder of clean speech, or a manifest (CSV, JSONL). Clean speech is mixed with --noise or with
    generated noises. The run folder gets best.safetensors, which segan enhance --model takes, last.pt to --resume from,
    recipe.toml, split.json and log.jsonl.

    \b
    Examples:
      segan train --data vctk/
      segan train --data libri/ --data vctk/:2 --noise noises/ --rir rooms/ --run-dir runs/second
      segan train --run-dir runs/second --resume
      segan train --data mine/ --init default --steps 5000
      torchrun --standalone --nproc-per-node 4 -m segan_cli train --data vctk/ --run-dir runs/four
    """
    if resume and (run is None or not (run / "recipe.toml").is_file()):
        raise TrainingError(f"{run or '--resume'}: holds no training to resume; name its folder by --run-dir")
    try:
        base = str(run / "recipe.toml") if run and resume and recipe is None else recipe
        plan = resolve(base, preset, width, None if base else init, short, assignments)
    except ConfigError as error:
        raise click.UsageError(f"{error}.".replace("?.", "?")) from error
    run = run or unused(Path("runs"), plan.model.preset)
    if run.exists() and not run.is_dir():
        raise TrainingError(f"{run}: is a file; name a folder for the run")
    if (run / "recipe.toml").exists() and not resume and int(os.environ.get("RANK", 0)) == 0:
        raise TrainingError(f"{run}: holds a training already; add --resume to go on, or name another --run-dir")

    from segan_cli.cli.console import progress_bar, say
    from segan_cli.cli.training_reporter import TrainingReporter
    from segan_cli.stopping import Leave, Stop, listening
    from segan_cli.training.distributed import open_processes
    from segan_cli.training.run import RunOptions, claimed, prepare_run

    options = RunOptions(run, cache or run.parent / "cache", resume, init, workers, tensorboard)
    with listening(Leave()), open_processes(device) as processes, claimed(run) if processes.is_main else nullcontext():
        with progress_bar(processes.is_main) as bar:
            reporter = TrainingReporter(bar)
            training = prepare_run(plan, options, processes, reporter)
            with listening(Stop()) as stop:
                finished = training.train(reporter, stop)
        if not processes.is_main:
            return
        if not finished:
            again = shlex.join(["segan", "train", "--run-dir", str(run), "--resume"])
            raise StoppedError(
                f"stopped at step {training.state.step}; {run / 'last.pt'} is saved, go on by: {again}",
                stop.signal_number,
            )
        model = shlex.quote(str(run / "best.safetensors"))
        say(f"best model: {reporter.best or 'as it was before'}")
        say(f"use it:     segan enhance noisy.wav -o clean.wav --model {model}")


def resolve(
    base: str | None,
    preset: str | None,
    width: float | None,
    init: str | None,
    short: dict[str, Any],
    assignments: Sequence[str],
) -> Recipe:
    """The recipe of a name or file with everything that options change; `init` brings its own model.

    Where none is named, the one that suits the model. Raises ConfigError when an option does not fit.
    """
    if any(assignment.startswith(("model.preset", "model.generator.family")) for assignment in assignments):
        raise ConfigError("model.preset and families name sets of fields; choose another by --preset")
    model = None
    if preset is not None:
        model = PRESETS[preset]
    elif init is not None:
        from segan_cli.training.init import model_of

        model = model_of(init)
    recipe = load_recipe(base or (recipe_for(model) if model else DEFAULT))
    if model is not None:
        recipe = replace(recipe, model=model)
    if width is not None:
        recipe = replace(recipe, model=scaled(recipe.model, width))
    given = [f"{SHORT[name]}={json.dumps(value)}" for name, value in short.items() if value not in (None, ())]
    return override(recipe, [*given, *assignments])


def unused(folder: Path, name: str) -> Path:
    """A new place in a folder: the name, or the name with the first number that is free.

    The name may come from a model's metadata, so that it is kept from leading out of the folder.
    """
    plain = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:LONGEST_NAME] or "run"
    place, number = folder / plain, 1
    while place.exists():
        number += 1
        place = folder / f"{plain}-{number}"
    return place
