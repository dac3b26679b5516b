"""What the reconstruction terms compare: windows, and their spectra computed once for all terms."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

N_FFT, HOP = 512, 256  # samples


@dataclass
class Spectrum:
    """Frames of 512 samples every 256 under a Hann window, none beyond the ends; each [B, N, 257]."""

    real: Tensor
    imaginary: Tensor

    @cached_property
    def power(self) -> Tensor:
        """|X|²."""
        return self.real.square() + self.imaginary.square()


@dataclass
class Signal:
    """Windows of audio at 16 kHz."""

    waveform: Tensor  # [B, 1, T]

    @cached_property
    def spectrum(self) -> Spectrum:
        """Their spectrum; T must be 512 or more."""
        window = torch.hann_window(N_FFT, device=self.waveform.device)
        spectrum = torch.fft.rfft(self.waveform[:, 0].unfold(1, N_FFT, HOP) * window)
        return Spectrum(spectrum.real, spectrum.imag)

    @cached_property
    def holds_speech(self) -> Tensor:
        """Whether a clean window holds speech, [B]: whether its mean square is above 1e-8."""
        return self.waveform.square().mean((1, 2)) > 1e-8
