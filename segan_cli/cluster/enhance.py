"""Enhancing with Ray Data: jobs go to a pool of actors, each with a model, and outcomes come back in any order."""

import pickle
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

from segan_cli.cluster.pipeline import ActorOptions, Columns, SentModel, enter_folder, run_on_actors
from segan_cli.enhancement.batch import run_job
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.plan import Job, Plan
from segan_cli.enhancement.recording import Outcome, OutputOptions
from segan_cli.errors import CheckpointError, SeganError
from segan_cli.storage.atomic import remove_leftovers
from segan_cli.storage.remote import is_remote

LOCK_WAIT_S = 30.0  # for a lost actor to end, so that its target is no longer locked


class EnhancingActor:
    """Enhances batches of jobs with one model; Ray makes one in each of its processes."""

    def __init__(self, model: SentModel, arguments: dict[str, Any], options: OutputOptions, folder: Path) -> None:
        """Load the model; relative names are relative to `folder`."""
        self.folder = folder
        self.has_folder = enter_folder(folder)
        self.stack = ExitStack()
        self.failure: SeganError | None = None
        try:
            self.enhancer = Enhancer(self.stack.enter_context(model.written()), **arguments)
            self.enhancer.model = model.name  # in place of that of the copy
        except SeganError as error:
            self.failure = error  # which Ray would report with pages of tracebacks
        # Which outputs exist was checked before. One that exists now is from an actor that was lost.
        self.options = replace(options, force=True)

    def __call__(self, batch: Columns) -> Columns:
        """Enhance pickled jobs; returns their pickled outcomes, or the error of a model that cannot be used."""
        return {"result": [pickle.dumps(self._run(pickle.loads(job))) for job in batch["item"]]}

    def _run(self, job: Job) -> Outcome | SeganError:
        if self.failure is not None:
            return self.failure
        relative = [path for path in (job.source, job.target) if not (is_remote(path) or path.is_absolute())]
        if relative and not self.has_folder:
            error = f"{relative[0]}: {gethostname()} has no folder {self.folder}; give an absolute path or a URL"
            return Outcome(str(job.source), str(job.target), error=error)
        end = time.monotonic() + LOCK_WAIT_S
        while not remove_leftovers(job.target) and time.monotonic() < end:
            time.sleep(1)
        try:
            return run_job(self.enhancer, job, self.options, lambda done_s, total_s: None)
        except CheckpointError as error:
            return error


def enhance_on_cluster(
    jobs: Plan, model: str, arguments: dict[str, Any], options: OutputOptions, actors: ActorOptions,
    on_outcome: Callable[[Outcome], None],
) -> None:  # fmt: skip
    """Enhance jobs on the cluster; `on_outcome` takes outcomes in any order. Raises CheckpointError, ConfigError."""
    constructor = (SentModel.of(model), arguments, options, Path.cwd())
    for outcome in run_on_actors(jobs, len(jobs), EnhancingActor, constructor, actors):
        if isinstance(outcome, SeganError):
            raise outcome
        on_outcome(outcome)
