"""What `segan train` does once it knows the recipe: data, account, training, what it tells on the way."""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from rich.progress import Progress

from segan_cli import __version__
from segan_cli.atomic import write_whole
from segan_cli.cli.console import progress_bar, say
from segan_cli.config import Recipe
from segan_cli.data.cache import Cache
from segan_cli.data.gather import Found
from segan_cli.data.mixing import Pair, draw_utterances, spec_from_dict
from segan_cli.data.sources import Sources, open_sources
from segan_cli.data.split import load_split, save_split
from segan_cli.errors import ConfigError, CorpusError, StoppedError, TrainingError
from segan_cli.machine import cores
from segan_cli.plain_json import read_json
from segan_cli.recipe import recipe_text
from segan_cli.schema import plain
from segan_cli.stopping import Stop, hearing
from segan_cli.training.adversary import Report
from segan_cli.training.fit import Pace, explained, fit, windows_of
from segan_cli.training.journal import check_tensorboard
from segan_cli.training.processes import Processes
from segan_cli.training.start import start_from
from segan_cli.training.state import TrainState
from segan_cli.training.validation import Scores
from segan_cli.workers import worker_pool

NAMED = 3  # files left out that are named on the screen; all are in data.json
LOSSES = ("l1", "spectral", "stft", "perceptual", "stoi", "adversarial", "discriminator")
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
    "quality_undefined": "undefined PESQ a step",
}
SCORES = {"pesq_wb": "PESQ", "stoi": "STOI", "si_sdr_db": "SI-SDR"}


