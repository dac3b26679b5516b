"""Adversarial objectives, pairs of functions on the discriminator's logits, and penalties on the discriminator.

Every function takes logits [B], or [B, P] of P patches, and returns a scalar to minimise. D is the logit, σ(D) the
probability of real. Discriminator losses are called as f(real, fake, target=...), those of the generator as
f(fake, real=...).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from segan_cli.networks.layers import VirtualBatchNorm

Loss = Callable[..., Tensor]

LARGEST_EXPONENT = 10.0  # of the maximum-likelihood loss, linear beyond it


@dataclass(frozen=True)
class SeparableLoss:
    """A discriminator loss that is the sum of one term on real and one on fake."""

    on_real: Callable[[Tensor, float | Tensor], Tensor]  # logits [B] and the label of real
    on_fake: Callable[[Tensor], Tensor]  # logits [B]

    def __call__(
        self, real: Tensor | None = None, fake: Tensor | None = None, *, target: float | Tensor = 1.0
    ) -> Tensor:
        """The sum of the terms on the logits [B] that are given."""
        terms = [self.on_real(real, target)] if real is not None else []
        return torch.stack([*terms, self.on_fake(fake)] if fake is not None else terms).sum()


@dataclass(frozen=True)
class Objective:
    """The losses of both networks and the properties of the objective."""

    discriminator: Loss  # `target` is the label of real or, for a metric objective, the quality [B] of fake
    generator: Loss  # of fake; a relativistic objective uses the logits of real as well
    boundary: float | None  # decision threshold on the logit; None: halfway between the mean logits of real and fake
    relativistic: bool = False  # the generator's loss depends on the logits of real
    metric: bool = False  # the discriminator predicts a measured quality and is conditioned on clean speech
    weight_clipping: bool = False  # of the critic (arXiv 1701.07875)


def cross_entropy_real(real: Tensor, target: float | Tensor) -> Tensor:
    """-½ E log σ(D(x)) (arXiv 1406.2661, equation 1).

    A label below 1 is one-sided smoothing: -½ E [label log σ + (1 - label) log(1 - σ)] (arXiv 1606.03498).
    """
    on_real = target * softplus(-real) + (1 - target) * softplus(real)
    return 0.5 * on_real.mean()


def maximum_likelihood_generator(fake: Tensor, *, real: Tensor) -> Tensor:
    """-½ E exp(σ⁻¹(σ(D(G)))) = -½ E e^D(G) (arXiv 1701.00160, section 3.2.4).

    Beyond a logit of 10 the exponential is continued along its tangent, so that the gradient stays bounded.
    """
    beyond = (fake - LARGEST_EXPONENT).relu()
    return -0.5 * (fake.clamp(max=LARGEST_EXPONENT).exp() + math.exp(LARGEST_EXPONENT) * beyond).mean()


def relativistic_least_squares_discriminator(real: Tensor, fake: Tensor, *, target: float | Tensor = 1.0) -> Tensor:
    """E (D(x) - E D(G) - 1)² + E (D(G) - E D(x) + 1)² (arXiv 1807.00734, appendix D)."""
    return (real - fake.mean() - 1).square().mean() + (fake - real.mean() + 1).square().mean()


def relativistic_least_squares_generator(fake: Tensor, *, real: Tensor) -> Tensor:
    """E (D(G) - E D(x) - 1)² + E (D(x) - E D(G) + 1)² (arXiv 1807.00734, appendix D)."""
    return (fake - real.mean() - 1).square().mean() + (real - fake.mean() + 1).square().mean()


def metric_discriminator(real: Tensor, fake: Tensor, *, target: float | Tensor = 1.0) -> Tensor:
    """E (D(x) - 1)² + E (D(y) - Q(y))² over the y whose quality Q [B] is defined, not NaN (arXiv 2104.03538)."""
    quality = torch.as_tensor(target)
    defined = ~quality.isnan()
    error = (fake - quality.nan_to_num()).square() * defined
    return (real - 1).square().mean() + error.sum() / defined.sum().clamp_min(1)


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the L1 distance of hidden outputs, relative to the mean size of real (arXiv 2210.13438)."""
    pairs = [(f.float(), r.float()) for f, r in zip(fake, real, strict=True)]
    return torch.stack([(f - r).abs().mean() / r.abs().mean() for f, r in pairs]).mean()


