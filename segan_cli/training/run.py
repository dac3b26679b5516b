"""A training and its run folder: lock, data, validation mixes, recipe, and the loop."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from segan_cli import __version__
from segan_cli.atomic import write_whole
from segan_cli.config.recipe import recipe_text
from segan_cli.config.schema import to_dict
from segan_cli.config.training import Recipe
from segan_cli.data.cache import Cache, Progress
from segan_cli.data.corpora import describe_corpus
from segan_cli.data.mixing import NoisyClean, draw_utterances, spec_from_dict
from segan_cli.data.split import load_split, save_split
from segan_cli.data.training_data import TrainingData, load_training_data
from segan_cli.errors import ConfigError, CorpusError, TrainingError
from segan_cli.extras import require_extra
from segan_cli.losses.reconstruction import Reconstruction
from segan_cli.plain_json import read_json
from segan_cli.system import cpu_count
from segan_cli.training.distributed import Processes
from segan_cli.training.init import start_from
from segan_cli.training.loop import explained, sampling_plan, train
from segan_cli.training.recorder import TrainingCallback
from segan_cli.training.state import TrainState
from segan_cli.workers import worker_pool


class RunCallback(TrainingCallback, Protocol):
    """Receives the progress of a run, reading of data included, in the main process only."""

    def on_reading(self, place: str) -> Progress:
        """A source of the data is being read; returns a callback for the number of files done and in total."""

    def on_data(self, sources: TrainingData) -> None:
        """All data has been read and split."""

    def on_change(self, line: str) -> None:
        """A setting differs from that of the previous start."""

    def on_start(self, processes: Processes, run: Path, steps: int, first_step: int) -> None:
        """The training loop begins."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that are not part of its recipe."""

    run: Path  # folder
    cache: Path  # folder of decoded audio
    resume: bool = False
    init: str | None = None  # model or state to start from
    workers: int | None = None  # processes that render segments; None: chosen by device
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """A training that is ready to start or to resume."""

    state: TrainState
    sources: TrainingData
    mixes: list[NoisyClean]  # validation, in the main process
    options: RunOptions

    def train(self, callback: RunCallback, stop: Callable[[], bool]) -> bool:
        """Train to the last step or until `stop` returns true; returns whether the last step was reached.

        Raises TrainingError if the training cannot continue.
        """
        options, processes = self.options, self.state.processes
        workers = default_workers(processes) if options.workers is None else options.workers
        if processes.is_main:
            callback.on_start(processes, options.run, self.state.training.steps, self.state.step)
        with worker_pool() as pool:
            return train(
                self.state, self.sources.training, self.mixes, options.run, pool, callback, workers,
                options.tensorboard, stop,
            )  # fmt: skip


def prepare_run(recipe: Recipe, options: RunOptions, processes: Processes, callback: RunCallback) -> TrainingRun:
    """Read the data, create or load the state, and write recipe, data and split to the run folder.

    Raises ConfigError, CorpusError, CheckpointError or TrainingError if the training cannot start.
    """
    run = options.run
    sampling_plan(recipe.training, recipe.model.segment_length, processes)  # fails before any data is read
    Reconstruction(recipe.training.reconstruction())  # as does this, for a loss that is not installed
    check_mixes(run / "validation.jsonl", recipe.training.validation_mixes)
    if options.tensorboard:
        require_extra("tensorboard", "--tensorboard")
    sources = open_data(recipe, options, processes, callback)
    try:
        state = TrainState(recipe.model, recipe.training, processes)
    except (RuntimeError, MemoryError) as error:
        raise explained(error, recipe.training, "at the start", processes.device, run) from error
    if options.resume and (run / "last.pt").exists():
        for line in state.load(run / "last.pt"):
            if processes.is_main:
                callback.on_change(line)
    elif options.init is not None:
        start_from(state, options.init)
    command = shlex.join(["segan", *sys.argv[1:]])
    state.history.append(
        {
            "command": command,
            "data": [*map(describe_corpus, sources.corpora)],
            "from_step": state.step,
            "segan": __version__,
        }
    )
    mixes: list[NoisyClean] = []
    if processes.is_main:
        write_text(run / "recipe.toml", recipe_text(recipe))
        write_text(run / "data.json", json.dumps([asdict(corpus) for corpus in sources.corpora], indent=1) + "\n")
        save_split(run / "split.json", sources.splits)
        mixes = validation_mixes(sources, recipe, run / "validation.jsonl")
    return TrainingRun(state, sources, mixes, options)


def default_workers(processes: Processes) -> int:
    """Number of processes that render segments: up to 8 of the share of cores of this GPU; on a CPU at most 1.

    With two cores or fewer a process beside the training threads slows them down (docs/training.md).
    """
    if processes.device.type == "cpu":
        return min(1, max(0, cpu_count() - 2))
    return min(8, max(1, cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1))


def open_data(recipe: Recipe, options: RunOptions, processes: Processes, callback: RunCallback) -> TrainingData:
    """Open the data, first in one process of each machine, so that every file is decoded once."""
    first_here = int(os.environ.get("LOCAL_RANK", 0)) == 0
    if not first_here:
        processes.barrier()
    split = options.run / "split.json"
    before = load_split(split) if options.resume and split.exists() else None
    training, cache = recipe.training, Cache(options.cache, recipe.model.sample_rate_hz)
    progress = callback.on_reading if first_here else None
    sources = load_training_data(recipe.data, training.mixing, training.seed, cache, before, progress)
    if first_here:
        processes.barrier()
    if processes.is_main:
        callback.on_data(sources)
    return sources


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Lock a run folder for this training; removes the folder if it is still empty at the end.

    Raises TrainingError if another training has locked it.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = run / ".lock"
    try:
        with FileLock(lock, blocking=False):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as error:
        raise TrainingError(f"{run}: another training is running in it; name another --run-dir") from error
    finally:
        if not any(run.iterdir()):
            run.rmdir()


def validation_mixes(sources: TrainingData, recipe: Recipe, path: Path) -> list[NoisyClean]:
    """The validation utterances, rendered from the specs in a file, which is drawn and written if it does not exist.

    Raises CorpusError if the file names a recording that no longer exists.
    """
    try:
        if path.exists():
            specs = [spec_from_dict(read_json(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            specs = draw_utterances(sources.validation, recipe.training.validation_mixes, recipe.training.seed)
            write_text(path, "".join(json.dumps(to_dict(spec)) + "\n" for spec in specs))
        return [sources.validation.render(spec) for spec in specs]
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        reason = f"needs {error.args[0]}, which the data no longer holds" if isinstance(error, KeyError) else str(error)
        raise CorpusError(f"{path}: {reason}; bring it back, or remove {path.name} to draw new mixes") from error


def check_mixes(path: Path, n_wanted: int) -> None:
    """Raise TrainingError if the number of validation mixes in a file is not the wanted one."""
    n_drawn = path.read_bytes().count(b"\n") if path.exists() else n_wanted
    if n_drawn != n_wanted:
        raise TrainingError(
            f"{path}: has {n_drawn} mixes, not {n_wanted}; scores of another number cannot be compared, so keep"
            f" validation_mixes={n_drawn}, or remove {path.name} and log.jsonl"
        )


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    write_whole(path, text.encode(errors="surrogateescape"))  # folder names may be any bytes
