"""The spectral family: networks on the spectra of segments."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal, Self

from segan_cli.config.budget import MAX_CHANNELS, MAX_LAYERS, RMS_RANGE, LayerCost, check_layers
from segan_cli.config.families.base import DiscriminatorConfig, GeneratorConfig, scale
from segan_cli.config.schema import check_bounds, check_int_range
from segan_cli.errors import ConfigError

MAX_FRAME = 8_192  # samples


@dataclass(frozen=True)
class SpectralConfig(GeneratorConfig):
    """Complex spectral mask: convolutions from bins to bands, GRUs over time, attention over frequency, and back."""

    channels: int  # of the convolutions
    embed_dim: int  # channels of the blocks
    hidden: int  # GRU units per direction
    depth: int = 1  # convolution blocks in encoder and decoder, each
    blocks: int = 2
    bands: int = 16  # of the blocks
    heads: int = 4  # of attention
    frame: int = 512  # samples; frames overlap by half
    freq_stride: int = 4  # of the convolutions, in bins
    power: float = 0.3  # compression of the magnitudes
    max_gain: float = 4.0  # of the mask
    input_rms: float = 0.05  # normalise the level of each segment to this, and restore it after
    zeroed_bins: int = 0  # lowest bins, set to zero
    causal: bool = False  # no frame depends on a later one; `hidden` is then of the only direction of the GRUs
    learned_start: bool = False  # initial states of the GRUs are learned instead of zero
    family: Literal["spectral"] = "spectral"

    module: ClassVar[str] = "segan_cli.networks.spectral:SpectralGenerator"
    recipe: ClassVar[str] = "segan-spectral"
    tolerates_peaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        sizes = ("channels", "embed_dim", "hidden", "bands", "heads")
        check_int_range("generator", {name: getattr(self, name) for name in sizes}, 1, MAX_CHANNELS)
        check_int_range("generator", {"depth": self.depth, "blocks": self.blocks}, 1, MAX_LAYERS)
        check_int_range("generator", {"frame": self.frame, "freq_stride": self.freq_stride}, 2, MAX_FRAME)
        if self.embed_dim % self.heads:
            raise ConfigError(f"generator: embed_dim {self.embed_dim} is not a multiple of the {self.heads} heads")
        if self.frame % (2 * self.freq_stride):
            raise ConfigError(
                f"generator: frame {self.frame} is not a multiple of twice the freq_stride {self.freq_stride}"
            )
        if not 0 <= self.zeroed_bins < self.frame // 2:
            raise ConfigError(f"generator: zeroed_bins {self.zeroed_bins}; it must be below {self.frame // 2}")
        if not 0.05 <= self.power <= 1 or not 1 < self.max_gain <= 1_000:
            raise ConfigError("generator: power must lie between 0.05 and 1, max_gain above 1 and up to 1000")
        check_bounds("generator", self, input_rms=RMS_RANGE)

    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment."""
        frame, stride, bands, hidden = self.frame, self.freq_stride, self.bands, self.hidden
        c, width = self.channels, self.embed_dim
        frames, positions = 2 * n_samples // frame + 1, frame // 2 // stride
        conv_points, band_points = frames * positions, frames * bands

        def linear(n_in: int, n_out: int, times: int, bias: int | None = None) -> LayerCost:
            weights = n_in * n_out + (n_out if bias is None else bias)
            return LayerCost(weights, n_in * n_out * times, n_out * times)

        directions = 1 if self.causal else 2
        block = [
            LayerCost(6 * width, 0, width * band_points),
            linear(directions * 3 * hidden, width + hidden, band_points, directions * 6 * hidden),
            LayerCost(self.learned_start * directions * bands * hidden, 0, 0),
            linear(directions * hidden, width, band_points),
            linear(width, 3 * width, band_points),
            LayerCost(0, 2 * band_points * bands * width, bands * band_points),
            linear(width, width, band_points),
            linear(width, 2 * width, band_points),
            linear(2 * width, width, band_points),
        ]
        side = [
            linear(9 * c, c, conv_points, 3 * c),
            linear(2 * c, c, conv_points),
            linear(9 * c, c, conv_points, 3 * c),
        ]
        return [
            LayerCost(0, 0, 2 * frames * frame),  # STFT and its inverse, which are counted without MACs
            linear(3 * 3 * 2 * stride, c, conv_points, 3 * c),
            *self.depth * side,
            linear(positions, bands, frames * c),
            linear(c, width, band_points),
            LayerCost(bands * width, 0, 0),
            *self.blocks * block,
            linear(width, c, band_points),
            linear(bands, positions, frames * c),
            linear(9 * 2 * c, 2 * stride, conv_points),
        ]

    def scaled(self, width: float) -> Self:
        """This config with all channel counts multiplied by `width`; the number of heads stays."""
        channels, hidden, per_head = scale((self.channels, self.hidden, self.embed_dim // self.heads), width)
        return replace(self, channels=channels, hidden=hidden, embed_dim=per_head * self.heads)

    def state_size(self) -> int:
        """Values that a causal generator carries: level, two input frames of each convolution, states of GRUs."""
        positions = self.frame // 2 // self.freq_stride
        convolutions = 3 * self.frame // 2 + (2 * self.depth + 2) * self.channels * positions
        return self.causal * (2 + 2 * convolutions + self.blocks * self.bands * self.hidden)

    def total_stride(self) -> int:
        """Hop of the frames in samples."""
        return self.frame // 2

    def longest_frame(self) -> int:
        """Samples of a frame."""
        return self.frame


@dataclass(frozen=True)
class SpectralDiscriminatorConfig(DiscriminatorConfig):
    """Strided 2-D convolutions on compressed magnitude spectrograms of (candidate, noisy), at several resolutions."""

    channels: tuple[int, ...]  # of each layer; all have stride 2, but for `freq_stride`
    frames: tuple[int, ...] = (512,)  # samples of a frame, one for each resolution; frames overlap by half
    kernel_size: int = 5  # frames and bins, odd
    freq_stride: int = 2  # of the first layer, in bins
    power: float = 0.3  # compression of the magnitudes
    input_rms: float = 0.05  # input level that is scaled to 1
    leaky_slope: float = 0.2  # of LeakyReLU
    family: Literal["spectral"] = "spectral"

    module: ClassVar[str] = "segan_cli.networks.spectral_discriminator:SpectralDiscriminator"

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, (2,) * len(self.channels), self.kernel_size)
        check_int_range("discriminator", {"freq_stride": self.freq_stride}, 2, MAX_FRAME)
        check_int_range("discriminator", {f"frame {i}": frame for i, frame in enumerate(self.frames, 1)}, 2, MAX_FRAME)
        check_int_range("discriminator", {"resolutions": len(self.frames)}, 1, MAX_LAYERS)
        check_bounds("discriminator", self, input_rms=RMS_RANGE)
        if any(frame % 2 for frame in self.frames) or not 0 < self.power <= 1:
            raise ConfigError("discriminator: frames must be even, and power must be above 0 and at most 1")

    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment; the spectrograms of an overlapping STFT have twice as many values."""
        layers, points, freq_stride = [], 2 * n_samples, self.freq_stride
        for n_in, n_out in pairwise((2, *self.channels)):
            points //= 2 * freq_stride
            weights = n_in * n_out * self.kernel_size * (self.kernel_size + freq_stride - 2)
            layers.append(LayerCost(weights + n_out, weights * points, n_out * points))
            freq_stride = 2
        head = LayerCost(self.channels[-1] + 1, self.channels[-1] * points, points)
        return len(self.frames) * [*layers, head]

    def scaled(self, width: float) -> Self:
        """This config with all channel counts multiplied by `width`."""
        return replace(self, channels=scale(self.channels, width))

    def longest_frame(self) -> int:
        """Samples of a frame of the lowest resolution in time."""
        return max(self.frames)
