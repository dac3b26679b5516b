"""One step of training (arXiv 1703.09452, section 3): discriminator, generator, moving average."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segan_cli.data.random_streams import Purpose, random_stream, seed_sequence
from segan_cli.training.adversary import Logits, Side, StepMetrics, discriminator_stats
from segan_cli.training.batch import Batch, deemphasise
from segan_cli.training.optimization import learning_rate_factor, optimizer_step
from segan_cli.training.quality import QualityMetric, measure_quality
from segan_cli.training.replay import Examples
from segan_cli.training.state import TrainState

UNDEFINED = "quality_undefined"  # name of the number of segments of undefined quality

Part = TypeVar("Part", Batch, Examples)


def train_step(state: TrainState, next_batch: Callable[[], Batch], metric: QualityMetric | None = None) -> StepMetrics:
    """Train both networks for one step; returns losses, gradient norms and statistics of the discriminator by name.

    `metric` measures quality for a metric objective. Raises TrainingError if a loss or a gradient is not finite, before
    it changes a network.
    """
    config = state.training
    seed = seed_sequence(config.seed, Purpose.STEP, state.step, state.processes.rank)
    torch.manual_seed(int(seed.generate_state(1)[0]))  # instance noise, phase shuffle, interpolations
    metrics: StepMetrics = {}
    undefined = 0.0
    if state.adversarial():
        for _ in range(config.adversarial.discriminator_steps - 1):
            batches = next_batch().micro_batches(config.gradient_accumulation_steps)
            undefined += discriminator_step(state, batches, metric).get(UNDEFINED, 0.0)
    batches = next_batch().micro_batches(config.gradient_accumulation_steps)
    if len(batches) == 1:  # one pass of the generator serves both steps
        batches[0].enhanced = enhance(state, batches[0], state.ddp_generator)
    if state.adversarial() and state.step % config.adversarial.update_every == 0:
        metrics = discriminator_step(state, batches, metric)
        if metric is not None:
            metrics[UNDEFINED] += undefined
    metrics |= generator_step(state, batches)
    state.update_ema()
    state.step += 1
    return metrics


def discriminator_step(state: TrainState, batches: Sequence[Batch], metric: QualityMetric | None) -> StepMetrics:
    """Train the discriminator on one batch; returns its loss, gradient norm and statistics by name.

    With `separate_steps` the optimiser takes one step on real and one on fake: the loss is then the sum of both, the
    gradient norm their mean. Measured quality is stored in the micro-batches.
    """
    fakes = [detached(state, batch) for batch in batches]
    if metric is not None:
        for batch, fake in zip(batches, fakes, strict=True):
            batch.quality = measure_quality(batch, fake, metric, state.model.pre_emphasis)
    examples = [Examples(b.clean, fake, b.noisy, b.quality) for b, fake in zip(batches, fakes, strict=True)]
    if state.replay.size:
        examples = replayed(state, examples)
    logits: list[Logits] = [{} for _ in batches]
    steps = [discriminator_update(state, side, examples, logits) for side in state.adversary.sides]
    metrics = steps[-1]
    metrics["discriminator"] = sum(step["discriminator"] for step in steps)
    metrics["discriminator_gradient"] = sum(step.pop("gradient") for step in steps) / len(steps)
    if metric is not None:
        qualities = [batch.quality for batch in batches if batch.quality is not None]
        metrics[UNDEFINED] = float(sum(int(quality.isnan().sum()) for quality in qualities))
    return metrics


def replayed(state: TrainState, examples: Sequence[Examples]) -> list[Examples]:
    """Micro-batches of examples, each extended by earlier ones; one new example of each process is kept.

    All processes keep the same examples.
    """
    config, processes = state.training, state.processes
    n = round(config.adversarial.replay_share * len(examples[0].clean))
    rng = random_stream(config.seed, Purpose.REPLAYED, state.step, processes.rank)
    extended = [state.replay.extended(part, n, rng) for part in examples]
    first = [processes.gather(tensor[:1]) for tensor in examples[0].tensors()]
    state.replay.add(Examples.from_tensors(first), random_stream(config.seed, Purpose.KEPT, state.step))
    return extended


def discriminator_update(
    state: TrainState, side: Side | None, examples: Sequence[Examples], logits: list[Logits]
) -> StepMetrics:
    """One optimiser step of the discriminator, on one side or on both; adds the `logits` of each micro-batch."""
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    reports: list[dict[str, Tensor]] = []
    for (part, sync), answers in zip(synchronised_last(examples, state.ddp_adversary), logits, strict=True):
        with sync:
            with state.autocast():
                loss, on_side = state.ddp_adversary(
                    side, part.clean, part.enhanced, part.noisy, state.instance_noise(), part.quality
                )
            state.discriminator_scaler.scale(loss / len(examples)).backward()
        answers |= on_side
        stats = discriminator_stats(answers, state.adversary.objective) if len(answers) == 2 else {}
        reports.append({"discriminator": loss.detach(), **stats})
    learning_rate = state.training.discriminator_learning_rate * learning_rate_factor(state.step, state.training)
    metrics = optimizer_step(
        state.discriminator_optimizer, state.discriminator_scaler, learning_rate, averaged(reports), state.step,
        state.training.clip_norm,
    )  # fmt: skip
    state.adversary.clip_weights()
    return metrics


def generator_step(state: TrainState, batches: Sequence[Batch]) -> StepMetrics:
    """Train the generator on the reconstruction and the adversarial loss; returns losses and gradient norms by name."""
    config = state.training
    state.generator_optimizer.zero_grad(set_to_none=True)
    reports: list[dict[str, Tensor]] = []
    for batch, sync in synchronised_last(batches, state.ddp_generator):
        with sync:
            enhanced = enhance(state, batch, state.ddp_generator) if batch.enhanced is None else batch.enhanced
            output = enhanced.detach().requires_grad_()  # both losses are differentiated up to here, to be balanced
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
            gradient, norms = state.balancer(output, reconstruction, adversarial, state.adversarial_ramp())
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
    """Enhanced segments [B, 1, T], float32, from the generator or its distributed wrapper."""
    with state.autocast():
        enhanced: Tensor = network(batch.noisy, batch.z)
    return enhanced.float()


def detached(state: TrainState, batch: Batch) -> Tensor:
    """Enhanced segments [B, 1, T] without a graph, for the discriminator's steps."""
    if batch.enhanced is not None:
        return batch.enhanced.detach()
    with torch.no_grad():
        return enhance(state, batch, state.generator)


def synchronised_last(parts: Sequence[Part], network: nn.Module) -> Iterator[tuple[Part, AbstractContextManager[None]]]:
    """Micro-batches, each with a context that defers gradient synchronisation to the last one."""
    for number, part in enumerate(parts, 1):
        keep = number < len(parts) and isinstance(network, DistributedDataParallel)
        yield part, network.no_sync() if keep else nullcontext()  # type: ignore[operator]


def averaged(reports: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each metric over micro-batches."""
    return {name: torch.stack([report[name].float() for report in reports]).mean() for name in reports[0]}
