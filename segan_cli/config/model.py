"""What a model is, as frozen data; nothing here knows torch."""

import math
from dataclasses import dataclass
from typing import Literal

from segan_cli.config.budget import (
    MOST_CHANNELS,
    MOST_DILATION,
    MOST_LAYERS,
    Layer,
    check_budget,
    check_layers,
    convolutional,
    judging,
    spectral,
)
from segan_cli.config.schema import check_least, check_within
from segan_cli.errors import ConfigError

LONGEST_WINDOW, LONGEST_FRAME = 2**20, 8_192  # samples
MOST_OVERLAP = 64  # windows that a sample may lie in


@dataclass(frozen=True)
class GeneratorConfig:
    """Encoder of strided convolutions, thought vector joined with latent z, mirrored decoder (arXiv 1703.09452)."""

    channels: tuple[int, ...]  # output channels of each encoder layer
    strides: tuple[int, ...]  # one per layer; their product divides the window
    dilations: tuple[int, ...]  # one per layer
    kernel_size: int  # taps, odd
    latent_channels: int  # channels of z beside the thought vector; 0 switches z off
    latent: Literal["normal", "uniform"] = "normal"  # z of mean 0 and standard deviation 1
    skip_merge: Literal["concat", "sum", "none"] = "concat"  # how a skip joins the decoder; none: no skips
    skip_scale: Literal["fixed", "learned", "gated"] = (
        "fixed"  # times 1, a weight a channel, or a sigmoid of the decoder
    )
    input_rms: float | None = None  # windows are brought to this level and back, and weights start to suit it
    family: Literal["convolutional"] = "convolutional"

    def __post_init__(self) -> None:
        check_layers("generator", self.channels, self.strides, self.kernel_size)
        check_within("generator", {"latent_channels": self.latent_channels}, 0, MOST_CHANNELS)
        dilations = {f"dilation of layer {i}": dilation for i, dilation in enumerate(self.dilations, 1)}
        check_within("generator", dilations, 1, MOST_DILATION)
        check_level("generator", self.input_rms)
        if self.skip_merge == "none" and self.skip_scale != "fixed":
            raise ConfigError(
                f"generator: skip_scale {self.skip_scale}, but skip_merge none leaves no skips to scale; set skip_scale"
                " to fixed"
            )
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

    def receptive_field(self) -> int:
        """Samples of the input that one frame of the thought vector depends on."""
        samples, step = 1, 1
        for stride, dilation in zip(self.strides, self.dilations, strict=True):
            samples += (self.kernel_size - 1) * dilation * step
            step *= stride
        return samples

    def layers(self, n_samples: int) -> list[Layer]:
        """What each layer costs for a segment."""
        concatenated, learned = self.skip_merge == "concat", self.skip_scale == "learned"
        shape = (self.channels, self.strides, self.kernel_size, self.latent_channels)
        return convolutional(*shape, concatenated, learned, n_samples)


