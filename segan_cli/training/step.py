"""One step of training (arXiv 1703.09452, section 3): discriminator, generator, moving average."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segan_cli.data.random_streams import Purpose, random_stream, seed_sequence
from segan_cli.errors import TrainingError
from segan_cli.training.adversary import Logits, Side, StepMetrics, discriminator_stats
from segan_cli.training.batch import Batch, deemphasise
from segan_cli.training.metricgan import Examples, QualityMetric
from segan_cli.training.state import TrainState, learning_rate_factor


def train_step(state: TrainState, next_batch: Callable[[], Batch], metric: QualityMetric | None = None) -> StepMetrics:
    """Train both networks for one step; returns losses, gradient norms and statistics of the discriminator by name.

    `metric` measures quality for a metric objective. Raises TrainingError if a loss or a gradient is not finite, before
    it changes a network.
    """
    config, adversarial = state.training, state.training.adversarial
    seed = seed_sequence(config.seed, Purpose.STEP, state.step, state.processes.rank)
    torch.manual_seed(int(seed.generate_state(1)[0]))  # instance noise, phase shuffle, interpolations
    metrics: StepMetrics = {}
    n_undefined = 0
    is_due = state.adversary_is_active() and state.step % adversarial.update_every == 0
    n_updates = adversarial.discriminator_steps if is_due else 0
    n_rounds = max(1, n_updates)
    for round_number in range(n_rounds):
        batches = next_batch().micro_batches(config.gradient_accumulation_steps)
        if len(batches) == 1 and round_number == n_rounds - 1:  # one pass of the generator serves both networks
            batches[0].enhanced = enhance(state, batches[0])
        if n_updates:
            metrics = discriminator_step(state, batches, metric, round_number)
            n_undefined += sum(int(batch.quality.isnan().sum()) for batch in batches if batch.quality is not None)
    if metrics and metric is not None:
        metrics["quality_undefined"] = float(n_undefined)  # segments
    metrics |= generator_step(state, batches)
    state.update_ema()
    state.step += 1
    return metrics


def discriminator_step(
    state: TrainState, batches: Sequence[Batch], metric: QualityMetric | None, round_number: int
) -> StepMetrics:
    """Train the discriminator on one batch; returns its loss, gradient norm and statistics by name.

    With `separate_steps` the optimiser takes one step on real and one on fake: the loss is then the sum of both, the
    gradient norm their mean. Measured quality is stored in the micro-batches.
    """
    examples = []
    for batch in batches:
        with torch.no_grad():
            fake = enhance(state, batch) if batch.enhanced is None else batch.enhanced.detach()
        if metric is not None:
            batch.quality = measure_quality(state, metric, batch.clean, fake, batch.noisy)
        examples.append(Examples(batch.clean, fake, batch.noisy, batch.quality))
    if state.replay.size:
        examples = replayed(state, examples, round_number)
    logits: list[Logits] = [{} for _ in batches]
    steps = [discriminator_update(state, side, examples, logits) for side in state.adversary.sides]
    metrics = steps[-1]
    metrics["discriminator"] = sum(step["discriminator"] for step in steps)
    metrics["discriminator_gradient"] = sum(step.pop("gradient") for step in steps) / len(steps)
    return metrics


def measure_quality(state: TrainState, metric: QualityMetric, *sides: Tensor) -> Tensor:
    """Quality [B, 2] of enhanced and noisy after de-emphasis; `sides` are clean, enhanced and noisy [B, 1, T]."""
    pre_emphasis = state.model_config.pre_emphasis
    clean, enhanced, noisy = ([*deemphasise(side, pre_emphasis)[:, 0].cpu().numpy()] for side in sides)
    return metric([*clean, *clean], [*enhanced, *noisy]).to(state.device).view(2, -1).T


def replayed(state: TrainState, examples: Sequence[Examples], round_number: int) -> list[Examples]:
    """Micro-batches, each with earlier examples added; one new example of each process is kept, the same in all."""
    config, processes = state.training, state.processes
    n = round(config.adversarial.replay_share * len(examples[0].clean))
    rng = random_stream(config.seed, Purpose.REPLAY_SAMPLE, state.step, round_number, processes.rank)
    extended = [state.replay.extended(part, n, rng) for part in examples]
    first = [processes.gather(tensor[:1]) for tensor in examples[0] if tensor is not None]
    state.replay.add(first, random_stream(config.seed, Purpose.REPLAY_INSERT, state.step, round_number))
    return extended


def discriminator_update(
    state: TrainState, side: Side | None, examples: Sequence[Examples], logits: Sequence[Logits]
) -> StepMetrics:
    """One optimiser step of the discriminator, on one side or on both; adds the `logits` of each micro-batch."""
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    reports = []
    for number, (part, answers) in enumerate(zip(examples, logits, strict=True), 1):
        synchronise(state.ddp_adversary, number == len(examples))
        with state.autocast():
            loss, on_side = state.ddp_adversary(
                part.clean, part.enhanced, part.noisy, state.instance_noise(), part.quality, side=side
            )
        state.discriminator_scaler.scale(loss / len(examples)).backward()
        answers |= on_side
        stats = discriminator_stats(answers, state.adversary.objective) if len(answers) == 2 else {}
        reports.append({"discriminator": loss.detach(), **stats})
    rate = state.training.discriminator_learning_rate
    metrics = optimizer_step(state, state.discriminator_optimizer, state.discriminator_scaler, rate, reports)
    state.adversary.clip_weights()
    return metrics


def generator_step(state: TrainState, batches: Sequence[Batch]) -> StepMetrics:
    """Train the generator on the reconstruction and the adversarial loss; returns losses and gradient norms by name."""
    config = state.training
    state.generator_optimizer.zero_grad(set_to_none=True)
    reports = []
    for number, batch in enumerate(batches, 1):
        synchronise(state.ddp_generator, number == len(batches))
        enhanced = enhance(state, batch) if batch.enhanced is None else batch.enhanced
        output = enhanced.detach().requires_grad_()  # both losses are differentiated up to here, to be balanced
        result, target = output, batch.clean
        if config.deemphasised_losses:
            result, target = (deemphasise(side, state.model_config.pre_emphasis) for side in (output, batch.clean))
        reconstruction, terms = state.reconstruction(result, target)
        report = {name: term.detach() for name, term in terms.items()}
        adversarial = None
        if state.adversary_is_active():
            with state.autocast():
                adversarial = state.adversary.generator_loss(
                    batch.clean, output, batch.noisy, state.instance_noise(), batch.quality
                )
            report["adversarial"] = adversarial.detach()
        gradient, energies = balanced_gradient(state, output, reconstruction, adversarial)
        enhanced.backward(state.generator_scaler.scale(gradient / len(batches)))  # type: ignore[no-untyped-call]
        reports.append(report | energies)
    rate = config.generator_learning_rate
    metrics = optimizer_step(state, state.generator_optimizer, state.generator_scaler, rate, reports)
    metrics["generator_gradient"] = metrics.pop("gradient")
    return metrics | {name: math.sqrt(metrics[name]) for name in energies}


def enhance(state: TrainState, batch: Batch) -> Tensor:
    """Enhanced segments [B, 1, T], float32; their gradients are averaged over processes."""
    network = state.ddp_generator if torch.is_grad_enabled() else state.generator
    with state.autocast():
        enhanced: Tensor = network(batch.noisy, batch.z)
    return enhanced.float()


def synchronise(network: nn.Module, is_last: bool) -> None:
    """Average gradients over processes in the backward pass of the last micro-batch only."""
    if isinstance(network, DistributedDataParallel):
        network.require_backward_grad_sync = is_last


def balanced_gradient(
    state: TrainState, output: Tensor, reconstruction: Tensor, adversarial: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of both losses with respect to `output` [B, 1, T], and the squared norm of each part by name.

    With a `gradient_share`, the adversarial gradient is rescaled to that share of the norm of the reconstruction
    gradient, regardless of its weight (the balancer of arXiv 2210.13438 without its moving average).
    """
    config, processes = state.training.adversarial, state.processes

    def energy(gradient: Tensor) -> Tensor:
        # of a batch whose parts have the gradients of the means over their segments
        parts = processes.world_size * state.training.gradient_accumulation_steps
        return processes.mean(gradient.square().sum()) / parts

    (gradient,) = torch.autograd.grad(reconstruction, output)
    energies = {"reconstruction_gradient": energy(gradient)}
    if adversarial is None:
        return gradient, energies
    scale = state.generator_scaler.get_scale()  # in fp16, the gradients of the discriminator would underflow
    (adversarial_gradient,) = torch.autograd.grad(scale * config.weight * adversarial, output)
    adversarial_gradient = adversarial_gradient / scale
    energies["adversarial_gradient"] = energy(adversarial_gradient)
    if config.gradient_share is not None:
        before, size = (value.sqrt() for value in energies.values())
        adversarial_gradient = adversarial_gradient * config.gradient_share * before / size.clamp_min(1e-12)
    return gradient + state.adversarial_ramp() * adversarial_gradient, energies


