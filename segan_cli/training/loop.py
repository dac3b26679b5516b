"""The training loop: steps, log and validations, from the state's step to the last one."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol

from segan_cli.config.training import TrainingConfig
from segan_cli.data.loader import MixDataset, SamplingPlan, batches, draw_extra
from segan_cli.data.mixing import ExampleSource, NoisyClean
from segan_cli.errors import TrainingError
from segan_cli.training.adversary import StepMetrics
from segan_cli.training.batch import Batch, prepare
from segan_cli.training.diagnostics import measure_diagnostics
from segan_cli.training.distributed import Processes
from segan_cli.training.log import Throughput, ThroughputMeter, TrainingLog
from segan_cli.training.metricgan import pesq_quality
from segan_cli.training.state import TrainState
from segan_cli.training.step import train_step
from segan_cli.training.validation import Scores, Validation


class TrainingCallback(Protocol):
    """Receives the progress of training, in the main process only."""

    def on_step(self, step: int, metrics: StepMetrics, throughput: Throughput) -> None:
        """A step is done."""

    def on_diagnostics(self, step: int, metrics: StepMetrics, failure_modes: dict[str, str]) -> None:
        """Health was checked: means of recent metrics; name of each failure mode → description and remedy."""

    def on_validation_start(self, step: int) -> None:
        """The validation mixes are being enhanced by the model of this step."""

    def on_validation(self, step: int, scores: Scores, noisy: Scores, best: bool) -> None:
        """The scores of the model of an earlier step are complete; `noisy` are those of the noisy utterances."""


def train(
    state: TrainState, source: ExampleSource, pairs: Sequence[NoisyClean], run_dir: Path, pool: Executor,
    callback: TrainingCallback, workers: int = 0, tensorboard: bool = False, stop: Callable[[], bool] = lambda: False,
) -> bool:  # fmt: skip
    """Train to the last step, or until `stop` returns true; returns whether it was reached. Raises TrainingError."""
    config, is_main = state.training, state.processes.is_main
    plan = sampling_plan(config, state.model_config.segment_length, state.processes)
    metric = pesq_quality(pool) if state.adversary.objective.metric else None
    if state.step == 0:
        set_reference(state, source, plan)
    if is_main:
        log = TrainingLog(run_dir, state.step, tensorboard, config.log_segments)
        validation = Validation(config, pairs, pool, run_dir, log, callback.on_validation)
        validation.resume(state.step, state.device)
    feed = batches(source, plan, state.step, workers, pin=state.device.type == "cuda")
    meter = ThroughputMeter(config.batch_size * state.model_config.segment_length / state.model_config.sample_rate_hz)

    def next_batch() -> Batch:
        segments = meter.wait_for(feed)
        if is_main and config.log_segments:
            log.write_specs(MixDataset(source, plan), segments[2])
        return prepare(state, *segments)

    stopped = False
    while state.step < config.steps and not stopped:
        metrics, stopped = state.processes.all_reduce_metrics(train_step(state, next_batch, metric), stop())
        state.health.observe(metrics)
        if not is_main:
            continue
        throughput = meter.step()
        callback.on_step(state.step, metrics, throughput)
        is_due = state.step == config.steps or state.step % config.validate_every == 0
        if is_due or state.step % config.log_every == 0:
            write_metrics(
                state, log, throughput, measure_diagnostics(state, source, plan, pairs) if is_due else None, callback
            )
        if is_due:
            validation.finish()
            callback.on_validation_start(state.step)
            validation.start(state.ema_snapshot())
            state.save(run_dir / "last.pt")
        validation.finish(wait=False)
    if is_main and stopped:
        state.save(run_dir / "last.pt")  # a pending validation is scored again after a resumption
    elif is_main:
        validation.finish()  # wait for the scores of the last model
    return not stopped


def sampling_plan(config: TrainingConfig, segment_length: int, processes: Processes) -> SamplingPlan:
    """The segments of this process at every step; raises TrainingError if a batch cannot be divided evenly."""
    adversarial, indices = config.adversarial, processes.local_indices(config.batch_size)
    if len(indices) % config.gradient_accumulation_steps:
        raise TrainingError(
            f"the {len(indices)} segments of a process per step are not a multiple of"
            f" training.gradient_accumulation_steps {config.gradient_accumulation_steps}"
        )
    if adversarial.mismatched_share and len(indices) < 2 * config.gradient_accumulation_steps:
        raise TrainingError(
            "training.adversarial.mismatched_share needs at least two segments per process and slice; raise"
            " training.batch_size"
        )
    rounds, start = (adversarial.discriminator_steps, adversarial.start) if adversarial.weight else (1, 0)
    return SamplingPlan(config.seed, segment_length + 1, rounds, start, indices)


def set_reference(state: TrainState, source: ExampleSource, plan: SamplingPlan) -> None:
    """Set the reference batch of the discriminator, if it needs one."""
    if state.discriminator.needs_reference:
        reference = prepare(state, *draw_extra(source, plan, state.training.reference_segments))
        condition = state.adversary.condition_for(reference.clean, reference.noisy)
        state.discriminator.set_reference(reference.clean, condition)


def write_metrics(
    state: TrainState, log: TrainingLog, throughput: Throughput, diagnostics: StepMetrics | None,
    callback: TrainingCallback,
) -> None:  # fmt: skip
    """Write the means of recent metrics to the log, and the diagnostics of a validation, which are also reported."""
    metrics = {**state.health.means(state.training.log_every), **(diagnostics or {})}
    line: dict[str, Any] = {"step": state.step, **metrics}
    line |= {"audio_per_s": throughput.audio_per_s, "waiting": throughput.waiting}
    if diagnostics is not None:
        failure_modes = state.health.diagnose(diagnostics)
        line["failure_modes"] = list(failure_modes)
        callback.on_diagnostics(state.step, metrics, failure_modes)
    log.write(line)
