"""Configs of training and its data as frozen dataclasses, without torch."""

import math
from dataclasses import dataclass, field
from typing import Literal

from segan_cli.config.model import ModelConfig
from segan_cli.config.schema import check_bounds, short_repr
from segan_cli.errors import ConfigError
from segan_cli.system import MAX_LEVEL_DB

MIXING_RANGES = {  # field → bounds of its two values
    "snr_db": (-MAX_LEVEL_DB, MAX_LEVEL_DB), "level_db": (-MAX_LEVEL_DB, MAX_LEVEL_DB),
    "pair_gain_db": (-MAX_LEVEL_DB, MAX_LEVEL_DB), "clipping_db": (-MAX_LEVEL_DB, 0.0), "speed": (0.5, 2.0),
    "band_hz": (100.0, 7_999.0), "gap_ms": (0.01, 10_000.0),
}  # fmt: skip
MAX_LEARNING_RATE = 1e30  # beyond, weights overflow before the loss does
MAX_WEIGHT = 1e6  # of a loss term
MIN_LENGTHS = {"spectral": 512, "stft": 1_025, "perceptual": 512, "stoi": 7_936}  # samples that losses need

NoiseKind = Literal["white", "pink", "brown", "hum", "speech-shaped"]
CodecName = Literal["mu-law", "gsm", "opus", "vorbis", "mp3"]
ValidationScore = Literal["pesq_wb", "stoi", "si_sdr_db"]


@dataclass(frozen=True)
class MixingConfig:
    """How noisy segments are made from clean speech; values are drawn uniformly from their ranges.

    Noise is babble, or else generated, or else recorded. Clipping, codecs and gaps apply to the noisy signal only. A
    band limit applies to both signals, so that a model does not learn bandwidth extension.
    """

    snr_db: tuple[float, float] = (0.0, 22.0)
    level_db: tuple[float, float] = (-38.0, -16.0)  # active speech level, dBFS
    pair_gain_db: tuple[float, float] = (-6.0, 6.0)  # of recorded pairs, whose SNR is fixed
    babble_probability: float = 0.15  # noise is babble of other training speakers
    second_noise_probability: float = 0.2  # two noise recordings at once
    generated_probability: float = 0.0  # noise is generated although there are recordings
    generated: tuple[NoiseKind, ...] = ("white", "pink", "brown", "hum", "speech-shaped")
    clean_probability: float = 0.0  # speech without noise; not in validation
    speechless_probability: float = 0.0  # noise without speech; not in validation
    speed_probability: float = 0.0  # speed perturbation of speech and recorded noise, each; not in validation
    speed: tuple[float, float] = (0.85, 1.18)  # factor, which also changes the pitch (Ko et al., Interspeech 2015)
    mirrored_probability: float = 0.0  # segments padded by mirroring, as at the ends of a recording; not in validation
    onset_probability: float = 0.0  # segments that begin in the pause before an utterance; not in validation
    shaping_probability: float = 0.0  # random second-order filters for speech and noise (arXiv 1709.08243)
    reverb_probability: float = 0.3  # reverberant speech, if room impulse responses are given
    target: Literal["early", "dry"] = "early"  # of reverberant speech: early reflections (50 ms) too, or direct sound
    band_probability: float = 0.0
    band_hz: tuple[float, float] = (2_500.0, 7_500.0)  # upper band limit
    clipping_probability: float = 0.0
    clipping_db: tuple[float, float] = (-15.0, -1.0)  # ceiling relative to the peak
    codec_probability: float = 0.0
    codecs: tuple[CodecName, ...] = ("mu-law", "gsm", "opus", "vorbis", "mp3")
    gap_probability: float = 0.0  # lost packets: one to five gaps per second
    gap_ms: tuple[float, float] = (10.0, 40.0)  # length of a gap

    def __post_init__(self) -> None:
        check_bounds("mixing", self, **{name: (0, 1) for name in vars(self) if name.endswith("probability")})
        for name, (lowest, highest) in MIXING_RANGES.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                bounds = f"from {lowest:g} to {highest:g}, the lower first"
                raise ConfigError(f"mixing: {name} [{low:g}, {high:g}]; give two numbers {bounds}")
        if self.clean_probability + self.speechless_probability > 1:
            raise ConfigError("mixing: clean_probability and speechless_probability add up to more than 1")
        if not self.generated or not self.codecs:
            raise ConfigError("mixing: generated and codecs must not be empty; set their probability to 0 instead")


