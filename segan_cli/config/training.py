"""How a model is trained, as frozen data; nothing here knows torch."""

from dataclasses import dataclass, field
from typing import Literal

from segan_cli.config.model import DiscriminatorConfig, ModelConfig
from segan_cli.config.schema import check_least, check_most, check_ranges, check_shares
from segan_cli.errors import ConfigError

LOUDEST_DB = 200.0  # levels beyond are nobody's, and overflow
LONGEST_GAP_MS = 10_000.0
FASTEST = 1e30  # learning rate; higher ones overflow before a loss can say that it is not finite
HEAVIEST = 1e6  # weight of a term of a loss

NoiseKind = Literal["white", "pink", "brown", "hum", "speech-shaped"]
CodecName = Literal["mu-law", "gsm", "opus", "vorbis", "mp3"]


@dataclass(frozen=True)
class MixingConfig:
    """How clean speech becomes a noisy window; every draw is uniform between its two bounds.

    Probabilities are shares of windows. What damages the recording beyond noise (clipping, codecs, gaps) is done to the
    noisy side alone; a band limit to both, so that a model learns to remove noise and not to invent a band.
    """

    snr_db: tuple[float, float] = (0.0, 22.0)
    level_db: tuple[float, float] = (-38.0, -16.0)  # active speech level, dB relative to full scale
    pair_gain_db: tuple[float, float] = (-6.0, 6.0)  # of recorded pairs, which keep their own SNR
    babble_probability: float = 0.15  # noise is a crowd of training voices
    second_noise_probability: float = 0.2  # two noise recordings at once
    generated_probability: float = 0.0  # noise is generated; always, babble aside, where there is no recording
    generated: tuple[NoiseKind, ...] = ("white", "pink", "brown", "hum", "speech-shaped")
    clean_probability: float = 0.0  # speech alone, which must pass unharmed; like the next never in validation
    speechless_probability: float = 0.0  # noise alone, which must go quiet
    speed_probability: float = 0.0  # speech and recorded noise each at another speed, pitch with it; not in validation
    speed: tuple[float, float] = (0.85, 1.18)  # 1 as recorded (Ko and others, Interspeech 2015)
    mirrored_probability: float = 0.0  # a part beyond the recording's first or last sample, as when enhancing; likewise
    shaping_probability: float = 0.0  # speech and noise each through a random filter of second order (arXiv 1709.08243)
    reverb_probability: float = 0.3  # speech in a room, where room responses are given
    target: Literal["early", "dry"] = "early"  # in a room: direct sound and first 50 ms, or direct sound alone
    band_probability: float = 0.0
    band_hz: tuple[float, float] = (2_500.0, 7_500.0)  # upper band limit
    clipping_probability: float = 0.0
    clipping_db: tuple[float, float] = (-15.0, -1.0)  # ceiling, relative to the peak
    codec_probability: float = 0.0
    codecs: tuple[CodecName, ...] = ("mu-law", "gsm", "opus", "vorbis", "mp3")
    gap_probability: float = 0.0  # packets lost: one to five gaps a second
    gap_ms: tuple[float, float] = (10.0, 40.0)  # length of a gap

    def __post_init__(self) -> None:
        check_shares("mixing", self, *(name for name in vars(self) if name.endswith("probability")))
        check_ranges("mixing", self, "snr_db", "level_db", "pair_gain_db", "clipping_db", largest=LOUDEST_DB)
        check_ranges("mixing", self, "speed", "band_hz")
        check_ranges("mixing", self, "gap_ms", largest=LONGEST_GAP_MS)
        if self.clean_probability + self.speechless_probability > 1:
            raise ConfigError("mixing: clean_probability and speechless_probability add up to more than 1")
        if not self.generated or not self.codecs:
            raise ConfigError("mixing: generated and codecs need one entry or more; a probability of 0 switches off")
        if not (self.band_hz[0] >= 100 and self.band_hz[1] < 8_000):
            raise ConfigError(f"mixing: band_hz {list(self.band_hz)}; it must lie between 100 and 8000, 8000 excluded")
        if self.speed[0] < 0.5 or self.speed[1] > 2:
            raise ConfigError(f"mixing: speed {list(self.speed)}; it must lie between 0.5 and 2")
        if self.clipping_db[1] > 0 or self.gap_ms[0] <= 0:
            raise ConfigError("mixing: clipping_db must not be above 0, gap_ms must be above 0")


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
    separate_steps: bool = False  # the discriminator takes one optimiser step on real, then one on fake
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
        if self.separate_steps and self.objective not in (*labelled, "hinge"):
            raise ConfigError(
                f"separate_steps: the loss of {self.objective} is not a term on real plus a term on fake; use"
                f" {', '.join(labelled)} or hinge"
            )
        if self.separate_steps and self.unrolled_steps:
            raise ConfigError("separate_steps: unrolling looks ahead along joint steps; set unrolled_steps=0")
        for name in ("label_smoothing", "mismatched_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}; it must lie between 0 and 1, 1 excluded")
        check_least("adversarial", self, weight=0, start=0, discriminator_steps=1, unrolled_steps=0, instance_noise=0)
        check_least("adversarial", self, r1_weight=0, gradient_penalty_weight=0, weight_clip=0)
        check_most("adversarial", self, weight=HEAVIEST, discriminator_steps=1_000, unrolled_steps=1_000)
        check_most("adversarial", self, instance_noise=10, r1_weight=HEAVIEST, gradient_penalty_weight=HEAVIEST)
        if self.gradient_share is not None:
            check_most("adversarial", self, gradient_share=HEAVIEST)
            check_least("adversarial", self, gradient_share=0)


