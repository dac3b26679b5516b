"""Score one signal against its clean reference; runs in worker processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, correlation_lags

from segan_cli.data.recordings import MAX_LENGTH_DIFFERENCE_S
from segan_cli.data.spans import Part
from segan_cli.errors import SeganError
from segan_cli.evaluation.signals import Recorded, Signal, load
from segan_cli.evaluation.store import ScoreStore
from segan_cli.measures.catalog import SignalPair, measure_pair, rate_for, resample
from segan_cli.measures.score import RATE_HZ, Score
from segan_cli.tracebacks import in_words

Array = NDArray[np.float32]

MAX_DELAY_S = 1.0  # search range of the delay estimate
MIN_CORRELATION = 0.3  # normalised correlation that a delay must reach to count


@dataclass(frozen=True)
class ScoringTask:
    """A pair to score; without measures, only its delay is measured."""

    clean: Path | Part | None
    degraded: Recorded | Signal
    measures: tuple[str, ...]
    shift: int = 0  # delay of the degraded signal to compensate first, in samples at 16 kHz
    store: ScoreStore | None = None


@dataclass(frozen=True)
class ScoringResult:
    """Scores of a pair, and properties of its signals."""

    scores: dict[str, Score]
    delay: int | None  # of the degraded signal, in samples at 16 kHz; None: no clear correlation peak
    formats: tuple[tuple[int, int] | None, ...] = ()  # sample rate and channels of the clean and the degraded file
    truncated: bool = False  # whether the longer signal was cut
    is_copy: bool = False  # whether the degraded signal is the clean one


def estimate_delay(clean: Array, degraded: Array) -> int | None:
    """Delay of the degraded signal in samples, from the cross-correlation peak; None if there is no clear peak."""
    clean, degraded = clean.astype(np.float64), degraded.astype(np.float64)
    power = float(np.sqrt((clean @ clean) * (degraded @ degraded)))
    if not 0.0 < power < np.inf:
        return None
    correlation = correlate(degraded, clean, method="fft")
    lags = correlation_lags(len(degraded), len(clean))
    in_range = np.abs(lags) <= MAX_DELAY_S * RATE_HZ
    best = int(np.argmax(np.abs(correlation[in_range])))
    return int(lags[in_range][best]) if abs(correlation[in_range][best]) > MIN_CORRELATION * power else None


def score(task: ScoringTask) -> ScoringResult | str:
    """Score a pair, or return the reason why it cannot be scored; raises nothing."""
    try:
        return _score(task)
    except SeganError as error:
        return str(error)
    except Exception as error:
        return in_words(error, task.degraded.name if isinstance(task.degraded, Signal) else str(task.degraded))


def _score(task: ScoringTask) -> ScoringResult | str:
    rate_hz = rate_for(task.measures)
    degraded = task.degraded if isinstance(task.degraded, Signal) else load(task.degraded, rate_hz)
    clean = load(task.clean, rate_hz) if task.clean is not None else None
    delay = None
    if clean is not None:
        delay = estimate_delay(resample(clean.samples, rate_hz), resample(degraded.samples, rate_hz))
    if not task.measures:
        return ScoringResult({}, delay)
    shift, original = task.shift * rate_hz // RATE_HZ, clean or degraded
    signal, reference = degraded.samples[max(0, shift) :], original.samples[max(0, -shift) :]
    difference = abs(len(signal) - len(reference))
    if difference > MAX_LENGTH_DIFFERENCE_S * rate_hz + abs(shift):
        lengths = f"{len(signal) / rate_hz:.3f} s but {len(reference) / rate_hz:.3f} s in {task.clean}"
        return f"{degraded.name}: {lengths}; lengths may differ by {MAX_LENGTH_DIFFERENCE_S:g} s at most"
    n = min(len(signal), len(reference))
    signal, reference = signal[:n], reference[:n]
    pair = SignalPair(reference, signal, rate_hz, (original.recorded_hz, degraded.recorded_hz))
    return ScoringResult(
        task.store.measure(pair, task.measures) if task.store else measure_pair(pair, task.measures),
        delay,
        (clean.format if clean is not None else None, degraded.format),
        truncated=difference > 0 and shift == 0,
        is_copy=clean is not None and np.array_equal(reference, signal),
    )
