"""Filters with a state that is carried from block to block: change of rate, emphasis."""

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

Array = NDArray[np.float32]

FOLLOWING_S = 0.02  # over which the gain of a band is averaged
TINY = 1e-12
RUN = 128  # samples that a recursion takes at once
TAPS = 65  # of the filter that finds a band


class Resampler:
    """Streaming change of rate without delay: blocks [n, channels] in, blocks [m, channels] out (soxr, HQ)."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        self.stream = soxr.ResampleStream(from_hz, to_hz, channels, "float32") if from_hz != to_hz else None
        self.channels = channels

    def push(self, block: Array, last: bool = False) -> Array:
        """The samples that are final now; all that are left when it is the last block."""
        if self.stream is None:
            return block
        resampled: Array = self.stream.resample_chunk(np.ascontiguousarray(block), last)
        return resampled.reshape(-1, self.channels)


class OnePole:
    """y[n] = x[n] + a y[n-1] along the first axis, its state carried from block to block.

    Runs of 128 samples are products with the matrix of a's powers, so that little is left to do one by one.
    """

    def __init__(self, a: float, channels: int) -> None:
        lag = np.arange(RUN)[:, None] - np.arange(RUN)
        self.within = np.where(lag >= 0, a ** np.maximum(lag, 0), 0.0)
        self.onward = a ** np.arange(1, RUN + 1)[:, None]
        self.state = np.zeros(channels)

    def push(self, block: NDArray[Any]) -> NDArray[np.float64]:
        """block [n, channels] → filtered, same shape."""
        n = len(block)
        runs = np.pad(np.asarray(block, np.float64), ((0, -n % RUN), (0, 0))).reshape(-1, RUN, block.shape[1])
        filtered = np.einsum("kj,mjc->mkc", self.within, runs)  # not by BLAS, whose locks a forked process may inherit
        for run in filtered:
            run += self.onward * self.state
            self.state = run[-1]
        flat = filtered.reshape(-1, block.shape[1])[:n]
        if n:
            self.state = flat[-1].copy()
        return np.asarray(flat)


class Emphasis:
    """Pre-emphasis y[n] = x[n] - a x[n-1] or its inverse, with the filter's state carried from block to block."""

    def __init__(self, coefficient: float, channels: int, inverse: bool = False) -> None:
        self.coefficient = coefficient
        self.before = np.zeros((channels, 1), np.float32)
        self.pole = OnePole(coefficient, channels) if inverse and coefficient else None

    def push(self, block: Array) -> Array:
        """block [channels, n] → filtered, same shape."""
        if not block.size or not self.coefficient:
            return block
        if self.pole is not None:
            return np.asarray(self.pole.push(block.T).T, np.float32)
        shifted = np.concatenate((self.before, block[:, :-1]), axis=1)
        self.before = block[:, -1:].copy()
        return np.asarray(block - self.coefficient * shifted, np.float32)


class BandGain:
    """How much of a band an enhancement has left, followed over time."""

    def __init__(self, band_hz: tuple[float, float], rate_hz: int, channels: int) -> None:
        self.taps = band_pass(*band_hz, rate_hz)
        self.before = np.zeros((2, len(self.taps) - 1, channels))
        self.decay = float(np.exp(-1 / (FOLLOWING_S * rate_hz)))
        self.smoothing = [OnePole(self.decay, channels) for _ in range(2)]

    def push(self, noisy: Array, enhanced: Array) -> Array:
        """noisy, enhanced [n, channels] → gain [n, channels], 0 … 1."""
        if not len(noisy):
            return noisy
        powers = []
        for side, samples in enumerate((noisy, enhanced)):
            joined = np.concatenate((self.before[side], samples))
            self.before[side] = joined[len(samples) :]
            band = np.stack([np.convolve(channel, self.taps, "valid") for channel in joined.T], axis=1)
            power = self.smoothing[side].push((1 - self.decay) * np.square(band))
            powers.append(np.maximum(power, 0.0))
        return np.asarray(np.sqrt(np.clip((powers[1] + TINY) / (powers[0] + TINY), 0.0, 1.0)), np.float32)


def band_pass(low_hz: float, high_hz: float, rate_hz: int) -> NDArray[np.float64]:
    """Taps of a band-pass of linear phase: the difference of two windowed sincs (Hamming)."""
    n = np.arange(TAPS) - TAPS // 2
    low, high = (2 * edge / rate_hz * np.sinc(2 * edge / rate_hz * n) for edge in (low_hz, high_hz))
    return np.asarray((high - low) * np.hamming(TAPS))
