"""Excerpts: a part of a recording, enhanced as in the whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.files import AudioInfo
from segan_cli.audio.sources import Source, cut
from segan_cli.config.model import ModelConfig
from segan_cli.errors import AudioError

Array = NDArray[np.float32]
Pairs = Iterator[tuple[Array, Array]]  # original and enhanced blocks [channels, n]

# Before an excerpt the estimate of the noise above 8 kHz settles. Also, libsndfile errs when it seeks in the last page
# of a Vorbis file, which is shorter than this.
BEFORE_S = 30.0
AFTER_S = 3.0  # more than a segment


@dataclass(frozen=True)
class Excerpt:
    """A part of a recording."""

    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end

    def first(self, rate_hz: int) -> int:
        """Return the first sample."""
        return round(self.start_s * rate_hz)

    def n_samples(self, rate_hz: int) -> int | None:
        """Return the number of samples; None: to the end."""
        return None if self.duration_s is None else max(1, round(self.duration_s * rate_hz))

    def within(self, info: AudioInfo, name: str) -> AudioInfo:
        """Return the properties of the part of a recording; raises AudioError when the recording ends before it."""
        wanted = self.n_samples(info.rate_hz)
        if info.n_samples is None:
            return info
        left = info.n_samples - self.first(info.rate_hz)
        if left <= 0:
            raise AudioError(f"{name}: lasts {info.n_samples / info.rate_hz:.2f} s; start before its end")
        return replace(info, n_samples=left if wanted is None else min(left, wanted))


def enhance_excerpt(enhance: Callable[[Source], Pairs], source: Source, excerpt: Excerpt, config: ModelConfig) -> Pairs:
    """Yield the excerpt of an open recording, which is read from somewhat before it to somewhat after it.

    The reading starts where a segment of the network starts, so that all segments are those of the whole recording.
    """
    rate_hz = source.info.rate_hz
    first, n = excerpt.first(rate_hz), excerpt.n_samples(rate_hz)
    step = hop_in_samples(config, rate_hz)
    start = max(0, first - round(BEFORE_S * rate_hz)) // step * step
    end = None if n is None else first + n + round(AFTER_S * rate_hz)
    pairs = cut(map(np.stack, enhance(source.part(start, end))), first - start, n)
    yield from ((original, enhanced) for original, enhanced in pairs)


def hop_in_samples(config: ModelConfig, rate_hz: int) -> int:
    """Return the least number of samples of a recording that are whole hops of the network."""
    return config.hop * rate_hz // gcd(config.hop * rate_hz, config.sample_rate_hz)
