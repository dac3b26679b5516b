"""Frames that overlap by half: a signal is cut into them and added up from them, block by block."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array

Spectra = NDArray[np.complex64]


class FrameCutter:
    """Cuts signals [..., n] into windowed frames of 2 * hop samples; the first begins `hop` samples before a signal."""

    def __init__(self, shape: tuple[int, ...], window: NDArray[Any]) -> None:
        """`shape` is that of the signals without time, `window` [2 * hop]."""
        self.window, self.hop = window, len(window) // 2
        self.signals: Array = np.zeros((*shape, self.hop), np.float32)  # from the first frame that was not returned

    def push(self, block: Array) -> None:
        """Append samples [..., n]."""
        self.signals = np.concatenate((self.signals, block), axis=-1)

    def pop(self, n: int) -> NDArray[Any]:
        """Remove and return n frames, [..., n, 2 * hop]."""
        view = np.lib.stride_tricks.sliding_window_view(self.signals, 2 * self.hop, axis=-1)
        frames: NDArray[Any] = view[..., : n * self.hop : self.hop, :] * self.window
        self.signals = self.signals[..., n * self.hop :]
        return frames

    def n_complete(self) -> int:
        """Number of frames that can be returned."""
        return max(0, int(self.signals.shape[-1]) // self.hop - 1)

    def n_missing(self) -> int:
        """Number of samples that complete the latest hop."""
        return -int(self.signals.shape[-1]) % self.hop


class FrameAdder:
    """Adds windowed frames of 2 * hop samples up to signals, without the `hop` samples before the first."""

    def __init__(self, channels: int, window: NDArray[Any]) -> None:
        self.window, self.hop = window.astype(np.float32), len(window) // 2
        self.overlap: Array = np.zeros((channels, self.hop), np.float32)  # second half of the latest frame
        self.ahead = self.hop  # samples before the first of the signal that are still to come

    def push(self, frames: NDArray[Any]) -> Array:
        """Add frames [channels, n, 2 * hop]; return the samples that are final, [channels, m]."""
        pieces = frames.astype(np.float32) * self.window
        second: Array = np.concatenate((self.overlap[:, None], pieces[:, :, self.hop :]), axis=1)
        self.overlap = second[:, -1]
        final: Array = (pieces[:, :, : self.hop] + second[:, :-1]).reshape(len(pieces), -1)
        cut = min(self.ahead, final.shape[1])
        self.ahead -= cut
        return final[:, cut:]
