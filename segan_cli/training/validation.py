"""Validation on fixed utterances, scored in worker processes while training continues."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import AudioError, CheckpointError
from segan_cli.measures.catalog import CORE, measure_all
from segan_cli.measures.score import Score, mean
from segan_cli.networks.checkpoint import Model, load_model, save_model

Array = NDArray[np.float32]
Scores = dict[str, float | None]
Jobs = list["Future[dict[str, Score]]"]


@dataclass
class Pending:
    """A model whose scores are being computed."""

    model: Model
    jobs: Jobs
    sounds: list[tuple[str, Array]]  # of the first utterance, for TensorBoard

    def done(self) -> bool:
        """Whether all scores are complete."""
        return all(job.done() for job in self.jobs)


class Validation:
    """Scores one model at a time, which is kept in the run folder until its scores are written."""

    def __init__(self, pairs: Sequence[tuple[Array, Array]], pool: Executor, run: Path) -> None:
        """`pairs` are whole utterances, noisy and clean [n]."""
        self.pairs, self.pool = pairs, pool
        self.file = run / "candidate.safetensors"
        self.pending: Pending | None = None
        self.noisy: Jobs = []

    def start_noisy(self) -> None:
        """Start scoring the noisy utterances themselves."""
        self.noisy = self._submit([noisy for noisy, _ in self.pairs])

    def finish_noisy(self) -> Scores:
        """The scores of the noisy utterances, once complete."""
        return means(self.noisy)

    def start(self, model: Model) -> None:
        """Enhance all utterances with a model and start scoring them."""
        save_model(self.file, model)
        self._start(model)

    def _start(self, model: Model) -> None:
        rate_hz = model.config.sample_rate_hz
        enhancer = Enhancer(model, device=str(next(model.generator.parameters()).device))
        enhanced = [attempt(enhancer, noisy, rate_hz) for noisy, _ in self.pairs]
        noisy, clean = self.pairs[0]
        self.pending = Pending(
            model, self._submit(enhanced), [("noisy", noisy), ("enhanced", enhanced[0]), ("clean", clean)]
        )

    def resume(self, step: int, device: torch.device) -> bool:
        """Restart a validation that was interrupted at this step or before; returns whether there was one."""
        try:
            model = load_model(self.file)
        except CheckpointError:
            return False
        if model.provenance.get("steps", 0) > step:
            return False
        model.generator.to(device)
        self._start(model)
        return True

    def finish(self) -> tuple[Model, Scores, list[tuple[str, Array]]]:
        """The pending model, its scores once complete, and sounds of the first utterance."""
        assert self.pending is not None
        pending, self.pending = self.pending, None
        scores = pending.model.provenance["validation"] = means(pending.jobs)
        return pending.model, scores, pending.sounds

    def forget(self) -> None:
        """Remove the pending model from the run folder, after its scores are written."""
        self.file.unlink(missing_ok=True)

    def _submit(self, signals: Sequence[Array]) -> Jobs:
        return [
            self.pool.submit(measure_all, clean, signal) for (_, clean), signal in zip(self.pairs, signals, strict=True)
        ]


def attempt(enhancer: Enhancer, noisy: Array, rate_hz: int) -> Array:
    """Enhanced [n]; all NaN if the output of the model is not finite, so that its scores are undefined."""
    try:
        return enhancer.enhance(noisy, rate_hz)
    except AudioError:
        return np.full_like(noisy, np.nan)


def means(jobs: Jobs) -> Scores:
    """Mean of every measure over finished jobs."""
    rows = [job.result() for job in jobs]
    return {name: mean([row[name] for row in rows]) for name in CORE}