ObjectiveName = Literal[
    "minimax", "non-saturating", "maximum-likelihood", "least-squares", "hinge", "wasserstein-clip", "wasserstein-gp",
    "relativistic-least-squares", "metricgan",
]  # fmt: skip
LABELLED = ("minimax", "non-saturating", "maximum-likelihood", "least-squares")  # objectives with a label of real
SEPARABLE = (*LABELLED, "hinge")  # the discriminator's loss is a term on real plus a term on fake
METRIC = ("metricgan",)  # the discriminator predicts a measured quality
GRADIENT_PENALTY = ("wasserstein-gp",)  # of the critic (arXiv 1704.00028)


@dataclass(frozen=True)
class AdversarialConfig:
    """Adversarial training: objective, schedule and regularization of the discriminator."""

    objective: ObjectiveName = "least-squares"
    weight: float = 1.0  # of the adversarial loss, relative to the reconstruction terms
    gradient_share: float | None = None  # adversarial over reconstruction gradient norm, replaces `weight` (2210.13438)
    start: int = 0  # steps with reconstruction losses only
    ramp_steps: int = 0  # after `start`, in which the adversarial gradient rises linearly from 0 to its full size
    feature_matching_weight: float = 0.0  # of the distance in the discriminator's hidden layers (arXiv 2210.13438)
    update_every: int = 1  # generator steps per update of the discriminator
    discriminator_steps: int = 1  # per generator step, each on a new batch
    separate_steps: bool = False  # one optimizer step on real examples, then one on fakes
    unrolled_steps: int = 0  # discriminator steps the generator is unrolled through (arXiv 1611.02163)
    instance_noise: float = 0.0  # standard deviation, decays linearly to 0 (arXiv 1610.04490)
    label_smoothing: float = 0.0  # one-sided: the label of clean speech is 1 minus this
    r1_weight: float = 0.0  # γ of the R1 penalty (arXiv 1801.04406)
    gradient_penalty_weight: float = 10.0  # of wasserstein-gp
    weight_clip: float = 0.01  # of wasserstein-clip
    mismatched_share: float = 0.0  # fraction of fakes that are clean with other noisy speech (arXiv 1605.05396)
    replay_size: int = 0  # examples of earlier steps kept for a metric discriminator (arXiv 2104.03538); 0: none
    replay_share: float = 0.25  # number of kept examples in a batch of the discriminator, relative to new ones

    def __post_init__(self) -> None:
        if self.label_smoothing and self.objective not in LABELLED:
            raise ConfigError(f"label_smoothing: {self.objective} has no labels; use {', '.join(LABELLED)}")
        if self.mismatched_share and self.objective in METRIC:
            raise ConfigError(f"mismatched_share: not available for {self.objective}; set it to 0")
        if self.replay_size and self.objective not in METRIC:
            raise ConfigError(f"replay_size: not available for {self.objective}; set it to 0, or use {METRIC[0]}")
        if self.separate_steps and self.objective not in SEPARABLE:
            raise ConfigError(
                f"separate_steps: the loss of {self.objective} is not a term on real plus a term on fake; use"
                f" {', '.join(LABELLED)} or hinge"
            )
        if self.separate_steps and self.unrolled_steps:
            raise ConfigError("separate_steps: unrolling looks ahead along joint steps; set unrolled_steps=0")
        if self.update_every > 1 and (self.discriminator_steps > 1 or self.unrolled_steps):
            raise ConfigError(
                "update_every: not available with discriminator_steps above 1 or unrolled_steps; set it to 1"
            )
        for name in ("label_smoothing", "mismatched_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}; it must lie between 0 and 1, 1 excluded")
        check_bounds(
            "adversarial", self, weight=(0, MAX_WEIGHT), gradient_share=(0, MAX_WEIGHT), start=(0, math.inf),
            ramp_steps=(0, math.inf), feature_matching_weight=(0, MAX_WEIGHT), update_every=(1, 1_000),
            discriminator_steps=(1, 1_000), unrolled_steps=(0, 1_000), instance_noise=(0, 10), replay_share=(0, 1),
            r1_weight=(0, MAX_WEIGHT), gradient_penalty_weight=(0, MAX_WEIGHT), weight_clip=(0, math.inf),
            replay_size=(0, 100_000),
        )  # fmt: skip

    @property
    def has_gradient_penalty(self) -> bool:
        """Whether the loss of the discriminator contains its gradients, so that it is differentiated twice."""
        return self.r1_weight > 0 or self.objective in GRADIENT_PENALTY


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training run. Those marked with an asterisk are not in the paper (arXiv 1703.09452)."""

    steps: int = 100_000
    batch_size: int = 16  # segments per step, over all processes and slices
    gradient_accumulation_steps: int = 1  # slices of a process's part of the batch, to save memory
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the networks (autocast); losses are always fp32
    compile: bool = False  # use torch.compile
    optimizer: Literal["rmsprop", "adamw"] = "rmsprop"
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 2e-4
    warmup_steps: int = 200  # * linear warm-up of the learning rates
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # * after the warm-up; decays to a hundredth
    decay_steps: int | None = None  # last steps, in which the learning rates decay; None: all after the warm-up
    l1_weight: float = 100.0
    spectral_weight: float = 20.0  # * compressed-spectrum loss
    deemphasised_losses: bool = True  # * compute reconstruction losses after de-emphasis
    stft_weight: float = 0.0  # * multi-resolution STFT loss
    perceptual_weight: float = 0.0  # * differentiable PESQ
    stoi_weight: float = 0.0  # * differentiable STOI
    plugin_weights: dict[str, float] = field(default_factory=dict)  # of losses in other packages, by name
    reference_segments: int = 8  # size of the reference batch of virtual batch norm
    ema_decay: float = 0.999  # * of the generator weights to validate and save; 0: no averaging
    clip_norm: float | None = 5.0  # * maximum gradient norm of each network
    log_every: int = 50  # steps
    log_segments: bool = False  # log the spec of each segment of the first process
    validate_every: int = 2_000  # steps; the state is saved at the same interval
    validation_mixes: int = 48  # whole utterances
    best_by: ValidationScore = "pesq_wb"  # that selects the best model
    keep: int = 0  # models of the latest validations to keep, besides the best
    seed: int = 0
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)

    def __post_init__(self) -> None:
        check_bounds(
            "training", self, steps=(1, 10**9), batch_size=(1, 2**16), gradient_accumulation_steps=(1, math.inf),
            generator_learning_rate=(0, MAX_LEARNING_RATE), discriminator_learning_rate=(0, MAX_LEARNING_RATE),
            warmup_steps=(0, math.inf), decay_steps=(1, math.inf), reference_segments=(1, 2**16),
            log_every=(1, math.inf), validate_every=(1, math.inf), validation_mixes=(1, 10_000), keep=(0, 10_000),
            seed=(0, math.inf),
        )  # fmt: skip
        for name, weight in self.reconstruction().items():
            if not 0 <= weight <= MAX_WEIGHT:
                key = f"plugin_weights.{name}" if name in self.plugin_weights else f"{name}_weight"
                raise ConfigError(f"training: {key} {weight}; it must lie between 0 and {MAX_WEIGHT:,.0f}")
        for name in self.plugin_weights:
            if not name.isidentifier():
                raise ConfigError(f"training: plugin_weights {short_repr(name)}; a name has letters, digits and _ only")
        if taken := [name for name in self.plugin_weights if hasattr(self, f"{name}_weight")]:
            raise ConfigError(f"training: plugin_weights {min(taken)}: is a loss of segan; set {min(taken)}_weight")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"training: clip_norm {self.clip_norm}; it must be above 0, or none")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training: ema_decay {self.ema_decay}; it must lie between 0 and 1, 1 excluded")
        if self.batch_size % self.gradient_accumulation_steps:
            raise ConfigError(
                f"training: batch_size {self.batch_size} is not a multiple of gradient_accumulation_steps"
                f" {self.gradient_accumulation_steps}"
            )
        if self.adversarial.gradient_share is not None and not any(self.reconstruction().values()):
            raise ConfigError("training: gradient_share needs a reconstruction loss with a weight above 0")

    def reconstruction(self) -> dict[str, float]:
        """Weights of the reconstruction losses by name: the fields NAME_weight, and losses in other packages."""
        names = [key.removesuffix("_weight") for key in vars(self) if key.endswith("_weight")]
        return self.plugin_weights | {name: getattr(self, f"{name}_weight") for name in names}


@dataclass(frozen=True)
class DataConfig:
    """Corpora for training: folders or manifests (CSV, JSONL), each as `PATH` or `PATH:WEIGHT`.

    A second of audio with weight 2 is drawn twice as often as one with weight 1.
    """

    speech: tuple[str, ...] = ()  # clean speech or noisy/clean pairs
    noise: tuple[str, ...] = ()  # for clean speech; empty: generated noise
    rirs: tuple[str, ...] = ()  # room impulse responses
    valid_speech: tuple[str, ...] = ()  # empty: speakers held out of `speech`
    valid_noise: tuple[str, ...] = ()  # empty: recordings held out of `noise`


@dataclass(frozen=True)
class Recipe:
    """A model, its training and its data."""

    model: ModelConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        for name, length in MIN_LENGTHS.items():
            if self.training.reconstruction()[name] and self.model.segment_length < length:
                raise ConfigError(f"{name}_weight: this loss needs a segment_length of {length} or more")
        adversarial = self.training.adversarial
        unrolled_penalty = adversarial.unrolled_steps and adversarial.has_gradient_penalty
        if self.model.discriminator.has_batch_norm and unrolled_penalty:
            raise ConfigError(
                "unrolled_steps: a gradient penalty cannot be unrolled through batch norm; set"
                " model.discriminator.norm=none"
            )
