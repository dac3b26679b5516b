"""What a backend offers."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from segan_cli.architecture import ModelConfig

Array = NDArray[np.float32]
BackendName = Literal["auto", "torch", "onnx"]
Precision = Literal["fp32", "bf16"]


class Network(Protocol):
    """A generator ready to run; one may serve several threads."""

    config: ModelConfig

    def draw_latent(self, rng: np.random.Generator, n_windows: int) -> Array | None:
        """z of so many windows, or None where the model has none."""

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """noisy [B, 1, window] → enhanced, same shape."""
