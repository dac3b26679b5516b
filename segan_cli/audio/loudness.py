"""Gains that normalise a recording: to a peak level, or to a loudness by ITU-R BS.1770-4."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.filters import Resampler
from segan_cli.errors import AudioError

Array = NDArray[np.float32]

CHUNK_S, BLOCK_S, WARM_UP_S = 60.0, 0.4, 1.0  # measured at a time, of the standard, and of the filters
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
MAX_TRUE_PEAK_DB = -1.0  # dBTP (EBU R 128)
OVERSAMPLING = 4
MIN_REPORTED_DB = 0.1
MAX_LOUDNESS_CHANNELS = 5


class GainMeter(Protocol):
    """Measures a recording block by block to find one gain for all of it."""

    def push(self, block: Array) -> None:
        """Measure a block [channels, n]."""

    def gain(self) -> float:
        """Return the gain for what was measured."""

    def warning(self) -> str | None:
        """Return how the result misses the target, if it does."""


class PeakMeter:
    """Finds the gain for a peak level in dB relative to full scale."""

    def __init__(self, peak_db: float) -> None:
        self.peak_db, self.peak = peak_db, 0.0

    def push(self, block: Array) -> None:
        """Measure a block [channels, n]."""
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))

    def gain(self) -> float:
        """Return the gain; 1 for silence."""
        return float(10 ** (self.peak_db / 20) / self.peak) if self.peak else 1.0

    def warning(self) -> None:
        """Return None, as the target is always reached."""


class LoudnessMeter:
    """Finds the gain for an integrated loudness in LUFS, limited so that the true peak stays below -1 dB.

    The memory does not grow: the loudness of the 0.4 s blocks is measured by pyloudnorm in chunks of a minute.
    """

    def __init__(self, target_lufs: float, rate_hz: int, channels: int) -> None:
        """Raises AudioError for more than five channels, for which the standard has no weights."""
        import pyloudnorm

        if channels > MAX_LOUDNESS_CHANNELS:
            raise AudioError(f"--loudness supports up to {MAX_LOUDNESS_CHANNELS} channels, not {channels}")
        self.target_lufs, self.rate_hz = target_lufs, rate_hz
        self.meter: Any = pyloudnorm.Meter(rate_hz)
        self.is_quad = channels == 4  # FL FR BL BR; pyloudnorm takes the third channel for the centre
        self.oversampler = Resampler(rate_hz, OVERSAMPLING * rate_hz, channels)
        self.true_peak = 0.0
        self.pending = np.zeros((channels, 0), np.float32)
        self.n_warm_up = 0  # samples of `pending` that were measured before
        self.levels: list[float] = []  # loudness of each block, LUFS
        self.missing_db = 0.0  # gain that the true peak does not allow

    def push(self, block: Array) -> None:
        """Measure a block [channels, n]."""
        self.true_peak = max(self.true_peak, float(np.abs(self.oversampler.push(block)).max(initial=0.0)))
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

    def gain(self) -> float:
        """Return the gain; 1 for silence."""
        peak = float(np.abs(self.oversampler.push(self.pending[:, :0], last=True)).max(initial=self.true_peak))
        loudness = self.loudness()
        if not np.isfinite(loudness) or not peak:
            return 1.0
        wanted_db, allowed_db = self.target_lufs - loudness, MAX_TRUE_PEAK_DB - 20 * float(np.log10(peak))
        self.missing_db = max(0.0, wanted_db - allowed_db)
        return float(10 ** (min(wanted_db, allowed_db) / 20))

    def warning(self) -> str | None:
        """Return the loudness that was reached, if the true peak did not allow more."""
        if self.missing_db < MIN_REPORTED_DB:
            return None
        reached = self.target_lufs - self.missing_db
        limit = f"a true peak of {MAX_TRUE_PEAK_DB:g} dB allows no more"
        return f"its loudness is {reached:.1f} LUFS instead of {self.target_lufs:g}: {limit}"

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
