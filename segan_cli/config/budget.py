"""Cost of a network, computed from its config, and the limits it must not exceed."""

from dataclasses import dataclass

from segan_cli.errors import ConfigError

Sizes = tuple[int, ...]

# Several times those of the largest preset, and little enough for today's computers.
MAX_WEIGHTS = 400_000_000
MAX_MACS = 64e9  # multiply-accumulates per second of audio
MAX_ACTIVATIONS = 2**26  # outputs of a layer per segment
MAX_LAYERS, MAX_CHANNELS, MAX_TAPS, MAX_STRIDE, MAX_DILATION = 32, 16_384, 1_023, 1_024, 4_096
RMS_RANGE = 1e-6, 1.0  # of the level that inputs are normalised to


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
