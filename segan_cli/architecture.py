"""What a model is, as frozen data; nothing here knows torch."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from segan_cli.errors import ConfigError
from segan_cli.schema import check_least

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GeneratorConfig:
    """Encoder of strided convolutions, thought vector joined with latent z, mirrored decoder (arXiv 1703.09452)."""

    channels: tuple[int, ...]  # output channels of each encoder layer
    strides: tuple[int, ...]  # one per layer; their product divides the window
    dilations: tuple[int, ...]  # one per layer
    kernel_size: int  # taps, odd
    latent_channels: int  # channels of z beside the thought vector; 0 switches z off
    latent: Literal["normal", "uniform"] = "normal"  # z of mean 0 and deviation 1
    skip_merge: Literal["concat", "sum"] = "concat"  # how a skip joins the decoder
    skip_scale: Literal["fixed", "learned", "gated"] = (
        "fixed"  # times 1, a weight a channel, or a sigmoid of the decoder
    )
    input_rms: float | None = None  # windows are brought to this level and back, and weights start to suit it
    family: Literal["convolutional"] = "convolutional"

    def __post_init__(self) -> None:
        check_layers("generator", self.channels, self.strides, self.kernel_size)
        check_least("generator", self, latent_channels=0)
        if len(self.dilations) != len(self.channels):
            raise ConfigError(
                f"generator: {len(self.channels)} channels but {len(self.dilations)} dilations; give one per layer"
            )
        for stride, dilation in zip(self.strides, self.dilations, strict=True):
            if math.gcd(stride, dilation) > 1:
                raise ConfigError(
                    f"generator: dilation {dilation} and stride {stride} have a common divisor, so that layer would"
                    " skip samples; give dilations that are odd for even strides"
                )

    def field_of_view(self) -> int:
        """Samples of the input that one frame of the thought vector hears."""
        samples, step = 1, 1
        for stride, dilation in zip(self.strides, self.dilations, strict=True):
            samples += (self.kernel_size - 1) * dilation * step
            step *= stride
        return samples

    def latent_shape(self, n_windows: int, n_samples: int) -> tuple[int, int, int] | None:
        """Shape [B, C, T / stride] of z, or None when the model has none."""
        if not self.latent_channels:
            return None
        return n_windows, self.latent_channels, n_samples // math.prod(self.strides)

    def draw_latent(self, rng: "np.random.Generator", n_windows: int, n_samples: int) -> "NDArray[np.float32] | None":
        """z [B, C, T / stride] of mean 0 and deviation 1, normal or uniform, or None when the model has none."""
        shape = self.latent_shape(n_windows, n_samples)
        if shape is None:
            return None
        if self.latent == "uniform":
            return (rng.random(shape, dtype="float32") - 0.5) * math.sqrt(12)
        return rng.standard_normal(shape, dtype="float32")


@dataclass(frozen=True)
class SpectralConfig:
    """Frames of bins to bands and back, recurrence over time and attention over frequency between; a complex mask."""

    channels: int  # of the convolutions
    width: int  # channels of the blocks
    hidden: int  # units of the GRU, each way
    depth: int = 1  # convolutions on either side, beside the first and the last
    blocks: int = 2
    bands: int = 16  # that the blocks see
    heads: int = 4  # of the attention
    frame: int = 512  # samples; frames overlap by half
    steps: int = 4  # bins from one position of the convolutions to the next
    power: float = 0.3  # of magnitudes, for what the network sees and masks
    largest_gain: float = 4.0  # of the mask, as amplitude
    input_rms: float = 0.05  # windows are brought to this level and back
    closed: int = 0  # lowest bins that never pass
    family: Literal["spectral"] = "spectral"

    def __post_init__(self) -> None:
        sizes = ("channels", "width", "hidden", "depth", "blocks", "bands", "heads", "frame")
        check_least("generator", self, **dict.fromkeys(sizes, 1), steps=2)
        if self.width % self.heads:
            raise ConfigError(f"generator: width {self.width} is no multiple of the {self.heads} heads")
        if self.frame % (2 * self.steps):
            raise ConfigError(f"generator: frame {self.frame} is no multiple of twice the {self.steps} steps")
        if not 0 <= self.closed < self.frame // 2:
            raise ConfigError(f"generator: closed {self.closed} is not among the {self.frame // 2} bins")
        if not 0 < self.power <= 1 or self.largest_gain <= 1 or self.input_rms <= 0:
            raise ConfigError("generator: power must lie between 0 and 1, largest_gain above 1, input_rms above 0")

    @property
    def strides(self) -> tuple[int, ...]:
        """Samples from frame to frame."""
        return (self.frame // 2,)

    def field_of_view(self) -> None:
        """All of the window, through the GRUs."""

    def latent_shape(self, n_windows: int, n_samples: int) -> None:
        """This family has no z."""

    def draw_latent(self, rng: "np.random.Generator", n_windows: int, n_samples: int) -> None:
        """This family has no z."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The encoder again over (candidate, noisy), then a head that makes one number of it (arXiv 1703.09452)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernel_size: int  # taps, odd
    leaky_slope: float | None = 0.3  # of LeakyReLU; None: PReLU, a slope a channel learned from 0 on
    norm: Literal["virtual", "batch", "none"] = "virtual"  # virtual batch norm: arXiv 1606.03498, section 3.5
    spectral_norm: bool = False  # arXiv 1802.05957
    phase_shuffle: int = 0  # samples by which every layer's input is turned at most, in training (arXiv 1802.04208)
    hidden: tuple[int, ...] = ()  # of the head; none: 1x1 convolution to one channel and a linear layer
    family: Literal["convolutional"] = "convolutional"

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, self.strides, self.kernel_size)
        check_least("discriminator", self, phase_shuffle=0)
        if any(units < 1 for units in self.hidden):
            raise ConfigError(f"discriminator: hidden {list(self.hidden)}; every layer needs 1 unit or more")


