"""The convolutional family of SEGAN (arXiv 1703.09452)."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from segan_cli.config import budget
from segan_cli.config.families.base import DiscriminatorConfig, GeneratorConfig, scale
from segan_cli.config.schema import check_bounds, check_int_range
from segan_cli.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HIGH_PASS_RANGE = 0.001, 0.1


def high_pass_size(cutoff: float) -> tuple[int, int]:
    """Taps of the filter that computes what a high-pass filter removes, and the stride at which it does so."""
    return 2 * round(1.53 / cutoff) + 1, 2 ** math.floor(math.log2(0.2 / cutoff))


@dataclass(frozen=True)
class ConvolutionalConfig(GeneratorConfig):
    """Strided convolutional encoder, latent z joined to the thought vector, mirrored decoder (arXiv 1703.09452)."""

    channels: tuple[int, ...]  # output channels of each encoder layer
    strides: tuple[int, ...]  # one per layer; `segment_length` must be a multiple of their product
    dilations: tuple[int, ...]  # one per layer
    kernel_size: int  # taps, odd
    latent_channels: int  # channels of z; 0: no latent
    latent: Literal["normal", "uniform"] = "normal"  # distribution of z, with mean 0 and standard deviation 1
    skip_merge: Literal["concat", "sum", "none"] = "concat"  # how skips join the decoder; none: no skips
    skip_scale: Literal["fixed", "learned", "gated"] = "fixed"  # 1, a weight per channel, or a sigmoid of the decoder
    input_rms: float | None = None  # normalise the level of each segment to this, and restore it after
    high_pass: float = 0.0  # cutoff of a high-pass filter on input and output, relative to the sampling rate; 0: none
    family: Literal["convolutional"] = "convolutional"

    module: ClassVar[str] = "segan_cli.networks.convolutional:ConvolutionalGenerator"
    recipe: ClassVar[str] = "segan-gated"

    def __post_init__(self) -> None:
        budget.check_layers("generator", self.channels, self.strides, self.kernel_size)
        check_int_range("generator", {"latent_channels": self.latent_channels}, 0, budget.MAX_CHANNELS)
        dilations = {f"dilation of layer {i}": dilation for i, dilation in enumerate(self.dilations, 1)}
        check_int_range("generator", dilations, 1, budget.MAX_DILATION)
        check_bounds("generator", self, input_rms=budget.RMS_RANGE)
        if self.high_pass:
            check_bounds("generator", self, high_pass=HIGH_PASS_RANGE)
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

    def layer_costs(self, n_samples: int) -> list[budget.LayerCost]:
        """Cost of each layer for a segment: the strided encoder and the mirrored decoder."""
        channels, taps, layers, lengths = self.channels, self.kernel_size, [], [n_samples]
        for (n_in, n_out), stride in zip(pairwise((1, *channels)), self.strides, strict=True):
            lengths.append(lengths[-1] // stride)
            weights = n_in * n_out * taps + 2 * n_out
            layers.append(budget.LayerCost(weights, n_in * n_out * taps * lengths[-1], n_out * lengths[-1]))
        mirrored, sides = channels[-2::-1], 1 + (self.skip_merge == "concat")
        inputs = [channels[-1] + self.latent_channels, *(sides * c for c in mirrored)]
        for n_in, n_out, before, after in zip(inputs, (*mirrored, 1), lengths[:0:-1], lengths[-2::-1], strict=True):
            slopes = (1 + (self.skip_scale == "learned")) * n_out if len(layers) < 2 * len(channels) - 1 else 0
            weights = n_in * n_out * taps + n_out + slopes
            layers.append(budget.LayerCost(weights, n_in * n_out * taps * before, n_out * after))
        if self.high_pass:
            taps, stride = high_pass_size(self.high_pass)
            layers.append(budget.LayerCost(0, 4 * taps * n_samples // stride, n_samples))
        return layers

    def scaled(self, width: float) -> Self:
        """This config with all channel counts multiplied by `width`."""
        channels = scale(self.channels, width)
        return replace(self, channels=channels, latent_channels=round(width * self.latent_channels))

    def total_stride(self) -> int:
        """Samples per frame of the thought vector."""
        return math.prod(self.strides)

    def longest_frame(self) -> int:
        """Samples that an output of the high-pass filter depends on."""
        return 2 * high_pass_size(self.high_pass)[0] - 1 if self.high_pass else 0

    def draw_latent(self, rng: "np.random.Generator", n_segments: int, n_samples: int) -> "NDArray[np.float32] | None":
        """A random z [B, C, T / stride], mean 0, standard deviation 1; None without a latent."""
        if not self.latent_channels:
            return None
        shape = n_segments, self.latent_channels, n_samples // self.total_stride()
        if self.latent == "uniform":
            return (rng.random(shape, dtype="float32") - 0.5) * math.sqrt(12)
        return rng.standard_normal(shape, dtype="float32")


@dataclass(frozen=True)
class ConvolutionalDiscriminatorConfig(DiscriminatorConfig):
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

    module: ClassVar[str] = "segan_cli.networks.convolutional:ConvolutionalDiscriminator"

    def __post_init__(self) -> None:
        budget.check_layers("discriminator", self.channels, self.strides, self.kernel_size)
        check_bounds("discriminator", self, phase_shuffle=(0, math.inf))
        hidden = {f"hidden layer {i}": n for i, n in enumerate(self.hidden, 1)}
        check_int_range("discriminator", hidden, 1, budget.MAX_CHANNELS)
        check_int_range("discriminator", {"hidden layers": len(self.hidden)}, 0, budget.MAX_LAYERS)

    def layer_costs(self, n_samples: int) -> list[budget.LayerCost]:
        """Cost of each layer for a segment, without normalisation layers."""
        layers, length = [], n_samples
        for (n_in, n_out), stride in zip(pairwise((2, *self.channels)), self.strides, strict=True):
            length //= stride
            weights = n_in * n_out * self.kernel_size
            layers.append(budget.LayerCost(weights, weights * length, n_out * length))
        head = pairwise((self.channels[-1] * length, *self.hidden, 1))
        return layers + [budget.LayerCost(n_in * n_out, n_in * n_out, n_out) for n_in, n_out in head]

    def scaled(self, width: float) -> Self:
        """This config with all channel counts and hidden units multiplied by `width`."""
        return replace(self, channels=scale(self.channels, width), hidden=scale(self.hidden, width))

    def total_stride(self) -> int:
        """Samples per frame of the last layer."""
        return math.prod(self.strides)

    @property
    def has_batch_norm(self) -> bool:
        """Whether the logits of an example depend on the rest of its batch."""
        return self.norm == "batch"
