"""The training loop."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.config.training import TrainingConfig
from segan_cli.data.loader import MixtureDataset, SamplingPlan, batches, draw_extra
from segan_cli.data.mixing import ExampleSource
from segan_cli.errors import TrainingError
from segan_cli.training.adversary import StepMetrics
from segan_cli.training.batch import Batch, prepare
from segan_cli.training.checkup import examine
from segan_cli.training.distributed import Processes
from segan_cli.training.log import TrainingLog
from segan_cli.training.quality import pesq_quality
from segan_cli.training.recorder import RunRecorder, TrainingCallback
from segan_cli.training.state import TrainState
from segan_cli.training.step import train_step
from segan_cli.training.throughput import ThroughputMeter
from segan_cli.training.validation import Validation

Array = NDArray[np.float32]

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # torch's messages


def train(
    state: TrainState,
    source: ExampleSource,
    validation: Sequence[tuple[Array, Array]],
    run: Path,
    pool: Executor,
    callback: TrainingCallback,
    workers: int = 0,
    tensorboard: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train to the last step, or until `stop` returns true; returns whether the last step was reached.

    `validation` holds noisy and clean utterances [n], `workers` processes render segments. Raises TrainingError if a
    loss or a gradient is not finite or memory runs out; earlier checkpoints are kept.
    """
    config, processes = state.training, state.processes
    plan = sampling_plan(config, state.model.segment_length, processes)
    stopped = False
    try:
        if state.step == 0:
            set_reference(state, source, plan)
        metric = pesq_quality(pool) if config.adversarial.objective == "metricgan" else None
        recorder = None
        if processes.is_main:
            log = TrainingLog(run, state.step, tensorboard)
            recorder = RunRecorder(state, Validation(validation, pool, run), log, run, callback)
            recorder.start()
        meter = ThroughputMeter(config.batch_size * state.model.segment_length / state.model.sample_rate_hz)
        feed = batches(source, plan, state.step, workers, pin=state.device.type == "cuda")

        def next_batch() -> Batch:
            noisy, clean, keys = meter.wait_for(feed)
            if recorder is not None and config.log_segments:
                recorder.write_specs(MixtureDataset(source, plan), keys)
            return prepare(state, noisy, clean, keys)

        while state.step < config.steps and not stopped:
            metrics, stopped = together(train_step(state, next_batch, metric), stop(), processes)
            state.health.observe(metrics)
            if recorder is not None:
                throughput = meter.step()
                callback.on_step(state.step, metrics, throughput)
                due = state.step == config.steps or state.step % config.validate_every == 0
                recorder.record(throughput, examine(state, source, plan, validation) if due else {})
        if recorder is not None:
            if stopped:
                recorder.save()
            else:
                recorder.collect(wait=True)
    except (TrainingError, RuntimeError, MemoryError) as error:
        raise explained(error, config, f"step {state.step + 1}", state.device, run) from error
    return not stopped


def set_reference(state: TrainState, source: ExampleSource, plan: SamplingPlan) -> None:
    """Set the reference batch of the discriminator, if it needs one."""
    discriminator = state.discriminator
    if discriminator.needs_reference:
        drawn = draw_extra(source, plan, state.training.reference_segments)
        reference = prepare(state, *drawn)
        condition = state.adversary.condition_for(reference.clean, reference.noisy)
        discriminator.set_reference(reference.clean, condition)


def sampling_plan(config: TrainingConfig, segment_length: int, processes: Processes) -> SamplingPlan:
    """The segments of this process at every step; raises TrainingError if a batch cannot be divided evenly."""
    adversarial, indices = config.adversarial, processes.local_indices(config.batch_size)
    if len(indices) % config.gradient_accumulation_steps:
        raise TrainingError(
            f"the {len(indices)} segments of a process per step are not a multiple of"
            f" training.gradient_accumulation_steps {config.gradient_accumulation_steps}"
        )
    rounds, start = (adversarial.discriminator_steps, adversarial.start) if adversarial.weight else (1, 0)
    return SamplingPlan(config.seed, segment_length + 1, rounds, start, indices)


def together(report: StepMetrics, stop: bool, processes: Processes) -> tuple[StepMetrics, bool]:
    """The mean of the metrics over all processes, and whether any of them received a signal to stop."""
    if processes.world_size == 1:
        return report, stop
    values = processes.mean(torch.tensor([*report.values(), float(stop)], dtype=torch.float32, device=processes.device))
    *means, stopping = values.tolist()
    return dict(zip(report, means, strict=True)), stopping > 0


def explained(error: Exception, config: TrainingConfig, when: str, device: torch.device, run: Path) -> Exception:
    """An error of a training with a message for the user, or unchanged if it is a bug."""
    kept = f"; {run / 'last.pt'} keeps the last good state" if (run / "last.pt").exists() else ""
    if isinstance(error, TrainingError):
        return TrainingError(f"{error}{kept}")
    if "DataLoader worker" in str(error):
        return TrainingError(
            f"{when}: a process that prepares segments died; is there enough memory, in /dev/shm too? Use fewer"
            f" --workers, or 0{kept}"
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = " ".join(str(error).split())[:200]
        return TrainingError(f"{when}: torch.compile does not work here ({reason}); set training.compile=false{kept}")
    if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
        return error
    n_parts = config.gradient_accumulation_steps
    more = [n for n in range(n_parts + 1, config.batch_size + 1) if config.batch_size % n == 0]
    hint = f"training.gradient_accumulation_steps={more[0]} or " if more else ""
    return TrainingError(
        f"{when}: memory of {device} ran out with batch_size {config.batch_size} in {n_parts} parts; set {hint}"
        f"a smaller training.batch_size{kept}"
    )
