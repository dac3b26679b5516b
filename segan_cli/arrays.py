"""Signals: their type, their limits, and a queue of samples."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]  # full scale is 1
RATES_HZ = 1_000, 768_000  # lowest and highest
MAX_CHANNELS = 64


class SampleQueue:
    """A first-in, first-out queue of samples [channels, n]."""

    def __init__(self, channels: int) -> None:
        self.samples = np.zeros((channels, 0), np.float32)

    def __len__(self) -> int:
        return self.samples.shape[1]

    def push(self, samples: Array) -> None:
        """Append samples."""
        self.samples = np.concatenate((self.samples, samples), axis=1)

    def pop(self, n: int) -> Array:
        """Remove and return the first n samples."""
        first, self.samples = self.samples[:, :n], self.samples[:, n:]
        return first
