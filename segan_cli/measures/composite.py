"""Segmental SNR and the composite measures CSIG, CBAK and COVL, after the published reference code.

Y. Hu and P. C. Loizou, "Evaluation of objective quality measures for speech enhancement", IEEE Transactions on Audio,
Speech, and Language Processing 16(1), 2008; code: P. C. Loizou, "Speech Enhancement: Theory and Practice".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_toeplitz

from segan_cli.arrays import Array
from segan_cli.measures.score import RATE_HZ, Double, Undefined

FRAME, HOP = 480, 120  # 30 ms, 75 % overlap
SSNR_DB = -10.0, 35.0  # range to which the SNR of each frame is clipped
BEST = 0.95  # fraction of frames, with the smallest distances, that LLR and WSS average
ORDER = 16  # of linear prediction
EPSILON = float(np.finfo(np.float64).eps)
CENTRES_HZ = (
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
BANDWIDTHS_HZ = (
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823,
    168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip
N_FFT = 1024
MIN_GAIN = float(np.exp(-30 / (2 * 2.303)))  # smaller gains of the band filters are set to zero
K_MAX, K_LOCAL = 20.0, 1.0  # weights of the spectral slopes (Klatt 1982)


def frames(signal: Double) -> Double:
    """Split a signal [n] into Hann-windowed frames [frames, FRAME], without the last full one, as in the reference."""
    n = max(0, (len(signal) - FRAME) // HOP)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, FRAME + 1) / (FRAME + 1)))
    unwindowed = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP][:n] if n else np.zeros((0, FRAME))
    return np.asarray(unwindowed * window)


def ssnr_frames_db(clean: Double, degraded: Double) -> Double:
    """SNR of each frame in dB, clipped."""
    signal = np.sum(frames(clean) ** 2, axis=1)
    noise = np.sum(frames(clean - degraded) ** 2, axis=1)
    return np.asarray(np.clip(10 * np.log10(signal / (noise + EPSILON) + EPSILON), *SSNR_DB))


def llr_frames(clean: Double, degraded: Double) -> Double:
    """Log-likelihood ratio of each frame: how much worse the degraded frame's LPC filter fits the clean frame.

    Infinite where it is not defined.
    """
    (clean_filters, correlation), (degraded_filters, _) = (lpc(frames(side + EPSILON)) for side in (clean, degraded))
    lags = np.abs(np.subtract.outer(np.arange(ORDER + 1), np.arange(ORDER + 1)))
    toeplitz = correlation[:, lags]
    errors = [np.einsum("ni,nij,nj->n", filters, toeplitz, filters) for filters in (degraded_filters, clean_filters)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(np.log(errors[0] / errors[1]), nan=np.inf, posinf=np.inf))


def lpc(framed: Double) -> tuple[Double, Double]:
    """Prediction error filters 1, -a1, -a2 … [frames, ORDER + 1] by the autocorrelation method, and autocorrelation."""
    n = framed.shape[1]
    correlation = np.stack([np.sum(framed[:, : n - k] * framed[:, k:], axis=1) for k in range(ORDER + 1)], axis=1)
    filters = [np.concatenate(([1.0], -solve_toeplitz(row[:-1], row[1:]))) for row in correlation]
    return np.array(filters).reshape(-1, ORDER + 1), correlation


def wss_frames(clean: Double, degraded: Double) -> Double:
    """Weighted spectral slope distance of each frame (Klatt 1982)."""
    (clean_slopes, clean_weights), (degraded_slopes, degraded_weights) = slopes(frames(clean)), slopes(frames(degraded))
    weights = (clean_weights + degraded_weights) / 2
    return np.asarray(np.sum(weights * (clean_slopes - degraded_slopes) ** 2, axis=1) / np.sum(weights, axis=1))


def slopes(framed: Double) -> tuple[Double, Double]:
    """Spectral slopes between neighbouring bands in dB, and their weights, [frames, 24] each."""
    power = np.abs(np.fft.rfft(framed, N_FFT)[:, :-1]) ** 2
    energy = 10 * np.log10(np.maximum(power @ critical_bands().T, 1e-10))
    slope = np.diff(energy)
    peaks = nearest_peaks(energy, slope)
    lower = energy[:, :-1]
    weights = K_MAX / (K_MAX + energy.max(axis=1, keepdims=True) - lower) * K_LOCAL / (K_LOCAL + peaks - lower)
    return slope, weights


def critical_bands() -> Double:
    """Critical-band filters [25, N_FFT / 2] for power spectra."""
    bins = N_FFT // 2
    centres, widths = (np.array(values) / (RATE_HZ / 2) * bins for values in (CENTRES_HZ, BANDWIDTHS_HZ))
    gains = np.log(BANDWIDTHS_HZ[0]) - np.log(BANDWIDTHS_HZ)
    filters = np.exp(-11 * ((np.arange(bins) - np.floor(centres)[:, None]) / widths[:, None]) ** 2 + gains[:, None])
    return np.asarray(filters * (filters > MIN_GAIN))


def nearest_peaks(energy: Double, slope: Double) -> Double:
    """Energy of the peak that each slope leads up to, [frames, 24].

    As in the reference code, a rising slope stops one band before the peak.
    """
    bands, rising = np.arange(slope.shape[1]), slope > 0
    next_falling = np.minimum.accumulate(np.where(rising, len(bands), bands)[:, ::-1], axis=1)[:, ::-1]
    last_rising = np.maximum.accumulate(np.where(rising, bands, -1), axis=1)
    return np.take_along_axis(energy, np.where(rising, next_falling - 1, last_rising + 1), axis=1)


def mean_of_best(distances: Double) -> float:
    """Mean over the BEST fraction of frames, those with the smallest distances."""
    return float(np.mean(np.sort(distances)[: round(BEST * len(distances))]))


@dataclass(frozen=True)
class Components:
    """Components of the composite measures besides PESQ."""

    ssnr_db: float
    llr: float
    wss: float


def components(clean: Array, degraded: Array) -> Components | Undefined:
    """Segmental SNR, LLR and WSS of signals [n] at 16 kHz with full scale 1."""
    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    if len(clean) < FRAME + 2 * HOP:
        return Undefined("shorter than 45 ms")
    reference, estimate = clean.astype(np.float64), degraded.astype(np.float64)
    llr, wss = mean_of_best(llr_frames(reference, estimate)), mean_of_best(wss_frames(reference, estimate))
    if not (np.isfinite(llr) and np.isfinite(wss)):
        return Undefined("too tonal for linear prediction")
    return Components(float(np.mean(ssnr_frames_db(reference, estimate))), llr, wss)


COMPOSITES: dict[str, Callable[[Components, float], float]] = {  # ratings of 1 … 5, not clipped, with wide-band PESQ
    "csig": lambda parts, pesq: 3.093 - 1.029 * parts.llr + 0.603 * pesq - 0.009 * parts.wss,  # signal distortion
    "cbak": lambda parts, pesq: 1.634 + 0.478 * pesq - 0.007 * parts.wss + 0.063 * parts.ssnr_db,  # background
    "covl": lambda parts, pesq: 1.594 + 0.805 * pesq - 0.512 * parts.llr - 0.007 * parts.wss,  # overall quality
}
