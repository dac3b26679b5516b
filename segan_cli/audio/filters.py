"""Streaming filters and a limiter: each carries its state from block to block."""

from math import ceil, gcd
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from segan_cli.arrays import Array

HOLD_S = 0.03  # longer than half the filter of a resampler
CHUNK = 128  # samples that a recursion computes at once
DC_CUTOFF_HZ = 1.0  # at 100 Hz, the phase changes by 0.6 degrees
MIN_FIRST_OFFSET = 5.0  # |mean| over standard deviation at the start of a signal
ATTACK_S = 0.005  # look-ahead of the limiter, in which the gain falls
RELEASE_DB_PER_S = 200.0  # speed at which it rises again
OVERSAMPLING = 8  # for true peaks; at the highest frequencies, fourfold misses up to 0.7 dB
PEAK_TAPS = 64  # of a windowed sinc for each point between two samples
_TIMES = np.arange(PEAK_TAPS) - PEAK_TAPS / 2 + np.arange(1, OVERSAMPLING)[:, None] / OVERSAMPLING
PEAK_PHASES = (np.sinc(_TIMES) * np.i0(5 * np.sqrt(1 - (2 * _TIMES / PEAK_TAPS) ** 2)) / np.i0(5)).astype(np.float32)


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


class HoldingResampler(Resampler):
    """A Resampler for signals that do not begin and end at zero: the first and last samples continue beyond."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        super().__init__(from_hz, to_hz, channels)
        common = gcd(from_hz, to_hz)
        n = ceil(HOLD_S * common)
        self.n_in, self.n_out = n * from_hz // common, n * to_hz // common  # samples before the start and after the end
        self.edge = np.zeros((channels, 0), np.float32)  # the last sample
        self.n_early = self.n_out  # output from before the start that is still to come

    def push(self, block: Array, last: bool = False) -> Array:
        """Return the samples that are final after this block; with `last`, all that remain."""
        if self.stream is None or not (block.size or self.edge.size):
            return block
        if not self.edge.size:
            block = np.concatenate((np.repeat(block[:, :1], self.n_in, axis=1), block), axis=1)
        self.edge = block[:, -1:] if block.size else self.edge
        if last:
            block = np.concatenate((block, np.repeat(self.edge, self.n_in, axis=1)), axis=1)
        resampled = super().push(block, last)
        n = min(self.n_early, resampled.shape[1])
        self.n_early -= n
        return resampled[:, n : resampled.shape[1] - self.n_out * last]


class OnePole:
    """The recursive filter y[n] = x[n] + a y[n-1] along time, in chunks of 128 samples as matrix products."""

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


class DcBlocker:
    """A first-order high-pass filter; its state begins with the mean of the first `n_first` samples if it is large."""

    def __init__(self, rate_hz: int, channels: int, n_first: int) -> None:
        self.pole = OnePole(float(np.exp(-2 * np.pi * DC_CUTOFF_HZ / rate_hz)), channels)
        self.n_first, self.waiting = n_first, np.zeros((channels, 0), np.float32)
        self.previous: Array | None = None  # input sample before the next block

    def push(self, block: Array, last: bool = False) -> Array:
        """Return the filtered samples that are final after a block [channels, n]: none before `n_first`, then all."""
        if self.previous is None:
            self.waiting = block = np.concatenate((self.waiting, block), axis=1)
            if block.shape[1] < self.n_first and not last:
                return block[:, :0]
            first = block[:, : self.n_first] if block.size else np.zeros_like(block, shape=(len(block), 1))
            mean = first.mean(1, keepdims=True)
            self.previous = np.where(np.abs(mean) > MIN_FIRST_OFFSET * first.std(1, keepdims=True), mean, np.float32(0))
        filtered = self.pole.push(np.diff(block, prepend=self.previous))
        self.previous = block[:, -1:].copy() if block.size else self.previous
        return np.asarray(filtered, np.float32)


class TruePeaks:
    """Measures the peaks between samples by eightfold oversampling, block by block (ITU-R BS.1770-4)."""

    def __init__(self, channels: int) -> None:
        self.recent = np.zeros((channels, PEAK_TAPS // 2 - 1), np.float32)  # samples that later peaks depend on
        self.before = np.float32(0.0)  # peak between the latest two samples

    def push(self, block: Array, last: bool = False) -> Array:
        """Return the largest level of all channels at each sample and on both sides of it, [m], behind the block.

        With `last`, the levels of all samples that remain.
        """
        end = np.zeros((len(block), PEAK_TAPS // 2 if last else 0), np.float32)
        samples = np.concatenate((self.recent, block, end), axis=1)
        m = max(0, samples.shape[1] - PEAK_TAPS + 1)
        self.recent = samples[:, m:]
        if not m:
            return np.zeros(0, np.float32)
        peaks = [np.convolve(channel, phase, "valid") for channel in samples for phase in PEAK_PHASES]
        after = peak_levels(np.stack(peaks))
        between = np.concatenate(([self.before], after))
        self.before = between[-1]
        at = peak_levels(samples[:, PEAK_TAPS // 2 - 1 :][:, :m])
        return np.asarray(np.maximum(at, np.maximum(between[:-1], after)), np.float32)


class Limiter:
    """Keeps samples below a ceiling: a gain of all channels falls within 5 ms and rises by 200 dB per second."""

    def __init__(self, rate_hz: int, channels: int, ceiling: float = 1.0, true_peak: bool = False) -> None:
        self.ceiling = ceiling
        self.peaks = TruePeaks(channels) if true_peak else None
        self.half = round(ATTACK_S / 2 * rate_hz)
        self.attack = 2 * self.half - 1  # samples of the window, a triangle
        self.release_db = RELEASE_DB_PER_S / rate_hz  # per sample
        self.waiting = np.zeros((channels, 0), np.float32)  # samples that were not returned yet
        self.ahead = np.zeros(0)  # attenuation that each of these needs, as far as known, in dB
        self.held: NDArray[np.float64] | None = None  # attenuation in the window before `ahead`, after release
        self.largest_db = 0.0  # attenuation so far

    def push(self, block: Array, last: bool = False) -> Array:
        """Return the limited samples that are final after a block [channels, n]; with `last`, all that remain."""
        self.waiting = np.concatenate((self.waiting, block), axis=1)
        levels = peak_levels(block) if self.peaks is None else self.peaks.push(block, last)
        needed, over = np.zeros(len(levels)), levels > self.ceiling
        needed[over] = 20 * np.log10(levels[over] / self.ceiling, dtype=np.float64)
        self.ahead = np.concatenate((self.ahead, needed))[: self.waiting.shape[1]]
        ahead = self.ahead
        if last:
            ahead = np.concatenate((ahead, np.zeros(self.waiting.shape[1] - len(ahead) + self.attack - 1)))
        n = max(0, len(ahead) - self.attack + 1)  # samples whose look-ahead is known
        samples, self.waiting = self.waiting[:, :n], self.waiting[:, n:]
        self.ahead = ahead[n:]
        if not n:
            return samples
        if self.held is None:  # it starts with what the first sample needs
            self.held = np.full(self.attack - 1, ahead[: self.attack].max())
        if not (ahead.any() or self.held.any()):
            return samples
        needed = np.lib.stride_tricks.sliding_window_view(ahead, self.attack).max(axis=1)
        attenuation_db = self._smooth(needed, self.held)
        self.largest_db = max(self.largest_db, float(attenuation_db.max(initial=0.0)))
        limited = samples * (10 ** (-attenuation_db / 20)).astype(np.float32)
        return np.asarray(np.clip(limited, -self.ceiling, self.ceiling), np.float32)

    def _smooth(self, needed_db: NDArray[np.float64], held: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the attenuation with a slow release, averaged over the window."""
        ramp = self.release_db * np.arange(1, len(needed_db) + 1)
        released = np.maximum(np.maximum.accumulate(needed_db + ramp), held[-1]) - ramp
        held = np.concatenate((held, np.maximum(released, 0.0)))
        self.held = held[len(held) - self.attack + 1 :]
        mean = np.full(self.half, 1 / self.half)
        return np.convolve(np.convolve(held, mean, "valid"), mean, "valid")


def peak_levels(samples: Array) -> Array:
    """Return the largest absolute value of all channels of samples [channels, n], [n]."""
    levels: Array = np.abs(samples[0])
    for channel in samples[1:]:  # faster than a maximum along the axis
        np.maximum(levels, np.abs(channel), out=levels)
    return levels
