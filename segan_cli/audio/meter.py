"""Level measurement of a stream in constant memory."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FRAME_S = 0.032
LOWEST_DB, HIGHEST_DB = -120, 20
PAUSE_QUANTILE = 0.1  # of the frame levels


class Meter:
    """Measures the mean level and the level of the pauses, in dB relative to full scale."""

    def __init__(self, rate_hz: int) -> None:
        self.frame = max(1, round(FRAME_S * rate_hz))
        self.partial = np.zeros(0, np.float32)  # power of the samples of an unfinished frame
        self.energy, self.n = 0.0, 0
        self.histogram = np.zeros(HIGHEST_DB - LOWEST_DB + 1, np.int64)  # of frame levels, bins of 1 dB

    def push(self, block: Array) -> None:
        """Measure a block [channels, n]."""
        power = np.einsum("cn,cn->n", block, block, dtype=np.float64) / len(block)
        self.energy += float(power.sum())
        self.n += len(power)
        power = np.concatenate((self.partial, power))
        whole = len(power) - len(power) % self.frame
        levels = decibels(power[:whole].reshape(-1, self.frame).mean(axis=1))
        self.partial = power[whole:]
        bins = np.clip(np.round(levels).astype(int), LOWEST_DB, HIGHEST_DB) - LOWEST_DB
        self.histogram += np.bincount(bins, minlength=len(self.histogram))

    def level_db(self) -> float:
        """Return the RMS level of everything."""
        return float(decibels(self.energy / max(1, self.n)))

    def pauses_db(self) -> float:
        """Return the level that a tenth of the frames do not exceed."""
        threshold = PAUSE_QUANTILE * self.histogram.sum()
        return float(LOWEST_DB + np.searchsorted(np.cumsum(self.histogram), threshold))


def decibels(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert power relative to full scale to dB, -120 at least."""
    return 10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10)))
