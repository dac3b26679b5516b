"""Reconstruction losses: distances between enhanced and clean segments."""

from importlib.metadata import entry_points

import torch
from torch import Tensor, nn
from torchaudio.transforms import Spectrogram

from segan_cli.errors import ConfigError
from segan_cli.losses.intelligibility import IntelligibilityDistance
from segan_cli.losses.perceptual import PerceptualDistance
from segan_cli.losses.segments import Segments

PLUGINS = "segan_cli.losses"  # group of entry points
EXPONENT, COMPLEX_SHARE = 0.3, 0.3  # of CompressedSpectrum


class L1(nn.Module):
    """Mean absolute error of the waveform (arXiv 1703.09452, equation 5)."""

    def forward(self, enhanced: Segments, clean: Segments) -> Tensor:
        """Segments [B, 1, T] → scalar."""
        return (enhanced.waveform - clean.waveform).abs().mean()


class CompressedSpectrum(nn.Module):
    """Mean squared error of power-compressed spectra, magnitude and complex.

    0.7 mean (|X|^0.3 - |Y|^0.3)^2 + 0.3 mean |X^0.3 - Y^0.3|^2, where X^0.3 keeps the phase of X (Braun and Tashev,
    arXiv 2009.12286).
    """

    def compress(self, side: Segments) -> tuple[Tensor, Tensor, Tensor]:
        """Compressed magnitude, real and imaginary part, [B, N, F] each.

        Powers are computed by logarithm and exponential, several times as fast as `pow`.
        """
        spectrum, log_magnitude = side.spectrum, 0.5 * (side.power + 1e-8).log()
        gain = ((EXPONENT - 1) * log_magnitude).exp()
        return (EXPONENT * log_magnitude).exp(), spectrum.real * gain, spectrum.imag * gain

    def forward(self, enhanced: Segments, clean: Segments) -> Tensor:
        """Segments [B, 1, T] → scalar."""
        magnitude, real, imaginary = (
            (enhanced_part - clean_part).square().mean()
            for enhanced_part, clean_part in zip(self.compress(enhanced), self.compress(clean), strict=True)
        )
        return (1 - COMPLEX_SHARE) * magnitude + COMPLEX_SHARE * (real + imaginary)


class MultiResolutionSTFT(nn.Module):
    """Spectral convergence and log magnitude distance, ‖|Y| - |X|‖ / ‖|Y|‖ + mean |log |Y| - log |X||.

    Spectral convergence is left out for silent clean segments, where it is not defined.

    The mean over segments and three resolutions: windows of 600, 1200 and 240 samples, hops of 120, 240 and 50, FFTs of
    1024, 2048 and 512 points (arXiv 1910.11480, equations 4 to 6).
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrograms = nn.ModuleList(
            Spectrogram(n_fft, win_length, hop_length, power=None)
            for n_fft, win_length, hop_length in ((1024, 600, 120), (2048, 1200, 240), (512, 240, 50))
        )

    def forward(self, enhanced: Segments, clean: Segments) -> Tensor:
        """Segments [B, 1, T] → scalar."""
        total = torch.zeros(())
        for spectrogram in self.spectrograms:
            x, y = (self.magnitude(spectrogram(side.waveform)) for side in (enhanced, clean))
            distance, level = (torch.linalg.vector_norm(side, dim=(-2, -1)) for side in (y - x, y))
            convergence = torch.where(clean.is_active[:, None], distance / level, 0.0).mean()
            total = total + convergence + (y.log() - x.log()).abs().mean()
        return total / len(self.spectrograms)

    @staticmethod
    def magnitude(spectrum: Tensor) -> Tensor:
        """Magnitude of a complex spectrum, floored at 10^-3.5 so that its logarithm and gradient stay finite."""
        return (spectrum.real.square() + spectrum.imag.square()).clamp_min(1e-7).sqrt()


LOSSES: dict[str, type[nn.Module]] = {
    "l1": L1,
    "spectral": CompressedSpectrum,
    "stft": MultiResolutionSTFT,
    "perceptual": PerceptualDistance,
    "stoi": IntelligibilityDistance,
}


class Reconstruction(nn.Module):
    """The weighted sum of the reconstruction losses."""

    def __init__(self, weights: dict[str, float]) -> None:
        """Builds the terms whose weight is not 0, of segan or another package; raises ConfigError if unknown."""
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.terms = nn.ModuleList(build_loss(name) for name in self.weights)

    def forward(self, enhanced: Tensor, clean: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum for enhanced and clean [B, 1, T], and the unweighted value of each term by name.

        The names of losses of other packages begin with plugin_.
        """
        enhanced_segments, clean_segments = Segments(enhanced), Segments(clean)
        values = {
            name: term(enhanced_segments, clean_segments) for name, term in zip(self.weights, self.terms, strict=True)
        }
        for name, value in values.items():
            if value.ndim:
                raise ConfigError(f"plugin_weights.{name}: returned a tensor of shape {[*value.shape]}, not a scalar")
        weighted = [self.weights[name] * value for name, value in values.items()]
        values = {name if name in LOSSES else f"plugin_{name}": value for name, value in values.items()}
        return torch.stack(weighted).sum() if weighted else enhanced.sum() * 0.0, values


def build_loss(name: str) -> nn.Module:
    """Build a loss of this module, or one that an installed package registers as entry point in PLUGINS."""
    if name in LOSSES:
        return LOSSES[name]()
    plugins = entry_points(group=PLUGINS)
    if name not in plugins.names:
        known = ", ".join(sorted(plugins.names)) or "none"
        raise ConfigError(f"plugin_weights.{name}: no installed package has a loss of this name; known: {known}")
    try:
        loss: nn.Module = plugins[name].load()()
    except Exception as error:  # of another package
        raise ConfigError(f"plugin_weights.{name}: cannot be imported ({error}); install its package again") from error
    return loss
