"""How close an enhanced signal is to the clean one: a number, or Undefined with the reason."""

import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from segan_cli.errors import SeganError
from segan_cli.workers import belong

Array = NDArray[np.float32]

RATE_HZ = 16_000


@dataclass(frozen=True)
class Undefined:
    """A measure that has no value for a pair."""

    reason: str


Score = float | Undefined


def pesq_wb(clean: Array, degraded: Array) -> Score:
    """Wide-band PESQ at 16 kHz, -0.5 … 4.64, higher is better (ITU-T P.862.2, by the package pesq)."""
    from pesq import NoUtterancesError, PesqError, pesq

    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    try:
        return float(pesq(RATE_HZ, clean, degraded, "wb"))
    except NoUtterancesError:
        return Undefined("no speech found")
    except (PesqError, ValueError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        return Undefined(reason.decode() if isinstance(reason, bytes) else str(reason))


def stoi(clean: Array, degraded: Array) -> Score:
    """Short-time objective intelligibility at 16 kHz, 0 … 1, higher is better (Taal et al. 2011, by pystoi)."""
    from pystoi import stoi as measure

    if not clean.any() or not degraded.any():
        return Undefined("silent signal")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns 1e-5 when it has too few frames
        try:
            return float(measure(clean, degraded, RATE_HZ))
        except (RuntimeWarning, ValueError):
            return Undefined("less than 0.4 s of speech")


def si_sdr_db(clean: Array, degraded: Array) -> Score:
    """Scale-invariant signal-to-distortion ratio in dB, means removed (Le Roux et al. 2019, arXiv 1811.02508)."""
    reference = clean.astype(np.float64) - np.mean(clean, dtype=np.float64)
    estimate = degraded.astype(np.float64) - np.mean(degraded, dtype=np.float64)
    if not reference.any() or not estimate.any():
        return Undefined("silent signal")
    target = (estimate @ reference) / (reference @ reference) * reference
    distortion = float(np.sum((estimate - target) ** 2))
    if distortion == 0.0:
        return Undefined("no distortion at all")
    return float(10 * np.log10(max(float(target @ target), 1e-30) / distortion))


MEASURES = {"pesq_wb": pesq_wb, "stoi": stoi, "si_sdr_db": si_sdr_db}


def measure_all(clean: Array, degraded: Array) -> dict[str, Score]:
    """Every measure of one pair of equal length, [n] at 16 kHz."""
    if not (np.isfinite(clean).all() and np.isfinite(degraded).all()):
        return dict.fromkeys(MEASURES, Undefined("samples that are not finite"))
    return {name: measure(clean, degraded) for name, measure in MEASURES.items()}


@contextmanager
def worker_pool() -> Iterator[Executor]:
    """Processes for scoring, one a core; on an error what waits is dropped.

    Raises SeganError when a worker dies.
    """
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=belong)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise SeganError("a worker process that scored files died; is there enough memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def mean(scores: list[Score]) -> float | None:
    """Mean of the defined scores, None when there is none."""
    defined = [score for score in scores if not isinstance(score, Undefined)]
    return float(np.mean(defined)) if defined else None
