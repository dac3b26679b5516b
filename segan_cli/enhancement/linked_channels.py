"""Linked channels: the mid channel is enhanced, and its transfer function applied to all channels.

Channels with different sources, such as a microphone for each speaker, have no common mid and are not linked.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array

FRAME, HOP = 1_024, 256  # samples; 64 and 16 ms at 16 kHz
WINDOW = np.sin(np.pi * np.arange(FRAME) / FRAME) ** 2
MAX_GAIN = 2.0  # of a bin, as it is unreliable where the mean has little power
SHORT = 512  # samples over which powers are compared, so that speech counts more than the noise in its pauses
MIN_MID_POWER = 0.5  # power of the mean over that for uncorrelated channels; below, speech may cancel …
MIN_FRAME_POWER = 0.1  # … in a single frame, in which the noise of uncorrelated channels may cancel by chance

MAX_CORRELATION = 0.3  # of channels with different sources; that of two microphones is higher at an SNR above -4 dB
MAX_LAG = 48  # samples between them; 1 m at 16 kHz


def have_different_sources(channels: Array) -> NDArray[np.bool_]:
    """Return which segments [N, C, T] have sound on several channels, none correlated with the loudest one, [N]."""
    power = np.square(channels).sum(2)
    loudest = power.argmax(1)[:, None]
    spectra = np.fft.rfft(channels)
    products = np.fft.irfft(spectra * np.take_along_axis(spectra, loudest[:, :, None], 1).conj(), channels.shape[2])
    lagged = np.abs(np.concatenate((products[:, :, : MAX_LAG + 1], products[:, :, -MAX_LAG:]), axis=2)).max(2)
    related = lagged > MAX_CORRELATION * np.sqrt(power * np.take_along_axis(power, loudest, 1))
    return np.asarray((related.sum(1) <= 1) & ((power > 0).sum(1) > 1))


def downmix_mid(channels: Array, min_power: float = MIN_MID_POWER) -> Array:
    """Return the mean [N, 1, T] of channels [N, C, T]; the loudest channel where they cancel."""
    mid = channels.mean(1, keepdims=True)
    loudest = np.take_along_axis(channels, np.square(channels).sum(2, keepdims=True).argmax(1, keepdims=True), 1)
    uncorrelated = powers(channels).mean(1) / channels.shape[1]  # powers of the mean of uncorrelated channels
    valid = (powers(mid)[:, 0] * uncorrelated).sum(1) >= min_power * np.square(uncorrelated).sum(1)
    return np.where(valid[:, None, None], mid, loudest)


def powers(signals: Array) -> Array:
    """Return the powers [N, C, n] of short parts of signals [N, C, T]."""
    length = min(SHORT, signals.shape[2])
    n = signals.shape[2] // length
    parts = signals[:, :, : n * length].reshape(*signals.shape[:2], n, length)
    return np.asarray(np.square(parts).mean(3))


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
