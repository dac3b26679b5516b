"""Linked channels: the mean of the aligned channels is enhanced, and its transfer function applied to all channels.

Channels with different sources, such as a microphone for each speaker, have no common sound and are not linked.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array

FRAME, HOP = 1_024, 256  # samples; 64 and 16 ms at 16 kHz
WINDOW = np.sin(np.pi * np.arange(FRAME) / FRAME) ** 2
MAX_GAIN = 2.0  # of a bin, as it is unreliable where the mean has little power
MAX_CORRELATION = 0.2  # of channels with different sources; that of two microphones is higher at an SNR above -6 dB
HYSTERESIS = 0.1  # they are linked again above MAX_CORRELATION and this
TINY = 1e-30
MAX_LAG_S = 0.003  # between them; 1 m
CORRELATION_DECAY = 0.8  # per segment, of the sound in the mean


class Comparison(NamedTuple):
    """How the channels of segments relate."""

    separate: NDArray[np.bool_]  # [N], whether sound on several channels is hardly correlated
    lags: NDArray[np.int64]  # [N, C], of each channel behind the loudest one, in samples
    signs: Array  # [N, C], -1 for opposite polarity


class SourceComparison:
    """Decides for each segment whether its channels have different sources, by those before it too."""

    def __init__(self, rate_hz: int, pre_emphasis: float = 0.0) -> None:
        self.max_lag, self.pre_emphasis = round(MAX_LAG_S * rate_hz), pre_emphasis
        self.energy = self.correlated = 0.0  # decaying sums
        self.separate = False

    def push(self, channels: Array) -> Comparison:
        """Compare the channels of the next segments [N, C, T].

        The correlation is the highest of any channel with the loudest one, at any lag up to MAX_LAG_S, without
        pre-emphasis and DC. Those of the segments so far decide whether channels are separate, in their mean weighted
        by energy. Channels that are hardly correlated in a segment have a lag of 0 in it.
        """
        length = channels.shape[2]
        angle = 2 * np.pi * np.arange(length // 2 + 1) / length
        spectra = np.fft.rfft(channels) / (1 - self.pre_emphasis * np.exp(-1j * angle)).astype(np.complex64)
        spectra[..., 0] = 0
        energy = np.square(np.abs(spectra)).sum(2) * 2 / length
        loudest = energy.argmax(1)[:, None]
        products = np.fft.irfft(spectra * np.take_along_axis(spectra, loudest[..., None], 1).conj(), length)
        lags = np.concatenate((np.arange(self.max_lag + 1), np.arange(-self.max_lag, 0)))
        best = np.abs(products[..., lags]).argmax(2)[..., None]
        highest = np.take_along_axis(products[..., lags], best, 2)[..., 0]
        largest = energy.max(1, keepdims=True)
        correlation = np.abs(highest) / np.sqrt(np.maximum(energy * largest, TINY))
        aligned = correlation > MAX_CORRELATION
        np.put_along_axis(correlation, loudest, 0.0, 1)  # with itself
        several = (energy > 0).sum(1) > 1
        pairs = zip(correlation.max(1).tolist(), largest[:, 0].tolist(), strict=True)
        separate = several & np.array([self._decide(*pair) for pair in pairs], bool)
        signs = np.where(aligned & (highest < 0), np.float32(-1), np.float32(1))
        return Comparison(separate, np.where(aligned, lags[best[..., 0]], 0), signs)

    def _decide(self, correlation: float, energy: float) -> bool:
        self.energy = CORRELATION_DECAY * self.energy + energy
        self.correlated = CORRELATION_DECAY * self.correlated + correlation * energy
        highest = MAX_CORRELATION + HYSTERESIS if self.separate else MAX_CORRELATION
        self.separate = self.correlated <= highest * self.energy
        return self.separate


def mix_aligned(channels: Array, comparison: Comparison) -> Array:
    """Return the mean [N, 1, T] of channels [N, C, T] after their common sound is aligned."""
    length = channels.shape[2]
    shifted = (np.arange(length) + comparison.lags[..., None]) % length
    aligned = np.take_along_axis(channels, shifted, 2) * comparison.signs[..., None]
    return np.asarray(aligned.mean(1, keepdims=True), np.float32)


def refine_lags(channels: Array, lags: NDArray[np.int64], signs: Array, near: range) -> NDArray[np.int64]:
    """Return the lags [C] of channels [C, T] that are `near` others and have the highest correlation of a sign."""
    first = int(np.square(channels).sum(1).argmax())
    refined = lags.copy()
    for c in set(range(len(channels))) - {first}:
        shifts = [int(lags[c]) + shift for shift in near]
        refined[c] = shifts[int(np.argmax([signs[c] * (np.roll(channels[c], -s) @ channels[first]) for s in shifts]))]
    return refined


def apply_transfer_function(channels: Array, mid: Array, enhanced: Array) -> Array:
    """Filter channels [N, C, T], all alike, by the transfer function from mid to enhanced, both [N, 1, T]."""
    before, after = stft(mid), stft(enhanced)
    gain = after * before.conj() / np.maximum(np.square(np.abs(before)), 1e-12)
    gain *= MAX_GAIN / np.maximum(np.abs(gain), MAX_GAIN)
    return istft(stft(channels) * gain, channels.shape[-1])


def stft(signals: Array) -> NDArray[np.complex64]:
    """Return the spectra [N, C, frames, F] of signals [N, C, T]; frames are centred on multiples of the hop."""
    half = FRAME // 2
    padded = np.pad(signals, ((0, 0), (0, 0), (half, half + -signals.shape[-1] % HOP)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=-1)[:, :, ::HOP]
    return np.asarray(np.fft.rfft(frames * WINDOW), np.complex64)


def istft(frames: NDArray[Any], n: int) -> Array:
    """Invert `stft` to signals [N, C, n]."""
    pieces = np.fft.irfft(frames) * WINDOW
    total = np.zeros((*pieces.shape[:2], (pieces.shape[2] - 1) * HOP + FRAME))
    weight = np.zeros(total.shape[-1])
    for i in range(pieces.shape[2]):
        place = slice(i * HOP, i * HOP + FRAME)
        total[:, :, place] += pieces[:, :, i]
        weight[place] += WINDOW**2
    half = FRAME // 2
    return np.asarray((total[..., half : half + n] / weight[half : half + n]), np.float32)
