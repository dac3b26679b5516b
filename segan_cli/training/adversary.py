"""The adversarial losses of both networks.

Nothing here depends on audio: candidates and conditions are batches of any shape, and the discriminator is any module
that maps both to logits [B], or [B, P] of P patches.
"""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from segan_cli.config.training import GRADIENT_PENALTY, AdversarialConfig
from segan_cli.losses.adversarial import OBJECTIVES, Objective, clip_weights, feature_matching, gradient_penalty, r1
from segan_cli.networks.layers import at_least_float32

LEAST_EXAMPLES = 8  # in a batch for its standard deviation to be estimated

StepMetrics = dict[str, float]
Side = Literal["real", "fake"]
Logits = dict[Side, Tensor]  # [B] of each side, the mean over patches, detached
Weights = dict[str, Tensor]


class Adversary(nn.Module):
    """A discriminator with its optimiser and objective.

    In every method `real`, `fake` and `condition` are [B, …], `std` is the standard deviation of the instance noise in
    the same units, and `quality` [B, 2], for a metric objective, is the measured quality of `fake` and of
    `condition`, NaN where undefined.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, config: AdversarialConfig) -> None:
        super().__init__()
        self.network, self.optimizer, self.config = network, optimizer, config
        self.objective = OBJECTIVES[config.objective]

    @property
    def sides(self) -> tuple[Side | None, ...]:
        """The side that each optimiser step of the discriminator trains on, None for both at once."""
        return ("real", "fake") if self.config.separate_steps else (None,)

    def discriminate(
        self, candidate: Tensor, condition: Tensor, weights: Weights | None = None, features: list[Tensor] | None = None
    ) -> Tensor:
        """Logits [B] or [B, P] of candidates, from the network's own weights or from the `weights` given.

        A metric objective judges whole candidates: its logits are means over patches. The outputs of hidden layers are
        appended to `features`.
        """
        wanted = features is not None and self.config.feature_matching_weight
        arguments = (candidate, condition, features) if wanted else (candidate, condition)
        logits: Tensor = functional_call(self.network, weights, arguments) if weights else self.network(*arguments)
        logits = at_least_float32(logits)
        return mean_over_patches(logits) if self.objective.metric else logits

    def condition_for(self, real: Tensor, condition: Tensor) -> Tensor:
        """The discriminator's second input: `condition`, or `real` for a metric objective."""
        return real if self.objective.metric else condition

    def forward(
        self, real: Tensor, fake: Tensor, condition: Tensor, std: float = 0.0, quality: Tensor | None = None,
        weights: Weights | None = None, side: Side | None = None,
    ) -> tuple[Tensor, Logits]:  # fmt: skip
        """The discriminator's loss, penalties included, and its logits: on one side of a separable loss, or on both.

        Uses `weights` if given, otherwise those of the network.
        """
        config, objective, logits = self.config, self.objective, Logits()
        noised, given = add_instance_noise(real, std), self.condition_for(real, condition)

        def discriminate(candidate: Tensor, given: Tensor = given) -> Tensor:
            return self.discriminate(candidate, given, weights)

        if side != "fake":
            logits["real"] = discriminate(noised)
        if side != "real":
            logits["fake"] = discriminate(add_instance_noise(fake, std))
        if quality is None:
            label = 1.0 - config.label_smoothing
            loss = objective.discriminator(**logits, target=label)
        else:  # of a metric objective, which judges `condition` too
            on_both = torch.cat((logits["fake"], discriminate(add_instance_noise(condition, std))))
            loss = objective.discriminator(logits["real"], on_both, target=quality.T.flatten())
        if config.mismatched_share and side != "real":  # the other fakes: real beside the condition of another example
            others = {**logits, "fake": discriminate(noised, condition.roll(1, 0))}
            mismatched = objective.discriminator(**others, target=label)
            loss = torch.lerp(loss, mismatched, config.mismatched_share)
        if config.r1_weight and side != "fake":
            loss = loss + config.r1_weight * r1(discriminate, noised)
        if config.objective in GRADIENT_PENALTY:
            loss = loss + config.gradient_penalty_weight * gradient_penalty(discriminate, real, fake.detach())
        return loss, {name: mean_over_patches(each.detach()) for name, each in logits.items()}

    def generator_loss(
        self, real: Tensor, fake: Tensor, condition: Tensor, std: float = 0.0, quality: Tensor | None = None
    ) -> Tensor:
        """The generator's adversarial loss under the current or an unrolled discriminator, which stays as it is."""
        unrolled = bool(self.config.unrolled_steps)
        weights = self.unroll(real, fake, condition, std, quality) if unrolled else self.copied_buffers()
        given, matching = self.condition_for(real, condition), self.config.feature_matching_weight
        of_fake: list[Tensor] = []
        of_real: list[Tensor] = []
        on_fake = self.discriminate(add_instance_noise(fake, std), given, weights, of_fake)
        on_real = on_fake  # placeholder: only relativistic objectives and feature matching use the logits of real
        if self.objective.relativistic or matching:
            with torch.set_grad_enabled(unrolled):  # only unrolled weights depend on `fake`
                on_real = self.discriminate(add_instance_noise(real, std), given, weights, of_real)
        loss = self.objective.generator(on_fake, real=on_real)
        return loss + matching * feature_matching(of_fake, of_real) if matching else loss

    def unroll(
        self, real: Tensor, fake: Tensor, condition: Tensor, std: float = 0.0, quality: Tensor | None = None
    ) -> Weights:
        """The weights after `unrolled_steps` discriminator steps on this batch, differentiable with respect to `fake`.

        The discriminator itself is not changed (arXiv 1611.02163, equations 6 to 8). Every step uses the optimiser's
        present second moments; momentum, weight decay and clipping (of gradients and of weights) are ignored.
        """
        (group,) = self.optimizer.param_groups
        states = [self.optimizer.state.get(p, {}) for p in group["params"]]
        weights: Weights = {name: p.detach().requires_grad_() for name, p in self.network.named_parameters()}
        buffers = self.copied_buffers()
        for _ in range(self.config.unrolled_steps):
            loss, _ = self(real, fake, condition, std, quality, {**weights, **buffers})
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
            for (name, weight), gradient, state in zip(weights.items(), gradients, states, strict=True):
                if gradient is not None:
                    weights[name] = weight - gradient * step_size(group, state, gradient)
        return {**weights, **buffers}

    def copied_buffers(self) -> Weights:
        """Copies of the discriminator's buffers, for a forward pass that must not update them."""
        return {name: buffer.clone() for name, buffer in self.network.named_buffers()}

    def clip_weights(self) -> None:
        """Clip the discriminator's weights if the objective requires it; called after each of its steps."""
        if self.objective.weight_clipping:
            clip_weights(self.network, self.config.weight_clip)


