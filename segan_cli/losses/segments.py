"""Segments and their spectrum, computed once for all reconstruction losses."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

N_FFT, HOP = 512, 256  # samples


@dataclass
class Segments:
    """A batch of segments at 16 kHz."""

    waveform: Tensor  # [B, 1, T]

    @cached_property
    def spectrum(self) -> Tensor:
        """Complex spectrum [B, N, 257]: frames of 512 samples every 256, a Hann window, no padding; T ≥ 512."""
        window = torch.hann_window(N_FFT, device=self.waveform.device)
        spectrum: Tensor = torch.fft.rfft(self.waveform[:, 0].unfold(1, N_FFT, HOP) * window)
        return spectrum

    @cached_property
    def power(self) -> Tensor:
        """Power |X|² of the spectrum, [B, N, 257]."""
        return self.spectrum.real.square() + self.spectrum.imag.square()

    @cached_property
    def is_active(self) -> Tensor:
        """Whether each segment is not silent, [B]: an RMS above -80 dB relative to full scale."""
        return self.waveform.square().mean((1, 2)) > 1e-8
