"""Measures of two signals at 16 kHz: PESQ, STOI, SI-SDR and LSD."""

import warnings
from functools import partial
from typing import Literal

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from segan_cli.arrays import Array
from segan_cli.measures.score import RATE_HZ, Double, Score, Undefined

FRAME, HOP = 512, 128  # 32 ms, 75 % overlap
RANGE_DB = 80.0  # floor of the log spectra, below the loudest bin of the clean signal
MIN_PESQ_S = 0.25  # below which the library refuses a signal


def si_sdr_db(clean: Array, degraded: Array) -> Score:
    """Scale-invariant signal-to-distortion ratio in dB after removing the means (Le Roux et al. 2019)."""
    reference = clean.astype(np.float64) - np.mean(clean, dtype=np.float64)
    estimate = degraded.astype(np.float64) - np.mean(degraded, dtype=np.float64)
    if not reference.any() or not estimate.any():
        return Undefined("silent signal")
    target = (estimate @ reference) / (reference @ reference) * reference
    distortion = float(np.sum((estimate - target) ** 2))
    if distortion == 0.0:
        return Undefined("no distortion")
    least = 1e-30 * float(estimate @ estimate)  # of two signals that have nothing in common
    return float(10 * np.log10(max(float(target @ target), least) / distortion))


def lsd_db(clean: Array, degraded: Array) -> Score:
    """Log-spectral distance in dB, lower is better (Gray and Markel 1976).

    RMS over frequency of the difference between log power spectra, averaged over frames of 32 ms. Both spectra are
    floored at 80 dB below the loudest bin of the clean signal.
    """
    if not clean.any():
        return Undefined("silent signal")
    if len(clean) < FRAME:
        return Undefined("shorter than 32 ms")
    transform = ShortTimeFFT(hann(FRAME, sym=False), HOP, RATE_HZ)
    reference, estimate = (np.abs(transform.stft(side.astype(np.float64))) ** 2 for side in (clean, degraded))
    floor = reference.max() * 10 ** (-RANGE_DB / 10)
    return float(np.mean(log_distances_db(reference, estimate, floor)))


def log_distances_db(reference: Double, estimate: Double, floor: float) -> Double:
    """RMS over frequency of the difference between log power spectra [bins, frames], of each frame."""
    difference = 10 * np.log10(np.maximum(reference, floor) / np.maximum(estimate, floor))
    return np.asarray(np.sqrt(np.mean(difference**2, axis=0)))


def pesq(clean: Array, degraded: Array, band: Literal["wb", "nb"]) -> Score:
    """Wide-band PESQ, 1.00 … 4.64 (ITU-T P.862.2), or narrow-band, 1.00 … 4.55 (ITU-T P.862 and P.862.1)."""
    from pesq import NoUtterancesError, PesqError
    from pesq import pesq as measure

    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    if len(clean) < MIN_PESQ_S * RATE_HZ:
        return Undefined(f"shorter than {MIN_PESQ_S:g} s")
    try:
        return float(measure(RATE_HZ, clean, degraded, band))
    except NoUtterancesError:
        return Undefined("no speech found")
    except (PesqError, ValueError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        return Undefined(reason.decode() if isinstance(reason, bytes) else str(reason))


def stoi(clean: Array, degraded: Array, extended: bool = False) -> Score:
    """Short-time objective intelligibility at 16 kHz, or its extended form, 0 … 1, higher is better."""
    from pystoi import stoi as measure

    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns 1e-5 if there are too few frames
        state = np.random.get_state()  # extended STOI draws from the global generator
        np.random.seed(0)
        try:
            return float(measure(clean, degraded, RATE_HZ, extended=extended))
        except (RuntimeWarning, ValueError):
            return Undefined("less than 0.4 s of speech")
        finally:
            np.random.set_state(state)


pesq_wb, pesq_nb = partial(pesq, band="wb"), partial(pesq, band="nb")
estoi = partial(stoi, extended=True)
