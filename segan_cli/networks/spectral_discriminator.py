"""The spectral discriminator: patch discriminators on compressed magnitude spectra, one for each resolution."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torchaudio.transforms import Spectrogram

from segan_cli.config.families.spectral import SpectralDiscriminatorConfig
from segan_cli.networks.families import Discriminator


class SpectralDiscriminator(Discriminator):
    """Classifies patches of spectra, given those of the condition, at several resolutions (arXiv 2210.13438)."""

    def __init__(self, config: SpectralDiscriminatorConfig, *_: int) -> None:
        super().__init__()  # without a reference batch, and for segments of any length
        self.resolutions = nn.ModuleList(PatchDiscriminator(config, frame) for frame in config.frames)

    def forward(self, candidate: Tensor, noisy: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """candidate [B, 1, T] and its condition, noisy → logits [B, P]; hidden outputs are appended to `features`."""
        return torch.cat([resolution(candidate, noisy, features) for resolution in self.resolutions], 1)


class PatchDiscriminator(nn.Module):
    """Classifies the patches of compressed magnitudes at one resolution.

    Strided convolutions give one score per patch (arXiv 1611.07004); the input is that of the metric discriminator of
    arXiv 2203.15149, and every layer has spectral norm (arXiv 1802.05957).
    """

    def __init__(self, config: SpectralDiscriminatorConfig, frame: int) -> None:
        super().__init__()
        self.config, self.frame = config, frame
        self.spectrogram = Spectrogram(frame, hop_length=frame // 2, power=None)
        layers: list[nn.Module] = []
        taps, freq_stride = config.kernel_size, config.freq_stride
        for n_in, n_out in zip((2, *config.channels[:-1]), config.channels, strict=True):
            kernel = (taps + freq_stride - 2, taps)  # bins, frames
            padding = ((kernel[0] - 1) // 2, (taps - 1) // 2)
            layers += [
                spectral_norm(nn.Conv2d(n_in, n_out, kernel, (freq_stride, 2), padding)),
                nn.LeakyReLU(config.leaky_slope),
            ]
            freq_stride = 2
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(config.channels[-1], 1, 1)))

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """[B, 1, T] → compressed magnitudes [B, 1, F, N]."""
        spectrum = self.spectrogram(waveform / self.config.input_rms) / self.frame**0.5
        power = spectrum.real.square() + spectrum.imag.square()
        magnitudes: Tensor = (power + 1e-6) ** (self.config.power / 2)
        return magnitudes

    def forward(self, candidate: Tensor, noisy: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """candidate [B, 1, T] and its condition, noisy [B, 1, T] → logits [B, P]."""
        h = torch.cat((self.magnitudes(candidate), self.magnitudes(noisy)), 1)
        for layer in self.layers:
            h = layer(h)
            if features is not None and isinstance(layer, nn.LeakyReLU):
                features.append(h)
        return h.flatten(1)
