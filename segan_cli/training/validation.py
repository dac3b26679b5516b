"""Validation on fixed utterances, scored in worker processes while training continues."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import torch

from segan_cli.arrays import Array
from segan_cli.config.training import TrainingConfig
from segan_cli.data.mixing import NoisyClean
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import AudioError, CheckpointError
from segan_cli.measures.catalog import CORE, measure_all
from segan_cli.measures.score import Score, Undefined, mean
from segan_cli.networks.checkpoint import Model, load_model, save_model
from segan_cli.training.log import TrainingLog

STEP_MODEL = re.compile(r"step-\d{7,}\.safetensors")

Scores = dict[str, float | None]
Jobs = list[Future[dict[str, Score]]]


class Validation:
    """Scores one model at a time and keeps the best; a model is in the run folder until its scores are written."""

    def __init__(
        self, config: TrainingConfig, pairs: Sequence[NoisyClean], pool: Executor, run_dir: Path, log: TrainingLog,
        on_scores: Callable[[int, Scores, Scores, bool], None],
    ) -> None:  # fmt: skip
        """`pairs` are whole utterances; `on_scores` receives a step, its scores, those of noisy, and if it is best."""
        self.config, self.pairs, self.pool, self.run_dir, self.log = config, pairs, pool, run_dir, log
        self.on_scores = on_scores
        self.candidate = run_dir / "candidate.safetensors"
        self.model: Model | None = None  # whose scores are being computed
        self.jobs: Jobs = []  # which compute them
        self.noisy_jobs: Jobs = []  # of the noisy utterances themselves, once
        self.enhanced: list[Array] = []

    def start(self, model: Model) -> None:
        """Enhance all utterances with a model and start scoring them."""
        save_model(self.candidate, model)
        rate_hz = model.config.sample_rate_hz
        enhancer = Enhancer(model, device=str(next(model.generator.parameters()).device))
        if not self.noisy_jobs:
            self.noisy_jobs = self._submit([noisy for noisy, _ in self.pairs])
        self.model, self.enhanced = model, [attempt(enhancer, noisy, rate_hz) for noisy, _ in self.pairs]
        self.jobs = self._submit(self.enhanced)

    def _submit(self, signals: Sequence[Array]) -> Jobs:
        return [
            self.pool.submit(measure_all, clean, signal) for (_, clean), signal in zip(self.pairs, signals, strict=True)
        ]

    def resume(self, step: int, device: torch.device) -> None:
        """Restart a validation that was interrupted at this step or before, if there was one."""
        try:
            model = load_model(self.candidate)
        except CheckpointError:
            return
        if model.provenance.get("steps", 0) <= step:
            model.generator.to(device)
            self.start(model)

    def finish(self, wait: bool = True) -> None:
        """Write the scores of the pending model and keep it if it is best; without `wait` only if they are complete."""
        model = self.model
        if model is None or not (wait or all(job.done() for job in (*self.noisy_jobs, *self.jobs))):
            return
        self.model, config, step = None, self.config, model.provenance["steps"]
        scores = model.provenance["validation"] = means(self.jobs, self.noisy_jobs)
        best = is_better(scores, self.run_dir / "best.safetensors", config.best_by)
        if best:
            save_model(self.run_dir / "best.safetensors", model)
        if config.keep:
            save_model(self.run_dir / f"step-{step:07d}.safetensors", model)
            kept = (path for path in self.run_dir.iterdir() if STEP_MODEL.fullmatch(path.name))
            for old in sorted(kept, key=lambda path: (len(path.name), path.name))[: -config.keep]:
                old.unlink()
        if self.log.noisy is None:
            self.log.write({"step": 0, "noisy": means(self.noisy_jobs, self.noisy_jobs)})
        self.log.write({"step": step, "validation": scores})
        noisy, clean = self.pairs[0]
        sounds = [("noisy", noisy), ("enhanced", self.enhanced[0]), ("clean", clean)]
        self.log.show(step, sounds, model.config.sample_rate_hz)
        self.candidate.unlink(missing_ok=True)
        self.on_scores(step, scores, self.log.noisy or {}, best)


def is_better(scores: Scores, best_file: Path, measure: str) -> bool:
    """Whether scores are better than those of the best model, or that has none, as in utterances too short for PESQ."""
    try:
        best = load_model(best_file).provenance.get("validation", {}).get(measure)
    except CheckpointError:
        return True
    score = scores[measure]
    return best is None or (score is not None and score > best)


def attempt(enhancer: Enhancer, noisy: Array, rate_hz: int) -> Array:
    """Enhanced [n]; all NaN if the output of the model is not finite, so that its scores are undefined."""
    try:
        return enhancer.enhance(noisy, rate_hz)
    except AudioError:
        return np.full_like(noisy, np.nan)


def means(jobs: Jobs, noisy_jobs: Jobs) -> Scores:
    """Mean of every measure over finished jobs; None if it is undefined for an output but not for its noisy input.

    A model that fails for difficult utterances would otherwise score higher without them.
    """
    rows = [(job.result(), noisy.result()) for job, noisy in zip(jobs, noisy_jobs, strict=True)]
    failed = {
        name for name in CORE for row, noisy in rows
        if isinstance(row[name], Undefined) and not isinstance(noisy[name], Undefined)
    }  # fmt: skip
    return {name: None if name in failed else mean([row[name] for row, _ in rows]) for name in CORE}
