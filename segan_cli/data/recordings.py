"""Recordings to sample training examples from: the criteria for usable files, and the corpora that the user named."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array
from segan_cli.audio.meter import active_level
from segan_cli.data.cache import Cache, CacheEntry, Content, Progress, decode, hash_file, to_float
from segan_cli.data.layouts import Corpus, Utterance, scan_noise, scan_rirs, scan_speech
from segan_cli.data.manifest import LOCAL_ONLY, is_manifest, read_manifest
from segan_cli.data.spans import Span
from segan_cli.errors import ConfigError, CorpusError
from segan_cli.storage.remote import is_url
from segan_cli.text import counted

MIN_LENGTH_S = 0.1
SILENCE_LEVEL = 1e-4  # active level, -80 dB relative to full scale
MAX_CLIPPED = 1e-3  # fraction of clipped samples that clean speech may have
MAX_LENGTH_DIFFERENCE_S = 0.05  # of a noisy/clean pair; the longer file is truncated
MIN_WEIGHT, MAX_WEIGHT = 1e-3, 1e3
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
    speaker: str | None = None  # if the group is a file of the only speaker

    @property
    def voice(self) -> str:
        """The speaker."""
        return self.speaker or self.group

    @property
    def content(self) -> tuple[Content, ...]:
        """The identity of the samples, whatever the files are called."""
        return tuple(entry.content for entry in (self.entry, self.noisy) if entry is not None)


@dataclass(frozen=True)
class Recordings:
    """Mono recordings of one sampling rate."""

    all: tuple[Recording, ...]

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, name: str) -> Recording:
        return self.by_name[name]

    @cached_property
    def by_name(self) -> dict[str, Recording]:
        """The recordings by name."""
        return {recording.name: recording for recording in self.all}

    def excerpt(self, name: str, offset: int, length: int, noisy: bool = False) -> Array:
        """Samples [length] from `offset` on, full scale 1, zero-padded beyond the ends; of a pair the `noisy` ones."""
        recording = self[name]
        entry = recording.noisy if noisy and recording.noisy is not None else recording.entry
        first, last = (min(max(0, sample), recording.length) for sample in (offset, offset + length))
        samples = to_float(load_samples(entry)[first:last])
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

    @property
    def only_pairs(self) -> bool:
        """Whether all are noisy/clean pairs."""
        return all(recording.noisy is not None for recording in self.all)

    def groups(self) -> set[str]:
        """Distinct groups."""
        return {recording.group for recording in self.all}


def load_samples(entry: CacheEntry) -> NDArray[np.int16]:
    """All samples of a cache entry, decoded again if its shard was deleted; raises CorpusError if it has changed."""
    try:
        return map_shard(entry.shard)[entry.start : entry.start + entry.length]
    except OSError:
        return decode_again(entry)


@lru_cache(MAX_DECODED_AGAIN)
def decode_again(entry: CacheEntry) -> NDArray[np.int16]:
    """Decode the file of a cache entry whose samples are no longer in the cache."""
    result = decode(entry.path, entry.to_hz)
    if isinstance(result, str):
        raise CorpusError(f"{result}, and its samples are no longer in the cache")
    if hash_file(entry.path)[0] != entry.digest:
        raise CorpusError(f"{entry.path}: has changed, and its samples are no longer in the cache; start again")
    return result[0][entry.first : entry.first + entry.length]


@cache
def map_shard(shard: Path) -> NDArray[np.int16]:
    """Memory-map a shard, once per process."""
    return np.memmap(shard, np.int16, "r")


def take_part(entry: CacheEntry, span: Span) -> CacheEntry:
    """Part of a cached file, with its own level but the clipping of the file; raises CorpusError beyond its end."""
    part = span.samples(entry.length, entry.to_hz)
    samples = to_float(load_samples(entry)[part])
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


@dataclass(frozen=True)
class CorpusSummary:
    """The usable content of a corpus, and what was skipped."""

    path: str
    layout: str
    kind: str  # speech, pairs, noise, rirs
    utterances: int
    seconds: float
    groups: int  # speakers, or source recordings
    speakers_known: bool
    rates_hz: dict[int, int]  # rate → files
    skipped: tuple[str, ...]  # a line for each
    weight: float
    notes: tuple[str, ...] = ()
    unit: str = "file"  # what an utterance is


@dataclass(frozen=True)
class RecordingPool:
    """All recordings for training, or for validation."""

    speech: Recordings  # clean, single or of noisy/clean pairs
    noise: Recordings
    rirs: Recordings


KINDS = {"speech": "speech", "pairs": "noisy/clean pairs", "noise": "noise", "rirs": "room impulse responses"}
SCANS = {"speech": scan_speech, "noise": scan_noise, "rirs": scan_rirs}


class CorpusLoader:
    """Loads corpora into pools, without duplicates, and keeps a summary of each."""

    def __init__(self, cache: Cache, progress: Callable[[str], Progress] | None) -> None:
        """`progress` makes a callback for each corpus from its path."""
        self.cache, self.progress = cache, progress
        self.summaries: list[CorpusSummary] = []

    def load(self, speech: Sequence[str], noise: Sequence[str], rirs: Sequence[str], split: str) -> RecordingPool:
        """Load corpora given as PATH or PATH:WEIGHT; `split` selects rows of manifests. Raises CorpusError."""
        return RecordingPool(
            self._load(speech, "speech", split), self._load(noise, "noise", split), self._load(rirs, "rirs", split)
        )

    def _load(self, entries: Sequence[str], kind: str, split: str) -> Recordings:
        recordings: list[Recording] = []
        used: set[tuple[Content, ...]] = set()
        for entry in entries:
            path, weight = parse_weight(entry)
            if is_url(path):
                raise CorpusError(f"{path}: {LOCAL_ONLY}")
            if is_manifest(Path(path)):
                corpus = read_manifest(path, split, needs_speaker=kind == "speech")
            else:
                corpus = SCANS[kind](path)
            recordings += self._decode(corpus, kind, weight, used)
        return Recordings(tuple(recordings))

    def _decode(self, corpus: Corpus, kind: str, weight: float, used: set[tuple[Content, ...]]) -> list[Recording]:
        """Decode a corpus, select its usable recordings, and add its summary."""
        files = list(dict.fromkeys(path for utterance in corpus.utterances for path in utterance.files))
        entries = dict(zip(files, self.cache.read(files, self.progress and self.progress(corpus.path)), strict=True))
        recordings: list[Recording] = []
        skipped, n_duplicates = [], 0
        for utterance in corpus.utterances:
            try:
                recording = select(utterance, entries, kind == "speech", weight)
            except CorpusError as error:
                skipped.append(str(error))
                continue
            if recording.content in used:
                what, n_duplicates = "file" if utterance.span is None else "row", n_duplicates + 1
                skipped.append(f"{utterance.label(utterance.path)}: same content as another {what}")
                continue
            used.add(recording.content)
            recordings.append(recording)
        if not recordings and not n_duplicates:
            raise CorpusError(
                f"{corpus.path}: {corpus.layout}, but none of its {corpus.unit}s can be used; first: {skipped[0]}"
            )
        found, pairs = Recordings(tuple(recordings)), any(recording.noisy is not None for recording in recordings)
        seconds, rates_hz = found.n_samples() / self.cache.rate_hz, Counter(r.entry.rate_hz for r in recordings)
        self.summaries.append(CorpusSummary(
            corpus.path, corpus.layout, "pairs" if pairs else kind, len(recordings), seconds, len(found.groups()),
            corpus.speakers_known, dict(rates_hz), (*corpus.skipped, *skipped), weight, corpus.notes, corpus.unit,
        ))  # fmt: skip
        return recordings


def select(utterance: Utterance, entries: dict[Path, CacheEntry | str], is_speech: bool, weight: float) -> Recording:
    """The recording of an utterance; raises CorpusError if it cannot be used."""
    if len(utterance.files) > 1 and not is_speech:
        raise CorpusError(f"{utterance.label(utterance.path)}: noise cannot be a noisy/clean pair; remove `noisy`")
    usable: list[CacheEntry] = []
    for path in utterance.files:
        entry = entries[path]
        if isinstance(entry, str):
            raise CorpusError(entry)
        if utterance.span is not None:
            entry = take_part(entry, utterance.span)
        check_usable(utterance.label(path), entry, is_speech and path == utterance.path)
        usable.append(entry)
    lengths = [entry.length for entry in usable]
    if max(lengths) - min(lengths) > MAX_LENGTH_DIFFERENCE_S * usable[0].to_hz:
        clean_s, noisy_s = (length / usable[0].to_hz for length in lengths)
        raise CorpusError(f"{utterance.label(utterance.path)}: {clean_s:.2f} s clean but {noisy_s:.2f} s noisy")
    name = utterance.label(utterance.files[-1])  # a clean file may be part of several pairs
    noisy = usable[1] if len(usable) > 1 else None
    return Recording(name, utterance.group, usable[0], min(lengths), weight, noisy)


def parse_weight(entry: str) -> tuple[str, float]:
    """Split PATH or PATH:WEIGHT into path and weight; raises ConfigError for a weight that is not usable."""
    path, colon, text = entry.rpartition(":")
    if not colon or not path or os.path.exists(entry):
        return entry, 1.0
    try:
        weight = float(text)
    except ValueError:
        return entry, 1.0
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise ConfigError(f"{entry}: weight {text}; it must lie between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}")
    return path, weight


def describe_corpus(summary: CorpusSummary) -> str:
    """One line on the content of a corpus."""
    if not summary.utterances:
        return f"{summary.path}: {summary.layout}, all skipped"
    n_utterances = counted(summary.utterances, summary.unit)
    parts = [summary.layout, f"{n_utterances}, {summary.seconds / 3600:.2f} h of {KINDS[summary.kind]}"]
    if summary.kind in ("speech", "pairs"):
        parts.append(counted(summary.groups, "speaker") if summary.speakers_known else "speakers unknown")
    *lower, highest = (f"{rate / 1000:g}" for rate in sorted(summary.rates_hz))
    parts.append(f"{', '.join(lower)} and {highest} kHz" if lower else f"{highest} kHz")
    if summary.skipped:
        parts.append(f"{len(summary.skipped)} skipped")
    if summary.weight != 1:
        parts.append(f"weight {summary.weight:g}")
    return f"{summary.path}: {', '.join(parts)}"
