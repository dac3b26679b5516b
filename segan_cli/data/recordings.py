"""Recordings to sample training examples from, and the criteria for usable files."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.data.cache import FULL_SCALE, CacheEntry, Content, decode, hash_file
from segan_cli.data.levels import active_level
from segan_cli.data.spans import Span
from segan_cli.errors import CorpusError

Array = NDArray[np.float32]

MIN_LENGTH_S = 0.1
SILENCE_LEVEL = 1e-4  # active level, -80 dB relative to full scale
MAX_CLIPPED = 1e-3  # fraction of clipped samples that clean speech may have
MAX_LENGTH_DIFFERENCE_S = 0.05  # of a noisy/clean pair; the longer file is truncated
MAX_DECODED_AGAIN = 64  # recordings kept in memory after their shard was deleted


@dataclass(frozen=True)
class Recording:
    """One usable file, or the usable part of one; or a pair of a clean and a noisy one of equal length."""

    name: str
    group: str  # speaker, or source recording of a noise clip; never in both training and validation
    entry: CacheEntry
    length: int  # samples in use
    weight: float = 1.0  # sampling probability per second, relative to other recordings
    noisy: CacheEntry | None = None  # of a pair

    @property
    def content(self) -> tuple[Content, ...]:
        """What the samples are, whatever the files are called."""
        return tuple(entry.content for entry in (self.entry, self.noisy) if entry is not None)


@dataclass(frozen=True)
class Recordings:
    """Mono recordings of one sample rate."""

    all: tuple[Recording, ...]
    indices: dict[str, int] = field(init=False, repr=False)  # by name

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", {recording.name: i for i, recording in enumerate(self.all)})

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, name: str) -> Recording:
        return self.all[self.indices[name]]

    def excerpt(self, name: str, offset: int, length: int, noisy: bool = False) -> Array:
        """Samples [length] of a recording from `offset` on, full scale 1, zero-padded beyond its ends.

        Those of the noisy side of a pair if `noisy`.
        """
        recording = self[name]
        entry = recording.noisy if noisy and recording.noisy is not None else recording.entry
        first, last = (min(max(0, sample), recording.length) for sample in (offset, offset + length))
        samples = load_samples(entry)[first:last] / np.float32(FULL_SCALE)
        before = min(length, max(0, -offset))
        return np.pad(samples, (before, length - before - len(samples)))

    @cached_property
    def sampling_cdf(self) -> NDArray[np.float64]:
        """Cumulative sampling probability of the recordings, proportional to their weighted lengths."""
        sizes = np.cumsum([recording.length * recording.weight for recording in self.all])
        return np.asarray(sizes / sizes[-1])

    def draw(self, rng: np.random.Generator) -> Recording:
        """Draw a recording with probability proportional to its weighted length."""
        return self.all[int(np.searchsorted(self.sampling_cdf, rng.random(), side="right"))]

    def n_samples(self, weighted: bool = False) -> float:
        """Total number of samples."""
        return sum(recording.length * (recording.weight if weighted else 1.0) for recording in self.all)

    def where(self, selected: Callable[[Recording], bool]) -> "Recordings":
        """The selected recordings."""
        return Recordings(tuple(filter(selected, self.all)))

    def groups(self) -> set[str]:
        """Distinct groups."""
        return {recording.group for recording in self.all}


def load_samples(entry: CacheEntry) -> NDArray[np.int16]:
    """All samples of a cache entry; decodes the file again if its shard was deleted.

    Raises CorpusError if that file has changed.
    """
    try:
        return map_shard(entry.shard)[entry.start : entry.start + entry.length]
    except OSError:
        return decode_again(entry)


@lru_cache(MAX_DECODED_AGAIN)
def decode_again(entry: CacheEntry) -> NDArray[np.int16]:
    """Decode the file of a cache entry whose samples are no longer in the cache."""
    result = decode(entry.path, entry.to_hz)
    if isinstance(result, str):
        raise CorpusError(f"{result}; and its samples are no longer in the cache")
    if hash_file(entry.path)[0] != entry.digest:
        raise CorpusError(f"{entry.path}: has changed, and its samples are no longer in the cache; start again")
    return result[0][entry.first : entry.first + entry.length]


@cache
def map_shard(shard: Path) -> NDArray[np.int16]:
    """Memory-map a shard, once per process."""
    return np.memmap(shard, np.int16, "r")


def take_part(entry: CacheEntry, span: Span) -> CacheEntry:
    """The part of a cached file, with its own level; raises CorpusError if it goes beyond the end.

    Clipping is that of the whole file, as resampling hides it.
    """
    part = span.samples(entry.length, entry.to_hz)
    samples = load_samples(entry)[part].astype(np.float32) / np.float32(FULL_SCALE)
    return replace(
        entry, start=entry.start + part.start, first=part.start, length=len(samples), level=active_level(samples)
    )


def check_usable(name: str, entry: CacheEntry, is_clean_speech: bool) -> None:
    """Raise CorpusError if a recording cannot be used; the criteria for clean speech are stricter."""
    if entry.length < MIN_LENGTH_S * entry.to_hz:
        raise CorpusError(f"{name}: shorter than {MIN_LENGTH_S} s")
    if entry.level < SILENCE_LEVEL:
        raise CorpusError(f"{name}: silent")
    if is_clean_speech and entry.rate_hz < entry.to_hz:
        raise CorpusError(f"{name}: recorded at {entry.rate_hz} Hz; clean speech needs {entry.to_hz} Hz or more")
    if is_clean_speech and entry.clipped > MAX_CLIPPED:
        raise CorpusError(f"{name}: clipped ({entry.clipped:.1%} of its samples)")
