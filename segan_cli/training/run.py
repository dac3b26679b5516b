"""A training run and its folder: lock, data, validation mixes, recipe, and the loop."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from segan_cli import __version__
from segan_cli.config.recipe import recipe_text
from segan_cli.config.schema import to_dict
from segan_cli.config.training import Recipe, TrainingConfig
from segan_cli.data.cache import Cache, Progress
from segan_cli.data.mixing import NoisyClean, draw_utterances, spec_from_dict
from segan_cli.data.recordings import describe_corpus
from segan_cli.data.training_data import TrainingData, load_split, load_training_data, save_split
from segan_cli.errors import ConfigError, CorpusError, OutputError, SeganError, TrainingError
from segan_cli.process.workers import worker_pool
from segan_cli.storage.atomic import locked, write_whole
from segan_cli.storage.new_folders import new_folder
from segan_cli.system import cpu_count, require_extra
from segan_cli.text import counted, read_json
from segan_cli.training.distributed import Processes
from segan_cli.training.loop import TrainingCallback, sampling_plan, train
from segan_cli.training.state import TrainState

NEW_MIXES = "move validation.jsonl, log.jsonl and best.safetensors away to draw new mixes"
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # torch's messages
MAX_WORKERS = 8  # processes that render segments by default, measured to suffice for one GPU (docs/training.md)


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that are not part of its recipe."""

    run_dir: Path
    cache: Path  # folder of decoded audio
    resume: bool = False
    init: str | None = None  # model or state to start from
    workers: int | None = None  # processes that render segments; None: chosen by device
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """A training run that is ready to start or resume."""

    state: TrainState
    data: TrainingData
    mixes: list[NoisyClean]  # validation, in the main process
    options: RunOptions
    changes: list[str]  # a line for each setting that differs from the previous start

    def train(self, callback: TrainingCallback, stop: Callable[[], bool]) -> bool:
        """Train to the last step, or until `stop` returns true; returns whether it was reached."""
        state, options, run_dir = self.state, self.options, self.options.run_dir
        workers = default_workers(state.device) if options.workers is None else options.workers
        with explained_errors(state.training, state.device, run_dir, state), worker_pool() as pool:
            return train(
                state, self.data.training, self.mixes, run_dir, pool, callback, workers, options.tensorboard, stop
            )


def open_state(recipe: Recipe, options: RunOptions, processes: Processes) -> tuple[TrainState, list[str]]:
    """Create or load the state; returns a line for each changed setting too. Raises CheckpointError, TrainingError."""
    run_dir, training = options.run_dir, recipe.training
    with explained_errors(training, processes.device, run_dir):
        state = TrainState(recipe.model, training, processes)
    if not options.resume:
        if options.init is not None:
            state.start_from(options.init)
        return state, []
    changes = state.load(run_dir / "last.pt")
    if state.step > training.steps:
        raise TrainingError(
            f"{run_dir}: is at step {state.step} already, beyond --steps {training.steps}; give the total number"
        )
    return state, changes


def open_data(
    recipe: Recipe, options: RunOptions, processes: Processes, progress: Callable[[str], Progress]
) -> TrainingData:
    """Open the data, which one process of each machine decodes; raises ConfigError, CorpusError, TrainingError."""
    training, run_dir = recipe.training, options.run_dir
    sampling_plan(training, recipe.model.segment_length, processes)  # fails before any data is read
    check_mixes(run_dir / "validation.jsonl", training.validation_mixes)
    if options.tensorboard:
        require_extra("tensorboard", "--tensorboard")
    is_first_here = int(os.environ.get("LOCAL_RANK", 0)) == 0
    if not is_first_here:
        processes.barrier()
    split = run_dir / "split.json"
    previous = load_split(split) if options.resume and split.exists() else None
    cache = Cache(options.cache, recipe.model.sample_rate_hz)
    data = load_training_data(
        recipe.data, training.mixing, training.seed, cache, previous, progress if is_first_here else None
    )
    if is_first_here:
        processes.barrier()
    return data


