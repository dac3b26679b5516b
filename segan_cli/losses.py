"""Losses: reconstruction terms on waveforms and the adversarial objective on logits."""

import torch
from torch import Tensor, nn
from torchaudio.transforms import Spectrogram


def l1(enhanced: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of two waveforms [B, 1, T] (arXiv 1703.09452, equation 5)."""
    return (enhanced - clean).abs().mean()


class CompressedSpectrum(nn.Module):
    """Distance of power-compressed spectra, magnitude and complex, frames of 512 every 128 samples.

    0.7 mean (|X|^0.3 - |Y|^0.3)^2 + 0.3 mean |X^0.3 - Y^0.3|^2, where X^0.3 keeps the phase of X (Braun and Tashev,
    arXiv 2009.12286).
    """

    def __init__(self, power: float = 0.3, complex_share: float = 0.3) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(512, hop_length=128, power=None)
        self.power, self.complex_share = power, complex_share

    def compress(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, T] → compressed magnitude [B, 1, F, N] and complex spectrum [B, 1, F, N, 2]."""
        spectrum = torch.view_as_real(self.spectrogram(waveform))
        magnitude = (spectrum.square().sum(-1) + 1e-8).sqrt()
        compressed = magnitude**self.power
        return compressed, spectrum * (compressed / magnitude)[..., None]

    def forward(self, enhanced: Tensor, clean: Tensor) -> Tensor:
        """enhanced, clean [B, 1, T] → scalar."""
        (magnitude, spectrum), (target_magnitude, target) = self.compress(enhanced), self.compress(clean)
        by_magnitude = (magnitude - target_magnitude).square().mean()
        by_phase = (spectrum - target).square().sum(-1).mean()
        return (1 - self.complex_share) * by_magnitude + self.complex_share * by_phase


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Logits [B] of clean and of enhanced candidates → ½ E (D(x) - 1)² + ½ E D(G)² (arXiv 1611.04076, equation 9)."""
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def least_squares_generator(fake: Tensor) -> Tensor:
    """Logits [B] of enhanced candidates → ½ E (D(G) - 1)² (arXiv 1611.04076, equation 9)."""
    return 0.5 * (fake - 1).square().mean()
