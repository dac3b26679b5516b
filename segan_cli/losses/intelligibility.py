"""What STOI takes off 1, differentiable."""

import torch
from torch import Tensor, nn
from torch_stoi import NegSTOILoss

SPEECH_FLOOR = 1e-8  # mean square of clean below which a window counts as holding no speech


class IntelligibilityDistance(nn.Module):
    """1 - STOI of windows at 16 kHz (Taal and others, 2011), the bands taken at that rate and not at 10 kHz.

    Windows without speech count as 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.negated = NegSTOILoss(16_000, do_resample=False).requires_grad_(False)

    def forward(self, enhanced: Tensor, clean: Tensor) -> Tensor:
        """enhanced, clean [B, 1, T], T at least 7,000 → scalar, the mean over windows."""
        heard = clean.square().mean((1, 2)) > SPEECH_FLOOR
        distance = 1.0 + self.negated(enhanced[:, 0], clean[:, 0])
        return torch.where(heard, distance, 0.0).mean()
