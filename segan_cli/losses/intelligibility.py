"""A differentiable STOI loss."""

import torch
from torch import Tensor, nn

from segan_cli.losses.segments import N_FFT, Segments

N_BANDS, LOWEST_HZ = 15, 150.0  # third octaves
CORRELATION_FRAMES = 30  # 496 ms here, 384 ms in the paper
MIN_ACTIVE_FRAMES = 12  # of a correlation; with fewer it is left out
ACTIVE_DB = 40.0  # frames that are quieter than the loudest one by more count as silent
CLIPPING = 1 + 10 ** (15 / 20)  # lower bound of -15 dB on the signal-to-distortion ratio
TINY = 1e-8


class IntelligibilityDistance(nn.Module):
    """1 - STOI (Taal et al., IEEE TASLP 19(7), 2011), approximated with frames of 32 ms every 16 ms at 16 kHz.

    The standard uses 25.6 ms every 12.8 ms at 10 kHz. Silent frames are masked rather than removed. Silent segments
    have a loss of 0.
    """

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        centres = LOWEST_HZ * 2 ** (torch.arange(N_BANDS) / 3)
        hz = torch.arange(N_FFT // 2 + 1)[:, None] * 16_000 / N_FFT
        bands = (hz >= centres * 2 ** (-1 / 6)) & (hz < centres * 2 ** (1 / 6))
        self.register_buffer("bands", bands.float(), persistent=False)

    def forward(self, enhanced: Segments, clean: Segments) -> Tensor:
        """Segments [B, 1, T], T at least 7,936 → scalar, the mean over segments."""
        return torch.where(clean.is_active, 1 - self.stoi(enhanced, clean), 0.0).mean()

    def stoi(self, enhanced: Segments, clean: Segments) -> Tensor:
        """STOI [B] of segments [B, 1, T]."""
        x, y = (self.envelopes(side) for side in (clean, enhanced))
        energy = clean.power.sum(-1)
        active = energy > energy.amax(1, keepdim=True) * 10 ** (-ACTIVE_DB / 10)
        mask = active.unfold(1, CORRELATION_FRAMES, 1)[:, :, None].to(x.dtype)  # [B, S, 1, 30]
        energies = ((side.square() * mask).sum(-1, True) + TINY for side in (x, y))
        y = torch.minimum(y * torch.div(*energies).sqrt(), x * CLIPPING)
        correlation = self.correlation(x, y, mask).mean(-1)
        counted = (mask.sum(-1)[..., 0] >= MIN_ACTIVE_FRAMES).to(x.dtype)
        return (correlation * counted).sum(1) / counted.sum(1).clamp_min(1.0)

    def envelopes(self, side: Segments) -> Tensor:
        """Third-octave magnitudes of every 30 consecutive frames, [B, S, 15, 30]."""
        return (side.power @ self.bands + TINY).sqrt().unfold(1, CORRELATION_FRAMES, 1)

    @staticmethod
    def correlation(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Correlation coefficients over the frames of a mask, [B, S, 15, 30] → [B, S, 15]."""
        n = mask.sum(-1, True).clamp_min(1.0)
        x, y = ((side - (side * mask).sum(-1, True) / n) * mask for side in (x, y))
        return (x * y).sum(-1) / ((x.square().sum(-1) + TINY) * (y.square().sum(-1) + TINY)).sqrt()
