"""PESQ and STOI, from the packages pesq and pystoi."""

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segan_cli.measures.score import Score, Undefined

Array = NDArray[np.float32]

RATE_HZ = 16_000


def pesq_wb(clean: Array, degraded: Array) -> Score:
    """Wide-band PESQ at 16 kHz, 1.04 … 4.64, higher is better (ITU-T P.862.2, package pesq)."""
    return _pesq(clean, degraded, "wb")


def pesq_nb(clean: Array, degraded: Array) -> Score:
    """Narrow-band PESQ of 16 kHz signals, 1.02 … 4.55, higher is better (ITU-T P.862 and P.862.1, package pesq)."""
    return _pesq(clean, degraded, "nb")


def stoi(clean: Array, degraded: Array) -> Score:
    """Short-time objective intelligibility at 16 kHz, 0 … 1, higher is better (Taal et al. 2011, package pystoi)."""
    return _stoi(clean, degraded, extended=False)


def estoi(clean: Array, degraded: Array) -> Score:
    """Extended STOI at 16 kHz, 0 … 1, higher is better (Jensen and Taal 2016, package pystoi)."""
    return _stoi(clean, degraded, extended=True)


def _pesq(clean: Array, degraded: Array, band: Literal["wb", "nb"]) -> Score:
    from pesq import NoUtterancesError, PesqError, pesq

    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    try:
        return float(pesq(RATE_HZ, clean, degraded, band))
    except NoUtterancesError:
        return Undefined("no speech found")
    except (PesqError, ValueError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        return Undefined(reason.decode() if isinstance(reason, bytes) else str(reason))


def _stoi(clean: Array, degraded: Array, *, extended: bool) -> Score:
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
