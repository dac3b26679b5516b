"""What STOI takes off 1, differentiable."""

import torch
from torch import Tensor, nn

from segan_cli.losses.signal import N_FFT, Signal

N_BANDS, LOWEST_HZ = 15, 150.0  # third octaves
SEGMENT = 30  # frames, as in the original
LEAST_FRAMES = 12  # with speech, for a segment to count
ACTIVE_DB = 40.0  # below the loudest frame of the window, down to which a frame holds speech
CLIPPING = 1 + 10 ** (15 / 20)  # signal-to-distortion bound of -15 dB
TINY = 1e-8


class IntelligibilityDistance(nn.Module):
    """1 - STOI of windows (Taal and others, IEEE TASLP 19(7), 2011), on frames of 32 ms every 16 ms at 16 kHz.

    Frames without speech are masked, not cut out. Windows without speech count as 0.
    """

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        centres = LOWEST_HZ * 2 ** (torch.arange(N_BANDS) / 3)
        hz = torch.arange(N_FFT // 2 + 1)[:, None] * 16_000 / N_FFT
        bands = (hz >= centres * 2 ** (-1 / 6)) & (hz < centres * 2 ** (1 / 6))
        self.register_buffer("bands", bands.float(), persistent=False)

    def forward(self, enhanced: Signal, clean: Signal) -> Tensor:
        """Windows [B, 1, T], T at least 7,000 → scalar, the mean over windows."""
        return torch.where(clean.holds_speech, 1 - self.stoi(enhanced, clean), 0.0).mean()

    def stoi(self, enhanced: Signal, clean: Signal) -> Tensor:
        """Windows [B, 1, T] → [B]."""
        x, y = (self.segments(side) for side in (clean, enhanced))
        energy = clean.spectrum.power.sum(-1)
        active = energy > energy.amax(1, keepdim=True) * 10 ** (-ACTIVE_DB / 10)
        mask = active.unfold(1, SEGMENT, 1)[:, :, None].to(x.dtype)  # [B, S, 1, 30]
        energies = ((side.square() * mask).sum(-1, True) + TINY for side in (x, y))
        y = torch.minimum(y * torch.div(*energies).sqrt(), x * CLIPPING)
        correlation = self.correlation(x, y, mask).mean(-1)
        counted = (mask.sum(-1)[..., 0] >= LEAST_FRAMES).to(x.dtype)
        return (correlation * counted).sum(1) / counted.sum(1).clamp_min(1.0)

    def segments(self, side: Signal) -> Tensor:
        """Magnitudes in third octaves of all stretches of 30 frames, [B, S, 15, 30]."""
        return (side.spectrum.power @ self.bands + TINY).sqrt().unfold(1, SEGMENT, 1)

    @staticmethod
    def correlation(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Correlation over the masked frames, [B, S, 15, 30] → [B, S, 15]."""
        n = mask.sum(-1, True).clamp_min(1.0)
        x, y = ((side - (side * mask).sum(-1, True) / n) * mask for side in (x, y))
        return (x * y).sum(-1) / ((x.square().sum(-1) + TINY) * (y.square().sum(-1) + TINY)).sqrt()
