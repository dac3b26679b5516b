"""Regularisation of the discriminator: gradient penalties and weight clipping."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segan_cli.networks.layers import VirtualBatchNorm


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