def prepare_run(
    recipe: Recipe, options: RunOptions, state: TrainState, changes: list[str], data: TrainingData
) -> TrainingRun:
    """Write the run folder; raises CorpusError."""
    run_dir = options.run_dir
    command = shlex.join(["segan", *sys.argv[1:]])
    corpora = [*map(describe_corpus, data.corpora)]
    state.history.append({"command": command, "data": corpora, "from_step": state.step, "segan": __version__})
    mixes: list[NoisyClean] = []
    if state.processes.is_main:
        if not options.resume:
            state.save(run_dir / "last.pt")  # from which a training that stops before its first validation resumes
        mixes = validation_mixes(data, recipe.training, run_dir / "validation.jsonl")  # fails before files are replaced
        write_whole(run_dir / "recipe.toml", recipe_text(recipe))
        write_whole(run_dir / "data.json", json.dumps([asdict(corpus) for corpus in data.corpora], indent=1) + "\n")
        save_split(run_dir / "split.json", data)
    return TrainingRun(state, data, mixes, options, changes)


def default_workers(device: torch.device) -> int:
    """Number of processes that render segments: at most 1 on a CPU, up to 8 of the share of cores of a GPU."""
    if device.type == "cpu":
        return min(1, max(0, cpu_count() - 2))
    return min(MAX_WORKERS, max(1, cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1))


@contextmanager
def lock_run_dir(run_dir: Path) -> Iterator[None]:
    """Lock a run folder; raises TrainingError if another training uses it. Folders made here are removed if empty."""
    with new_folder(run_dir), ExitStack() as stack:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(locked(run_dir / "training"))
        except OutputError as error:
            raise TrainingError(f"{run_dir}: another training run uses it; give another --run-dir") from error
        yield


def validation_mixes(data: TrainingData, training: TrainingConfig, path: Path) -> list[NoisyClean]:
    """The validation utterances, whose specs are in a file or drawn; raises CorpusError if a recording is gone."""
    try:
        if path.exists():
            specs = [spec_from_dict(read_json(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            specs = draw_utterances(data.validation, training.validation_mixes, training.seed)
            write_whole(path, "".join(json.dumps(to_dict(spec)) + "\n" for spec in specs))
        return [data.validation.render(spec) for spec in specs]
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        reason = (
            f"needs {error.args[0]}, which the data no longer contains" if isinstance(error, KeyError) else str(error)
        )
        raise CorpusError(f"{path}: {reason}; restore it, or {NEW_MIXES}") from error


def check_mixes(path: Path, n_wanted: int) -> None:
    """Raise TrainingError if the number of validation mixes in a file is not the wanted one."""
    n_drawn = path.read_bytes().count(b"\n") if path.exists() else n_wanted
    if n_drawn != n_wanted:
        raise TrainingError(
            f"{path}: has {n_drawn} mixes, not {n_wanted}; scores of different numbers of mixes cannot be compared, so"
            f" keep validation_mixes={n_drawn}, or {NEW_MIXES}"
        )


@contextmanager
def explained_errors(
    config: TrainingConfig, device: torch.device, run_dir: Path, state: TrainState | None = None
) -> Iterator[None]:
    """Raise errors of the block as TrainingError with a remedy, or unchanged if they are bugs."""
    try:
        yield
    except ConfigError:  # of an option, before the training
        raise
    except (SeganError, RuntimeError, MemoryError) as error:
        reason = explain(error, config, device)
        if reason is None:
            raise
        when = "" if isinstance(error, SeganError) else f"step {state.step + 1}: " if state else "at the start: "
        kept = f"; {run_dir / 'last.pt'} keeps the last good state" if (run_dir / "last.pt").exists() else ""
        raise TrainingError(f"{when}{reason}{kept}") from error


def explain(error: Exception, config: TrainingConfig, device: torch.device) -> str | None:
    """What went wrong in training, and what to do; None for a bug."""
    text = " ".join(str(error).split())
    if isinstance(error, SeganError):
        return str(error)
    if "DataLoader worker" in text:
        return (
            "a data loading process died; make sure that memory and /dev/shm are large enough, or use fewer --workers"
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile does not work here ({text[:200]}); set training.compile=false"
    if not isinstance(error, MemoryError) and not any(words in text for words in OUT_OF_MEMORY):
        return None
    n_parts = config.gradient_accumulation_steps
    more = [n for n in range(n_parts + 1, config.batch_size + 1) if config.batch_size % n == 0]
    hint = f"training.gradient_accumulation_steps={more[0]} or " if more else ""
    return (
        f"{device} ran out of memory with batch_size {config.batch_size} in {counted(n_parts, 'part')};"
        f" set {hint}a smaller training.batch_size"
    )
