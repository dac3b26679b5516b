"""Evaluating with Ray Data: cases go to a pool of actors with the models, and scores come back in any order."""

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from segan_cli.cluster.pipeline import ActorOptions, Columns, SentModel, enter_folder, run_on_actors
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.evaluation.cases import Case
from segan_cli.evaluation.run import Scored, Scorer, Shifts


class ScoringActor:
    """Scores batches of cases; Ray makes one in each of its processes."""

    def __init__(self, models: Mapping[str, SentModel], threads: int, folder: Path) -> None:
        """Load the models; relative names are relative to `folder`."""
        enter_folder(folder)
        stack = self.stack = ExitStack()
        enhancers = {
            system: Enhancer(stack.enter_context(model.written()), threads=threads) for system, model in models.items()
        }
        self.score = Scorer(ThreadPoolExecutor(1), enhancers)

    def __call__(self, batch: Columns) -> Columns:
        """Score pickled cases; returns the pickled results of each."""
        return {"result": [pickle.dumps(list(self.score(*pickle.loads(item)))) for item in batch["item"]]}


class ClusterRunner:
    """Scores cases on the cluster of the session. Scores are not cached, as each machine has its own disk."""

    def __init__(self, models: Mapping[str, str], actors: ActorOptions) -> None:
        """Takes the name or file of each system that is a model."""
        self.models = {system: SentModel.of(model) for system, model in models.items()}
        self.actors = actors

    def __call__(self, cases: Sequence[Case], measures: tuple[str, ...], shifts: Shifts) -> Scored:
        """Yield case, system and result of every signal, case by case in any order."""
        items = (([case], measures, shifts) for case in cases)
        constructor = (self.models, self.actors.cpus, Path.cwd())
        for results in run_on_actors(items, len(cases), ScoringActor, constructor, self.actors):
            yield from results
