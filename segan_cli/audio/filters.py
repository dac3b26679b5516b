"""Streaming filters: each carries its state from block to block."""

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

Array = NDArray[np.float32]

SMOOTHING_S = 0.02  # time constant of the power of a band
TINY = 1e-12
CHUNK = 128  # samples that a recursion computes at once
TAPS = 65  # of a band-pass filter


class Resampler:
    """Resampling of blocks [channels, n] to blocks [channels, m] (soxr, high quality), aligned with the input."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        self.stream = soxr.ResampleStream(from_hz, to_hz, channels, "float32") if from_hz != to_hz else None
        self.channels = channels

    def push(self, block: Array, last: bool = False) -> Array:
        """Return the samples that are final after this block; with `last`, all that remain."""
        if self.stream is None:
            return block
        resampled: Array = self.stream.resample_chunk(np.ascontiguousarray(block.T), last)
        return resampled.reshape(-1, self.channels).T


class OnePole:
    """The recursive filter y[n] = x[n] + a y[n-1] along time.

    Chunks of 128 samples are products with the matrix of powers of `a`, so the Python loop is short.
    """

    def __init__(self, a: float, channels: int) -> None:
        lag = np.arange(CHUNK)[:, None] - np.arange(CHUNK)
        self.response = np.where(lag >= 0, a ** np.maximum(lag, 0), 0.0)
        self.decay = a ** np.arange(1, CHUNK + 1)
        self.state = np.zeros((channels, 1))

    def push(self, block: NDArray[Any]) -> NDArray[np.float64]:
        """Filter a block [channels, n]; the result has the same shape."""
        channels, n = block.shape
        chunks = np.pad(np.asarray(block, np.float64), ((0, 0), (0, -n % CHUNK))).reshape(channels, -1, CHUNK)
        filtered = np.einsum("kj,cmj->cmk", self.response, chunks)  # BLAS holds locks that break a forked process
        for i in range(filtered.shape[1]):
            filtered[:, i] += self.decay * self.state
            self.state = filtered[:, i, -1:]
        result = filtered.reshape(channels, -1)[:, :n]
        if n:
            self.state = result[:, -1:].copy()
        return np.asarray(result)


class Emphasis:
    """Pre-emphasis y[n] = x[n] - a x[n-1], or its inverse."""

    def __init__(self, coefficient: float, channels: int, inverse: bool = False) -> None:
        self.coefficient = coefficient
        self.last = np.zeros((channels, 1), np.float32)
        self.pole = OnePole(coefficient, channels) if inverse and coefficient else None

    def push(self, block: Array) -> Array:
        """Filter a block [channels, n]; the result has the same shape."""
        if not block.size or not self.coefficient:
            return block
        if self.pole is not None:
            return np.asarray(self.pole.push(block), np.float32)
        shifted = np.concatenate((self.last, block[:, :-1]), axis=1)
        self.last = block[:, -1:].copy()
        return np.asarray(block - self.coefficient * shifted, np.float32)


class BandGain:
    """The gain of an enhancement in one frequency band over time.

    It lags by 32 samples, the delay of the filter, and its power is smoothed over 20 ms.
    """

    def __init__(self, band_hz: tuple[float, float], rate_hz: int, channels: int) -> None:
        self.taps = band_pass(*band_hz, rate_hz)
        self.history = np.zeros((2, channels, len(self.taps) - 1))
        self.decay = float(np.exp(-1 / (SMOOTHING_S * rate_hz)))
        self.smoothing = [OnePole(self.decay, channels) for _ in range(2)]

    def push(self, noisy: Array, enhanced: Array) -> Array:
        """Return the gain [channels, n], 0 to 1, from noisy to enhanced, both [channels, n]."""
        if not noisy.shape[1]:
            return noisy
        powers = []
        for i, samples in enumerate((noisy, enhanced)):
            extended = np.concatenate((self.history[i], samples), axis=1)
            self.history[i] = extended[:, samples.shape[1] :]
            band = np.stack([np.convolve(channel, self.taps, "valid") for channel in extended])
            powers.append(np.maximum(self.smoothing[i].push((1 - self.decay) * np.square(band)), 0.0))
        return np.asarray(np.sqrt(np.clip((powers[1] + TINY) / (powers[0] + TINY), 0.0, 1.0)), np.float32)


def band_pass(low_hz: float, high_hz: float, rate_hz: int) -> NDArray[np.float64]:
    """Return the taps of a linear-phase band-pass filter (the difference of two windowed sincs, Hamming)."""
    n = np.arange(TAPS) - TAPS // 2
    low, high = (2 * edge / rate_hz * np.sinc(2 * edge / rate_hz * n) for edge in (low_hz, high_hz))
    return np.asarray((high - low) * np.hamming(TAPS))
