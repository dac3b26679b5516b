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
from segan_cli.data.recordings import MAX_LENGTH_DIFFERENCE_S, Recording, Recordings, reject_reason, take_part
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

    speech: Recordings = EMPTY
    clean: Recordings = EMPTY  # of pairs
    noisy: Recordings = EMPTY  # of pairs, with the names of `clean`
    noise: Recordings = EMPTY
    rirs: Recordings = EMPTY

    def speech_recordings(self) -> tuple[Recordings, Recordings]:
        """Clean speech: single recordings, and the clean sides of pairs."""
        return self.speech, self.clean


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
        clean: list[Recording] = []
        pairs: list[tuple[Recording, Recording]] = []
        used: set[tuple[Content, ...]] = set()
        for entry in speech:
            path, weight = parse_weight(entry)
            corpus = read_manifest(path, split, True) if is_table(path) else scan_speech(path)
            new_clean, new_pairs = self._decode(corpus, "speech", weight, used)
            clean += new_clean
            pairs += new_pairs
        return RecordingPool(
            Recordings(tuple(clean)),
            Recordings(tuple(clean_side for clean_side, _ in pairs)),
            Recordings(tuple(noisy_side for _, noisy_side in pairs)),
            self._load_noise(noise, "noise", split),
            self._load_noise(rirs, "rirs", split),
        )

    def _load_noise(self, entries: Sequence[str], kind: str, split: str) -> Recordings:
        recordings: list[Recording] = []
        used: set[tuple[Content, ...]] = set()
        for entry in entries:
            path, weight = parse_weight(entry)
            corpus = read_manifest(path, split, False) if is_table(path) else scan_noise(path)
            recordings += self._decode(corpus, kind, weight, used)[0]
        return Recordings(tuple(recordings))

    def _decode(
        self, corpus: Corpus, kind: str, weight: float, used: set[tuple[Content, ...]]
    ) -> tuple[list[Recording], list[tuple[Recording, Recording]]]:
        """Decode a corpus and select its usable files: single recordings, and (clean, noisy) pairs."""
        files = list(dict.fromkeys(path for utterance in corpus.utterances for path in files_of(utterance)))
        entries = dict(zip(files, self.cache.read(files, self.progress and self.progress(corpus.path)), strict=True))
        single: list[Recording] = []
        pairs: list[tuple[Recording, Recording]] = []
        skipped = list(corpus.skipped)
        for utterance in corpus.utterances:
            recordings = self._select(utterance, entries, kind == "speech", weight)
            if isinstance(recordings, str):
                skipped.append(recordings)
            elif (content := tuple(r.entry.content for r in recordings)) in used:
                what = "file" if utterance.span is None else "row"
                skipped.append(f"{label_of(utterance, utterance.path)}: same content as another {what}")
            else:
                used.add(content)
                if len(recordings) == 2:
                    pairs.append((recordings[0], recordings[1]))
                else:
                    single.append(recordings[0])
        selected = single + [clean for clean, _ in pairs]
        if not selected:
            found = f"{len(corpus.utterances)} {unit_of(corpus)}"
            raise CorpusError(
                f"{corpus.path}: {corpus.layout}, but none of its {found} can be used; first:"
                f" {skipped[len(corpus.skipped)]}"
            )
        self.summaries.append(self._summarise(corpus, "pairs" if pairs else kind, selected, skipped, weight))
        return single, pairs

    def _summarise(
        self, corpus: Corpus, kind: str, selected: list[Recording], skipped: list[str], weight: float
    ) -> CorpusSummary:
        return CorpusSummary(
            corpus.path,
            corpus.layout,
            kind,
            len(selected),
            sum(r.length for r in selected) / self.cache.rate_hz,
            len({r.group for r in selected}),
            corpus.speakers_known,
            dict(Counter(r.entry.rate_hz for r in selected)),
            tuple(skipped),
            weight,
            corpus.notes,
            unit_of(corpus),
        )

    def _select(
        self, utterance: Utterance, entries: dict[Path, CacheEntry | str], is_speech: bool, weight: float
    ) -> tuple[Recording, ...] | str:
        """The recording of an utterance, or the clean and noisy ones of a pair; or why it is skipped."""
        rate_hz, usable = self.cache.rate_hz, []
        for path in files_of(utterance):
            entry = entries[path]
            if isinstance(entry, str):
                return entry
            if utterance.span is not None:
                try:
                    entry = take_part(entry, utterance.span)
                except CorpusError as error:
                    return str(error)
            problem = reject_reason(label_of(utterance, path), entry, rate_hz, is_speech and path == utterance.path)
            if problem is not None:
                return problem
            usable.append(entry)
        lengths = [entry.length for entry in usable]
        name = label_of(utterance, utterance.path)
        if max(lengths) - min(lengths) > MAX_LENGTH_DIFFERENCE_S * rate_hz:
            return f"{name}: {lengths[0] / rate_hz:.2f} s clean but {lengths[1] / rate_hz:.2f} s noisy"
        name = label_of(utterance, utterance.noisy or utterance.path)  # a clean file may be part of several pairs
        return tuple(Recording(name, utterance.group, entry, min(lengths), weight) for entry in usable)


def label_of(utterance: Utterance, path: Path) -> str:
    """A file of an utterance and the part that is used, as text."""
    return str(path) if utterance.span is None else f"{path} {utterance.span}"


def unit_of(corpus: Corpus) -> str:
    """What the utterances of a corpus are: files, pairs, or rows of a manifest."""
    if corpus.layout == "manifest":
        return "rows"
    return "files" if corpus.utterances[0].noisy is None else "pairs"


def files_of(utterance: Utterance) -> tuple[Path, ...]:
    """The files of an utterance: clean, then noisy if it is a pair."""
    return (utterance.path,) if utterance.noisy is None else (utterance.path, utterance.noisy)


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
