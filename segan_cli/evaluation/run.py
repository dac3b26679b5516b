"""Running an evaluation: signals are scored in worker processes, and the results of all cases collected."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from segan_cli.errors import CorpusError, SeganError
from segan_cli.evaluation.cases import NOISY, Case, Cases, add_systems
from segan_cli.evaluation.scoring import ScoreCache, ScoringResult, score
from segan_cli.evaluation.signals import Denoiser, FilePart, Loader, Output, SignalSource
from segan_cli.measures.catalog import rate_for
from segan_cli.measures.score import Score, Undefined
from segan_cli.process.workers import worker_pool
from segan_cli.system import cpu_count

Results = dict[str, ScoringResult | str]  # system → result, or the reason why there is none

DELAY_AGREEMENT = 0.8  # fraction of a system's files that must share a delay
DELAY_TOLERANCE = 1  # samples by which shared delays may differ
Progress = Callable[[int, int], object]  # signals done, signals in total
Shifts = Mapping[str, int]  # system → delay to compensate, in samples at 16 kHz
Scored = Iterator[tuple[str, str, ScoringResult | str]]  # case, system, result or the reason why there is none
ScoreCases = Callable[[Sequence[Case], tuple[str, ...], Shifts], Scored]  # scores cases by measures

MAX_QUEUED = 8  # signals waiting for a worker, to bound memory


@dataclass(frozen=True)
class CaseScores:
    """A case, and the result of every system that could be scored for it."""

    case: Case
    results: Mapping[str, ScoringResult]

    @property
    def scores(self) -> dict[str, dict[str, Score]]:
        """Scores by system and measure."""
        return {system: result.scores for system, result in self.results.items()}


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of all cases."""

    cases: tuple[CaseScores, ...]
    systems: tuple[str, ...]
    measures: tuple[str, ...]
    inputs: dict[str, Any]  # properties of the scored files, and a line for each file that was skipped
    models: Mapping[str, Denoiser]  # those of the systems that are models


def collect(cases: Sequence[Case], outcomes: Mapping[str, Results]) -> tuple[list[CaseScores], list[str]]:
    """The cases whose noisy signal could be scored, and a line for each signal that could not.

    If a noisy signal fails, the outputs of models for it are not listed too.
    """
    scored, skipped = [], []
    for case in cases:
        results = {name: r for name, r in outcomes[case.name].items() if isinstance(r, ScoringResult)}
        failed = {name: r for name, r in outcomes[case.name].items() if isinstance(r, str)}
        if NOISY in results:
            scored.append(CaseScores(case, results))
        else:
            failed = {name: reason for name, reason in failed.items() if not isinstance(case.signals[name], Output)}
        skipped += sorted(set(failed.values()))
    return scored, skipped


def summarise_inputs(scored: Sequence[CaseScores]) -> dict[str, Any]:
    """Count files by rate and channels, and truncated pairs; each file counts once, a clean one with its noisy one."""
    results = [(system, result) for row in scored for system, result in row.results.items()]
    formats = [
        file for system, result in results for file in result.formats[0 if system == NOISY else 1 :] if file is not None
    ]
    counts = (Counter(column) for column in zip(*formats, strict=True)) if formats else ({}, {})
    rates_hz, channels = ({str(key): n for key, n in sorted(count.items())} for count in counts)
    truncated = sum(result.truncated for _, result in results)
    return {"rates_hz": rates_hz, "channels": channels, "truncated": truncated}


def constant_delays(outcomes: Mapping[str, Results], systems: Sequence[str]) -> dict[str, int]:
    """The delay that nearly all signals of a system share, by system; none for a system without such a delay."""
    delays = {}
    for system in systems:
        results = [by_system.get(system) for by_system in outcomes.values()]
        known = [r.delay for r in results if isinstance(r, ScoringResult) and r.delay is not None]
        median = int(np.median(known)) if known else 0
        agreement = np.mean([abs(delay - median) <= DELAY_TOLERANCE for delay in known]) if known else 0.0
        if abs(median) > DELAY_TOLERANCE and agreement >= DELAY_AGREEMENT:
            delays[system] = median
    return delays


