"""One step of training (arXiv 1703.09452, section 3): discriminator, generator, moving average."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segan_cli.training.adversary import StepMetrics
from segan_cli.training.batch import Batch, deemphasise
from segan_cli.training.optimization import learning_rate_factor, optimizer_step
from segan_cli.training.quality import QualityMetric, measure_quality
from segan_cli.training.state import TrainState

UNDEFINED = "quality_undefined"  # metric: segments whose quality is not defined


def train_step(state: TrainState, next_batch: Callable[[], Batch], metric: QualityMetric | None = None) -> StepMetrics:
    """Train both networks for one step; → losses, gradient norms and what the discriminator answered, by name.

    `metric` measures quality for a metric objective. Raises TrainingError when a loss or a gradient is not finite,
    before a network is changed by it.
    """
    config = state.training
    seed = np.random.SeedSequence((config.seed, state.step, state.processes.rank)).generate_state(1)
    torch.manual_seed(int(seed[0]))  # instance noise, phase shuffle, interpolations
    metrics: StepMetrics = {}
    undefined = 0.0
    if state.adversarial():
        for _ in range(config.adversarial.discriminator_steps - 1):
            batches = next_batch().micro_batches(config.gradient_accumulation_steps)
            undefined += discriminator_step(state, batches, metric).get(UNDEFINED, 0.0)
    batches = next_batch().micro_batches(config.gradient_accumulation_steps)
    if len(batches) == 1:  # one pass of the generator serves both steps
        batches[0].enhanced = enhance(state, batches[0], state.ddp_generator)
    if state.adversarial():
        metrics = discriminator_step(state, batches, metric)
        if metric is not None:
            metrics[UNDEFINED] += undefined
    metrics |= generator_step(state, batches)
    state.update_ema()
    state.step += 1
    return metrics


def discriminator_step(state: TrainState, batches: Sequence[Batch], metric: QualityMetric | None) -> StepMetrics:
    """One step of the discriminator; the quality that was measured stays with the micro-batches."""
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    reports: list[dict[str, Tensor]] = []
    for batch, sync in synchronised_last(batches, state.ddp_adversary):
        if batch.enhanced is None:
            with torch.no_grad():
                enhanced = enhance(state, batch, state.generator)
        else:
            enhanced = batch.enhanced.detach()
        if metric is not None:
            batch.quality = measure_quality(batch, enhanced, metric, state.model.pre_emphasis)
        with sync:
            with state.autocast():
                loss, stats = state.ddp_adversary(
                    batch.clean, enhanced, batch.noisy, state.instance_noise(), batch.quality
                )
            state.discriminator_scaler.scale(loss / len(batches)).backward()
        reports.append({"discriminator": loss.detach(), **stats})
    learning_rate = state.training.discriminator_learning_rate * learning_rate_factor(state.step, state.training)
    metrics = optimizer_step(
        state.discriminator_optimizer, state.discriminator_scaler, learning_rate, averaged(reports), state.step,
        state.training.clip_norm,
    )  # fmt: skip
    metrics["discriminator_gradient"] = metrics.pop("gradient")
    state.adversary.clip_weights()
    if metric is not None:
        qualities = [batch.quality for batch in batches if batch.quality is not None]
        metrics[UNDEFINED] = float(sum(int(quality.isnan().sum()) for quality in qualities))
    return metrics


def generator_step(state: TrainState, batches: Sequence[Batch]) -> StepMetrics:
    """One step of the generator on reconstruction and adversarial loss."""
    config = state.training
    state.generator_optimizer.zero_grad(set_to_none=True)
    reports: list[dict[str, Tensor]] = []
    for batch, sync in synchronised_last(batches, state.ddp_generator):
        with sync:
            enhanced = enhance(state, batch, state.ddp_generator) if batch.enhanced is None else batch.enhanced
            output = enhanced.detach().requires_grad_()  # the losses meet here, so the gradient of each is known
            result, target = output, batch.clean
            if config.deemphasised_losses:
                result, target = (deemphasise(side, state.model.pre_emphasis) for side in (output, batch.clean))
            reconstruction, terms = state.reconstruction(result, target)
            report = {name: term.detach() for name, term in terms.items()}
            adversarial = None
            if state.adversarial():
                with state.autocast():
                    adversarial = state.adversary.generator_loss(
                        batch.clean, output, batch.noisy, state.instance_noise(), batch.quality
                    )
                report["adversarial"] = adversarial.detach()
            gradient, norms = state.balancer(output, reconstruction, adversarial)
            enhanced.backward(state.generator_scaler.scale(gradient / len(batches)))  # type: ignore[no-untyped-call]
        reports.append(report | norms)
    learning_rate = config.generator_learning_rate * learning_rate_factor(state.step, config)
    metrics = optimizer_step(
        state.generator_optimizer, state.generator_scaler, learning_rate, averaged(reports), state.step,
        config.clip_norm,
    )  # fmt: skip
    metrics["generator_gradient"] = metrics.pop("gradient")
    return metrics


def enhance(state: TrainState, batch: Batch, network: nn.Module) -> Tensor:
    """Enhanced segments [B, 1, T], float32, by the generator or its distributed wrapper."""
    with state.autocast():
        enhanced: Tensor = network(batch.noisy, batch.z)
    return enhanced.float()


def synchronised_last(
    batches: Sequence[Batch], network: nn.Module
) -> Iterator[tuple[Batch, AbstractContextManager[None]]]:
    """Micro-batches, each with a context that keeps gradients in this process until the last one."""
    for number, batch in enumerate(batches, 1):
        keep = number < len(batches) and isinstance(network, DistributedDataParallel)
        yield batch, network.no_sync() if keep else nullcontext()  # type: ignore[operator]


def averaged(reports: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each number over micro-batches."""
    return {name: torch.stack([report[name].float() for report in reports]).mean() for name in reports[0]}
