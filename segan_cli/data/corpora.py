"""Load the corpora that the user named: scan, decode and filter, with a summary of each."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.data.cache import Cache, CacheEntry, Content, Progress
from segan_cli.data.folders import is_folder
from segan_cli.data.layouts import Corpus, Utterance, scan_noise, scan_speech
from segan_cli.data.manifest import is_manifest, read_manifest
from segan_cli.data.recordings import MAX_LENGTH_DIFFERENCE_S, Recording, Recordings, check_usable, take_part
from segan_cli.errors import CorpusError

EMPTY = Recordings(())


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
    unit: str = "files"  # what the utterances are


@dataclass(frozen=True)
class RecordingPool:
    """All recordings for training, or for validation."""

    speech: Recordings = EMPTY  # clean, single or of noisy/clean pairs
    noise: Recordings = EMPTY
    rirs: Recordings = EMPTY


class CorpusLoader:
    """Loads corpora into pools, without duplicates, and keeps a summary of each."""

    def __init__(self, cache: Cache, progress: Callable[[str], Progress] | None) -> None:
        """`progress` makes a callback for each corpus from its path."""
        self.cache, self.progress = cache, progress
        self.summaries: list[CorpusSummary] = []

    def load(self, speech: Sequence[str], noise: Sequence[str], rirs: Sequence[str], split: str) -> RecordingPool:
        """Load corpora given as PATH or PATH:WEIGHT; `split` selects rows of manifests.

        Raises CorpusError if a corpus has no usable files.
        """
        return RecordingPool(
            self._load(speech, "speech", split), self._load(noise, "noise", split), self._load(rirs, "rirs", split)
        )

    def _load(self, entries: Sequence[str], kind: str, split: str) -> Recordings:
        recordings: list[Recording] = []
        used: set[tuple[Content, ...]] = set()
        for entry in entries:
            path, weight = parse_weight(entry)
            if is_table(path):
                corpus = read_manifest(path, split, needs_speaker=kind == "speech")
            else:
                corpus = scan_speech(path) if kind == "speech" else scan_noise(path)
            recordings += self._decode(corpus, kind, weight, used)
        return Recordings(tuple(recordings)).where(lambda recording: kind == "speech" or recording.noisy is None)

    def _decode(self, corpus: Corpus, kind: str, weight: float, used: set[tuple[Content, ...]]) -> list[Recording]:
        """Decode a corpus, select its usable recordings, and add its summary."""
        files = list(dict.fromkeys(path for utterance in corpus.utterances for path in utterance.files))
        entries = dict(zip(files, self.cache.read(files, self.progress and self.progress(corpus.path)), strict=True))
        recordings: list[Recording] = []
        skipped = []
        for utterance in corpus.utterances:
            try:
                recording = select(utterance, entries, kind == "speech", weight)
                if recording.content in used:
                    what = "file" if utterance.span is None else "row"
                    raise CorpusError(f"{utterance.label(utterance.path)}: same content as another {what}")
            except CorpusError as error:
                skipped.append(str(error))
            else:
                used.add(recording.content)
                recordings.append(recording)
        if not recordings:
            raise CorpusError(
                f"{corpus.path}: {corpus.layout}, but none of its {len(corpus.utterances)} {corpus.unit} can be used;"
                f" first: {skipped[0]}"
            )
        self.summaries.append(
            CorpusSummary(
                corpus.path,
                corpus.layout,
                kind if all(recording.noisy is None for recording in recordings) else "pairs",
                len(recordings),
                sum(recording.length for recording in recordings) / self.cache.rate_hz,
                len({recording.group for recording in recordings}),
                corpus.speakers_known,
                dict(Counter(recording.entry.rate_hz for recording in recordings)),
                (*corpus.skipped, *skipped),
                weight,
                corpus.notes,
                corpus.unit,
            )
        )
        return recordings


def select(utterance: Utterance, entries: dict[Path, CacheEntry | str], is_speech: bool, weight: float) -> Recording:
    """The recording of an utterance; raises CorpusError if it cannot be used."""
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
    return Recording(name, utterance.group, usable[0], min(lengths), weight, *usable[1:])


def is_table(path: str) -> bool:
    """Whether a path is that of a manifest, not of a folder."""
    return is_manifest(Path(path)) and not is_folder(Path(path))


def parse_weight(entry: str) -> tuple[str, float]:
    """Split PATH or PATH:WEIGHT into path and weight; raises CorpusError if the weight is not positive."""
    path, colon, text = entry.rpartition(":")
    if not colon or not path or os.path.exists(entry):  # noqa: PTH110  # Path.exists raises for overlong names
        return entry, 1.0
    try:
        weight = float(text)
    except ValueError:
        return entry, 1.0
    if not 0 < weight < float("inf"):
        raise CorpusError(f"{entry}: weight {text}; it must be above 0")
    return path, weight


def describe_corpus(summary: CorpusSummary) -> str:
    """One line on the content of a corpus."""
    parts = [summary.layout, f"{summary.utterances} {summary.unit}, {summary.seconds / 3600:.2f} h of {summary.kind}"]
    if summary.kind in ("speech", "pairs"):
        parts.append(f"{summary.groups} speakers" if summary.speakers_known else "speakers unknown")
    parts.append(" and ".join(f"{rate / 1000:g}" for rate in sorted(summary.rates_hz)) + " kHz")
    if summary.skipped:
        parts.append(f"{len(summary.skipped)} skipped")
    if summary.weight != 1:
        parts.append(f"weight {summary.weight:g}")
    return f"{summary.path}: {', '.join(parts)}"
