"""The interface of a family of networks: what segan needs to know about a generator and a discriminator."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from segan_cli.config.budget import LayerCost, Sizes
from segan_cli.config.schema import Selected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LARGEST_PEAK = 0.9  # which the normalisation of the level does not exceed
LEAST_LEVEL = 1e-6  # quieter segments are normalised as if they had this level


class NetworkConfig(Selected, ABC):
    """Config of a network: a frozen dataclass, whose field `family` names its family."""

    module: ClassVar[str]  # its torch module, "package.module:Class", imported when it is built

    @abstractmethod
    def layer_costs(self, n_samples: int) -> list[LayerCost]:
        """Cost of each layer for a segment."""

    @abstractmethod
    def scaled(self, width: float) -> Self:
        """This config with all channel counts multiplied by `width`."""

    def total_stride(self) -> int:
        """Samples that the length of a segment must be a multiple of."""
        return 1

    def longest_frame(self) -> int:
        """Samples of the longest frame of a spectrum; it must be shorter than two segments."""
        return 0


class GeneratorConfig(NetworkConfig):
    """Config of a generator. Its torch module is made from the config alone."""

    recipe: ClassVar[str]  # shipped recipe for models whose preset has none
    tolerates_peaks: ClassVar[bool] = False  # beyond LARGEST_PEAK, which others were not trained with
    input_rms: float | None  # normalise the level of each segment to this, and restore it after

    def receptive_field(self) -> int | None:
        """Input samples that an output depends on; None: the whole segment."""
        return None

    def state_size(self) -> int:
        """Values that a causal generator carries from one frame to the next; 0: it needs whole segments.

        Its frames of `longest_frame()` samples overlap by half, and are windowed by the square root of a Hann window
        both before an orthonormal transform to spectra and after that of the masked spectra back.
        """
        return 0

    def draw_latent(self, rng: "np.random.Generator", n_segments: int, n_samples: int) -> "NDArray[np.float32] | None":
        """A random latent z for segments [B, 1, T], whose first dimension is B; None for a generator without one."""
        return None


class DiscriminatorConfig(NetworkConfig):
    """Config of a discriminator. Its torch module is made from config, segment length and size of a reference batch."""

    @property
    def has_batch_norm(self) -> bool:
        """Whether the logits of an example depend on the rest of its batch."""
        return False


def scale(channels: Sizes, width: float) -> Sizes:
    """Channel counts multiplied by `width`, at least 1."""
    return tuple(max(1, round(width * c)) for c in channels)
