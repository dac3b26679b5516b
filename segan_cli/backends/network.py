"""What a backend offers."""

from collections.abc import Callable
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
    batch: int  # windows at once that suit it

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """noisy [B, 1, window], and z as the config draws it → enhanced, same shape."""
        return self.start(noisy, z)()

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Begin with windows, where there are threads that can; → what waits for them enhanced."""