CROSS_ENTROPY = SeparableLoss(  # -½ E log σ(D(x)) - ½ E log(1 - σ(D(G))) (arXiv 1406.2661, equation 1)
    cross_entropy_real, lambda fake: 0.5 * softplus(fake).mean()
)
LEAST_SQUARES = SeparableLoss(  # ½ E (D(x) - 1)² + ½ E D(G)² (arXiv 1611.04076, equation 9)
    lambda real, target: 0.5 * (real - target).square().mean(), lambda fake: 0.5 * fake.square().mean()
)
HINGE = SeparableLoss(  # E max(0, 1 - D(x)) + E max(0, 1 + D(G)) (arXiv 1802.05957, equation 16)
    lambda real, target: (1 - real).relu().mean(), lambda fake: (1 + fake).relu().mean()
)


def critic(real: Tensor, fake: Tensor, **_: object) -> Tensor:
    """E D(G) - E D(x), for a 1-Lipschitz D the negative of an estimate of W₁ (arXiv 1701.07875, equation 2)."""
    return fake.mean() - real.mean()


def critic_generator(fake: Tensor, **_: object) -> Tensor:
    """-E D(G) (arXiv 1701.07875, theorem 3; the hinge objective's too, arXiv 1802.05957, equation 17)."""
    return -fake.mean()


OBJECTIVES = {
    # ½ E log(1 - σ(D(G))), the negative of the discriminator's loss on fake (arXiv 1406.2661, equation 1)
    "minimax": Objective(CROSS_ENTROPY, lambda fake, real: -0.5 * softplus(fake).mean(), 0.0),
    # -½ E log σ(D(G)) (arXiv 1701.00160, section 3.2.3)
    "non-saturating": Objective(CROSS_ENTROPY, lambda fake, real: 0.5 * softplus(-fake).mean(), 0.0),
    "maximum-likelihood": Objective(CROSS_ENTROPY, maximum_likelihood_generator, 0.0),
    # ½ E (D(G) - 1)² (arXiv 1611.04076, equation 9)
    "least-squares": Objective(LEAST_SQUARES, lambda fake, real: 0.5 * (fake - 1).square().mean(), 0.5),
    "hinge": Objective(HINGE, critic_generator, 0.0),
    "wasserstein-clip": Objective(critic, critic_generator, None, weight_clipping=True),
    "wasserstein-gp": Objective(critic, critic_generator, None),
    "relativistic-least-squares": Objective(
        relativistic_least_squares_discriminator, relativistic_least_squares_generator, None, relativistic=True
    ),
    # E (D(G) - 1)²: the squared distance to the best quality, 1 (arXiv 1905.04874)
    "metricgan": Objective(metric_discriminator, lambda fake, real: (fake - 1).square().mean(), None, metric=True),
}


def gradient_norm_squared(discriminate: Callable[[Tensor], Tensor], candidates: Tensor) -> Tensor:
    """Squared gradient norm ‖∇ D(x)‖² of each candidate [B, …] → [B], differentiable by the discriminator's weights."""
    candidates = candidates.detach().requires_grad_()
    logits = discriminate(candidates)
    score = logits.sum() * (len(logits) / logits.numel())  # the mean over patches of each candidate
    (gradient,) = torch.autograd.grad(score, candidates, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E (‖∇ D(x̂)‖ - 1)² at random interpolates x̂ of real and fake [B, …] (arXiv 1704.00028, equation 3)."""
    share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
    norm = (gradient_norm_squared(discriminate, share * real + (1 - share) * fake) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def r1(discriminate: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """½ E ‖∇ D(x)‖² on real candidates [B, …] (arXiv 1801.04406, equation 9, for γ = 1)."""
    return 0.5 * gradient_norm_squared(discriminate, real).mean()


def clip_weights(network: nn.Module, bound: float) -> None:
    """Clip every weight to ±bound, in place (arXiv 1701.07875, algorithm 1).

    Gains and shifts of normalisation layers are not clipped: gains start at 1, and clipping them would silence the
    network.
    """
    with torch.no_grad():
        for module in network.modules():
            if not isinstance(module, VirtualBatchNorm | nn.BatchNorm1d):
                for parameter in module.parameters(recurse=False):
                    parameter.clamp_(-bound, bound)
