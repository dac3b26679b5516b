"""The signals of an evaluation: recordings, parts of them, mixes with noise, and outputs of models."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from segan_cli.arrays import Array
from segan_cli.audio.meter import MIN_NOISE_SHARE, active_level, noise_gain
from segan_cli.audio.sources import read_mono
from segan_cli.data.spans import Span
from segan_cli.errors import AudioError, SeganError, in_words
from segan_cli.measures.catalog import resample
from segan_cli.measures.score import RATE_HZ

MAX_DRAWS = 100  # of an excerpt of noise that is not too quiet


@runtime_checkable
class Denoiser(Protocol):
    """Anything that enhances noisy speech."""

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] → enhanced [n]."""


@dataclass(frozen=True)
class FilePart:
    """A file of which only a part is used."""

    path: Path
    span: Span

    def __str__(self) -> str:
        return f"{self.path} {self.span}"


@dataclass(frozen=True)
class NoiseMix:
    """A noise to mix into a clean recording; the seed selects the excerpt."""

    clean: Path
    noise: Path
    snr_db: float
    seed: int

    def __str__(self) -> str:
        return str(self.noise)


Recorded = Path | FilePart | NoiseMix


@dataclass(frozen=True)
class Output:
    """The output of a system's model for the noisy signal of a case."""

    case: str
    system: str
    noisy: Recorded

    def __str__(self) -> str:
        return f"{self.case} by {self.system}"


SignalSource = Recorded | Output


@dataclass(frozen=True)
class Signal:
    """Samples [n], the name of their source, and the sampling rate and channels of its file if it has one."""

    name: str
    samples: Array
    recorded_hz: int  # sampling rate of the recording; of a mix, the lower one
    format: tuple[int, int] | None = None

    def __str__(self) -> str:
        return self.name


def load(source: Recorded | Signal, rate_hz: int) -> Signal:
    """Read a signal at `rate_hz`, averaging its channels; raises SeganError if it cannot be read."""
    if isinstance(source, Signal):
        return source
    try:
        if isinstance(source, NoiseMix):
            return mix_noise(load(source.clean, rate_hz), load(source.noise, rate_hz), source, rate_hz)
        if not isinstance(source, FilePart):
            return read(source, rate_hz)
        whole = read_once(source.path, rate_hz)
        return replace(whole, samples=whole.samples[source.span.samples(len(whole.samples), rate_hz)])
    except SeganError:
        raise
    except Exception as error:  # from any decoder
        raise AudioError(in_words(error, str(source))) from error


def read(path: Path, rate_hz: int) -> Signal:
    """Read a file."""
    samples, info = read_mono(path, rate_hz)
    return Signal(str(path), samples, info.rate_hz, (info.rate_hz, info.channels))


read_once = lru_cache(2)(read)  # the clean and the noisy file that the parts of consecutive rows are from


def mix_noise(clean: Signal, noise: Signal, mix: NoiseMix, rate_hz: int) -> Signal:
    """Add noise to clean speech, looped from a random position on, with the gain of the same mix at 16 kHz.

    An excerpt so quiet that its SNR would be higher than asked for is drawn again, up to MAX_DRAWS times.
    """
    if not noise.samples.any():
        raise AudioError(f"{mix.noise}: noise recording is silent")
    ratio, rng = rate_hz // RATE_HZ, np.random.default_rng(mix.seed)
    n, places = len(noise.samples), np.arange(len(clean.samples))
    speech, level = resample(clean.samples, rate_hz), active_level(resample(noise.samples, rate_hz))
    for _ in range(MAX_DRAWS):
        excerpt = noise.samples[(places + ratio * int(rng.integers(-(-n // ratio)))) % n]
        rms = float(np.sqrt(np.mean(np.square(resample(excerpt, rate_hz), dtype=np.float64))))
        if rms >= MIN_NOISE_SHARE * level:
            break
    gain = noise_gain(active_level(speech), mix.snr_db, rms, level)
    samples = np.asarray(clean.samples + excerpt * np.float32(gain), np.float32)
    return Signal(str(mix), samples, min(clean.recorded_hz, noise.recorded_hz), (rate_hz, 1))


class Loader:
    """Loads signals of all kinds; the noisy signal of a model's output is kept for the next model."""

    def __init__(self, models: Mapping[str, Denoiser]) -> None:
        self.models, self.load_noisy = models, lru_cache(1)(load)

    def __call__(self, source: SignalSource, rate_hz: int) -> Signal:
        """Read a recording, or run a model; raises SeganError if that fails."""
        if not isinstance(source, Output):
            return load(source, rate_hz)
        noisy = self.load_noisy(source.noisy, rate_hz)
        try:
            return Signal(str(source), self.models[source.system].enhance(noisy.samples, rate_hz), noisy.recorded_hz)
        except SeganError as error:
            raise AudioError(f"{source}: {error}") from error
        except Exception as error:
            raise AudioError(in_words(error, str(source))) from error
