"""Integrated loudness by ITU-R BS.1770-4."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.errors import AudioError

Array = NDArray[np.float32]

CHUNK_S, BLOCK_S, WARM_UP_S = 60.0, 0.4, 1.0  # measured at a time, of the standard, and of the filters
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
MAX_LOUDNESS_CHANNELS = 5


class LoudnessMeter:
    """Measures a recording block by block.

    The memory does not grow: the loudness of the 0.4 s blocks is measured by pyloudnorm in chunks of a minute.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        """Raises AudioError for more than five channels, for which the standard has no weights."""
        import pyloudnorm

        if channels > MAX_LOUDNESS_CHANNELS:
            raise AudioError(f"--loudness supports up to {MAX_LOUDNESS_CHANNELS} channels, not {channels}")
        self.rate_hz = rate_hz
        self.meter: Any = pyloudnorm.Meter(rate_hz)
        self.is_quad = channels == 4  # FL FR BL BR; pyloudnorm takes the third channel for the centre
        self.pending = np.zeros((channels, 0), np.float32)
        self.n_warm_up = 0  # samples of `pending` that were measured before
        self.levels: list[float] = []  # loudness of each block, LUFS

    def push(self, block: Array) -> None:
        """Measure a block [channels, n]."""
        self.pending = np.concatenate((self.pending, block), axis=1)
        chunk = round((CHUNK_S + 3 * BLOCK_S / 4) * self.rate_hz)
        while self.pending.shape[1] - self.n_warm_up >= chunk:
            self._measure(self.n_warm_up + chunk)
            start = self.n_warm_up + round((CHUNK_S - WARM_UP_S) * self.rate_hz)
            self.pending, self.n_warm_up = self.pending[:, start:], round(WARM_UP_S * self.rate_hz)

    def loudness(self) -> float:
        """Return the integrated loudness in LUFS; minus infinity for silence and recordings below 0.4 s."""
        if self.pending.shape[1] - self.n_warm_up >= BLOCK_S * self.rate_hz:
            self._measure(self.pending.shape[1])
        levels = np.array(self.levels)
        levels = levels[levels >= ABSOLUTE_GATE_LUFS]
        if not len(levels):
            return -np.inf
        return mean_level(levels[levels > mean_level(levels) + RELATIVE_GATE_LU])

    def _measure(self, n: int) -> None:
        """Measure the first n pending samples."""
        chunk = self.pending[:, :n].T.astype(np.float64)
        if self.is_quad:  # a silent centre
            chunk = np.insert(chunk, 2, 0.0, axis=1)
        self.meter.integrated_loudness(chunk)
        step_s = BLOCK_S / 4
        self.levels += self.meter.blockwise_loudness[round(self.n_warm_up / self.rate_hz / step_s) :]


def mean_level(levels: NDArray[np.float64]) -> float:
    """Return the level of the mean power of levels in dB."""
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))
