"""Config of a model as a frozen dataclass, without torch."""

from dataclasses import dataclass

from segan_cli.config.budget import check_budget
from segan_cli.config.families import convolutional, spectral  # noqa: F401  # registers the families
from segan_cli.config.families.base import DiscriminatorConfig, GeneratorConfig
from segan_cli.config.schema import check_int_range
from segan_cli.errors import ConfigError

MAX_SEGMENT = 2**20  # samples
MAX_OVERLAP = 64  # segments that may contain the same sample


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to rebuild a model and run it on audio."""

    preset: str
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    sample_rate_hz: int = 16_000
    segment_length: int = 16_384  # samples
    hop: int = 8_192  # samples between segments when enhancing
    pre_emphasis: float = 0.95

    def __post_init__(self) -> None:
        length = self.segment_length
        check_int_range("model", {"segment_length": length}, 1, MAX_SEGMENT)
        if self.sample_rate_hz != 16_000:
            raise ConfigError(f"sample_rate_hz: {self.sample_rate_hz}; only 16000 is supported")
        if not 0 <= self.pre_emphasis < 1:
            raise ConfigError(f"pre_emphasis: {self.pre_emphasis}; it must lie between 0 and 1, 1 excluded")
        check_int_range("model", {"hop": self.hop}, -(-length // MAX_OVERLAP), length)
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            stride, frame = network.total_stride(), network.longest_frame()
            if length % stride:
                raise ConfigError(f"{name}: segment_length {length} is not a multiple of the stride {stride}")
            if frame >= 2 * length:
                raise ConfigError(f"{name}: frames of {frame} samples do not fit a segment_length of {length}")
            check_budget(name, network.layer_costs(length), self.sample_rate_hz / self.hop)

    @property
    def generator_weights(self) -> int:
        """Number of weights of the generator."""
        return sum(layer.weights for layer in self.generator.layer_costs(self.segment_length))

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates of the generator per second of audio, overlapping segments included."""
        macs = sum(layer.macs for layer in self.generator.layer_costs(self.segment_length))
        return macs * self.sample_rate_hz / self.hop
