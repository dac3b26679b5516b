"""Cases and systems to rows of scores."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segan_cli.errors import CorpusError
from segan_cli.evaluation.cases import Case, Cases, of_system
from segan_cli.evaluation.scoring import Job, Result, lag, score, signals
from segan_cli.evaluation.store import Store
from segan_cli.measures.catalog import RATE_HZ
from segan_cli.measures.score import Score, Undefined
from segan_cli.tracebacks import in_words
from segan_cli.workers import worker_pool

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]  # scores done, scores in all

NOISY = "noisy"  # the name of what is there before any system
STEADY = 0.8  # share of the files whose delay is the same for it to be the system's
NEAR = 1  # samples between delays that count as the same
AHEAD = 8  # pairs that wait for a worker; more would lie in memory


class System(Protocol):
    """What makes enhanced signals of noisy ones."""

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] → enhanced [n]."""


@dataclass(frozen=True)
class Row:
    """One case and its scores by every system that has a file for it."""

    case: Case
    scores: Mapping[str, Mapping[str, Score]]  # system → measure → score


@dataclass
class Account:
    """What was used, and what was not."""

    left: list[str] = field(default_factory=list)  # a line each
    rates_hz: Counter[int] = field(default_factory=Counter)  # of the files that were read
    channels: Counter[int] = field(default_factory=Counter)
    cut: int = 0  # pairs of unequal length
    delays: dict[str, int] = field(default_factory=dict)  # system → samples at 16 kHz by which all of it comes late
    aligned: bool = False  # whether delays were taken away before scoring


@dataclass(frozen=True)
class Run:
    """An evaluation that was done."""

    rows: tuple[Row, ...]
    systems: tuple[str, ...]
    measures: tuple[str, ...]
    account: Account
    files: Mapping[str, Mapping[str, Path]]  # system → case → its file


@dataclass(frozen=True)
class Request:
    """What is to be evaluated."""

    cases: Cases
    measures: tuple[str, ...]
    folders: Mapping[str, Path] = field(default_factory=dict)  # systems whose files are there
    models: Mapping[str, System] = field(default_factory=dict)  # systems that are run
    align: bool = False  # take a system's constant delay away before it is scored
    jobs: int | None = None  # worker processes; none: one a core
    store: Store | None = None  # of scores measured before


def evaluate(request: Request, progress: Progress | None = None) -> Run:
    """Score the noisy signals and every system against the clean ones.

    A file that cannot be used is left out and told in the account; a case whose noisy or clean file cannot be used is
    left out whole. Raises CorpusError when nothing is left.
    """
    cases = request.cases.all
    account = Account(list(request.cases.left), aligned=request.align)
    files: dict[str, dict[str, Path]] = {}
    for system, folder in request.folders.items():
        files[system], left = of_system(folder, cases)
        account.left += left
    with worker_pool(request.jobs) as pool:
        tasks = Tasks(request, files)
        if request.align:
            for system in (NOISY, *files):
                account.delays |= constant(system, list(pool.map(lag, tasks.of_files(system).values())))
        results = tasks.run(pool, account.delays, progress)
    systems = (NOISY, *files, *request.models)
    rows = []
    for case in cases:
        found = results.get(case.name, {})
        before = found.get(NOISY)
        account.left += sorted({reason for reason in found.values() if isinstance(reason, str)})
        if not isinstance(before, Result):
            continue
        good = {system: result for system in systems if isinstance(result := found.get(system), Result)}
        for result in good.values():
            account.cut += result.cut > 0
        for result in (good[name] for name in (NOISY, *files) if name in good):
            account.rates_hz.update(result.rates_hz[-1:] if result is not before else result.rates_hz)
            account.channels.update(result.channels[-1:] if result is not before else result.channels)
        rows.append(Row(case, {system: result.scores for system, result in good.items()}))
    if not rows:
        raise CorpusError(f"nothing could be scored; first: {account.left[0]}")
    if not request.align:
        for system in systems:
            lags = [r.lag for found in results.values() if isinstance(r := found.get(system), Result)]
            account.delays |= constant(system, lags)
    return Run(tuple(rows), systems, request.measures, account, files)


def constant(system: str, lags: Sequence[int | None]) -> dict[str, int]:
    """The delay that nearly all files of a system share, by the system's name; nothing when there is none."""
    told = [late for late in lags if late is not None]
    if not told:
        return {}
    middle = int(np.median(told))
    share = np.mean([abs(late - middle) <= NEAR for late in told])
    return {system: middle} if abs(middle) > NEAR and share >= STEADY else {}


class Tasks:
    """The jobs of a request, and their results."""

    def __init__(self, request: Request, files: Mapping[str, Mapping[str, Path]]) -> None:
        self.request, self.files = request, files

    def of_files(self, system: str) -> dict[str, Job]:
        """Jobs by case on what lies in files, or is mixed from such."""
        measures, store = self.request.measures, self.request.store
        return {
            case.name: Job(
                case.clean, case.noisy if system == NOISY else self.files[system][case.name], measures, store=store
            )
            for case in self.request.cases.all
            if system == NOISY or case.name in self.files[system]
        }

    def named(self) -> Iterator[tuple[str, str, Job | str]]:
        """Case, system and job, or why there is none.

        Models run here, case by case, and not on what the noisy's own job will tell of.
        """
        for system in (NOISY, *self.files):
            for name, job in self.of_files(system).items():
                yield name, system, job
        for case in self.request.cases.all if self.request.models else ():
            try:
                noisy = signals(case.clean, case.noisy)[1].samples
            except Exception:  # of whatever library
                continue
            for system, model in self.request.models.items():
                try:
                    enhanced = model.enhance(noisy, RATE_HZ)
                except Exception as error:
                    yield case.name, system, in_words(error, f"{case.name} by {system}")
                else:
                    job = Job(case.clean, enhanced, self.request.measures, store=self.request.store)
                    yield case.name, system, job

    def run(
        self, pool: Executor, delays: Mapping[str, int], progress: Progress | None
    ) -> dict[str, dict[str, Result | str]]:
        """Results by case and system."""
        shifts = delays if self.request.align else {}
        n = len(self.request.cases.all)
        total = n * (1 + len(self.request.models)) + sum(map(len, self.files.values()))
        results: dict[str, dict[str, Result | str]] = {case.name: {} for case in self.request.cases.all}
        waiting: list[tuple[str, str, Future[Result | str]]] = []
        done = 0

        def finish() -> None:
            nonlocal done
            case, system, future = waiting.pop(0)
            results[case][system] = future.result()
            done += 1
            if progress is not None:
                progress(done, total)

        for case, system, job in self.named():
            if isinstance(job, str):
                results[case][system] = job
                continue
            waiting.append((case, system, pool.submit(score, replace(job, shift=shifts.get(system, 0)))))
            if len(waiting) > AHEAD:
                finish()
        while waiting:
            finish()
        return results


def scores_of(rows: Sequence[Row], system: str, measure: str) -> list[Score]:
    """One measure of one system over all rows; undefined where the system has no file."""
    nothing: Mapping[str, Score] = {}
    return [row.scores.get(system, nothing).get(measure, Undefined("no file")) for row in rows]