def add_instance_noise(candidates: Tensor, std: float) -> Tensor:
    """Candidates with Gaussian instance noise added (arXiv 1610.04490)."""
    return candidates + std * torch.randn_like(candidates) if std else candidates


def mean_over_patches(logits: Tensor) -> Tensor:
    """Logits [B] or [B, P] → [B]."""
    return logits.flatten(1).mean(1) if logits.dim() > 1 else logits


def discriminator_stats(logits: Logits, objective: Objective) -> dict[str, Tensor]:
    """Mean logit of each side and, unless the objective is a metric, accuracies and the sensitivity index d′.

    d′ is the difference of the means over the pooled standard deviation, for batches of at least 8.
    """
    on_real, on_fake = logits["real"], logits["fake"]
    real, fake = on_real.mean(), on_fake.mean()
    report = {"d_real": real, "d_fake": fake}
    if objective.metric:
        return report
    middle = (real + fake) / 2 if objective.boundary is None else objective.boundary
    report["d_real_accuracy"] = (on_real > middle).float().mean()
    report["d_fake_accuracy"] = (on_fake < middle).float().mean()
    if len(on_real) >= LEAST_EXAMPLES:
        std = ((on_real.var(correction=0) + on_fake.var(correction=0)) / 2).sqrt()
        report["d_prime"] = (real - fake) / (std + 1e-6)
    return report


def step_size(group: dict[str, Any], state: dict[str, Any], gradient: Tensor) -> Tensor:
    """The present step size of an optimiser for a parameter with this gradient, momentum ignored; differentiable."""
    if "alpha" in group:  # RMSprop
        decay, moment, correction = group["alpha"], state.get("square_avg", 0.0), 1.0
    elif "betas" in group:  # Adam
        decay, moment = group["betas"][1], state.get("exp_avg_sq", 0.0)
        correction = 1 - decay ** (int(state.get("step", 0)) + 1)
    else:  # SGD
        return torch.full_like(gradient, group["lr"])
    second = (moment * decay + (1 - decay) * gradient.square()) / correction
    return cast(Tensor, group["lr"] / ((second + 1e-20).sqrt() + group["eps"]))  # differentiable at 0