@dataclass(frozen=True)
class SpectralDiscriminatorConfig:
    """Strided two-dimensional convolutions on compressed magnitudes of (candidate, noisy)."""

    channels: tuple[int, ...]  # of each layer, all of stride 2
    frame: int = 512  # samples; frames overlap by half
    power: float = 0.3  # of magnitudes
    input_rms: float = 0.05  # level of windows that counts as 1
    leaky_slope: float = 0.2  # of LeakyReLU
    family: Literal["spectral"] = "spectral"

    def __post_init__(self) -> None:
        if not self.channels or any(channels < 1 for channels in self.channels):
            raise ConfigError(f"discriminator: channels {list(self.channels)}; give one or more, each 1 or more")
        if self.frame < 2 or self.frame % 2 or not 0 < self.power <= 1 or self.input_rms <= 0:
            raise ConfigError("discriminator: frame must be even, power lie between 0 and 1, input_rms above 0")


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to rebuild a model and to run it on audio."""

    preset: str
    generator: GeneratorConfig | SpectralConfig
    discriminator: DiscriminatorConfig | SpectralDiscriminatorConfig
    sample_rate_hz: int = 16_000
    window: int = 16_384  # samples
    hop: int = 8_192  # samples between windows when enhancing
    pre_emphasis: float = 0.95

    def __post_init__(self) -> None:
        strides = {"generator": self.generator.strides}
        if isinstance(self.discriminator, DiscriminatorConfig):
            strides["discriminator"] = self.discriminator.strides
        for name, each in strides.items():
            total = math.prod(each)
            if self.window % total:
                raise ConfigError(f"{name}: the window of {self.window} samples is no multiple of the stride {total}")
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            if isinstance(network, SpectralConfig | SpectralDiscriminatorConfig) and network.frame >= 2 * self.window:
                raise ConfigError(f"{name}: frames of {network.frame} samples do not fit windows of {self.window}")
        if self.sample_rate_hz != 16_000:
            raise ConfigError(f"sample_rate_hz: {self.sample_rate_hz}; the measures and the tool are made for 16000")
        if not 0 <= self.pre_emphasis < 1:
            raise ConfigError(f"pre_emphasis: {self.pre_emphasis}; it must lie between 0 and 1, 1 excluded")
        if not 0 < self.hop <= self.window:
            raise ConfigError(f"hop: {self.hop} samples; it must lie between 1 and the window of {self.window}")


def check_layers(name: str, channels: tuple[int, ...], strides: tuple[int, ...], kernel_size: int) -> None:
    """Raise ConfigError unless a stack of layers is well formed."""
    if any(value < 1 for value in (*channels, *strides, kernel_size)):
        raise ConfigError(f"{name}: channels, strides and kernel_size must be 1 or more")
    if not channels or len(strides) != len(channels):
        raise ConfigError(f"{name}: {len(channels)} channels but {len(strides)} strides; give one per layer")
    if kernel_size % 2 == 0:
        raise ConfigError(f"{name}: kernel_size {kernel_size} is even; it must be odd to keep windows aligned")
