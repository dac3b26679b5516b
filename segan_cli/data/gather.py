"""Everything the user named, decoded and checked, with an account of what was found."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.data.cache import Cache, Entry, Progress
from segan_cli.data.layouts import Corpus, Utterance, recognise_noise, recognise_speech
from segan_cli.data.manifest import SUFFIXES, read_manifest
from segan_cli.data.recordings import CUT_S, Recording, Recordings, unusable
from segan_cli.errors import CorpusError

NOTHING = Recordings(())


@dataclass(frozen=True)
class Found:
    """What one entry of the user's holds and what of it is used."""

    place: str
    layout: str
    kind: str  # speech, pairs, noise, rooms
    utterances: int
    seconds: float
    groups: int  # speakers, or recordings
    speakers_known: bool
    rates_hz: dict[int, int]  # rate → files
    skipped: tuple[str, ...]  # a line on each file or set that is not used
    weight: float
    notes: tuple[str, ...] = ()  # of the corpus


@dataclass(frozen=True)
class Pool:
    """Recordings of one side of the split."""

    speech: Recordings = NOTHING
    clean: Recordings = NOTHING  # of pairs
    noisy: Recordings = NOTHING  # of the same names as `clean`
    noise: Recordings = NOTHING
    rooms: Recordings = NOTHING

    def speech_sets(self) -> tuple[Recordings, Recordings]:
        """Everything that someone speaks in."""
        return self.speech, self.clean


class Gatherer:
    """Reads entries of the user's into pools, each content once, and keeps account."""

    def __init__(self, cache: Cache, progress: Callable[[str], Progress] | None) -> None:
        self.cache, self.progress = cache, progress
        self.found: list[Found] = []

    def gather(self, speech: Sequence[str], noise: Sequence[str], rooms: Sequence[str], split: str) -> Pool:
        """All entries of one side; raises CorpusError when one holds nothing that can be used."""
        clean: list[Recording] = []
        pairs: list[tuple[Recording, Recording]] = []
        used: set[str] = set()
        for entry in speech:
            place, weight = weighted(entry)
            corpus = read_manifest(place, split, True) if is_manifest(place) else recognise_speech(place)
            mono, both = self._read(corpus, "speech", weight, used)
            clean += mono
            pairs += both
        ours, theirs = (Recordings(tuple(pair[side] for pair in pairs)) for side in (0, 1))
        return Pool(
            Recordings(tuple(clean)),
            ours,
            theirs,
            self._others(noise, "noise", split),
            self._others(rooms, "rooms", split),
        )

    def _others(self, entries: Sequence[str], kind: str, split: str) -> Recordings:
        recordings: list[Recording] = []
        used: set[str] = set()
        for entry in entries:
            place, weight = weighted(entry)
            corpus = read_manifest(place, split, False) if is_manifest(place) else recognise_noise(place)
            recordings += self._read(corpus, kind, weight, used)[0]
        return Recordings(tuple(recordings))

    def _read(
        self, corpus: Corpus, kind: str, weight: float, used: set[str]
    ) -> tuple[list[Recording], list[tuple[Recording, Recording]]]:
        """Decode a corpus and apply the rules by which its files are used."""
        paths = [path for utterance in corpus.utterances for path in sides(utterance)]
        entries = dict(zip(paths, self.cache.read(paths, self.progress and self.progress(corpus.place)), strict=True))
        mono: list[Recording] = []
        pairs: list[tuple[Recording, Recording]] = []
        skipped = list(corpus.left)
        for utterance in corpus.utterances:
            recordings = self._rules(utterance, entries, kind == "speech", weight)
            if isinstance(recordings, str):
                skipped.append(recordings)
            elif (content := "/".join(r.entry.digest for r in recordings)) in used:
                skipped.append(f"{utterance.path}: the same content as another file")
            else:
                used.add(content)
                if len(recordings) == 2:
                    pairs.append((recordings[0], recordings[1]))
                else:
                    mono.append(recordings[0])
        ours = mono + [clean for clean, _ in pairs]
        if not ours:
            raise CorpusError(
                f"{corpus.place}: {corpus.layout}, but none of its {len(corpus.utterances)} files can be used; first:"
                f" {skipped[-1]}"
            )
        self.found.append(
            Found(
                corpus.place,
                corpus.layout,
                "pairs" if pairs else kind,
                len(ours),
                sum(r.length for r in ours) / self.cache.rate_hz,
                len({r.group for r in ours}),
                corpus.speakers_known,
                dict(Counter(r.entry.rate_hz for r in ours)),
                tuple(skipped),
                weight,
                corpus.notes,
            )
        )
        return mono, pairs

    def _rules(
        self, utterance: Utterance, entries: dict[Path, Entry | str], clean: bool, weight: float
    ) -> tuple[Recording, ...] | str:
        """The recordings of an utterance, clean and noisy of a pair; or why it is not used."""
        rate_hz, good = self.cache.rate_hz, []
        for path in sides(utterance):
            entry = entries[path]
            problem = unusable(path, entry, rate_hz, clean and path == utterance.path)
            if problem is not None or isinstance(entry, str):
                return problem or str(entry)
            good.append(entry)
        lengths = [entry.length for entry in good]
        if max(lengths) - min(lengths) > CUT_S * rate_hz:
            return f"{utterance.path}: {lengths[0] / rate_hz:.2f} s clean but {lengths[1] / rate_hz:.2f} s noisy"
        name = str(utterance.noisy or utterance.path)  # a clean file may have several noisy ones
        return tuple(Recording(name, utterance.group, entry, min(lengths), weight) for entry in good)


def sides(utterance: Utterance) -> tuple[Path, ...]:
    """The files of an utterance: clean, and noisy where it is a pair."""
    return (utterance.path,) if utterance.noisy is None else (utterance.path, utterance.noisy)


def is_manifest(place: str) -> bool:
    """Whether an entry of the user's is a table of files."""
    return Path(place).suffix in SUFFIXES and not Path(place).is_dir()


def weighted(entry: str) -> tuple[str, float]:
    """`PATH` or `PATH:WEIGHT` as path and weight; raises CorpusError when the weight is none."""
    place, colon, text = entry.rpartition(":")
    if not colon or not place or Path(entry).exists():
        return entry, 1.0
    try:
        weight = float(text)
    except ValueError:
        return entry, 1.0
    if not 0 < weight < float("inf"):
        raise CorpusError(f"{entry}: a weight of {text}; it must be above 0")
    return place, weight


def describe(found: Found) -> str:
    """One line on an entry of the data."""
    facts = [found.layout, f"{found.utterances} files, {found.seconds / 3600:.2f} h of {found.kind}"]
    if found.kind in ("speech", "pairs"):
        facts.append(f"{found.groups} speakers" if found.speakers_known else "speakers unknown")
    facts += [" and ".join(f"{rate / 1000:g}" for rate in sorted(found.rates_hz)) + " kHz"]
    facts += [f"{len(found.skipped)} left out"] * bool(found.skipped) + [f"weight {found.weight:g}"] * (
        found.weight != 1
    )
    return f"{found.place}: {', '.join(facts)}"
