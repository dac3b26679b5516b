"""Cost of a network, computed from its config, and the limits it must not exceed."""

from dataclasses import dataclass
from itertools import pairwise

from segan_cli.errors import ConfigError

Sizes = tuple[int, ...]

MAX_WEIGHTS = 400_000_000
MAX_MACS = 64e9  # multiply-accumulates per second of audio
MAX_ACTIVATIONS = 2**26  # outputs of a layer per segment
MAX_LAYERS, MAX_CHANNELS, MAX_TAPS, MAX_STRIDE, MAX_DILATION = 32, 16_384, 1_023, 1_024, 4_096


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer for one segment."""

    weights: int
    macs: int  # multiply-accumulates
    activations: int  # output values


def check_budget(name: str, layers: list[LayerCost], segments_per_s: float) -> None:
    """Raise ConfigError if a network exceeds the limits."""
    weights, activations = sum(layer.weights for layer in layers), max(layer.activations for layer in layers)
    macs = sum(layer.macs for layer in layers) * segments_per_s
    for quantity, value, limit in (
        ("weights", weights, MAX_WEIGHTS),
        ("multiply-accumulates per second of audio", macs, MAX_MACS),
        ("activations of a layer", activations, MAX_ACTIVATIONS),
    ):
        if value > limit:
            raise ConfigError(f"{name}: {value:.2g} {quantity}, above the limit of {limit:.2g}; use a smaller network")


def check_layers(name: str, channels: Sizes, strides: Sizes, kernel_size: int) -> None:
    """Raise ConfigError if the shapes of a stack of layers are inconsistent or out of range."""
    if not channels or len(strides) != len(channels):
        raise ConfigError(f"{name}: {len(channels)} channels but {len(strides)} strides; give one per layer")
    if len(channels) > MAX_LAYERS:
        raise ConfigError(f"{name}: {len(channels)} layers; the limit is {MAX_LAYERS}")
    sizes = {"channels": (channels, MAX_CHANNELS), "strides": (strides, MAX_STRIDE)}
    for field, (values, limit) in {**sizes, "kernel_size": ((kernel_size,), MAX_TAPS)}.items():
        for value in values:
            if not 1 <= value <= limit:
                raise ConfigError(f"{name}: {field} {value}; it must lie between 1 and {limit}")
    if kernel_size % 2 == 0:
        raise ConfigError(f"{name}: kernel_size {kernel_size} is even; it must be odd")


def convolutional_costs(
    channels: Sizes,
    strides: Sizes,
    taps: int,
    latent: int,
    concat_skips: bool,
    learned_skips: bool,
    n: int,
) -> list[LayerCost]:
    """Cost of a strided encoder and its mirrored decoder for n samples."""
    layers, lengths = [], [n]
    for (n_in, n_out), stride in zip(pairwise((1, *channels)), strides, strict=True):
        lengths.append(lengths[-1] // stride)
        weights = n_in * n_out * taps + 2 * n_out
        layers.append(LayerCost(weights, n_in * n_out * taps * lengths[-1], n_out * lengths[-1]))
    mirrored = channels[-2::-1]
    inputs = [channels[-1] + latent] + [(1 + concat_skips) * c for c in mirrored]
    for n_in, n_out, before, after in zip(inputs, (*mirrored, 1), lengths[:0:-1], lengths[-2::-1], strict=True):
        slopes = (1 + learned_skips) * n_out if len(layers) < 2 * len(channels) - 1 else 0
        weights = n_in * n_out * taps + n_out + slopes
        layers.append(LayerCost(weights, n_in * n_out * taps * before, n_out * after))
    return layers


def discriminator_costs(channels: Sizes, strides: Sizes, taps: int, hidden: Sizes, n: int) -> list[LayerCost]:
    """Cost of a discriminator for n samples, without normalisation layers."""
    layers, length = [], n
    for (n_in, n_out), stride in zip(pairwise((2, *channels)), strides, strict=True):
        length //= stride
        layers.append(LayerCost(n_in * n_out * taps, n_in * n_out * taps * length, n_out * length))
    for n_in, n_out in pairwise((channels[-1] * length, *hidden, 1)):
        layers.append(LayerCost(n_in * n_out, n_in * n_out, n_out))
    return layers


def spectral_costs(
    frame: int, stride: int, c: int, depth: int, bands: int, width: int, blocks: int, hidden: int, n: int
) -> list[LayerCost]:
    """Cost of the spectral generator for n samples.

    Args:
        stride: Frequency bins per convolution output.
        c: Channels of the convolutions.
        width: Channels of the dual-path blocks.
        hidden: Units of each GRU direction.
    """
    frames, positions = 2 * n // frame + 1, frame // 2 // stride
    conv_points, band_points = frames * positions, frames * bands

    def linear(n_in: int, n_out: int, times: int, bias: int | None = None) -> LayerCost:
        weights = n_in * n_out + (n_out if bias is None else bias)
        return LayerCost(weights, n_in * n_out * times, n_out * times)

    block = [
        LayerCost(6 * width, 0, width * band_points),
        linear(2 * 3 * hidden, width + hidden, band_points, 2 * 6 * hidden),
        linear(2 * hidden, width, band_points),
        linear(width, 3 * width, band_points),
        LayerCost(0, 2 * band_points * bands * width, bands * band_points),
        linear(width, width, band_points),
        linear(width, 2 * width, band_points),
        linear(2 * width, width, band_points),
    ]
    side = [linear(9 * c, c, conv_points, 3 * c), linear(2 * c, c, conv_points), linear(9 * c, c, conv_points, 3 * c)]
    return [
        LayerCost(0, 2 * frames * frame * frame, 2 * frames * frame),  # STFT and its inverse, as matrix products
        linear(3 * 3 * 2 * stride, c, conv_points, 3 * c),
        *depth * side,
        linear(positions, bands, frames * c),
        linear(c, width, band_points),
        LayerCost(bands * width, 0, 0),
        *blocks * block,
        linear(width, c, band_points),
        linear(bands, positions, frames * c),
        linear(9 * 2 * c, 2 * stride, conv_points),
    ]
