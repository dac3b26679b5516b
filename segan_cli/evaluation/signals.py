"""The signals of an evaluation: recordings, parts of them, mixes with noise, and outputs of models."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.sources import read_mono
from segan_cli.data.levels import active_level, noise_gain
from segan_cli.data.spans import Part
from segan_cli.errors import AudioError, SeganError
from segan_cli.measures.catalog import RATE_HZ
from segan_cli.tracebacks import in_words

Array = NDArray[np.float32]


@runtime_checkable
class Model(Protocol):
    """Anything that enhances noisy speech."""

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] → enhanced [n]."""


@dataclass(frozen=True)
class NoiseMix:
    """A noise to mix into a clean recording; the seed selects the excerpt."""

    clean: Path
    noise: Path
    snr_db: float
    seed: int

    def __str__(self) -> str:
        return str(self.noise)


Recorded = Path | Part | NoiseMix


@dataclass(frozen=True)
class Output:
    """What the model with the name of a system makes of the noisy signal of a case."""

    case: str
    system: str
    noisy: Recorded

    def __str__(self) -> str:
        return f"{self.case} by {self.system}"


Source = Recorded | Output


@dataclass(frozen=True)
class Signal:
    """Samples [n] at 16 kHz, the name of their source, and the sample rate and channels of its file if it has one."""

    name: str
    samples: Array
    format: tuple[int, int] | None = None


def load(source: Recorded) -> Signal:
    """Read a signal at 16 kHz, averaging its channels; raises SeganError if it cannot be read."""
    try:
        if isinstance(source, NoiseMix):
            return Signal(str(source), mix_noise(load(source.clean).samples, source), (RATE_HZ, 1))
        if not isinstance(source, Part):
            return read(source)
        whole = read_once(source.path)
        return replace(whole, samples=whole.samples[source.span.samples(len(whole.samples), RATE_HZ)])
    except SeganError:
        raise
    except Exception as error:  # from any decoder
        raise AudioError(in_words(error, str(source))) from error


def read(path: Path) -> Signal:
    """Read a file."""
    samples, info = read_mono(path, RATE_HZ)
    return Signal(str(path), samples, (info.rate_hz, info.channels))


read_once = lru_cache(2)(read)  # the clean and the noisy file that the parts of consecutive rows are from


def mix_noise(clean: Array, mix: NoiseMix) -> Array:
    """Add noise to clean [n], starting at a random position of the noise and looping it if it is shorter."""
    noise = load(mix.noise).samples
    if not noise.any():
        raise AudioError(f"{mix.noise}: noise recording is silent")
    start = int(np.random.default_rng(mix.seed).integers(len(noise)))
    excerpt = np.resize(np.roll(noise, -start), len(clean))
    rms = float(np.sqrt(np.mean(np.square(excerpt, dtype=np.float64))))
    gain = noise_gain(active_level(clean), mix.snr_db, rms, active_level(noise))
    return np.asarray(clean + excerpt * np.float32(gain), np.float32)


class Loader:
    """Loads signals of all kinds; the noisy signal of a model's output is kept for the next model."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.models, self.load_noisy = models, lru_cache(1)(load)

    def __call__(self, source: Source) -> Signal:
        """Read a recording, or run a model; raises SeganError if that fails."""
        if not isinstance(source, Output):
            return load(source)
        noisy = self.load_noisy(source.noisy)
        try:
            return Signal(str(source), self.models[source.system].enhance(noisy.samples, RATE_HZ))
        except Exception as error:
            raise AudioError(in_words(error, str(source))) from error
