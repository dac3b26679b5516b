"""Learning rate schedules, and one optimiser step with gradient clipping and checks."""

import math

import torch
from torch import Tensor

from segan_cli.config.training import TrainingConfig
from segan_cli.errors import TrainingError
from segan_cli.training.adversary import StepMetrics


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    learning_rate: float,
    losses: dict[str, Tensor],
    step: int,
    clip_norm: float | None,
) -> StepMetrics:
    """Update the parameters; returns the losses and `gradient`, the gradient norm before clipping.

    If a gradient overflows in fp16, the update is skipped and the scaler lowers its scale. Raises TrainingError, which
    names them, if a loss or a gradient is not finite; the parameters are then not changed.
    """
    (group,) = optimizer.param_groups
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.get_total_norm([p.grad for p in group["params"] if p.grad is not None])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(group["params"], clip_norm, norm)
    names = [*losses, "gradient"]
    metrics = dict(zip(names, torch.stack([*losses.values(), norm]).tolist(), strict=True))
    not_finite = [name for name, value in metrics.items() if not math.isfinite(value)]
    overflow = scaler.get_scale() > 1 and all("gradient" in name for name in not_finite)
    if not_finite and not overflow:
        raise TrainingError(f"step {step + 1}: {', '.join(not_finite)} not finite; lower the learning rates")
    group["lr"] = learning_rate
    scaler.step(optimizer)
    scaler.update()
    return {name: 0.0 if name in not_finite else value for name, value in metrics.items()}


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Factor of the learning rate: linear warm-up, then constant, or linear or cosine decay to 0.01 at the last step.

    The decay covers the last `decay_steps`, with a constant rate before, or all steps after the warm-up.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    longest = max(1, config.steps - config.warmup_steps)
    decay_steps = longest if config.decay_steps is None else min(config.decay_steps, longest)
    progress = min(1.0, max(0.0, 1 - (config.steps - step) / decay_steps))
    remaining = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return 0.01 + 0.99 * remaining
