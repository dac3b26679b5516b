"""Score all cases with all systems."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from segan_cli.data.spans import Part
from segan_cli.errors import CorpusError
from segan_cli.evaluation.cases import Case, Cases, match_enhanced
from segan_cli.evaluation.scoring import ScoringResult, ScoringTask, load_pair, measure_delay, score
from segan_cli.evaluation.store import ScoreStore
from segan_cli.measures.catalog import RATE_HZ
from segan_cli.measures.score import Score, Undefined
from segan_cli.tracebacks import in_words
from segan_cli.workers import worker_pool

T = TypeVar("T")
Array = NDArray[np.float32]
Progress = Callable[[int, int], None]  # pairs scored, pairs in total
Files = Mapping[str, Mapping[str, Path | Part]]  # system → case → enhanced file
Delays = dict[str, int]  # system → constant delay, in samples at 16 kHz
Outcomes = dict[str, dict[str, ScoringResult | str]]  # case → system → result, or the reason why there is none

NOISY = "noisy"  # the unprocessed input, listed first among the systems
DELAY_AGREEMENT = 0.8  # fraction of a system's files that must share a delay
DELAY_TOLERANCE = 1  # samples by which shared delays may differ
MAX_QUEUED = 8  # pairs waiting for a worker, to bound memory


class System(Protocol):
    """Anything that enhances noisy speech."""

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] → enhanced [n]."""


@dataclass(frozen=True)
class CaseScores:
    """A case and its scores for every system that has a file for it."""

    case: Case
    scores: Mapping[str, Mapping[str, Score]]  # system → measure → score
    copies: frozenset[str] = frozenset()  # systems whose signal is the clean one


@dataclass
class InputSummary:
    """Properties of the scored files, and a line for each file that was skipped."""

    found: int = 0  # recordings, with those that were skipped
    skipped: list[str] = field(default_factory=list)
    rates_hz: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    truncated: int = 0  # pairs of unequal length
    delays: dict[str, int] = field(default_factory=dict)  # system → constant delay in samples at 16 kHz
    aligned: bool = False  # whether the delays were compensated before scoring


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of all cases."""

    cases: tuple[CaseScores, ...]
    systems: tuple[str, ...]
    measures: tuple[str, ...]
    inputs: InputSummary
    files: Mapping[str, Mapping[str, Path | Part]]  # system → case → enhanced file


@dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate, and how."""

    cases: Cases
    measures: tuple[str, ...]
    folders: Mapping[str, Path] = field(default_factory=dict)  # systems given as folders of enhanced files
    models: Mapping[str, System] = field(default_factory=dict)  # systems to run
    align: bool = False  # compensate the constant delay of each system before scoring
    jobs: int | None = None  # worker processes; None: one per core
    store: ScoreStore | None = None


Runner = Callable[[EvaluationOptions, Files, Progress | None], tuple[Delays, Outcomes]]


def evaluate(
    options: EvaluationOptions, progress: Progress | None = None, runner: Runner | None = None
) -> EvaluationResult:
    """Score the noisy signals and every system against the clean ones, in worker processes or by another `runner`.

    A file that cannot be used is skipped and listed in the input summary; without its noisy or clean file the whole
    case is skipped. Raises CorpusError if nothing could be scored.
    """
    cases = options.cases.all
    inputs = InputSummary(len(cases) + len(options.cases.skipped), list(options.cases.skipped), aligned=options.align)
    files: dict[str, dict[str, Path | Part]] = {}
    for system, folder in options.folders.items():
        files[system], skipped = match_enhanced(folder, cases)
        inputs.skipped += skipped
    systems = (NOISY, *files, *options.models)
    inputs.delays, outcomes = (runner or run_in_workers)(options, files, progress)
    scored = []
    for case in cases:
        results = collect_results(outcomes[case.name], systems, inputs)
        if results:
            summarise_inputs(results, (NOISY, *files), inputs)
            copies = frozenset(system for system, result in results.items() if result.is_copy)
            scored.append(CaseScores(case, {system: result.scores for system, result in results.items()}, copies))
    if not scored:
        raise CorpusError(f"nothing could be scored; first: {inputs.skipped[0]}")
    if not options.align:
        for system in systems:
            delays = [
                r.delay for by_system in outcomes.values() if isinstance(r := by_system.get(system), ScoringResult)
            ]
            inputs.delays |= constant_delay(system, delays)
    return EvaluationResult(tuple(scored), systems, options.measures, inputs, files)


def run_in_workers(options: EvaluationOptions, files: Files, progress: Progress | None) -> tuple[Delays, Outcomes]:
    """Score in worker processes; also returns the delays that were compensated."""
    with worker_pool(options.jobs) as pool:
        scorer = Scorer(options, files, pool)
        delays = shared_delays(scorer.measure_delays(progress)) if options.align else {}
        return delays, scorer.run(delays, progress)


def shared_delays(delays: Mapping[str, Sequence[int | None]]) -> Delays:
    """The constant delay of each system that has one."""
    return {name: delay for system, found in delays.items() for name, delay in constant_delay(system, found).items()}


