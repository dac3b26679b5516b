"""One pair of signals to its scores, as a worker process does it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, correlation_lags

from segan_cli.audio.sources import read_mono
from segan_cli.data.cache import active_level
from segan_cli.errors import AudioError, SeganError
from segan_cli.evaluation.cases import Mix
from segan_cli.evaluation.store import Store
from segan_cli.measures.catalog import RATE_HZ, measure_all
from segan_cli.measures.score import Score
from segan_cli.tracebacks import in_words

Array = NDArray[np.float32]

CUT_S = 0.05  # difference of a pair's lengths up to which the longer is cut at its end
LAG_S = 1.0  # of the longest delay that is looked for
SURE = 0.3  # correlation from which a delay counts as found


@dataclass(frozen=True)
class Signal:
    """Mono samples [n] at 16 kHz, and the file's own rate and channels; none for what no file holds."""

    samples: Array
    rate_hz: int = RATE_HZ
    channels: int = 1


@dataclass(frozen=True)
class Job:
    """A pair to score."""

    clean: Path | None
    degraded: Path | Mix | Array
    measures: tuple[str, ...]
    shift: int = 0  # samples at 16 kHz by which the degraded signal comes late, taken away first
    store: Store | None = None


@dataclass(frozen=True)
class Result:
    """Scores of a pair, and what was noticed."""

    scores: dict[str, Score]
    rates_hz: tuple[int, ...]
    channels: tuple[int, ...]
    cut: int  # samples at 16 kHz by which one was longer
    lag: int | None  # samples at 16 kHz by which the degraded signal comes late; none: not to be told


def read(path: Path) -> Signal:
    """The mean of a file's channels at 16 kHz; raises AudioError when it cannot be read."""
    samples, info = read_mono(path, RATE_HZ)
    return Signal(samples, info.rate_hz, info.channels)


def mixed(clean: Array, mix: Mix) -> Array:
    """clean [n] and a noise from a drawn place on, round to its start at its end.

    The SNR is the active level of the speech over the RMS of the noise's part.
    """
    noise = read(mix.noise).samples
    if not noise.any():
        raise AudioError(f"{mix.noise}: silent; a noise has to be heard")
    start = int(np.random.default_rng(mix.seed).integers(len(noise)))
    part = np.resize(np.roll(noise, -start), len(clean))
    rms = max(float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))), 0.1 * active_level(noise))
    return np.asarray(clean + part * np.float32(active_level(clean) * 10 ** (-mix.snr_db / 20) / rms), np.float32)


def signals(clean: Path | None, degraded: Path | Mix | Array) -> tuple[Signal, Signal]:
    """Both signals of a pair; without a clean one, the degraded twice."""
    reference = read(clean) if clean is not None else None
    if isinstance(degraded, Path):
        signal = read(degraded)
    elif isinstance(degraded, Mix):
        assert reference is not None, "a mix has a clean side"
        signal = Signal(mixed(reference.samples, degraded))
    else:
        signal = Signal(degraded)
    return reference or signal, signal


def lag_of(clean: Array, degraded: Array) -> int | None:
    """Samples by which the degraded signal comes late, by the peak of their correlation; None where there is none."""
    power = float(np.sqrt(np.sum(clean**2, dtype=np.float64) * np.sum(degraded**2, dtype=np.float64)))
    if power == 0.0:
        return None
    correlation = correlate(degraded, clean, method="fft")
    lags = correlation_lags(len(degraded), len(clean))
    near = np.abs(lags) <= LAG_S * RATE_HZ
    best = int(np.argmax(np.abs(correlation[near])))
    return int(lags[near][best]) if abs(correlation[near][best]) > SURE * power else None


def lag(job: Job) -> int | None:
    """The same for the files of a job; None where they cannot be read."""
    try:
        clean, degraded = signals(job.clean, job.degraded)
        return lag_of(clean.samples, degraded.samples)
    except Exception:  # scoring the pair says why
        return None


def score(job: Job) -> Result | str:
    """Measure a pair, or say why it cannot be, whatever the reason."""
    try:
        return _score(job)
    except SeganError as error:
        return str(error)
    except Exception as error:
        place = job.clean if isinstance(job.degraded, np.ndarray) else job.degraded
        return in_words(error, str(place.noise if isinstance(place, Mix) else place))


def _score(job: Job) -> Result | str:
    clean, degraded = signals(job.clean, job.degraded)
    reference, signal = clean.samples, degraded.samples
    late = lag_of(reference, signal) if job.clean is not None else None
    signal, reference = signal[max(0, job.shift) :], reference[max(0, -job.shift) :]
    difference = abs(len(signal) - len(reference))
    if difference > CUT_S * RATE_HZ + abs(job.shift):
        names = f"{job.degraded}: {len(signal) / RATE_HZ:.3f} s but {len(reference) / RATE_HZ:.3f} s in {job.clean}"
        return f"{names}; up to {CUT_S:g} s are cut"
    n = min(len(signal), len(reference))
    scores = remembered(reference[:n], signal[:n], job)
    sides = (degraded,) if job.clean is None else (clean, degraded)
    rates, channels = tuple(side.rate_hz for side in sides), tuple(side.channels for side in sides)
    return Result(scores, rates, channels, difference if job.shift == 0 else 0, late)


def remembered(clean: Array, degraded: Array, job: Job) -> dict[str, Score]:
    """Scores from the store, and measured ones into it."""
    if job.store is None:
        return measure_all(clean, degraded, job.measures)
    keys = job.store.keys(clean, degraded, job.measures)
    known = job.store.get(keys)
    if missing := tuple(name for name in job.measures if name not in known):
        fresh = measure_all(clean, degraded, missing)
        job.store.put(keys, fresh)
        known |= fresh
    return {name: known[name] for name in job.measures}
