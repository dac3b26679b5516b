"""What a model is and how it is trained, as frozen data; nothing here knows torch."""

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Sequence
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
    latent: Literal["normal", "uniform"] = "normal"  # z of mean 0 and deviation 1
    skip_merge: Literal["concat", "sum"] = "concat"  # how a skip joins the decoder
    skip_scale: Literal["fixed", "learned", "gated"] = (
        "fixed"  # times 1, a weight a channel, or a sigmoid of the decoder
    )
    input_rms: float | None = None  # windows are brought to this level and back, and weights start to suit it

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
        """Samples of the window that one frame of the thought vector hears."""
        samples, step = 1, 1
        for stride, dilation in zip(self.strides, self.dilations, strict=True):
            samples += (self.kernel_size - 1) * dilation * step
            step *= stride
        return samples


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

    def __post_init__(self) -> None:
        check_layers("discriminator", self.channels, self.strides, self.kernel_size)
        check_least("discriminator", self, phase_shuffle=0)
        if any(units < 1 for units in self.hidden):
            raise ConfigError(f"discriminator: hidden {list(self.hidden)}; every layer needs 1 unit or more")


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
            total = math.prod(strides)
            if self.window % total:
                raise ConfigError(f"{name}: the window of {self.window} samples is no multiple of the stride {total}")
        if self.sample_rate_hz != 16_000:
            raise ConfigError(f"sample_rate_hz: {self.sample_rate_hz}; the measures and the tool are made for 16000")
        if not 0 < self.hop <= self.window:
            raise ConfigError(f"hop: {self.hop} samples; it must lie between 1 and the window of {self.window}")


@dataclass(frozen=True)
class MixingConfig:
    """How clean speech and noise become a noisy window; every draw is uniform between the two bounds."""

    snr_db: tuple[float, float] = (0.0, 22.0)
    level_db: tuple[float, float] = (-38.0, -16.0)  # active speech level, dB relative to full scale
    babble_probability: float = 0.15  # share of windows whose noise is a crowd of training voices
    second_noise_probability: float = 0.2  # share of windows with two noise recordings at once


ObjectiveName = Literal[
    "minimax",
    "non-saturating",
    "maximum-likelihood",
    "least-squares",
    "hinge",
    "wasserstein-clip",
    "wasserstein-gp",
    "relativistic-least-squares",
    "metricgan",
]


@dataclass(frozen=True)
class AdversarialConfig:
    """The game between generator and discriminator."""

    objective: ObjectiveName = "least-squares"
    weight: float = 1.0  # of the adversarial loss beside the reconstruction terms
    gradient_share: float | None = None  # its gradient's norm over reconstruction's, whatever the weight (2210.13438)
    start: int = 0  # steps of reconstruction alone before the discriminator joins
    discriminator_steps: int = 1  # per step of the generator, each on new windows
    unrolled_steps: int = 0  # steps of the discriminator that the generator looks ahead (arXiv 1611.02163)
    instance_noise: float = 0.0  # deviation of noise on candidates, falling linearly to 0 at the last step (1610.04490)
    label_smoothing: float = 0.0  # what the label of real lacks to 1
    r1_weight: float = 0.0  # γ of the penalty on real candidates (arXiv 1801.04406)
    gradient_penalty_weight: float = 10.0  # of wasserstein-gp
    weight_clip: float = 0.01  # of wasserstein-clip
    mismatched_share: float = 0.0  # share of fake that is clean speech beside another window's noisy (arXiv 1605.05396)

    def __post_init__(self) -> None:
        labelled = ("minimax", "non-saturating", "maximum-likelihood", "least-squares")
        if self.label_smoothing and self.objective not in labelled:
            raise ConfigError(f"label_smoothing: {self.objective} has no labels; use {', '.join(labelled)}")
        if self.mismatched_share and self.objective == "metricgan":
            raise ConfigError("mismatched_share: metricgan has no quality for pairs that do not match; leave it at 0")
        for name in ("label_smoothing", "mismatched_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}; it must lie between 0 and 1, 1 excluded")
        check_least("adversarial", self, weight=0, start=0, discriminator_steps=1, unrolled_steps=0, instance_noise=0)
        check_least("adversarial", self, r1_weight=0, gradient_penalty_weight=0, weight_clip=0)
        if self.gradient_share is not None:
            check_least("adversarial", self, gradient_share=0)


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
    stft_weight: float = 0.0  # multi-resolution STFT term; the paper has none
    reference_windows: int = 8  # reference batch of virtual batch norm
    ema_decay: float = 0.999  # of the generator's weights that are validated and shipped
    clip_norm: float = 5.0  # gradient norm of each network
    validate_every: int = 2_000  # steps
    validation_mixes: int = 48  # whole utterances
    seed: int = 0
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)

    def __post_init__(self) -> None:
        check_least("training", self, steps=1, batch_size=1, reference_windows=1, validate_every=1, validation_mixes=1)
        check_least("training", self, generator_learning_rate=0, discriminator_learning_rate=0, warmup_steps=0, seed=0)
        check_least("training", self, l1_weight=0, spectral_weight=0, stft_weight=0, clip_norm=0)
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training: ema_decay {self.ema_decay}; it must lie between 0 and 1, 1 excluded")
        if self.adversarial.mismatched_share and self.batch_size < 2:
            raise ConfigError("training: mismatched_share needs a second window to take noisy from; raise batch_size")
        if self.adversarial.gradient_share is not None and not (
            self.l1_weight or self.spectral_weight or self.stft_weight
        ):
            raise ConfigError("training: gradient_share is one of the reconstruction's gradient; give such a weight")