def collect_results(
    outcomes: Mapping[str, ScoringResult | str], systems: Sequence[str], inputs: InputSummary
) -> dict[str, ScoringResult]:
    """The results of one case by system, none if the noisy signal has none; adds failures to the skipped files."""
    inputs.skipped += sorted({reason for reason in outcomes.values() if isinstance(reason, str)})
    if not isinstance(outcomes.get(NOISY), ScoringResult):
        return {}
    return {system: result for system in systems if isinstance(result := outcomes.get(system), ScoringResult)}


def summarise_inputs(results: Mapping[str, ScoringResult], from_files: Sequence[str], inputs: InputSummary) -> None:
    """Count sample rates, channels and truncated pairs of one case; each file counts once."""
    inputs.truncated += sum(result.truncated > 0 for result in results.values())
    for system in from_files:
        if system in results:
            first = 0 if system == NOISY else -1  # the clean file is counted with the noisy one
            inputs.rates_hz.update(results[system].rates_hz[first:])
            inputs.channels.update(results[system].channels[first:])


def constant_delay(system: str, delays: Sequence[int | None]) -> dict[str, int]:
    """The delay that nearly all files of a system share, as {system: delay}; empty if there is none."""
    known = [delay for delay in delays if delay is not None]
    if not known:
        return {}
    median = int(np.median(known))
    agreement = np.mean([abs(delay - median) <= DELAY_TOLERANCE for delay in known])
    return {system: median} if abs(median) > DELAY_TOLERANCE and agreement >= DELAY_AGREEMENT else {}


class Scorer:
    """Creates the scoring tasks of an evaluation and runs them in worker processes."""

    def __init__(self, options: EvaluationOptions, files: Files, pool: Executor) -> None:
        self.options, self.files, self.pool = options, files, pool
        self.n_tasks = len(options.cases.all) * (1 + len(options.models)) + sum(map(len, files.values()))

    def tasks(self) -> Iterator[tuple[str, str, ScoringTask | str]]:
        """Case, system and task, or the reason why there is no task.

        Models run in this process, one case at a time. They skip inputs that cannot be read; the task of the noisy
        signal reports those.
        """
        measures, store = self.options.measures, self.options.store
        for system in (NOISY, *self.files):
            for case in self.options.cases.all:
                file = case.noisy if system == NOISY else self.files[system].get(case.name)
                if file is not None:
                    yield case.name, system, ScoringTask(case.clean, file, measures, store=store)
        for case in self.options.cases.all if self.options.models else ():
            try:
                noisy = load_pair(case.clean, case.noisy)[1].samples
            except Exception:  # from any decoder
                continue
            for system, model in self.options.models.items():
                try:
                    enhanced = model.enhance(noisy, RATE_HZ)
                except Exception as error:
                    yield case.name, system, in_words(error, f"{case.name} by {system}")
                else:
                    yield case.name, system, ScoringTask(case.clean, enhanced, measures, store=store)

    def results(self, function: Callable[[ScoringTask], T], shifts: Delays) -> Iterator[tuple[str, str, T | str]]:
        """Case, system and the result of a function for its task, in the order of the tasks."""
        queue: list[tuple[str, str, Future[T | str]]] = []
        for case, system, task in self.tasks():
            future: Future[T | str] = Future()
            if isinstance(task, str):
                future.set_result(task)
            else:
                future = cast("Future[T | str]", self.pool.submit(function, replace(task, shift=shifts.get(system, 0))))
            queue.append((case, system, future))
            if len(queue) > MAX_QUEUED:
                name, by, first = queue.pop(0)
                yield name, by, first.result()
        for name, by, future in queue:
            yield name, by, future.result()

    def measure_delays(self, progress: Progress | None = None) -> dict[str, list[int | None]]:
        """The delays of the noisy signals and of every system."""
        delays: dict[str, list[int | None]] = {}
        for done, (_, system, delay) in enumerate(self.results(measure_delay, {}), 1):
            if not isinstance(delay, str):
                delays.setdefault(system, []).append(delay)
            if progress is not None:
                progress(done, 2 * self.n_tasks)
        return delays

    def run(self, shifts: Delays, progress: Progress | None = None) -> Outcomes:
        """Run all tasks, compensating the delay in `shifts` of each system."""
        outcomes: Outcomes = {case.name: {} for case in self.options.cases.all}
        before = self.n_tasks * self.options.align  # the delays were measured first
        for done, (case, system, result) in enumerate(self.results(score, shifts), 1):
            outcomes[case][system] = result
            if progress is not None:
                progress(before + done, before + self.n_tasks)
        return outcomes


def scores_of(cases: Sequence[CaseScores], system: str, measure: str) -> list[Score]:
    """One measure of one system over all cases; undefined where the system has no file."""
    empty: Mapping[str, Score] = {}
    return [case.scores.get(system, empty).get(measure, Undefined("no file")) for case in cases]