def start(
    recipe: Recipe,
    run: Path,
    resume: bool,
    init: str | None,
    processes: Processes,
    cache: Path,
    workers: int | None,
    tensorboard: bool,
) -> None:
    """Train by a recipe in a run folder; raises StoppedError when a signal stopped it."""
    windows_of(recipe.training, recipe.model.window, processes)  # what cannot be shared is said before data is read
    if tensorboard:
        check_tensorboard()
    sources = read(recipe, run, resume, processes, cache)
    try:
        state = TrainState(recipe.model, recipe.training, processes)
    except (RuntimeError, MemoryError) as error:
        raise explained(error, recipe.training, "at the start", processes.device, run) from error
    if resume and (run / "last.pt").exists():
        for line in state.load(run / "last.pt"):
            if processes.first:
                say(f"changed since the last start: {line}")
    elif init is not None:
        start_from(state, init)
    command = shlex.join(["segan", *sys.argv[1:]])
    state.history.append(
        {"command": command, "data": [*map(describe, sources.found)], "from_step": state.step, "segan": __version__}
    )
    mixes: list[Pair] = []
    if processes.first:
        write(run / "recipe.toml", recipe_text(recipe))
        write(run / "data.json", json.dumps([asdict(f) for f in sources.found], indent=1) + "\n")
        save_split(run / "split.json", sources.sides)
        mixes = validation_mixes(sources, recipe, run / "validation.jsonl")
        several = f" by {processes.size} processes" if processes.size > 1 else ""
        say(f"training on {processes.device}{several}, into {run}")
    if workers is None:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        workers = 1 if processes.device.type == "cpu" else min(8, max(1, cores() // here - 1))
    with hearing(Stop()) as stop, progress_bar(processes.first) as bar, worker_pool() as pool:
        screen = Screen(bar, recipe.training.steps, state.step)
        finished = fit(state, sources.training, mixes, run, pool, screen, workers, tensorboard, stop)
    if not processes.first:
        return
    if not finished:
        again = shlex.join(["segan", "train", "--run-dir", str(run), "--resume"])
        raise StoppedError(
            f"stopped at step {state.step}; {run / 'last.pt'} is saved, go on by: {again}", stop.signal_number
        )
    model = shlex.quote(str(run / "best.safetensors"))
    say(f"best model: {screen.best or 'as it was before'}")
    say(f"use it:     segan enhance noisy.wav -o clean.wav --model {model}")


def read(recipe: Recipe, run: Path, resume: bool, processes: Processes, cache: Path) -> Sources:
    """Open the sources, one process of a machine before the others, and say what was found."""
    leads = int(os.environ.get("LOCAL_RANK", 0)) == 0
    if not leads:
        processes.wait()
    before = load_split(run / "split.json") if resume and (run / "split.json").exists() else None
    training, rate_hz = recipe.training, recipe.model.sample_rate_hz
    with progress_bar(leads) as bar:

        def progress(place: str) -> "Reading":
            return Reading(bar, place)

        sources = open_sources(
            recipe.data, training.mixing, training.seed, Cache(cache, rate_hz), before, progress if leads else None
        )
    if leads:
        processes.wait()
    if processes.first:
        tell(sources)
    return sources


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Hold a run folder for this training alone; one that stays empty is removed.

    Raises TrainingError when another training has it.
    """
    run.mkdir(parents=True, exist_ok=True)
    place = run / ".lock"
    try:
        with FileLock(place, blocking=False):
            try:
                yield
            finally:
                place.unlink(missing_ok=True)
    except Timeout as error:
        raise TrainingError(f"{run}: another training is at work in it; name another --run-dir") from error
    finally:
        if not any(run.iterdir()):
            run.rmdir()


class Reading:
    """A bar for one entry of the data."""

    def __init__(self, bar: Progress, place: str) -> None:
        self.bar, self.task = bar, bar.add_task(f"reading {place}", total=None, note="")

    def __call__(self, done: int, total: int) -> None:
        """Files read, and files in all."""
        self.bar.update(self.task, completed=done, total=total)


def tell(sources: Sources) -> None:
    """Print what was found, what is left out and why, and how it is split."""
    for f in sources.found:
        say(describe(f))
        for note in f.notes:
            say(f"  note: {note}")
        for line in f.skipped[:NAMED]:
            say(f"  left out: {line}")
        if len(f.skipped) > NAMED:
            say(f"  left out: {len(f.skipped) - NAMED} more, listed in data.json")
    for kind, both in sources.sides.items():
        files = [sum(map(len, side)) for side in both]
        groups = [len({group for recordings in side for group in recordings.groups()}) for side in both]
        if any(files):
            say(f"{kind}: {groups[0]} in {files[0]} files to train on, {groups[1]} others in {files[1]} to validate on")
    for note in sources.notes:
        say(f"note: {note}")


def describe(found: Found) -> str:
    """One line on an entry of the data."""
    facts = [found.layout, f"{found.utterances} files, {found.seconds / 3600:.2f} h of {found.kind}"]
    if found.kind in ("speech", "pairs"):
        facts.append(f"{found.groups} speakers" if found.speakers_known else "speakers unknown")
    facts += [" and ".join(f"{rate / 1000:g}" for rate in sorted(found.rates_hz)) + " kHz"]
    facts += [f"{len(found.skipped)} left out"] * bool(found.skipped) + [f"weight {found.weight:g}"] * (
        found.weight != 1
    )
    return f"{found.place}: {', '.join(facts)}"


def validation_mixes(sources: Sources, recipe: Recipe, path: Path) -> list[Pair]:
    """The utterances of every validation, rendered as the run's file of specs says; drawn and written where it is new.

    Raises CorpusError when the file names a recording that is no longer there.
    """
    try:
        if path.exists():
            specs = [spec_from_dict(read_json(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            specs = draw_utterances(sources.validation, recipe.training.validation_mixes, recipe.training.seed)
            write(path, "".join(json.dumps(plain(spec)) + "\n" for spec in specs))
        return [sources.validation.render(spec) for spec in specs]
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        reason = f"needs {error.args[0]}, which the data no longer holds" if isinstance(error, KeyError) else str(error)
        raise CorpusError(f"{path}: {reason}; bring it back, or remove {path.name} to draw new mixes") from error


def write(path: Path, text: str) -> None:
    """Write a small file of the run in one go."""
    write_whole(path, text.encode(errors="surrogateescape"))  # names of folders may be any bytes


class Screen:
    """Draws a training: the bar, check-ups, validation scores."""

    def __init__(self, bar: Progress, steps: int, first: int) -> None:
        self.bar, self.task = bar, bar.add_task("training", total=steps, completed=first, note="")
        self.best = ""

    def stepped(self, step: int, numbers: Report, pace: Pace) -> None:
        """Move the bar."""
        speed = f"{pace.steps_per_s:.2f} steps/s, {pace.audio_per_s:.0f} h of audio/h, {pace.waiting:.0%} waiting"
        self.bar.update(self.task, completed=step, note=f"{words(numbers, LOSSES)}  {speed}  {self.best}")

    def checked(self, step: int, signs: Report, illnesses: dict[str, str]) -> None:
        """Print losses, vital signs and illnesses."""
        health = "  ".join(
            f"{word} {signs[name]:{'.0%' if 'accuracy' in name else '.3g'}}"
            for name, word in SIGNS.items()
            if name in signs
        )
        say(f"step {step}: {words(signs, LOSSES)}; health: {health}")
        for illness in illnesses.values():
            say(f"  warning: {illness}")

    def validated(self, step: int, scores: Scores, noisy: Scores, best: bool) -> None:
        """Print scores beside those of the noisy utterances."""
        line = f"step {step}: " + ", ".join(
            f"{word} {number(scores[name])} (noisy {number(noisy[name])})" for name, word in SCORES.items()
        )
        if best:
            self.best = line
        say(f"validation of {line}{', the best so far' if best else ''}")


def words(numbers: Report, names: Iterable[str]) -> str:
    """The numbers of these names, those that are there, in one line."""
    return "  ".join(f"{name} {numbers[name]:.4f}" for name in names if name in numbers)


def number(score: float | None) -> str:
    """A score as it is printed."""
    return "undefined" if score is None else f"{score:.3f}"
