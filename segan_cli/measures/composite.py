"""Segmental SNR and the composite measures CSIG, CBAK and COVL, as in the code published with them.

Y. Hu and P. C. Loizou, "Evaluation of objective quality measures for speech enhancement", IEEE Transactions on Audio,
Speech, and Language Processing 16(1), 2008; code: P. C. Loizou, "Speech Enhancement: Theory and Practice".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz

from segan_cli.measures.score import Undefined

Array = NDArray[np.float32]
Double = NDArray[np.float64]

RATE_HZ = 16_000
FRAME, HOP = 480, 120  # 30 ms, three quarters overlapping
SSNR_DB = -10.0, 35.0  # to which the ratio of a frame is bound
BEST = 0.95  # share of the frames, those with the least distance, that count in LLR and WSS
ORDER = 16  # of the linear prediction
EPSILON = float(np.finfo(np.float64).eps)
CENTRES_HZ = (
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
BANDS_HZ = (
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823,
    168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip
SPECTRUM = 1024  # points of a frame's spectrum
LOWEST_FILTER = float(np.exp(-30 / (2 * 2.303)))  # values of a band's filter below this are zero
K_MAX, K_LOCAL = 20.0, 1.0  # of the slopes' weights


def frames(signal: Double) -> Double:
    """[n] → [frames, FRAME], Hann-tapered; the last that would fit whole is left out, as in the published code."""
    n = max(0, (len(signal) - FRAME) // HOP)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, FRAME + 1) / (FRAME + 1)))
    every = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP][:n] if n else np.zeros((0, FRAME))
    return np.asarray(every * window)


def ssnr_frames_db(clean: Double, degraded: Double) -> Double:
    """Signal-to-noise ratio of every frame, bound."""
    signal = np.sum(frames(clean) ** 2, axis=1)
    noise = np.sum(frames(clean - degraded) ** 2, axis=1)
    return np.asarray(np.clip(10 * np.log10(signal / (noise + EPSILON) + EPSILON), *SSNR_DB))


def llr_frames(clean: Double, degraded: Double) -> Double:
    """Log-likelihood ratio of every frame: how much worse the degraded frame's linear prediction fits the clean frame.

    Infinite where arithmetic gives none.
    """
    (first, correlation), (second, _) = prediction(frames(clean + EPSILON)), prediction(frames(degraded + EPSILON))
    lags = np.abs(np.subtract.outer(np.arange(ORDER + 1), np.arange(ORDER + 1)))
    toeplitz = correlation[:, lags]
    errors = [np.einsum("ni,nij,nj->n", filters, toeplitz, filters) for filters in (second, first)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(np.log(errors[0] / errors[1]), nan=np.inf, posinf=np.inf))


def prediction(windows: Double) -> tuple[Double, Double]:
    """Error filters 1, -a1, -a2 … [frames, ORDER + 1] of the autocorrelation method, and the autocorrelation."""
    n = windows.shape[1]
    correlation = np.stack([np.sum(windows[:, : n - k] * windows[:, k:], axis=1) for k in range(ORDER + 1)], axis=1)
    filters = [np.concatenate(([1.0], -solve_toeplitz(row[:-1], row[1:]))) for row in correlation]
    return np.array(filters).reshape(-1, ORDER + 1), correlation


def wss_frames(clean: Double, degraded: Double) -> Double:
    """Weighted spectral slope distance of every frame (Klatt 1982)."""
    (ours, weights), (theirs, other_weights) = slopes(frames(clean)), slopes(frames(degraded))
    weights = (weights + other_weights) / 2
    return np.asarray(np.sum(weights * (ours - theirs) ** 2, axis=1) / np.sum(weights, axis=1))


def slopes(windows: Double) -> tuple[Double, Double]:
    """Slopes of the spectrum from band to band in dB, and their weights, [frames, 24] each."""
    power = np.abs(np.fft.rfft(windows, SPECTRUM)[:, :-1]) ** 2
    energy = 10 * np.log10(np.maximum(power @ critical_bands().T, 1e-10))
    slope = np.diff(energy)
    peaks = nearest_peaks(energy, slope)
    here = energy[:, :-1]
    weights = K_MAX / (K_MAX + energy.max(axis=1, keepdims=True) - here) * K_LOCAL / (K_LOCAL + peaks - here)
    return slope, weights


def critical_bands() -> Double:
    """Filters [25, SPECTRUM / 2] on a power spectrum."""
    bins = SPECTRUM // 2
    centres, widths = (np.array(values) / (RATE_HZ / 2) * bins for values in (CENTRES_HZ, BANDS_HZ))
    gains = np.log(BANDS_HZ[0]) - np.log(BANDS_HZ)
    filters = np.exp(-11 * ((np.arange(bins) - np.floor(centres)[:, None]) / widths[:, None]) ** 2 + gains[:, None])
    return np.asarray(filters * (filters > LOWEST_FILTER))


def nearest_peaks(energy: Double, slope: Double) -> Double:
    """For every slope the energy of the peak that it leads to, [frames, 24].

    As in the published code, a rise ends one band before its peak.
    """
    peaks = np.empty_like(slope)
    for frame in range(len(slope)):
        for band in range(slope.shape[1]):
            n = band
            if slope[frame, band] > 0:
                while n < slope.shape[1] and slope[frame, n] > 0:
                    n += 1
                peaks[frame, band] = energy[frame, n - 1]
            else:
                while n >= 0 and slope[frame, n] <= 0:
                    n -= 1
                peaks[frame, band] = energy[frame, n + 1]
    return peaks


def mean_of_best(distances: Double) -> float:
    """Mean over the BEST share of frames."""
    return float(np.mean(np.sort(distances)[: round(BEST * len(distances))]))


@dataclass(frozen=True)
class Parts:
    """What the composites are made of, beside PESQ."""

    ssnr_db: float
    llr: float
    wss: float


def parts(clean: Array, degraded: Array) -> Parts | Undefined:
    """Segmental SNR and the two distances of a pair [n] at 16 kHz, full scale 1."""
    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    if len(clean) < FRAME + 2 * HOP:
        return Undefined("shorter than 45 ms")
    reference, other = clean.astype(np.float64), degraded.astype(np.float64)
    llr, wss = mean_of_best(llr_frames(reference, other)), mean_of_best(wss_frames(reference, other))
    if not (np.isfinite(llr) and np.isfinite(wss)):
        return Undefined("too tonal for linear prediction")
    return Parts(float(np.mean(ssnr_frames_db(reference, other))), llr, wss)


def csig(parts: Parts, pesq: float) -> float:
    """Signal distortion as listeners rate it, 1 … 5; `pesq` is wide-band PESQ (Hu and Loizou 2008)."""
    return bound(3.093 - 1.029 * parts.llr + 0.603 * pesq - 0.009 * parts.wss)


def cbak(parts: Parts, pesq: float) -> float:
    """Intrusiveness of the background, 1 … 5."""
    return bound(1.634 + 0.478 * pesq - 0.007 * parts.wss + 0.063 * parts.ssnr_db)


def covl(parts: Parts, pesq: float) -> float:
    """Overall quality, 1 … 5."""
    return bound(1.594 + 0.805 * pesq - 0.512 * parts.llr - 0.007 * parts.wss)


def bound(score: float) -> float:
    """Within the scale of opinion scores."""
    return float(np.clip(score, 1.0, 5.0))
