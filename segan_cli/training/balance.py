"""Balances the adversarial gradient against the reconstruction gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from segan_cli.training.distributed import Processes


@dataclass(frozen=True)
class GradientBalancer:
    """Adds the gradients of the reconstruction and the adversarial loss at the generator's output.

    With a `share`, the adversarial gradient is rescaled to that share of the norm of the reconstruction gradient,
    regardless of its weight (the balancer of arXiv 2210.13438 without its moving average). Norms are over all
    processes.
    """

    weight: float  # of the adversarial loss
    share: float | None
    processes: Processes

    def __call__(
        self, output: Tensor, reconstruction: Tensor, adversarial: Tensor | None, ramp: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of both losses with respect to `output` [B, 1, T], and the norm of each part by name.

        `ramp` scales the adversarial gradient.
        """
        (gradient,) = torch.autograd.grad(reconstruction, output)
        norms = {"reconstruction_gradient": self.norm(gradient)}
        if adversarial is None:
            return gradient, norms
        (adversarial_gradient,) = torch.autograd.grad(self.weight * adversarial, output)
        norms["adversarial_gradient"] = norm = self.norm(adversarial_gradient)
        if self.share is not None:
            adversarial_gradient = adversarial_gradient * (
                self.share * norms["reconstruction_gradient"] / norm.clamp_min(1e-12)
            )
        return gradient + ramp * adversarial_gradient, norms

    def norm(self, gradient: Tensor) -> Tensor:
        """Norm over the segments of all processes, where each has the gradient of the mean over its own segments."""
        return (self.processes.mean(gradient.square().sum()) / self.processes.world_size).sqrt()
