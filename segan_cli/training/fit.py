"""The loop: steps, logs, validations, checkpoints."""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.checkpoint import save_model
from segan_cli.config import TrainingConfig
from segan_cli.data.loader import Drawn, Key, Windows, batches, drawn_apart
from segan_cli.data.mixing import Source
from segan_cli.errors import TrainingError
from segan_cli.networks.discriminator import Discriminator
from segan_cli.schema import plain
from segan_cli.training.adversary import Report
from segan_cli.training.health import diversity
from segan_cli.training.journal import Journal, rewind
from segan_cli.training.processes import Processes
from segan_cli.training.state import TrainState
from segan_cli.training.step import Batch, prepare, rate_by_pesq, train_step
from segan_cli.training.validation import Scores, Validation

Array = NDArray[np.float32]
T = TypeVar("T")

DIVERSITY_WINDOWS = 4  # on which the generator's diversity is measured
RECENT = 50  # steps over which the pace is measured
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # in the words of torch


@dataclass(frozen=True)
class Pace:
    """How fast a training is."""

    steps_per_s: float
    audio_per_s: float  # seconds of windows in a second: also hours in an hour
    waiting: float  # share of the time spent waiting for windows


class Watcher(Protocol):
    """Who is told how a training goes; of several processes, that of the first."""

    def stepped(self, step: int, numbers: Report, pace: Pace) -> None:
        """A step was taken."""

    def checked(self, step: int, signs: Report, illnesses: dict[str, str]) -> None:
        """The training's health was examined: means of the last steps; name → what is wrong and what to do."""

    def validated(self, step: int, scores: Scores, noisy: Scores, best: bool) -> None:
        """The scores of the model of an earlier step have come in; `noisy` are those of the unprocessed utterances."""


class Clock:
    """Measures the pace over the last steps."""

    def __init__(self, batch_s: float) -> None:
        self.batch_s = batch_s  # seconds of windows a step
        self.waited = 0.0
        self.marks = deque([(time.monotonic(), 0.0)], RECENT + 1)

    def wait(self, feed: Iterator[T]) -> T:
        """The next of a feed, the time it takes counted as waiting."""
        began = time.monotonic()
        item = next(feed)
        self.waited += time.monotonic() - began
        return item

    def pace(self) -> Pace:
        """The pace, once a step."""
        self.marks.append((time.monotonic(), self.waited))
        seconds = max(self.marks[-1][0] - self.marks[0][0], 1e-9)
        rate = (len(self.marks) - 1) / seconds
        return Pace(rate, rate * self.batch_s, (self.marks[-1][1] - self.marks[0][1]) / seconds)


class Keeper:
    """Keeps what a run folder gets: `log.jsonl`, `last.pt`, `best.safetensors` and, if asked, models of some steps."""

    def __init__(
        self, state: TrainState, validation: Validation, journal: Journal, run: Path, watcher: Watcher
    ) -> None:
        self.state, self.validation, self.journal, self.run, self.watcher = state, validation, journal, run, watcher
        if journal.noisy is None:
            validation.start_noisy()
        if state.training.log_windows:
            rewind(run / "windows.jsonl", state.step)
        at_validation = state.step and state.step % state.training.validate_every == 0
        if not validation.go_on(state.step, state.device) and at_validation and not journal.validated(state.step):
            validation.start(state.candidate())
        if state.step == 0:
            self.save()  # a resumption needs the weights that a training began with

    def log(self, pace: Pace, windows: Windows, source: Source) -> None:
        """Write and tell what is due after this step; raises TrainingError when the output is not finite."""
        state, config = self.state, self.state.training
        last = state.step == config.steps
        due = last or state.step % config.validate_every == 0
        variety = measure_diversity(state, source, windows) if due else {}
        if due or state.step % config.log_every == 0:
            signs = {**state.health.means(config.log_every), **variety}
            line: dict[str, Any] = {
                "step": state.step,
                **signs,
                "audio_per_s": pace.audio_per_s,
                "waiting": pace.waiting,
            }
            if due:
                illnesses = state.health.diagnose(variety)
                line["illnesses"] = list(illnesses)
                self.watcher.checked(state.step, signs, illnesses)
            self.journal.write(line)
        if due:
            self.collect(wait=True)
            self.validation.start(state.candidate())
            self.save()
        self.collect(wait=last)

    def collect(self, wait: bool) -> None:
        """Take in the scores that have come, keep the best model."""
        pending = self.validation.pending
        if pending is None or not (wait or pending.done()):
            return
        config = self.state.training
        model, scores, sounds = self.validation.finish()
        step, score = model.provenance["steps"], scores[config.best_by]
        known = self.journal.best(config.best_by)
        best = (score is not None and score > known) or not (self.run / "best.safetensors").exists()
        if best:
            save_model(self.run / "best.safetensors", model)
        if config.keep:
            save_model(self.run / f"step-{step:07d}.safetensors", model)
            for old in sorted(self.run.glob("step-*.safetensors"))[: -config.keep]:
                old.unlink()
        if self.journal.noisy is None:
            self.journal.write({"step": 0, "noisy": self.validation.finish_noisy()})
        self.journal.write({"step": step, "validation": scores})
        self.journal.show(step, sounds, model.config.sample_rate_hz)
        self.validation.forget()
        self.watcher.validated(step, scores, self.journal.noisy or {}, best)

    def log_windows(self, drawn: Drawn, keys: Sequence[Key]) -> None:
        """Write down how the windows of a turn are made."""
        with (self.run / "windows.jsonl").open("a", encoding="utf-8") as file:
            for key in keys:
                file.write(json.dumps({"step": key[0] + 1, "key": key, **plain(drawn.spec(key))}) + "\n")

    def save(self) -> None:
        """Write the state that a resumed training starts from."""
        self.state.save(self.run / "last.pt")


