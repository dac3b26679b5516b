"""Evaluating on a Ray cluster by Ray Data: cases in, a pool of actors with the models, scores out as they come."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from segan_cli.cluster.models import ModelFile
from segan_cli.cluster.pipeline import Batch, run_on_actors
from segan_cli.cluster.session import ActorOptions, enter_folder
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.evaluation.cases import Case, Cases
from segan_cli.evaluation.run import Delays, EvaluationOptions, Files, Outcomes, Progress, Scorer, shared_delays

T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs what is submitted at once, in this process."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a function; an exception is raised here."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class ScoringActor:
    """Scores batches of cases with all systems; Ray makes one in each of its processes."""

    def __init__(self, models: Mapping[str, ModelFile], threads: int, options: EvaluationOptions, folder: Path) -> None:
        """Load the models; relative names are relative to `folder`."""
        enter_folder(folder)
        stack = self.stack = ExitStack()
        enhancers = {
            system: Enhancer(stack.enter_context(model.written()), threads=threads) for system, model in models.items()
        }
        self.options = replace(options, models=enhancers)

    def __call__(self, batch: Batch) -> Batch:
        """Score pickled cases, or measure the delays of their files; returns pickled results."""
        return {"result": [pickle.dumps(self._run(*pickle.loads(item))) for item in batch["item"]]}

    def _run(self, case: Case, files: Files, delays: Delays | None) -> tuple[str, Any]:
        scorer = Scorer(replace(self.options, cases=Cases((case,))), files, InlineExecutor())
        return case.name, scorer.measure_delays() if delays is None else scorer.run(delays)[case.name]


class ClusterRunner:
    """Runs an evaluation on the cluster of the session. Scores are not cached, as each machine has its own disk."""

    def __init__(self, models: Mapping[str, str], actors: ActorOptions) -> None:
        """Takes the name or file of each system that is a model."""
        self.models = {system: ModelFile.of(model) for system, model in models.items()}
        self.actors = actors

    def __call__(self, options: EvaluationOptions, files: Files, progress: Progress | None) -> tuple[Delays, Outcomes]:
        """Score all cases; also returns the delays that were compensated."""
        delays: Delays = {}
        if options.align:
            measured: dict[str, list[int | None]] = {}
            for _, by_system in self._run(options, files, None):
                for system, found in by_system.items():
                    measured.setdefault(system, []).extend(found)
            delays = shared_delays(measured)
        outcomes: Outcomes = {}
        for name, results in self._run(options, files, delays):
            outcomes[name] = results
            if progress is not None:
                progress(len(outcomes), len(options.cases.all))
        return delays, outcomes

    def _run(self, options: EvaluationOptions, files: Files, delays: Delays | None) -> Iterator[tuple[str, Any]]:
        """Return the name and the results of each case, in any order."""
        settings = replace(options, cases=Cases(()), models={}, store=None, folders={})
        items = ((case, files_of(case, files), delays) for case in options.cases.all)
        constructor = (self.models, self.actors.cpus, settings, Path.cwd())
        return run_on_actors(items, len(options.cases.all), ScoringActor, constructor, self.actors)


def files_of(case: Case, files: Files) -> Files:
    """The files of one case."""
    found = {system: paths.get(case.name) for system, paths in files.items()}
    return {system: {} if path is None else {case.name: path} for system, path in found.items()}
