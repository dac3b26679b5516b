"""Writes log, states and models of a training into its run folder, and reports them to a callback."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from segan_cli.config.schema import to_dict
from segan_cli.data.loader import Key, MixtureDataset
from segan_cli.networks.checkpoint import save_model
from segan_cli.training.adversary import StepMetrics
from segan_cli.training.log import TrainingLog, truncate_after
from segan_cli.training.state import TrainState
from segan_cli.training.throughput import Throughput
from segan_cli.training.validation import Scores, Validation


class TrainingCallback(Protocol):
    """Receives the progress of a training, in the main process only."""

    def on_step(self, step: int, metrics: StepMetrics, throughput: Throughput) -> None:
        """A step is done."""

    def on_checkup(self, step: int, metrics: StepMetrics, failure_modes: dict[str, str]) -> None:
        """Health was checked: means of recent metrics; name of each failure mode → description and remedy."""

    def on_validation_start(self, step: int) -> None:
        """The validation mixes are being enhanced by the model of this step."""

    def on_validation(self, step: int, scores: Scores, noisy: Scores, best: bool) -> None:
        """The scores of the model of an earlier step are complete; `noisy` are those of the noisy utterances."""


class RunRecorder:
    """Writes `log.jsonl`, `last.pt`, `best.safetensors` and, by option, `segments.jsonl` and models of recent steps."""

    def __init__(
        self, state: TrainState, validation: Validation, log: TrainingLog, run: Path, callback: TrainingCallback
    ) -> None:
        self.state, self.validation, self.log, self.run, self.callback = state, validation, log, run, callback

    def start(self) -> None:
        """Resume an interrupted validation, or save the first state."""
        state = self.state
        if self.log.noisy is None:
            self.validation.start_noisy()
        if state.training.log_segments:
            truncate_after(self.run / "segments.jsonl", state.step)
        at_validation = state.step and state.step % state.training.validate_every == 0
        resumed = self.validation.resume(state.step, state.device)
        if not resumed and at_validation and not self.log.validated(state.step):
            self.validation.start(state.ema_snapshot())
        if state.step == 0:
            self.save()  # a training stopped before its first validation resumes from its initial weights

    def record(self, throughput: Throughput, checkup: StepMetrics) -> None:
        """Write and report what is due after this step; `checkup` is empty except at a validation."""
        state, config = self.state, self.state.training
        due = bool(checkup)
        if due or state.step % config.log_every == 0:
            metrics = {**state.health.means(config.log_every), **checkup}
            line: dict[str, Any] = {"step": state.step, **metrics}
            line |= {"audio_per_s": throughput.audio_per_s, "waiting": throughput.waiting}
            if due:
                failure_modes = state.health.diagnose(checkup)
                line["failure_modes"] = list(failure_modes)
                self.callback.on_checkup(state.step, metrics, failure_modes)
            self.log.write(line)
        if due:
            self.collect(wait=True)
            self.callback.on_validation_start(state.step)
            self.validation.start(state.ema_snapshot())
            self.save()
        self.collect(wait=False)

    def collect(self, wait: bool) -> None:
        """Write validation scores once they are complete, and keep the best model."""
        pending = self.validation.pending
        if pending is None or not (wait or pending.done()):
            return
        config = self.state.training
        model, scores, sounds = self.validation.finish()
        step, score = model.provenance["steps"], scores[config.best_by]
        highest = self.log.best(config.best_by)
        best = (score is not None and score > highest) or not (self.run / "best.safetensors").exists()
        if best:
            save_model(self.run / "best.safetensors", model)
        if config.keep:
            save_model(self.run / f"step-{step:07d}.safetensors", model)
            for old in sorted(self.run.glob("step-*.safetensors"))[: -config.keep]:
                old.unlink()
        if self.log.noisy is None:
            self.log.write({"step": 0, "noisy": self.validation.finish_noisy()})
        self.log.write({"step": step, "validation": scores})
        self.log.show(step, sounds, model.config.sample_rate_hz)
        self.validation.forget()
        self.callback.on_validation(step, scores, self.log.noisy or {}, best)

    def write_specs(self, dataset: MixtureDataset, keys: Sequence[Key]) -> None:
        """Write the specs that the segments of a batch are rendered from."""
        with (self.run / "segments.jsonl").open("a", encoding="utf-8") as file:
            for key in keys:
                file.write(json.dumps({"step": key[0] + 1, "key": key, **to_dict(dataset.spec(key))}) + "\n")

    def save(self) -> None:
        """Save the state for a resumed training."""
        self.state.save(self.run / "last.pt")
