"""Levels of a signal that passes by, in memory that does not grow."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FRAME_S = 0.032
LOWEST_DB, HIGHEST_DB = -120, 20
QUIET = 0.1  # share of frames that are the pauses


class Meter:
    """Mean level and level of the pauses, in dB relative to full scale."""

    def __init__(self, rate_hz: int) -> None:
        self.frame = max(1, round(FRAME_S * rate_hz))
        self.rest = np.zeros(0, np.float32)
        self.total, self.n = 0.0, 0
        self.frames = np.zeros(HIGHEST_DB - LOWEST_DB + 1, np.int64)  # so many of each level, 1 dB apart

    def push(self, block: Array) -> None:
        """Take note of a block [n, channels]."""
        power = np.einsum("nc,nc->n", block, block, dtype=np.float64) / block.shape[1]
        self.total += float(power.sum())
        self.n += len(block)
        power = np.concatenate((self.rest, power))
        whole = len(power) - len(power) % self.frame
        levels = decibels(power[:whole].reshape(-1, self.frame).mean(axis=1))
        self.rest = power[whole:]
        places = np.clip(np.round(levels).astype(int), LOWEST_DB, HIGHEST_DB) - LOWEST_DB
        self.frames += np.bincount(places, minlength=len(self.frames))

    def level_db(self) -> float:
        """RMS of everything."""
        return float(decibels(self.total / max(1, self.n)))

    def pauses_db(self) -> float:
        """Level that a tenth of the frames stay below."""
        return float(LOWEST_DB + np.searchsorted(np.cumsum(self.frames), QUIET * self.frames.sum()))


def decibels(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Power relative to full scale in dB, -120 at least."""
    return 10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10)))