@dataclass(frozen=True)
class SpectralConfig:
    """A complex mask by convolutions from bins to bands, GRUs along time and attention along frequency, and back."""

    channels: int  # of the convolutions
    embed_dim: int  # channels of the blocks
    hidden: int  # units of the GRU in each direction
    depth: int = 1  # convolutions on either side, beside the first and the last
    blocks: int = 2
    bands: int = 16  # that the blocks see
    heads: int = 4  # of the attention
    frame: int = 512  # samples; frames overlap by half
    freq_stride: int = 4  # bins from one position of the convolutions to the next
    power: float = 0.3  # of magnitudes, for what the network sees and masks
    max_gain: float = 4.0  # of the mask, as amplitude
    input_rms: float = 0.05  # windows are brought to this level and back
    zeroed_bins: int = 0  # lowest bins, whose mask is 0
    family: Literal["spectral"] = "spectral"

    def __post_init__(self) -> None:
        sizes = ("channels", "embed_dim", "hidden", "bands", "heads")
        check_within("generator", {name: getattr(self, name) for name in sizes}, 1, MOST_CHANNELS)
        check_within("generator", {"depth": self.depth, "blocks": self.blocks}, 1, MOST_LAYERS)
        check_within("generator", {"frame": self.frame, "freq_stride": self.freq_stride}, 2, LONGEST_FRAME)
        if self.embed_dim % self.heads:
            raise ConfigError(f"generator: embed_dim {self.embed_dim} is no multiple of the {self.heads} heads")
        if self.frame % (2 * self.freq_stride):
            raise ConfigError(
                f"generator: frame {self.frame} is no multiple of twice the freq_stride {self.freq_stride}"
            )
        if not 0 <= self.zeroed_bins < self.frame // 2:
            raise ConfigError(f"generator: zeroed_bins {self.zeroed_bins} is not among the {self.frame // 2} bins")
        if not 0.05 <= self.power <= 1 or not 1 < self.max_gain <= 1_000:
            raise ConfigError("generator: power must lie between 0.05 and 1, max_gain above 1 and up to 1000")
        check_level("generator", self.input_rms)

    @property
    def strides(self) -> tuple[int, ...]:
        """Samples from frame to frame."""
        return (self.frame // 2,)

    def receptive_field(self) -> None:
        """No number of samples: the GRUs cover the whole segment."""

    def layers(self, n_samples: int) -> list[Layer]:
        """What each layer costs for a segment."""
        inner = (self.depth, self.bands, self.embed_dim, self.blocks, self.hidden)
        return spectral(self.frame, self.freq_stride, self.channels, *inner, n_samples)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The encoder again over (candidate, noisy), then a head that makes one number of it (arXiv 1703.09452)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernel_size: int  # taps, odd
    leaky_slope: float | None = 0.3  # of LeakyReLU; None: PReLU, a slope a channel learned from 0 on
    norm: Literal["virtual", "batch", "none"] = "virtual"  # virtual batch norm: arXiv 1606.03498, section 3.5
    spectral_norm: bool = False  # arXiv 1802.05957
    phase_shuffle: int = 0  # samples by which every layer's input is shifted at most, in training (arXiv 1802.04208)
    hidden: tuple[int, ...] = ()  # of the head; none: 1x1 convolution to one channel and a linear layer
    family: Literal["convolutional"] = "convolutional"

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, self.strides, self.kernel_size)
        check_least("discriminator", self, phase_shuffle=0)
        check_within("discriminator", {f"hidden layer {i}": n for i, n in enumerate(self.hidden, 1)}, 1, MOST_CHANNELS)
        check_within("discriminator", {"hidden layers": len(self.hidden)}, 0, MOST_LAYERS)

    def layers(self, n_samples: int) -> list[Layer]:
        """What each layer costs for a window, norms aside."""
        return judging(self.channels, self.strides, self.kernel_size, self.hidden, n_samples)


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
        check_layers("discriminator", self.channels, (2,) * len(self.channels), 5)
        check_within("discriminator", {"frame": self.frame}, 2, LONGEST_FRAME)
        check_level("discriminator", self.input_rms)
        if self.frame % 2 or not 0 < self.power <= 1:
            raise ConfigError("discriminator: frame must be even, power lie between 0 and 1")

    def layers(self, n_samples: int) -> list[Layer]:
        """What each layer costs for a window; it sees as many values as two windows have, and two-dimensional taps."""
        return judging(self.channels, (4,) * len(self.channels), 25, (), 2 * n_samples)


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
        check_within("model", {"window": self.window}, 1, LONGEST_WINDOW)
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
        check_within("model", {"hop": self.hop}, -(-self.window // MOST_OVERLAP), self.window)
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            check_budget(name, network.layers(self.window), self.sample_rate_hz / self.hop)


def check_level(name: str, input_rms: float | None) -> None:
    """Raise ConfigError unless windows can be brought to a level."""
    if input_rms is not None and not 1e-6 <= input_rms <= 1:
        raise ConfigError(f"{name}: input_rms {input_rms:g}; it must lie between 1e-6 and 1")
