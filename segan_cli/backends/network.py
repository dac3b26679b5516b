"""What a backend offers."""

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from segan_cli.config.model import ModelConfig
from segan_cli.errors import CheckpointError
from segan_cli.networks.latent import draw_latent

Array = NDArray[np.float32]
BackendName = Literal["auto", "torch", "onnx"]
Precision = Literal["fp32", "bf16"]

LARGEST_OUTPUT = 1e9  # a thousand times what an input may be

TRIED = 2  # windows: a graph for one alone is none


class Network(Protocol):
    """A generator ready to run; one may serve several threads."""

    name: str  # of the model, for what is said of it
    config: ModelConfig
    batch: int  # windows at once that suit it

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """noisy [B, 1, window], and z as the config draws it → enhanced, same shape."""
        return self.start(noisy, z)()

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Begin with windows, where there are threads that can; → what waits for them enhanced."""


def try_out(name: str, config: ModelConfig, run: Callable[[Array, Array | None], Array]) -> None:
    """Raise CheckpointError, by the model's name, when a function of windows and z does not make sound of noise."""
    rng = np.random.default_rng(0)
    noisy = (0.05 * rng.standard_normal((TRIED, 1, config.window))).astype(np.float32)
    if not is_sound(run(noisy, draw_latent(config.generator, rng, TRIED, config.window))):
        raise CheckpointError(f"{name}: the model gives samples that are not numbers; use another")


def is_sound(samples: Array) -> bool:
    """Whether all samples are numbers of some measure."""
    return bool((np.abs(samples) <= LARGEST_OUTPUT).all())
