"""Filters with a state that is carried from block to block: change of rate, emphasis."""

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

Array = NDArray[np.float32]

FOLLOWED_HZ = 4_000, 7_500  # part of the band whose gain the band above it takes
FOLLOWING_S = 0.02
TINY = 1e-12


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


class Emphasis:
    """Pre-emphasis y[n] = x[n] - a x[n-1] or its inverse, with the filter's state carried from block to block."""

    def __init__(self, coefficient: float, channels: int, inverse: bool = False) -> None:
        forward, one = [1.0, -coefficient], [1.0]
        self.b, self.a = (one, forward) if inverse else (forward, one)
        self.state = np.zeros((channels, 1))

    def push(self, block: Array) -> Array:
        """block [channels, n] → filtered, same shape."""
        if not block.size:
            return block
        filtered, self.state = lfilter(self.b, self.a, block, axis=1, zi=self.state)
        return np.asarray(filtered, np.float32)


class BandGain:
    """How much of the upper part of a band an enhancement has left, followed over time."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.section = butter(4, FOLLOWED_HZ, "bandpass", fs=rate_hz, output="sos")
        self.sections = np.zeros((2, len(self.section), 2, channels))
        decay = np.exp(-1 / (FOLLOWING_S * rate_hz))
        self.smoothing = [1 - decay], [1.0, -decay]
        self.powers = np.zeros((2, 1, channels))

    def push(self, noisy: Array, enhanced: Array) -> Array:
        """noisy, enhanced [n, channels] → gain [n, channels], 0 … 1."""
        if not len(noisy):
            return noisy
        powers = []
        for side, samples in enumerate((noisy, enhanced)):
            band, self.sections[side] = sosfilt(self.section, samples, axis=0, zi=self.sections[side])
            power, self.powers[side] = lfilter(*self.smoothing, np.square(band), axis=0, zi=self.powers[side])
            powers.append(np.maximum(power, 0.0))
        return np.asarray(np.sqrt(np.clip((powers[1] + TINY) / (powers[0] + TINY), 0.0, 1.0)), np.float32)
