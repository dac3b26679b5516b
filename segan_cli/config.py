"""What a model is and how it is trained, as frozen data; nothing here knows torch."""

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from segan_cli.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class GeneratorConfig:
    """Encoder of strided convolutions, thought vector joined with latent z, mirrored decoder (arXiv 1703.09452)."""

    channels: tuple[int, ...]  # output channels of each encoder layer
    strides: tuple[int, ...]  # one per layer; their product divides the window
    dilations: tuple[int, ...]  # one per layer
    kernel_size: int  # taps, odd
    latent_channels: int  # channels of z beside the thought vector; 0 switches z off
    gated_skips: bool = False  # skips are multiplied by the sigmoid of the decoder layer they join
    input_rms: float | None = None  # windows are brought to this level and back, and weights start to suit it

    def __post_init__(self) -> None:
        check_layers("generator", self.channels, self.strides, self.kernel_size)
        if len(self.dilations) != len(self.channels):
            raise ConfigError(
                f"generator: {len(self.channels)} channels but {len(self.dilations)} dilations; give one per layer"
            )


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The encoder again over (candidate, noisy), then 1x1 convolution and a linear layer (arXiv 1703.09452)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernel_size: int  # taps, odd
    leaky_slope: float = 0.3
    virtual_batch_norm: bool = True  # arXiv 1606.03498, section 3.5

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, self.strides, self.kernel_size)


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to rebuild a model and to run it on audio."""

    preset: str
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    sample_rate_hz: int = 16_000
    window: int = 16_384  # samples
    hop: int = 8_192  # samples between windows when enhancing
    pre_emphasis: float = 0.95

    def __post_init__(self) -> None:
        for name, strides in (("generator", self.generator.strides), ("discriminator", self.discriminator.strides)):
            if self.window % product(strides):
                raise ConfigError(
                    f"{name}: the window of {self.window} samples is no multiple of the total stride {product(strides)}"
                )
        if not 0 < self.hop <= self.window:
            raise ConfigError(f"hop: {self.hop} samples; it must lie between 1 and the window of {self.window}")


@dataclass(frozen=True)
class MixingConfig:
    """How clean speech and noise become a noisy window; every draw is uniform between the two bounds."""

    snr_db: tuple[float, float] = (0.0, 22.0)
    level_db: tuple[float, float] = (-38.0, -16.0)  # active speech level, dB relative to full scale
    babble_probability: float = 0.15  # share of windows whose noise is a crowd of training voices
    second_noise_probability: float = 0.2  # share of windows with two noise recordings at once


@dataclass(frozen=True)
class TrainingConfig:
    """One training, from the first step to the last; the defaults are the shipped model's, but for its AdamW."""

    steps: int = 100_000
    batch_size: int = 16
    optimizer: Literal["rmsprop", "adamw"] = "rmsprop"
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 2e-4
    warmup_steps: int = 200  # learning rates rise linearly over these, then fall along a cosine to a hundredth
    l1_weight: float = 100.0
    spectral_weight: float = 20.0  # compressed spectrum term; the paper has none
    deemphasised_losses: bool = True  # L1 and spectrum of windows as they are heard; the paper's are pre-emphasised
    adversarial_weight: float = 1.0
    adversarial_start: int = 0  # steps of reconstruction alone before the discriminator joins
    reference_windows: int = 8  # reference batch of virtual batch norm
    ema_decay: float = 0.999  # of the generator's weights that are validated and shipped
    clip_norm: float = 5.0  # gradient norm of each network
    validate_every: int = 2_000  # steps
    validation_mixes: int = 48  # whole utterances
    seed: int = 0
    mixing: MixingConfig = field(default_factory=MixingConfig)


def product(values: tuple[int, ...]) -> int:
    """Product of integers, 1 for none."""
    total = 1
    for value in values:
        total *= value
    return total


def check_layers(name: str, channels: tuple[int, ...], strides: tuple[int, ...], kernel_size: int) -> None:
    """Raise ConfigError unless a stack of layers is well formed."""
    if not channels or len(strides) != len(channels):
        raise ConfigError(f"{name}: {len(channels)} channels but {len(strides)} strides; give one per layer")
    if kernel_size % 2 == 0:
        raise ConfigError(f"{name}: kernel_size {kernel_size} is even; it must be odd to keep windows aligned")


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Build a frozen config from JSON-like data.

    Nested configs and tuples are converted. Raises ConfigError, naming the keys, when one is unknown or missing.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # T is always a dataclass here
    unknown = sorted(set(values) - set(fields))
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(values))
    if unknown or missing:
        problems = [f"unknown {', '.join(unknown)}"] * bool(unknown) + [f"missing {', '.join(missing)}"] * bool(missing)
        raise ConfigError(f"{cls.__name__}: {'; '.join(problems)}; known keys are {', '.join(fields)}")
    types = typing.get_type_hints(cls)
    return cls(**{key: _convert(types[key], value) for key, value in values.items()})


def _convert(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), value)
    return tuple(value) if isinstance(value, list) else value


def segan(preset: str, width: float) -> ModelConfig:
    """The paper's 11 layers of kernel 31 and stride 2, all channels scaled by `width`."""
    channels = tuple(int(width * c) for c in (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024))
    strides = (2,) * len(channels)
    return ModelConfig(
        preset=preset,
        generator=GeneratorConfig(channels, strides, (1,) * len(channels), 31, latent_channels=channels[-1]),
        discriminator=DiscriminatorConfig(channels, strides, 31),
    )


def segan_gated() -> ModelConfig:
    """Five layers of stride 4 with gated skips and without z: a faster relative of segan-slim that learns sooner."""
    strides = (4,) * 5
    return ModelConfig(
        preset="segan-gated",
        generator=GeneratorConfig((16, 32, 64, 128, 256), strides, (1,) * 5, 31, 0, gated_skips=True, input_rms=0.05),
        discriminator=DiscriminatorConfig((8, 16, 32, 64, 64), strides, 31),
    )


PRESETS: dict[str, ModelConfig] = {
    "segan": segan("segan", 1.0),
    "segan-slim": segan("segan-slim", 0.25),
    "segan-gated": segan_gated(),
}
