"""Recordings to draw from, and the rules by which a file is one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.data.cache import FULL_SCALE, Entry, decode
from segan_cli.errors import CorpusError

Array = NDArray[np.float32]

SHORTEST_S = 0.1
SILENT = 1e-4  # active level, -80 dB relative to full scale
CLIPPED = 1e-3  # share of clipped samples from which clean speech is not clean
LEFT_BEHIND = 64  # recordings that are kept whose shard has vanished
CUT_S = 0.05  # difference of a pair's lengths up to which the longer is cut at its end


@dataclass(frozen=True)
class Recording:
    """One usable file."""

    name: str
    group: str  # speaker, or recording of a noise: never on both sides of a split
    entry: Entry
    length: int  # samples that are used
    weight: float = 1.0  # how often a second of it is heard beside others


@dataclass(frozen=True)
class Recordings:
    """Mono recordings of one rate."""

    all: tuple[Recording, ...]
    places: dict[str, int] = field(init=False, repr=False)  # index of each name

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {recording.name: i for i, recording in enumerate(self.all)})

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, name: str) -> Recording:
        return self.all[self.places[name]]

    def excerpt(self, name: str, offset: int, length: int) -> Array:
        """`length` samples of a recording from `offset` on, zeros before its start and after its end; full scale 1."""
        recording = self[name]
        first, last = (min(max(0, sample), recording.length) for sample in (offset, offset + length))
        samples = samples_of(recording.entry)[first:last] / np.float32(FULL_SCALE)
        before = min(length, max(0, -offset))
        return np.pad(samples, (before, length - before - len(samples)))

    @cached_property
    def sampling_cdf(self) -> NDArray[np.float64]:
        """Cumulative odds of the recordings, each in proportion to its weighted length."""
        sizes = np.cumsum([recording.length * recording.weight for recording in self.all])
        return np.asarray(sizes / sizes[-1])

    def draw(self, rng: np.random.Generator) -> Recording:
        """Any of them, so that every second is as likely as any other of its weight."""
        return self.all[int(np.searchsorted(self.sampling_cdf, rng.random(), side="right"))]

    def samples(self, weighted: bool = False) -> float:
        """Samples in all."""
        return sum(recording.length * (recording.weight if weighted else 1.0) for recording in self.all)

    def subset(self, keep: Sequence[int]) -> "Recordings":
        """Some of them by index."""
        return Recordings(tuple(self.all[i] for i in keep))

    def groups(self) -> list[str]:
        """Distinct groups, sorted."""
        return sorted({recording.group for recording in self.all})


def samples_of(entry: Entry) -> NDArray[np.int16]:
    """All samples of an entry; where its shard has vanished they are decoded again.

    Raises CorpusError where the file is not what it was.
    """
    try:
        return mapped(entry.shard)[entry.start : entry.start + entry.length]
    except OSError:
        return decoded(entry)


@lru_cache(LEFT_BEHIND)
def decoded(entry: Entry) -> NDArray[np.int16]:
    """The samples of an entry from its file."""
    result = decode(entry.path, entry.to_hz)
    if isinstance(result, str):
        raise CorpusError(f"{result}; and its samples are no longer in the cache")
    if len(result[0]) != entry.length:
        raise CorpusError(f"{entry.path}: has changed, and its samples are no longer in the cache; start again")
    return result[0]


@cache
def mapped(shard: Path) -> NDArray[np.int16]:
    """A file of samples in memory as far as it is used; each process maps its own."""
    return np.memmap(shard, np.int16, "r")


def unusable(path: Path, entry: Entry | str, rate_hz: int, clean: bool) -> str | None:
    """Why a file cannot be used as clean speech (`clean`) or as anything else; None if it can."""
    if isinstance(entry, str):
        return entry
    if entry.length < SHORTEST_S * rate_hz:
        return f"{path}: shorter than {SHORTEST_S} s"
    if entry.level < SILENT:
        return f"{path}: silent"
    if clean and entry.rate_hz < rate_hz:
        return f"{path}: recorded at {entry.rate_hz} Hz; a clean target needs {rate_hz} Hz or more"
    if clean and entry.clipped > CLIPPED:
        return f"{path}: clipped ({entry.clipped:.1%} of its samples)"
    return None
