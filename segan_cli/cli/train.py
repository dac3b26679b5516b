"""`segan train`."""

import shlex
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segan_cli.config import AdversarialConfig, MixingConfig, ObjectiveName, Recipe, TrainingConfig, override
from segan_cli.errors import ConfigError, TrainingError
from segan_cli.presets import PRESETS, scaled

if TYPE_CHECKING:
    from segan_cli.data.sources import Sources
    from segan_cli.training.fit import Checkup

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULTS, GAME = TrainingConfig(), AdversarialConfig()
OBJECTIVES = typing.get_args(ObjectiveName)
FOLDER = click.Path(path_type=Path)


def number(
    name: str,
    help: str,
    least: float = 0,
    option: str | None = None,
    config: TrainingConfig | AdversarialConfig = DEFAULTS,
) -> Callable[[Command], Command]:
    """A numeric option with the default of a config's field."""
    default = getattr(config, name)
    kind = click.IntRange(int(least)) if isinstance(default, int) else click.FloatRange(least)
    return click.option(
        option or f"--{name.replace('_', '-')}", name, type=kind, default=default, show_default=True, help=help
    )


@click.command()
@click.option("--data", required=True, type=FOLDER, help="Folder of noisy/clean pairs, or of clean speech.")
@click.option("--noise", type=FOLDER, help="Folder of noise, mixed into the clean speech on the fly.")
@click.option("--valid-data", type=FOLDER, help="Validation folder like --data.  [default: 5 % held out of --data]")
@click.option("--valid-noise", type=FOLDER, help="Validation noise.  [default: 5 % held out of --noise]")
@click.option("--run", required=True, type=FOLDER, help="Folder for checkpoints, cache and log.")
@click.option("--resume", is_flag=True, help="Go on from the state in --run.")
@click.option("--preset", default="segan-gated", show_default=True, type=click.Choice(list(PRESETS)), help="Networks.")
@click.option(
    "--width", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Times channels."
)
@number("steps", "Steps in all.", 1)
@number("batch_size", "Windows of 16384 samples a step.", 1)
@click.option("--optimizer", default=DEFAULTS.optimizer, show_default=True, type=click.Choice(["rmsprop", "adamw"]))
@number("generator_learning_rate", "Of the generator.", option="--learning-rate")
@number("discriminator_learning_rate", "Of the discriminator.")
@number("l1_weight", "Weight of the L1 loss.")
@number("spectral_weight", "Weight of the compressed-spectrum loss.")
@number("stft_weight", "Weight of the multi-resolution STFT loss.")
@click.option(
    "--deemphasised-losses/--emphasised-losses",
    default=DEFAULTS.deemphasised_losses,
    show_default=True,
    help="Compute them on windows as they are heard, or pre-emphasised as in the paper.",
)
@click.option(
    "--adversarial", default=GAME.objective, show_default=True, type=click.Choice(OBJECTIVES), help="Objective."
)
@number(
    "weight",
    "Weight of the adversarial loss; 0 trains without a discriminator.",
    option="--adversarial-weight",
    config=GAME,
)
@number("start", "Steps before the discriminator joins.", option="--adversarial-start", config=GAME)
@click.option(
    "--snr",
    nargs=2,
    type=float,
    default=MixingConfig().snr_db,
    show_default=True,
    help="Range of the SNR of mixtures in dB.",
)
@number("validate_every", "Steps between validations and saved states.", 1)
@number("validation_mixes", "Utterances in a validation.", 1)
@number("seed", "Start of every random draw.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other field, such as training.adversarial.r1_weight=1.  [repeatable]",
)
def train(
    data: Path,
    noise: Path | None,
    valid_data: Path | None,
    valid_noise: Path | None,
    run: Path,
    resume: bool,
    preset: str,
    width: float,
    adversarial: ObjectiveName,
    weight: float,
    start: int,
    snr: tuple[float, float],
    assignments: tuple[str, ...],
    **options: Any,
) -> None:
    """Train a model on the speech in --data.

    --data holds clean/ and noisy/ (or clean_NAME/ and noisy_NAME/) with files of the same names, or clean speech to
    mix with --noise. The run folder gets best.safetensors, which segan enhance --model takes, last.pt to --resume
    from, and log.jsonl with losses, the training's health and validation scores.

    \b
    Examples:
      segan train --data pairs/ --run runs/first
      segan train --data vctk/ --noise noises/ --run runs/second --steps 200000
      segan train --data pairs/ --run runs/third --preset segan-dilated --adversarial hinge
    """
    state_file = run / "last.pt"
    if state_file.exists() and not resume:
        raise TrainingError(f"{run}: holds a training already; add --resume to go on, or name another --run")
    if resume and not state_file.exists():
        raise TrainingError(f"{run}: holds no training to resume; leave out --resume")
    if run.exists() and not run.is_dir():
        raise TrainingError(f"{run}: is a file; name a folder for the run")
    game = AdversarialConfig(objective=adversarial, weight=weight, start=start)
    training = TrainingConfig(**options, adversarial=game, mixing=replace(MixingConfig(), snr_db=snr))
    try:
        recipe = override(Recipe(scaled(PRESETS[preset], width), training), assignments)
    except ConfigError as error:
        raise click.UsageError(f"{error}.".replace("?.", "?")) from error

    from segan_cli.cli.console import progress_bar, talk
    from segan_cli.data.sources import Folders, open_sources

    folders = Folders(data, noise, valid_data, valid_noise)
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None, note="")
        sources = open_sources(
            folders,
            recipe.training.mixing,
            recipe.model.sample_rate_hz,
            recipe.training.seed,
            run / "cache",
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    for line in sources.found:
        talk.print(line, highlight=False, soft_wrap=True)
    _train(sources, recipe, run, state_file if resume else None)


def _train(sources: "Sources", recipe: Recipe, run: Path, resume_from: Path | None) -> None:
    from segan_cli import __version__
    from segan_cli.cli.console import progress_bar, talk
    from segan_cli.data.mixing import draw_utterances
    from segan_cli.metrics import worker_pool
    from segan_cli.training.fit import Checkup, fit
    from segan_cli.training.state import TrainState

    config = recipe.training
    state = TrainState(recipe.model, config)
    if resume_from is not None:
        for line in state.load(resume_from):
            talk.print(f"changed since the last start: {line}", highlight=False, soft_wrap=True)
    validation = draw_utterances(sources.validation, config.validation_mixes, config.seed)
    command = shlex.join(["segan", *sys.argv[1:]])
    state.history.append({"command": command, "data": sources.found, "from_step": state.step, "segan": __version__})
    with progress_bar() as bar, worker_pool() as pool:
        task = bar.add_task("training", total=config.steps, completed=state.step, note="")

        def report(step: int, numbers: dict[str, float], checkup: Checkup | None) -> None:
            bar.update(task, completed=step, note=say(numbers, LOSSES))
            if checkup is not None:
                say_checkup(step, checkup)

        fit(state, sources.training, validation, run, pool, report)
    talk.print(f"trained: {run / 'best.safetensors'}", highlight=False, soft_wrap=True)


LOSSES = ("l1", "spectral", "stft", "adversarial", "discriminator")
SIGNS = {
    "d_real": "D(clean)",
    "d_real_accuracy": "right on",
    "d_fake": "D(enhanced)",
    "d_fake_accuracy": "right on",
    "generator_gradient": "gradient in G",
    "discriminator_gradient": "in D",
    "reconstruction_gradient": "on the output by reconstruction",
    "adversarial_gradient": "by the adversary",
    "z_effect": "effect of z",
    "spread": "spread",
    "quality_undefined": "undefined PESQ",
}


def say(numbers: dict[str, float], names: Iterable[str]) -> str:
    """The numbers of these names, those that are there, in one line."""
    return "  ".join(f"{name} {numbers[name]:.4f}" for name in names if name in numbers)


def say_checkup(step: int, checkup: "Checkup") -> None:
    """Print losses, validation scores, vital signs and illnesses."""
    from segan_cli.cli.console import talk

    scores = "  ".join(f"{name} {value:.3f}" for name, value in checkup.scores.items() if value is not None)
    signs = "  ".join(
        f"{word} {checkup.signs[name]:{'.0%' if 'accuracy' in name else '.3g'}}"
        for name, word in SIGNS.items()
        if name in checkup.signs
    )
    lines = [f"step {step}: {say(checkup.signs, LOSSES)}; validation: {scores}", f"  health: {signs}"]
    lines += [f"  warning: {words}" for words in checkup.illnesses.values()]
    for line in lines:
        talk.print(line, highlight=False, soft_wrap=True)
