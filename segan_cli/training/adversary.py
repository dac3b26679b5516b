"""The adversarial game: what the discriminator is asked and loses, and what it tells the generator.

Nothing here knows audio: candidates and conditions are batches of any shape, the discriminator is any module that takes
both and gives logits [B].
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from segan_cli.config import AdversarialConfig
from segan_cli.losses.adversarial import OBJECTIVES, Objective
from segan_cli.losses.penalties import clip_weights, gradient_penalty, r1
from segan_cli.networks.layers import full

ENOUGH = 8  # examples from which their deviation can be relied on

Report = dict[str, float]
Opinion = dict[str, Tensor]  # scalars
Weights = dict[str, Tensor]
StepSize = Callable[[Tensor], Tensor]


class Adversary(nn.Module):
    """A discriminator, its optimiser and the rules of the game; called, it gives the discriminator's loss.

    In every method `real`, `fake` and `condition` are [B, …]; `deviation` is that of the instance noise now, in their
    units; `quality` [2 B], for a metric objective alone, is the measured quality of `fake` and of `condition` itself,
    NaN where undefined.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, config: AdversarialConfig) -> None:
        super().__init__()
        self.network, self.optimizer, self.config = network, optimizer, config
        self.objective = OBJECTIVES[config.objective]

    def judge(self, candidate: Tensor, condition: Tensor, weights: Weights | None = None) -> Tensor:
        """Logits [B] of candidates, by the network's own weights or by others."""
        arguments = (candidate, condition)
        logits: Tensor = functional_call(self.network, weights, arguments) if weights else self.network(*arguments)
        return full(logits)

    def beside(self, real: Tensor, condition: Tensor) -> Tensor:
        """What candidates are judged beside: the condition, but real where a measure is learned that looks at it."""
        return real if self.objective.metric else condition

    def discriminator_loss(
        self,
        real: Tensor,
        fake: Tensor,
        condition: Tensor,
        deviation: float = 0.0,
        quality: Tensor | None = None,
        weights: Weights | None = None,
    ) -> tuple[Tensor, Opinion]:
        """The discriminator's loss, penalties included, and what it thinks of both kinds of candidates."""
        config, objective = self.config, self.objective
        blurred = blur(real, deviation)
        beside = self.beside(real, condition)
        on_real = self.judge(blurred, beside, weights)
        on_fake = self.judge(blur(fake, deviation), beside, weights)
        if objective.metric:
            on_condition = self.judge(blur(condition, deviation), beside, weights)
            loss = objective.discriminator(on_real, torch.cat((on_fake, on_condition)), quality)
        else:
            label = 1.0 - config.label_smoothing
            loss = objective.discriminator(on_real, on_fake, label)
            if config.mismatched_share:
                on_mismatched = self.judge(blurred, condition.roll(1, 0), weights)
                mismatched = objective.discriminator(on_real, on_mismatched, label)
                loss = torch.lerp(loss, mismatched, config.mismatched_share)
        if config.r1_weight:
            loss = loss + config.r1_weight * r1(lambda x: self.judge(x, beside, weights), blurred)
        if config.objective == "wasserstein-gp":
            penalty = gradient_penalty(lambda x: self.judge(x, beside, weights), real, fake.detach())
            loss = loss + config.gradient_penalty_weight * penalty
        return loss, opinion(on_real.detach(), on_fake.detach(), objective)

    forward = discriminator_loss

    def generator_loss(
        self, real: Tensor, fake: Tensor, condition: Tensor, deviation: float = 0.0, quality: Tensor | None = None
    ) -> Tensor:
        """The generator's adversarial loss, by the discriminator as it is or as it would answer in some steps."""
        weights = self.unroll(real, fake, condition, deviation, quality) if self.config.unrolled_steps else None
        beside = self.beside(real, condition)
        on_fake = self.judge(blur(fake, deviation), beside, weights)
        on_real = self.judge(blur(real, deviation), beside, weights) if self.objective.relativistic else on_fake
        return self.objective.generator(on_fake, on_real)

    def unroll(
        self, real: Tensor, fake: Tensor, condition: Tensor, deviation: float = 0.0, quality: Tensor | None = None
    ) -> Weights:
        """The weights that the discriminator would have after some steps on this batch, differentiable by `fake`.

        The discriminator itself stays as it is (arXiv 1611.02163, equations 6 to 8). Each step is the optimiser's
        first from now: its second moments do not accumulate, momentum, decay and clipping are left out.
        """
        scales = step_sizes(self.optimizer)
        weights: Weights = {name: p.detach().requires_grad_() for name, p in self.network.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        for _ in range(self.config.unrolled_steps):
            loss, _ = self.discriminator_loss(real, fake, condition, deviation, quality, {**weights, **buffers})
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
            for (name, weight), gradient, scale in zip(weights.items(), gradients, scales, strict=True):
                if gradient is not None:
                    weights[name] = weight - gradient * scale(gradient)
        return {**weights, **buffers}

    def settle(self) -> None:
        """What the objective asks for after each step of the discriminator: bounded weights."""
        if self.config.objective == "wasserstein-clip":
            clip_weights(self.network, self.config.weight_clip)


def blur(candidates: Tensor, deviation: float) -> Tensor:
    """Candidates with instance noise (arXiv 1610.04490)."""
    return candidates + deviation * torch.randn_like(candidates) if deviation else candidates


def opinion(on_real: Tensor, on_fake: Tensor, objective: Objective) -> Opinion:
    """What logits [B] of both kinds say: means, and where the discriminator tells apart, how well.

    That is the accuracies, and from eight examples on the separation: difference of means over the pooled deviation.
    """
    real, fake = on_real.mean(), on_fake.mean()
    report = {"d_real": real, "d_fake": fake}
    if objective.metric:
        return report
    middle = (real + fake) / 2 if objective.boundary is None else objective.boundary
    report["d_real_accuracy"] = (on_real > middle).float().mean()
    report["d_fake_accuracy"] = (on_fake < middle).float().mean()
    if len(on_real) >= ENOUGH:
        deviation = ((on_real.var(correction=0) + on_fake.var(correction=0)) / 2).sqrt()
        report["d_separation"] = (real - fake) / (deviation + 1e-6)
    return report


def step_sizes(optimizer: torch.optim.Optimizer) -> list[StepSize]:
    """For each parameter of an optimiser, the factor that it would put on a gradient now; momentum is left out."""
    return [_step_size(group, optimizer.state.get(p, {})) for group in optimizer.param_groups for p in group["params"]]


def _step_size(group: dict[str, Any], state: dict[str, Any]) -> StepSize:
    rate = group["lr"]
    if "alpha" in group:  # RMSprop
        decay, moment, correction = group["alpha"], state.get("square_avg", 0.0), 1.0
    elif "betas" in group:  # Adam
        decay, moment = group["betas"][1], state.get("exp_avg_sq", 0.0)
        correction = 1 - decay ** (int(state.get("step", 0)) + 1)
    else:  # SGD
        return lambda gradient: torch.full_like(gradient, rate)

    moment = moment * decay  # a copy: the optimiser's own moves on before the generator's backward pass

    def size(gradient: Tensor) -> Tensor:
        second = (moment + (1 - decay) * gradient.square()) / correction
        return cast(Tensor, rate / ((second + 1e-20).sqrt() + group["eps"]))  # a root that can be derived at 0

    return size