def fit(
    state: TrainState,
    source: Source,
    validation: Sequence[tuple[Array, Array]],
    run: Path,
    pool: Executor,
    watcher: Watcher,
    workers: int = 0,
    tensorboard: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train to the last step, or until `stop`, and keep the run folder; → whether it came to the end.

    `validation` holds noisy and clean utterances [n], `workers` processes render windows. Raises TrainingError when a
    loss or a gradient is not finite or memory runs out; the checkpoints before stay.
    """
    config, processes = state.training, state.processes
    windows = windows_of(config, state.model.window, processes)
    stopped = False
    try:
        judge = state.discriminator
        if state.step == 0 and isinstance(judge, Discriminator) and judge.config.norm == "virtual":
            reference = prepare(state, *drawn_apart(source, windows, config.reference_windows))
            judge.set_reference(reference.clean, state.adversary.beside(reference.clean, reference.noisy))
        rate = rate_by_pesq(pool) if config.adversarial.objective == "metricgan" else None
        keeper = None
        if processes.first:
            journal = Journal(run, state.step, tensorboard)
            keeper = Keeper(state, Validation(validation, pool, run), journal, run, watcher)
        clock = Clock(config.batch_size * state.model.window / state.model.sample_rate_hz)
        feed = batches(source, windows, state.step, workers, pin=state.device.type == "cuda")

        def draw() -> Batch:
            noisy, clean, keys = clock.wait(feed)
            if keeper is not None and config.log_windows:
                keeper.log_windows(Drawn(source, windows), keys)
            return prepare(state, noisy, clean, keys)

        while state.step < config.steps and not stopped:
            report, stopped = together(train_step(state, draw, rate), stop(), processes)
            state.health.observe(report)
            if keeper is not None:
                pace = clock.pace()
                watcher.stepped(state.step, report, pace)
                keeper.log(pace, windows, source)
        if keeper is not None and stopped:
            keeper.save()
    except (TrainingError, RuntimeError, MemoryError) as error:
        raise explained(error, config, f"step {state.step + 1}", state.device, run) from error
    return not stopped


def windows_of(config: TrainingConfig, window: int, processes: Processes) -> Windows:
    """Which windows a process gets; raises TrainingError when a batch cannot be shared and sliced as asked."""
    game, numbers = config.adversarial, processes.share(config.batch_size)
    if len(numbers) % config.accumulate:
        raise TrainingError(
            f"a process' {len(numbers)} windows a step are no multiple of training.accumulate {config.accumulate}"
        )
    turns, start = (game.discriminator_steps, game.start) if game.weight else (1, 0)
    return Windows(config.seed, window + 1, turns, start, numbers)


def together(report: Report, stop: bool, processes: Processes) -> tuple[Report, bool]:
    """The mean of the numbers of all processes, and whether one of them was told to stop."""
    if processes.size == 1:
        return report, stop
    values = processes.mean(torch.tensor([*report.values(), float(stop)], dtype=torch.float32, device=processes.device))
    *means, stopping = values.tolist()
    return dict(zip(report, means, strict=True)), stopping > 0


def explained(error: Exception, config: TrainingConfig, when: str, device: torch.device, run: Path) -> Exception:
    """An error of a training in words for the user, or as it is where it is none of theirs."""
    kept = f"; {run / 'last.pt'} keeps the last good state" if (run / "last.pt").exists() else ""
    if isinstance(error, TrainingError):
        return TrainingError(f"{error}{kept}")
    if "DataLoader worker" in str(error):
        return TrainingError(
            f"{when}: a process that prepares windows died; is there enough memory, in /dev/shm too? Use fewer"
            f" --workers, or 0{kept}"
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = " ".join(str(error).split())[:200]
        return TrainingError(f"{when}: torch.compile does not work here ({reason}); set training.compile=false{kept}")
    if not isinstance(error, MemoryError) and not any(words in str(error) for words in NO_MEMORY):
        return error
    slices = [n for n in range(config.accumulate + 1, config.batch_size + 1) if config.batch_size % n == 0]
    hint = f"training.accumulate={slices[0]} or " if slices else ""
    return TrainingError(
        f"{when}: memory of {device} ran out with batch_size {config.batch_size} in {config.accumulate} slices; set"
        f" {hint}a smaller training.batch_size{kept}"
    )


def measure_diversity(state: TrainState, source: Source, windows: Windows) -> Report:
    """Diversity of the generator on windows and z of their own, the same at every call.

    Raises TrainingError when its output is not finite.
    """
    batch = prepare(state, *drawn_apart(source, windows, DIVERSITY_WINDOWS))
    other = None if batch.z is None else batch.z.roll(1, 0)
    report = diversity(lambda z: state.generator(batch.noisy, z), (batch.z, other))
    if not all(map(math.isfinite, report.values())):
        raise TrainingError(f"step {state.step}: the generator's output is not finite; lower the learning rates")
    return report
