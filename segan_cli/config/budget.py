"""How large a network is and may be, told from its config before anything is built."""

from dataclasses import dataclass
from itertools import pairwise

from segan_cli.errors import ConfigError

Sizes = tuple[int, ...]

MOST_WEIGHTS = 400_000_000
MOST_MACS = 64e9  # multiply-accumulates for a second of audio
MOST_VALUES = 2**26  # that a layer gives for a window
MOST_LAYERS, MOST_CHANNELS, MOST_TAPS, MOST_STRIDE, MOST_DILATION = 32, 16_384, 1_023, 1_024, 4_096


@dataclass(frozen=True)
class Layer:
    """One layer's share of a network, for one window."""

    weights: int
    macs: int
    values: int  # that it gives


def check_budget(name: str, layers: list[Layer], windows_per_s: float) -> None:
    """Raise ConfigError when a network is larger than any should be."""
    weights, values = sum(layer.weights for layer in layers), max(layer.values for layer in layers)
    macs = sum(layer.macs for layer in layers) * windows_per_s
    for what, value, most in (
        ("weights", weights, MOST_WEIGHTS),
        ("multiply-accumulates for a second of audio", macs, MOST_MACS),
        ("values from a layer for a window", values, MOST_VALUES),
    ):
        if value > most:
            raise ConfigError(f"{name}: {value:.2g} {what}; {most:.2g} are the most, use fewer or narrower layers")


def check_layers(name: str, channels: Sizes, strides: Sizes, kernel_size: int) -> None:
    """Raise ConfigError unless a stack of layers is well formed."""
    if not channels or len(strides) != len(channels):
        raise ConfigError(f"{name}: {len(channels)} channels but {len(strides)} strides; give one per layer")
    if len(channels) > MOST_LAYERS:
        raise ConfigError(f"{name}: {len(channels)} layers; {MOST_LAYERS} are the most")
    sizes = {"channels": (channels, MOST_CHANNELS), "strides": (strides, MOST_STRIDE)}
    for what, (values, most) in {**sizes, "kernel_size": ((kernel_size,), MOST_TAPS)}.items():
        for value in values:
            if not 1 <= value <= most:
                raise ConfigError(f"{name}: {what} {value}; each must lie between 1 and {most}")
    if kernel_size % 2 == 0:
        raise ConfigError(f"{name}: kernel_size {kernel_size} is even; it must be odd to keep windows aligned")


def convolutional(
    channels: Sizes,
    strides: Sizes,
    taps: int,
    latent: int,
    concatenated: bool,
    learned: bool,
    n: int,
) -> list[Layer]:
    """Layers of an encoder and its mirror on windows of n samples."""
    layers, lengths = [], [n]
    for (n_in, n_out), stride in zip(pairwise((1, *channels)), strides, strict=True):
        lengths.append(lengths[-1] // stride)
        weights = n_in * n_out * taps + 2 * n_out
        layers.append(Layer(weights, n_in * n_out * taps * lengths[-1], n_out * lengths[-1]))
    mirrored = channels[-2::-1]
    joined = [channels[-1] + latent] + [(1 + concatenated) * c for c in mirrored]
    for n_in, n_out, before, after in zip(joined, (*mirrored, 1), lengths[:0:-1], lengths[-2::-1], strict=True):
        slopes = (1 + learned) * n_out if len(layers) < 2 * len(channels) - 1 else 0
        weights = n_in * n_out * taps + n_out + slopes
        layers.append(Layer(weights, n_in * n_out * taps * before, n_out * after))
    return layers


def judging(channels: Sizes, strides: Sizes, taps: int, hidden: Sizes, n: int) -> list[Layer]:
    """Layers of a discriminator of windows of n samples, but for its norms."""
    layers, length = [], n
    for (n_in, n_out), stride in zip(pairwise((2, *channels)), strides, strict=True):
        length //= stride
        layers.append(Layer(n_in * n_out * taps, n_in * n_out * taps * length, n_out * length))
    for n_in, n_out in pairwise((channels[-1] * length, *hidden, 1)):
        layers.append(Layer(n_in * n_out, n_in * n_out, n_out))
    return layers


def spectral(
    frame: int, steps: int, c: int, depth: int, bands: int, width: int, blocks: int, hidden: int, n: int
) -> list[Layer]:
    """Layers of the spectral generator on windows of n samples; c channels of the convolutions."""
    frames, positions = 2 * n // frame + 1, frame // 2 // steps
    points, places = frames * positions, frames * bands

    def linear(n_in: int, n_out: int, times: int, bias: int | None = None) -> Layer:
        weights = n_in * n_out + (n_out if bias is None else bias)
        return Layer(weights, n_in * n_out * times, n_out * times)

    block = [
        Layer(6 * width, 0, width * places),
        linear(2 * 3 * hidden, width + hidden, places, 2 * 6 * hidden),
        linear(2 * hidden, width, places),
        linear(width, 3 * width, places),
        Layer(0, 2 * places * bands * width, bands * places),
        linear(width, width, places),
        linear(width, 2 * width, places),
        linear(2 * width, width, places),
    ]
    side = [linear(9 * c, c, points, 3 * c), linear(2 * c, c, points), linear(9 * c, c, points, 3 * c)]
    return [
        Layer(0, 2 * frames * frame * frame, 2 * frames * frame),  # transforms, as matrices
        linear(3 * 3 * 2 * steps, c, points, 3 * c),
        *depth * side,
        linear(positions, bands, frames * c),
        linear(c, width, places),
        Layer(bands * width, 0, 0),
        *blocks * block,
        linear(width, c, places),
        linear(bands, positions, frames * c),
        linear(9 * 2 * c, 2 * steps, points),
    ]