@dataclass(frozen=True)
class TrainingConfig:
    """One training, from the first step to the last."""

    steps: int = 100_000
    batch_size: int = 16  # windows a step, of all processes and slices together
    gradient_accumulation_steps: int = 1  # slices that a process works its part of a batch off in, to save memory
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the networks (autocast); losses are always fp32
    compile: bool = False  # networks through torch.compile
    optimizer: Literal["rmsprop", "adamw"] = "rmsprop"
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 2e-4
    warmup_steps: int = 200  # learning rates rise linearly over these
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # afterwards: down to a hundredth, or level
    decay_steps: int | None = None  # last steps, over which the rates fall; none: all after the warm-up
    l1_weight: float = 100.0
    spectral_weight: float = 20.0  # compressed spectrum term; the paper has none
    deemphasised_losses: bool = True  # reconstruction of windows as they are heard; the paper's are pre-emphasised
    stft_weight: float = 0.0  # multi-resolution STFT term; the paper has none
    perceptual_weight: float = 0.0  # differentiable PESQ term; the paper has none
    stoi_weight: float = 0.0  # differentiable STOI term; the paper has none
    reference_windows: int = 8  # reference batch of virtual batch norm
    ema_decay: float = 0.999  # of the generator's weights that are validated and shipped; 0: the weights themselves
    clip_norm: float | None = 5.0  # gradient norm of each network
    log_every: int = 50  # steps
    log_windows: bool = False  # how every window of the first process is made
    validate_every: int = 2_000  # steps; the state is saved as often
    validation_mixes: int = 48  # whole utterances
    best_by: Literal["pesq_wb", "stoi", "si_sdr_db"] = "pesq_wb"  # validation score that chooses the best model
    keep: int = 0  # models of the last validations that are kept beside the best
    seed: int = 0
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)

    def __post_init__(self) -> None:
        check_least(
            "training",
            self,
            steps=1,
            batch_size=1,
            gradient_accumulation_steps=1,
            reference_windows=1,
            log_every=1,
            keep=0,
        )
        check_least("training", self, generator_learning_rate=0, discriminator_learning_rate=0, warmup_steps=0, seed=0)
        check_least("training", self, validate_every=1, validation_mixes=1)
        check_least("training", self, **{f"{name}_weight": 0 for name in self.reconstruction()})
        check_most("training", self, **{f"{name}_weight": HEAVIEST for name in self.reconstruction()})
        check_most("training", self, generator_learning_rate=FASTEST, discriminator_learning_rate=FASTEST)
        check_most("training", self, steps=10**9)
        check_most("training", self, batch_size=2**16, reference_windows=2**16, validation_mixes=10_000, keep=10_000)
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"training: clip_norm {self.clip_norm}; it must be above 0, or none")
        if self.decay_steps is not None:
            check_least("training", self, decay_steps=1)
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"training: ema_decay {self.ema_decay}; it must lie between 0 and 1, 1 excluded")
        if self.batch_size % self.gradient_accumulation_steps:
            raise ConfigError(
                f"training: batch_size {self.batch_size} is no multiple of gradient_accumulation_steps"
                f" {self.gradient_accumulation_steps}"
            )
        if self.adversarial.mismatched_share and self.batch_size < 2 * self.gradient_accumulation_steps:
            raise ConfigError("training: mismatched_share needs a second window to take noisy from; raise batch_size")
        if self.adversarial.gradient_share is not None and not any(self.reconstruction().values()):
            raise ConfigError("training: gradient_share is one of the reconstruction's gradient; give such a weight")

    def reconstruction(self) -> dict[str, float]:
        """Weights of the reconstruction terms by name."""
        terms = ("l1", "spectral", "stft", "perceptual", "stoi")
        return {name: getattr(self, f"{name}_weight") for name in terms}


@dataclass(frozen=True)
class DataConfig:
    """What a training reads: folders, manifests (CSV, JSONL) or files, each as `PATH` or `PATH:WEIGHT`.

    A second of audio of weight 2 is heard twice as often as one of weight 1.
    """

    speech: tuple[str, ...] = ()  # clean speech, or noisy/clean pairs
    noise: tuple[str, ...] = ()  # mixed into the clean speech; none: generated noises
    rirs: tuple[str, ...] = ()  # room impulse responses
    valid_speech: tuple[str, ...] = ()  # none: held out of `speech`, by speaker
    valid_noise: tuple[str, ...] = ()  # none: held out of `noise`, by recording


@dataclass(frozen=True)
class Recipe:
    """A model, how to train it and on what."""

    model: ModelConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        if self.training.perceptual_weight and self.model.window < 512:
            raise ConfigError("perceptual_weight: PESQ needs windows of 512 samples or more")
        if self.training.stoi_weight and self.model.window < 7_000:
            raise ConfigError("stoi_weight: STOI needs windows of 7000 samples or more")
        game = self.training.adversarial
        penalised = game.r1_weight or game.objective == "wasserstein-gp"
        judge = self.model.discriminator
        if isinstance(judge, DiscriminatorConfig) and judge.norm == "batch" and penalised and game.unrolled_steps:
            raise ConfigError(
                "unrolled_steps: a gradient penalty cannot be unrolled through batch norm; set"
                " model.discriminator.norm=none"
            )
