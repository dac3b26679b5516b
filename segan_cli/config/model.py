"""Configs of generators, discriminators and models as frozen dataclasses, without torch."""

import math
from dataclasses import dataclass
from typing import Literal

from segan_cli.config.budget import (
    MAX_CHANNELS,
    MAX_DILATION,
    MAX_LAYERS,
    LayerCost,
    check_budget,
    check_layers,
    convolutional_costs,
    discriminator_costs,
    spectral_costs,
)
from segan_cli.config.schema import check_int_range, check_min
from segan_cli.errors import ConfigError

MAX_WINDOW, MAX_FRAME = 2**20, 8_192  # samples
MAX_OVERLAP = 64  # segments that may contain the same sample


@dataclass(frozen=True)
class GeneratorConfig:
    """Strided convolutional encoder, latent z joined to the thought vector, mirrored decoder (arXiv 1703.09452)."""

    channels: tuple[int, ...]  # output channels of each encoder layer
    strides: tuple[int, ...]  # one per layer; `window` must be a multiple of their product
    dilations: tuple[int, ...]  # one per layer
    kernel_size: int  # taps, odd
    latent_channels: int  # channels of z; 0: no latent
    latent: Literal["normal", "uniform"] = "normal"  # distribution of z, with mean 0 and standard deviation 1
    skip_merge: Literal["concat", "sum", "none"] = "concat"  # how skips join the decoder; none: no skips
    skip_scale: Literal["fixed", "learned", "gated"] = (
        "fixed"  # factor of the skips: 1, a learned weight per channel, or a sigmoid of the decoder
    )
    input_rms: float | None = None  # normalise the level of each segment to this, and restore it after
    family: Literal["convolutional"] = "convolutional"

    def __post_init__(self) -> None:
        check_layers("generator", self.channels, self.strides, self.kernel_size)
        check_int_range("generator", {"latent_channels": self.latent_channels}, 0, MAX_CHANNELS)
        dilations = {f"dilation of layer {i}": dilation for i, dilation in enumerate(self.dilations, 1)}
        check_int_range("generator", dilations, 1, MAX_DILATION)
        check_rms("generator", self.input_rms)
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
                    f"generator: dilation {dilation} and stride {stride} share a divisor, so the layer would"
                    " skip samples; use odd dilations with even strides"
                )

    def receptive_field(self) -> int:
        """Input samples that one frame of the thought vector depends on."""
        samples, step = 1, 1
        for stride, dilation in zip(self.strides, self.dilations, strict=True):
            samples += (self.kernel_size - 1) * dilation * step
            step *= stride
        return samples

    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment."""
        concat, learned = self.skip_merge == "concat", self.skip_scale == "learned"
        shape = (self.channels, self.strides, self.kernel_size, self.latent_channels)
        return convolutional_costs(*shape, concat, learned, n_samples)


@dataclass(frozen=True)
class SpectralConfig:
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
    family: Literal["spectral"] = "spectral"

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
        check_rms("generator", self.input_rms)

    @property
    def strides(self) -> tuple[int, ...]:
        """Hop of the frames in samples."""
        return (self.frame // 2,)

    def receptive_field(self) -> None:
        """None: the GRUs cover the whole segment."""

    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment."""
        inner = (self.depth, self.bands, self.embed_dim, self.blocks, self.hidden)
        return spectral_costs(self.frame, self.freq_stride, self.channels, *inner, n_samples)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Strided convolutions over (candidate, noisy), then a head with one output (arXiv 1703.09452)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernel_size: int  # taps, odd
    leaky_slope: float | None = 0.3  # of LeakyReLU; None: PReLU, a learned slope per channel that starts at 0
    norm: Literal["virtual", "batch", "none"] = "virtual"  # virtual batch norm: arXiv 1606.03498, section 3.5
    spectral_norm: bool = False  # arXiv 1802.05957
    phase_shuffle: int = 0  # largest random shift of each layer's input in training, in samples (arXiv 1802.04208)
    hidden: tuple[int, ...] = ()  # units of the head's layers; empty: 1x1 convolution to one channel and a linear layer
    family: Literal["convolutional"] = "convolutional"

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, self.strides, self.kernel_size)
        check_min("discriminator", self, phase_shuffle=0)
        check_int_range(
            "discriminator", {f"hidden layer {i}": n for i, n in enumerate(self.hidden, 1)}, 1, MAX_CHANNELS
        )
        check_int_range("discriminator", {"hidden layers": len(self.hidden)}, 0, MAX_LAYERS)

    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment, without normalisation layers."""
        return discriminator_costs(self.channels, self.strides, self.kernel_size, self.hidden, n_samples)


@dataclass(frozen=True)
class SpectralDiscriminatorConfig:
    """Strided 2-D convolutions on compressed magnitude spectrograms of (candidate, noisy), at several resolutions."""

    channels: tuple[int, ...]  # of each layer; all have stride 2, but for `freq_stride`
    frames: tuple[int, ...] = (512,)  # samples of a frame, one for each resolution; frames overlap by half
    kernel_size: int = 5  # frames and bins, odd
    freq_stride: int = 2  # of the first layer, in bins
    power: float = 0.3  # compression of the magnitudes
    input_rms: float = 0.05  # input level that is scaled to 1
    leaky_slope: float = 0.2  # of LeakyReLU
    family: Literal["spectral"] = "spectral"

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, (2,) * len(self.channels), self.kernel_size)
        check_int_range("discriminator", {"freq_stride": self.freq_stride}, 2, MAX_FRAME)
        check_int_range("discriminator", {f"frame {i}": frame for i, frame in enumerate(self.frames, 1)}, 2, MAX_FRAME)
        check_int_range("discriminator", {"resolutions": len(self.frames)}, 1, MAX_LAYERS)
        check_rms("discriminator", self.input_rms)
        if any(frame % 2 for frame in self.frames) or not 0 < self.power <= 1:
            raise ConfigError("discriminator: frames must be even, and power must lie between 0 and 1")

    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment; the spectrograms of an overlapping STFT have twice as many values."""
        strides = (2 * self.freq_stride, *[4] * (len(self.channels) - 1))
        return len(self.frames) * discriminator_costs(self.channels, strides, self.kernel_size**2, (), 2 * n_samples)


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to rebuild a model and run it on audio."""

    preset: str
    generator: GeneratorConfig | SpectralConfig
    discriminator: DiscriminatorConfig | SpectralDiscriminatorConfig
    sample_rate_hz: int = 16_000
    window: int = 16_384  # samples per segment
    hop: int = 8_192  # samples between segments when enhancing
    pre_emphasis: float = 0.95

    def __post_init__(self) -> None:
        check_int_range("model", {"window": self.window}, 1, MAX_WINDOW)
        strides = {"generator": self.generator.strides}
        if isinstance(self.discriminator, DiscriminatorConfig):
            strides["discriminator"] = self.discriminator.strides
        for name, factors in strides.items():
            total = math.prod(factors)
            if self.window % total:
                raise ConfigError(
                    f"{name}: the window of {self.window} samples is not a multiple of the stride {total}"
                )
        frames: dict[str, tuple[int, ...]] = {}
        if isinstance(self.generator, SpectralConfig):
            frames["generator"] = (self.generator.frame,)
        if isinstance(self.discriminator, SpectralDiscriminatorConfig):
            frames["discriminator"] = self.discriminator.frames
        for name, sizes in frames.items():
            if max(sizes) >= 2 * self.window:
                raise ConfigError(f"{name}: frames of {max(sizes)} samples do not fit a window of {self.window}")
        if self.sample_rate_hz != 16_000:
            raise ConfigError(f"sample_rate_hz: {self.sample_rate_hz}; only 16000 is supported")
        if not 0 <= self.pre_emphasis < 1:
            raise ConfigError(f"pre_emphasis: {self.pre_emphasis}; it must lie between 0 and 1, 1 excluded")
        check_int_range("model", {"hop": self.hop}, -(-self.window // MAX_OVERLAP), self.window)
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            check_budget(name, network.layer_costs(self.window), self.sample_rate_hz / self.hop)


def check_rms(name: str, input_rms: float | None) -> None:
    """Raise ConfigError if a normalisation level is out of range."""
    if input_rms is not None and not 1e-6 <= input_rms <= 1:
        raise ConfigError(f"{name}: input_rms {input_rms:g}; it must lie between 1e-6 and 1")
