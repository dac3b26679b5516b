"""The spectral discriminator: a patch discriminator on compressed magnitude spectra."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torchaudio.transforms import Spectrogram

from segan_cli.config.model import SpectralDiscriminatorConfig


class SpectralDiscriminator(nn.Module):
    """Classifies the compressed magnitudes of a candidate, given those of its condition.

    Strided convolutions give one score per patch (arXiv 1611.07004), whose mean is the logit; the input is that of the
    metric discriminator of arXiv 2203.15149, and every layer has spectral norm (arXiv 1802.05957).
    """

    def __init__(self, config: SpectralDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrogram = Spectrogram(config.frame, hop_length=config.frame // 2, power=None)
        layers: list[nn.Module] = []
        for n_in, n_out in zip((2, *config.channels[:-1]), config.channels, strict=True):
            layers += [spectral_norm(nn.Conv2d(n_in, n_out, 5, 2, 2)), nn.LeakyReLU(config.leaky_slope)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(config.channels[-1], 1, 1)))

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """[B, 1, T] → compressed magnitudes [B, 1, F, N]."""
        spectrum = self.spectrogram(waveform / self.config.input_rms) / self.config.frame**0.5
        power = spectrum.real.square() + spectrum.imag.square()
        magnitudes: Tensor = (power + 1e-6) ** (self.config.power / 2)
        return magnitudes

    def forward(self, candidate: Tensor, noisy: Tensor) -> Tensor:
        """candidate [B, 1, T] and its condition, noisy [B, 1, T] → logits [B]."""
        logits: Tensor = self.layers(torch.cat((self.magnitudes(candidate), self.magnitudes(noisy)), 1))
        return logits.mean((1, 2, 3))
