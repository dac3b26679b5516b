"""Settings of the enhancement."""

from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from segan_cli.backends.network import Precision
from segan_cli.config.schema import check_int_range, short_repr
from segan_cli.errors import ConfigError
from segan_cli.system import MAX_BATCH, MAX_SEED

Channels = Literal["linked", "independent"]
HighBandPolicy = Literal["denoise", "keep", "drop"]


@dataclass(frozen=True)
class Settings:
    """Settings of the enhancement."""

    strength: float  # from 0, the input, to 1, the output of the model
    channels: Channels  # "linked": all get the transfer function of their mean; "independent": each its own
    high_band: HighBandPolicy  # for sound above the band of the model
    precision: Precision  # of the layers of the network
    batch: int | None  # segments per call of the network; None: chosen by the backend
    seed: int  # for the latents of every signal

    def __post_init__(self) -> None:
        if not isinstance(self.strength, Real) or not 0 <= self.strength <= 1:
            raise ConfigError(f"strength {short_repr(self.strength)}; it must lie between 0 and 1")
        for name, kind in (("channels", Channels), ("high_band", HighBandPolicy), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} {short_repr(getattr(self, name))}; choose {', '.join(get_args(kind))}")
        check_int_range("enhancer", {"batch": 1 if self.batch is None else self.batch}, 1, MAX_BATCH)
        check_int_range("enhancer", {"seed": self.seed}, 0, MAX_SEED)