def optimizer_step(
    state: TrainState, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, learning_rate: float,
    reports: Sequence[dict[str, Tensor]],
) -> StepMetrics:  # fmt: skip
    """Update the parameters; returns means of the micro-batches' `reports`, and `gradient`, the norm before clipping.

    If a gradient overflows in fp16, its norm is not finite, the update is skipped and the scaler lowers its scale.
    Raises TrainingError, which names them, if a loss or a gradient is not finite; the parameters are then not changed.
    """
    config, (group,) = state.training, optimizer.param_groups
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.get_total_norm([p.grad for p in group["params"] if p.grad is not None])
    if config.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(group["params"], config.clip_norm, norm)
    means = [torch.stack([report[name].float() for report in reports]).mean() for name in reports[0]]
    metrics = dict(zip([*reports[0], "gradient"], torch.stack([*means, norm]).tolist(), strict=True))
    not_finite = [name for name, value in metrics.items() if not math.isfinite(value)]
    overflow = scaler.get_scale() > 1 and all("gradient" in name for name in not_finite)
    if not_finite and not overflow:
        raise TrainingError(f"step {state.step + 1}: {', '.join(not_finite)} not finite; lower the learning rates")
    group["lr"] = learning_rate * learning_rate_factor(state.step, config)
    scaler.step(optimizer)
    scaler.update()
    return metrics
