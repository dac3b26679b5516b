"""Levels before and after an enhancement, in constant memory."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FRAME_S = 0.032  # of a level
LOWEST_DB, HIGHEST_DB = -120, 20
PAUSE_SHARE = 0.1  # of the frames: the quietest are the pauses


class LevelMeter:
    """Measures a signal before and after an enhancement: its levels, and the noise reduction in its pauses.

    The pauses are the quietest tenth of the frames of the original; digital silence does not count.
    """

    def __init__(self, rate_hz: int) -> None:
        self.frame = max(1, round(FRAME_S * rate_hz))
        self.partial = np.zeros((2, 0))  # power of the samples of an unfinished frame, before and after
        self.energy, self.n = np.zeros(2), 0
        n_bins = HIGHEST_DB - LOWEST_DB + 1  # of 1 dB, by the level of the original
        self.n_frames, self.power = np.zeros(n_bins, np.int64), np.zeros((2, n_bins))

    def push(self, original: Array, enhanced: Array) -> None:
        """Measure a block, [channels, n] each."""
        power = np.stack([np.einsum("cn,cn->n", s, s, dtype=np.float64) / len(s) for s in (original, enhanced)])
        self.energy += power.sum(axis=1)
        self.n += power.shape[1]
        power = np.concatenate((self.partial, power), axis=1)
        whole = power.shape[1] - power.shape[1] % self.frame
        self.partial = power[:, whole:]
        frames = power[:, :whole].reshape(2, -1, self.frame).mean(axis=2)
        bins = np.clip(np.round(decibels(frames[0])).astype(int), LOWEST_DB, HIGHEST_DB) - LOWEST_DB
        self.n_frames += np.bincount(bins, minlength=len(self.n_frames))
        for side in range(2):
            self.power[side] += np.bincount(bins, frames[side], minlength=len(self.n_frames))

    def levels_db(self) -> tuple[float, float]:
        """Return the RMS levels of the original and the enhanced signal, relative to full scale."""
        before, after = decibels(self.energy / max(1, self.n))
        return float(before), float(after)

    def noise_reduction_db(self) -> float:
        """Return by how much the power of the pauses fell; 0 if there are none."""
        counts = self.n_frames[1:]  # without digital silence
        if not counts.sum():
            return 0.0
        n_bins = 2 + int(np.searchsorted(np.cumsum(counts), PAUSE_SHARE * counts.sum()))
        before, after = decibels(self.power[:, 1:n_bins].sum(axis=1) / self.n_frames[1:n_bins].sum())
        return float(before - after)


def decibels(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert power relative to full scale to dB, -120 at least."""
    return 10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10)))
