"""Run an evaluation: score the signals of all cases and systems in worker processes."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import MappingProxyType

from segan_cli.data.spans import Part
from segan_cli.errors import CorpusError, SeganError
from segan_cli.evaluation.cases import NOISY, Case, Cases, add_systems
from segan_cli.evaluation.result import EvaluationResult, Outcomes, collect, constant_delays, summarise_inputs
from segan_cli.evaluation.scoring import ScoringResult, ScoringTask, score
from segan_cli.evaluation.signals import Loader, Model, Output, Source
from segan_cli.evaluation.store import ScoreStore
from segan_cli.measures.catalog import rate_for
from segan_cli.workers import worker_pool

Progress = Callable[[int, int], object]  # signals done, signals in total
Shifts = Mapping[str, int]  # system → delay to compensate, in samples at 16 kHz
Scored = Iterator[tuple[str, str, ScoringResult | str]]  # case, system, result or the reason why there is none
Runner = Callable[[Sequence[Case], tuple[str, ...], Shifts], Scored]  # scores cases by measures

NO_SYSTEMS: Mapping[str, Path | Model] = MappingProxyType({})
MAX_QUEUED = 8  # signals waiting for a worker, to bound memory


class Scorer:
    """Scores the signals of cases: models run in this process, everything else in the processes of a pool."""

    def __init__(self, pool: Executor, models: Mapping[str, Model], store: ScoreStore | None = None) -> None:
        self.pool, self.load, self.store = pool, Loader(models), store

    def __call__(self, cases: Sequence[Case], measures: tuple[str, ...], shifts: Shifts) -> Scored:
        """Yield case, system and result of every signal, in order; without measures, results have only the delay."""
        queue: deque[tuple[str, str, Future[ScoringResult | str]]] = deque()
        for case in cases:
            for system, source in case.signals.items():
                future = self.submit(case.clean, source, measures, shifts.get(system, 0))
                queue.append((case.name, system, future))
                if len(queue) > MAX_QUEUED:
                    name, by, future = queue.popleft()
                    yield name, by, future.result()
        for name, by, future in queue:
            yield name, by, future.result()

    def submit(
        self, clean: Path | Part | None, source: Source, measures: tuple[str, ...], shift: int
    ) -> "Future[ScoringResult | str]":
        """Start to score a signal, after running its model if it is an output."""
        try:
            degraded = self.load(source, rate_for(measures)) if isinstance(source, Output) else source
        except SeganError as error:
            failed: Future[ScoringResult | str] = Future()
            failed.set_result(str(error))
            return failed
        return self.pool.submit(score, ScoringTask(clean, degraded, measures, shift, self.store))


def evaluate(
    cases: Cases,
    measures: tuple[str, ...],
    systems: Mapping[str, Path | Model] = NO_SYSTEMS,
    *,
    align: bool = False,
    jobs: int | None = None,
    store: ScoreStore | None = None,
    progress: Progress = lambda done, total: None,
    runner: Runner | None = None,
) -> EvaluationResult:
    """Score the noisy signals and those of every system against the clean ones.

    Args:
        systems: Models, and folders of enhanced files, by name.
        align: Compensate the constant delay of each system before scoring.
        jobs: Worker processes; None: one per core.
        runner: Scores the cases, instead of worker processes.

    A signal that cannot be used is skipped and listed in the input summary; without its noisy or clean file the whole
    case is skipped. Raises CorpusError if nothing could be scored.
    """
    table, missing = add_systems(cases.all, systems)
    names, models = (NOISY, *systems), {name: model for name, model in systems.items() if isinstance(model, Model)}
    steps, total = count(1), sum(len(case.signals) for case in table) * (1 + align)

    def score_all(run: Runner, measures: tuple[str, ...], shifts: Shifts) -> dict[str, Outcomes]:
        outcomes: dict[str, Outcomes] = {case.name: {} for case in table}
        for name, system, outcome in run(table, measures, shifts):
            outcomes[name][system] = outcome
            progress(next(steps), total)
        return outcomes

    with ExitStack() as stack:
        run = runner or Scorer(stack.enter_context(worker_pool(jobs)), models, store)
        delays = constant_delays(score_all(run, (), {}), names) if align else {}
        outcomes = score_all(run, measures, delays)
    scored, failed = collect(table, outcomes)
    skipped = [*cases.skipped, *missing, *failed]
    if not scored:
        raise CorpusError(f"nothing could be scored; first: {skipped[0]}")
    if not align:
        delays = constant_delays(outcomes, names)
    inputs = summarise_inputs(scored, len(cases.all) + len(cases.skipped), skipped, delays, align)
    return EvaluationResult(tuple(scored), names, measures, inputs, models)
