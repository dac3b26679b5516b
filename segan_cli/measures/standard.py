"""PESQ and STOI, from the packages pesq and pystoi."""

import warnings
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segan_cli.measures.score import RATE_HZ, Score, Undefined

Array = NDArray[np.float32]


def pesq(clean: Array, degraded: Array, band: Literal["wb", "nb"]) -> Score:
    """PESQ of 16 kHz signals, higher is better.

    Wide-band, 1.04 … 4.64 (ITU-T P.862.2), or narrow-band, 1.02 … 4.55 (ITU-T P.862 and P.862.1).
    """
    from pesq import NoUtterancesError, PesqError
    from pesq import pesq as measure

    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
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