def scores_of(cases: Sequence[CaseScores], system: str, measure: str) -> list[Score]:
    """One measure of one system over all cases; undefined where the system's signal was skipped."""
    return [case.results[system].scores[measure] if system in case.results else Undefined("skipped") for case in cases]


class Scorer:
    """Scores the signals of cases: models run in this process, everything else in the processes of a pool."""

    def __init__(
        self, pool: Executor, models: Mapping[str, Denoiser], cache: ScoreCache | None = None, workers: int = 1
    ) -> None:
        self.pool, self.load, self.cache, self.workers = pool, Loader(models), cache, workers

    def __call__(self, cases: Sequence[Case], measures: tuple[str, ...], shifts: Shifts) -> Scored:
        """Yield case, system and result of every signal, in order; without measures, results have only the delay."""
        queue: deque[tuple[str, str, Future[ScoringResult | str]]] = deque()
        for case in cases:
            for system, source in case.signals.items():
                future = self.submit(case.clean, source, measures, shifts.get(system, 0))
                queue.append((case.name, system, future))
                if len(queue) > self.workers + MAX_QUEUED:
                    name, by, future = queue.popleft()
                    yield name, by, future.result()
        for name, by, future in queue:
            yield name, by, future.result()

    def submit(
        self, clean: Path | FilePart | None, source: SignalSource, measures: tuple[str, ...], shift: int
    ) -> Future[ScoringResult | str]:
        """Start to score a signal, after running its model if it is an output."""
        try:
            degraded = self.load(source, rate_for(measures)) if isinstance(source, Output) else source
        except SeganError as error:
            failed: Future[ScoringResult | str] = Future()
            failed.set_result(error.message)
            return failed
        return self.pool.submit(score, clean, degraded, measures, shift, self.cache)


def evaluate(
    cases: Cases,
    measures: tuple[str, ...],
    systems: Mapping[str, Path | Denoiser] = MappingProxyType({}),  # models, and folders of enhanced files, by name
    *,
    align: bool = False,  # compensate the constant delay of each system before scoring
    jobs: int | None = None,  # worker processes; None: one per core
    cache: ScoreCache | None = None,
    progress: Progress = lambda done, total: None,
    runner: ScoreCases | None = None,  # scores the cases, instead of worker processes
) -> EvaluationResult:
    """Score the noisy signals and those of every system against the clean ones.

    A signal that cannot be used is skipped and listed in the input summary; without its noisy or clean file the whole
    case is skipped. Raises CorpusError if nothing could be scored.
    """
    table, missing = add_systems(cases.all, systems)
    names, models = (NOISY, *systems), {name: model for name, model in systems.items() if isinstance(model, Denoiser)}
    steps, total = count(1), sum(len(case.signals) for case in table) * (1 + align)

    def score_all(run: ScoreCases, measures: tuple[str, ...], shifts: Shifts) -> dict[str, Results]:
        outcomes: dict[str, Results] = {case.name: {} for case in table}
        for name, system, outcome in run(table, measures, shifts):
            outcomes[name][system] = outcome
            progress(next(steps), total)
        return outcomes

    with ExitStack() as stack:
        workers = jobs or cpu_count()
        run = runner or Scorer(stack.enter_context(worker_pool(workers)), models, cache, workers)
        delays = constant_delays(score_all(run, (), {}), names) if align else {}
        outcomes = score_all(run, measures, delays)
    scored, failed = collect(table, outcomes)
    skipped = [*cases.skipped, *missing, *failed]
    if not scored:
        raise CorpusError(f"nothing could be scored; first: {skipped[0]}")
    if not align:
        delays = constant_delays(outcomes, names)
    inputs = {"found": len(cases.all) + len(cases.skipped), "skipped": skipped, **summarise_inputs(scored)}
    inputs |= {"delays": delays, "aligned": align}  # delays in samples at 16 kHz, and whether they were compensated
    return EvaluationResult(tuple(scored), names, measures, inputs, models)
