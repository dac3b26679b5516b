"""All channels of a signal through the filter that their mid goes through."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FRAME, HOP = 1_024, 256  # samples of the frames in which channels follow their mid
WINDOW = np.sin(np.pi * np.arange(FRAME) / FRAME) ** 2
LARGEST_GAIN = 2.0  # gain with which a channel may follow it
CANCELLED = 0.05  # share of the channels' power below which their mid tells nothing of them


def downmix_mid(channels: Array) -> Array:
    """[N, C, T] → their mean [N, 1, T]; the first channel where they cancel each other out."""
    mid = channels.mean(1, keepdims=True)
    power = np.square(channels).mean((1, 2), keepdims=True)
    there = np.square(mid).mean(2, keepdims=True) >= CANCELLED * power
    return np.where(there, mid, channels[:, :1])


def apply_transfer_function(channels: Array, mid: Array, enhanced: Array) -> Array:
    """Channels [N, C, T] through the filter that makes mid [N, 1, T] enhanced [N, 1, T], frame by frame.

    As all of a window's channels pass the same filter, levels and delays between them stay.
    """
    before, after = spectra(mid), spectra(enhanced)
    gain = after * before.conj() / np.maximum(np.square(np.abs(before)), 1e-12)
    gain *= LARGEST_GAIN / np.maximum(np.abs(gain), LARGEST_GAIN)
    return resynthesis(spectra(channels) * gain, channels.shape[-1])


def spectra(signals: Array) -> NDArray[np.complex64]:
    """[N, C, T] → [N, C, frames, F] of tapered frames, three quarters overlapping, centred from the first sample on."""
    half = FRAME // 2
    padded = np.pad(signals, ((0, 0), (0, 0), (half, half + -signals.shape[-1] % HOP)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=-1)[:, :, ::HOP]
    return np.asarray(np.fft.rfft(frames * WINDOW), np.complex64)


def resynthesis(frames: NDArray[Any], n: int) -> Array:
    """What `spectra` gives back to signals [N, C, n]."""
    pieces = np.fft.irfft(frames) * WINDOW
    total = np.zeros((*pieces.shape[:2], (pieces.shape[2] - 1) * HOP + FRAME))
    weight = np.zeros(total.shape[-1])
    for i in range(pieces.shape[2]):
        place = slice(i * HOP, i * HOP + FRAME)
        total[:, :, place] += pieces[:, :, i]
        weight[place] += WINDOW**2
    half = FRAME // 2
    return np.asarray((total[..., half : half + n] / weight[half : half + n]), np.float32)
