"""Score one pair of signals; runs in worker processes."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, correlation_lags

from segan_cli.audio.sources import read_mono
from segan_cli.data.cache import active_level
from segan_cli.data.recordings import MAX_LENGTH_DIFFERENCE_S
from segan_cli.data.spans import Part
from segan_cli.errors import AudioError, SeganError
from segan_cli.evaluation.cases import NoiseMix
from segan_cli.evaluation.store import ScoreStore
from segan_cli.measures.catalog import RATE_HZ, measure_all
from segan_cli.measures.score import Score
from segan_cli.tracebacks import in_words

Array = NDArray[np.float32]

MAX_DELAY_S = 1.0  # search range of the delay estimate
MIN_CORRELATION = 0.3  # normalised correlation that a delay must reach to count


@dataclass(frozen=True)
class MonoSignal:
    """Samples [n] at 16 kHz, with the sample rate and channel count of the file they were read from."""

    samples: Array
    rate_hz: int = RATE_HZ
    channels: int = 1


@dataclass(frozen=True)
class ScoringTask:
    """A pair to score."""

    clean: Path | Part | None
    degraded: Path | Part | NoiseMix | Array
    measures: tuple[str, ...]
    shift: int = 0  # delay of the degraded signal to compensate first, in samples at 16 kHz
    store: ScoreStore | None = None


@dataclass(frozen=True)
class ScoringResult:
    """Scores of a pair, and properties of its inputs."""

    scores: dict[str, Score]
    rates_hz: tuple[int, ...]
    channels: tuple[int, ...]
    truncated: int  # samples at 16 kHz cut off the longer signal
    delay: int | None  # of the degraded signal, in samples at 16 kHz; None: no clear correlation peak
    is_copy: bool = False  # whether the degraded signal is the clean one


def load_mono(path: Path) -> MonoSignal:
    """Read a file at 16 kHz, averaging its channels; raises AudioError if it cannot be read."""
    samples, info = read_mono(path, RATE_HZ)
    return MonoSignal(samples, info.rate_hz, info.channels)


load_once = lru_cache(2)(load_mono)  # the clean and the noisy file that the parts of consecutive rows are from


def load(source: Path | Part) -> MonoSignal:
    """Read a file, or a part of one, like `load_mono`; raises CorpusError if the part goes beyond the end."""
    if not isinstance(source, Part):
        return load_mono(source)
    whole = load_once(source.path)
    return replace(whole, samples=whole.samples[source.span.samples(len(whole.samples), RATE_HZ)])


def mix_noise(clean: Array, mix: NoiseMix) -> Array:
    """Add noise to clean [n], starting at a random position of the noise and looping it if it is shorter.

    The SNR is the active speech level over the RMS of the noise excerpt.
    """
    noise = load_mono(mix.noise).samples
    if not noise.any():
        raise AudioError(f"{mix.noise}: noise recording is silent")
    start = int(np.random.default_rng(mix.seed).integers(len(noise)))
    excerpt = np.resize(np.roll(noise, -start), len(clean))
    rms = max(float(np.sqrt(np.mean(np.square(excerpt, dtype=np.float64)))), 0.1 * active_level(noise))
    return np.asarray(clean + excerpt * np.float32(active_level(clean) * 10 ** (-mix.snr_db / 20) / rms), np.float32)


def load_pair(clean: Path | Part | None, degraded: Path | Part | NoiseMix | Array) -> tuple[MonoSignal, MonoSignal]:
    """The clean and the degraded signal; without a clean file, the degraded signal twice."""
    reference = load(clean) if clean is not None else None
    if isinstance(degraded, NoiseMix):
        assert reference is not None, "a mix has a clean file"
        signal = MonoSignal(mix_noise(reference.samples, degraded))
    elif isinstance(degraded, np.ndarray):
        signal = MonoSignal(degraded)
    else:
        signal = load(degraded)
    return reference or signal, signal


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


def measure_delay(task: ScoringTask) -> int | None:
    """Estimate the delay of a task's degraded signal; None if a file cannot be read."""
    try:
        clean, degraded = load_pair(task.clean, task.degraded)
        return estimate_delay(clean.samples, degraded.samples)
    except Exception:  # score() reports the reason
        return None


def score(task: ScoringTask) -> ScoringResult | str:
    """Score a pair, or return the reason why it cannot be scored; raises nothing."""
    try:
        return _score(task)
    except SeganError as error:
        return str(error)
    except Exception as error:
        source = task.clean if isinstance(task.degraded, np.ndarray) else task.degraded
        return in_words(error, str(source.noise if isinstance(source, NoiseMix) else source))


def _score(task: ScoringTask) -> ScoringResult | str:
    clean, degraded = load_pair(task.clean, task.degraded)
    reference, signal = clean.samples, degraded.samples
    delay = estimate_delay(reference, signal) if task.clean is not None else None
    signal, reference = signal[max(0, task.shift) :], reference[max(0, -task.shift) :]
    difference = abs(len(signal) - len(reference))
    if difference > MAX_LENGTH_DIFFERENCE_S * RATE_HZ + abs(task.shift):
        lengths = f"{len(signal) / RATE_HZ:.3f} s but {len(reference) / RATE_HZ:.3f} s in {task.clean}"
        return f"{task.degraded}: {lengths}; lengths may differ by {MAX_LENGTH_DIFFERENCE_S:g} s at most"
    n = min(len(signal), len(reference))
    scores = measure_or_recall(reference[:n], signal[:n], task)
    inputs = (degraded,) if task.clean is None else (clean, degraded)
    rates, channels = tuple(side.rate_hz for side in inputs), tuple(side.channels for side in inputs)
    is_copy = task.clean is not None and np.array_equal(reference[:n], signal[:n])
    return ScoringResult(scores, rates, channels, difference if task.shift == 0 else 0, delay, is_copy)


def measure_or_recall(clean: Array, degraded: Array, task: ScoringTask) -> dict[str, Score]:
    """Take scores from the task's store, and compute and store the missing ones."""
    if task.store is None:
        return measure_all(clean, degraded, task.measures)
    keys = task.store.keys(clean, degraded, task.measures)
    stored = task.store.get(keys)
    if missing := tuple(name for name in task.measures if name not in stored):
        computed = measure_all(clean, degraded, missing)
        task.store.put(keys, computed)
        stored |= computed
    return {name: stored[name] for name in task.measures}
