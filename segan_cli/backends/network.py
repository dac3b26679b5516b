"""The interface of the backends."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from segan_cli.config.model import ModelConfig
from segan_cli.errors import CheckpointError

Array = NDArray[np.float32]
BackendName = Literal["auto", "torch", "onnx"]
Precision = Literal["fp32", "bf16"]

MAX_OUTPUT = 1e9  # a thousand times the largest input
TEST_BATCH = 2  # segments; a graph must support more than one


class Network(Protocol):
    """A generator that is ready to run, also from several threads."""

    name: str  # of the model, for messages
    path: Path | None  # of its file
    description: str  # backend and device, for messages
    config: ModelConfig
    batch: int  # segments per call that are fast

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """Enhance segments [B, 1, T] with the latents z that the config requires; same shape."""
        return self.start(noisy, z)()

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Start on segments, asynchronously if possible; return a function that waits for the result."""


def check_network(name: str, config: ModelConfig, run: Callable[[Array, Array | None], Array]) -> None:
    """Run a network on noise; raises CheckpointError when its output is not finite."""
    rng = np.random.default_rng(0)
    noisy = (0.05 * rng.standard_normal((TEST_BATCH, 1, config.segment_length))).astype(np.float32)
    if not is_finite(run(noisy, config.generator.draw_latent(rng, TEST_BATCH, config.segment_length))):
        raise CheckpointError(f"{name}: the output of the model is not finite; use another")


def is_finite(samples: Array) -> bool:
    """Whether all samples are finite and not absurdly large."""
    return bool((np.abs(samples) <= MAX_OUTPUT).all())