@dataclass(frozen=True)
class Recipe:
    """A model and how to train it."""

    model: ModelConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        game = self.training.adversarial
        penalised = game.r1_weight or game.objective == "wasserstein-gp"
        if self.model.discriminator.norm == "batch" and penalised and game.unrolled_steps:
            raise ConfigError(
                "unrolled_steps: a gradient penalty cannot be unrolled through batch norm; set"
                " model.discriminator.norm=none"
            )


def check_layers(name: str, channels: tuple[int, ...], strides: tuple[int, ...], kernel_size: int) -> None:
    """Raise ConfigError unless a stack of layers is well formed."""
    if any(value < 1 for value in (*channels, *strides, kernel_size)):
        raise ConfigError(f"{name}: channels, strides and kernel_size must be 1 or more")
    if not channels or len(strides) != len(channels):
        raise ConfigError(f"{name}: {len(channels)} channels but {len(strides)} strides; give one per layer")
    if kernel_size % 2 == 0:
        raise ConfigError(f"{name}: kernel_size {kernel_size} is even; it must be odd to keep windows aligned")


def check_least(name: str, config: Any, **bounds: float) -> None:
    """Raise ConfigError unless every field is at least its bound."""
    for key, bound in bounds.items():
        if not getattr(config, key) >= bound:
            raise ConfigError(f"{name}: {key} {getattr(config, key)}; it must be {bound} or more")


def from_dict(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build a frozen config from JSON-like data; `where` is its own place in a larger one.

    Nested configs and tuples are converted. Raises ConfigError, naming the key, when one is unknown, missing or of
    another type.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # T is always a dataclass here
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(fields)}"
            raise ConfigError(f"{where}{key}: no such key; {hint}")
    for name, f in fields.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}{name}: missing")
    types = typing.get_type_hints(cls)
    return cls(**{key: _convert(types[key], value, where + key) for key, value in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """A JSON-like value as the field's type; the types are those that occur in the configs above."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: {value!r}; it has keys of its own, give one of them")
        return from_dict(typing.cast(type, kind), value, f"{where}.")
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: {value!r}; it must be one of {', '.join(arguments)}")
        return value
    if type(None) in arguments:
        return None if value is None else _convert(arguments[0], value, where)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or (arguments[-1] is not ... and len(value) != len(arguments)):
            raise ConfigError(f"{where}: {value!r}; it must be a list, such as [1, 2]")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ConfigError(f"{where}: {value!r}; it must be {NAMES[kind]}")
    return value


NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def override(config: T, assignments: Sequence[str]) -> T:
    """A config with fields replaced by `section.field=value`, the value as JSON or as plain text.

    Raises ConfigError, naming the assignment, when there is no such field or it cannot have that value.
    """
    values = dataclasses.asdict(config)  # type: ignore[call-overload]  # T is always a dataclass here
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *sections, name = path.split(".")
        place = values
        for section in sections:
            place = place.get(section, {}) if isinstance(place, dict) else {}
        if not equals or not isinstance(place, dict) or not place:
            raise ConfigError(f"{assignment}: give SECTION.FIELD=VALUE, such as training.batch_size=64")
        try:
            place[name] = json.loads(text)
        except json.JSONDecodeError:
            place[name] = text
    return from_dict(type(config), values)
