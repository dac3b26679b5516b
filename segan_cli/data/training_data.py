"""Sources of training and validation examples that share no speaker, noise recording or room impulse response."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from segan_cli.config.legacy import renamed
from segan_cli.config.training import DataConfig, MixingConfig
from segan_cli.data.cache import Cache, Progress
from segan_cli.data.mixing import ExampleSource
from segan_cli.data.random_streams import Purpose, random_stream
from segan_cli.data.recordings import CorpusLoader, CorpusSummary, RecordingPool, Recordings
from segan_cli.errors import ConfigError, CorpusError
from segan_cli.storage.atomic import write_whole
from segan_cli.text import counted, read_json

VALIDATION_SHARE = 0.05  # target fraction of the samples
LARGE_SHARE = 5 * VALIDATION_SHARE  # fraction of the speech in validation that deserves a note

KINDS = {"speakers": "speakers", "noise": "noise recordings", "rirs": "room impulse responses"}  # in messages

Groups = frozenset[str]
Split = dict[str, Groups]  # "speakers", "noise", "rirs" → groups in validation


@dataclass(frozen=True)
class TrainingData:
    """Example sources for training and validation, and how they were made."""

    training: ExampleSource
    validation: ExampleSource
    corpora: tuple[CorpusSummary, ...]
    notes: tuple[str, ...]  # on the split, for the user
    splits: dict[str, tuple[Recordings, Recordings]]  # "speakers", "noise", "rirs" → training, validation
    missing: Split = field(default_factory=dict)  # by kind: groups that validated before, but are not in the data now


def load_training_data(
    data: DataConfig, mixing: MixingConfig, seed: int, cache: Cache, previous: Split | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> TrainingData:  # fmt: skip
    """Load all corpora and split them, as the `previous` start did; raises ConfigError without speech, CorpusError."""
    if not data.speech:
        raise ConfigError("no speech to train on; give a folder with --data")
    loader = CorpusLoader(cache, progress)
    pool = loader.load(data.speech, data.noise, data.rirs, "training")
    named = loader.load(data.valid_speech, data.valid_noise, (), "validation")
    only_pairs = pool.speech.only_pairs
    unused = [option for option, given in (("--noise", data.noise), ("--rir", data.rirs)) if given]
    if data.valid_noise and named.speech.only_pairs:
        unused.append("--valid-noise")
    if unused and only_pairs:
        raise CorpusError(f"{data.speech[0]}: already contains noisy/clean pairs; omit {' and '.join(unused)}")
    previous = previous or {}
    speech = merge_groups(pool.speech, named.speech, previous.get("speakers"))
    noise = merge_groups(pool.noise, named.noise, previous.get("noise"))
    rirs = merge_groups(pool.rirs, named.rirs, previous.get("rirs"))
    pool, named = (RecordingPool(*side) for side in zip(speech, noise, rirs, strict=True))
    try:
        training, validation, notes = split_pool(pool, named, seed, previous)
    except CorpusError as error:
        skipped = [line for summary in loader.summaries for line in summary.skipped]
        more = f" ({counted(len(skipped), 'file')} skipped, first: {skipped[0]})" if skipped else ""
        raise CorpusError(f"{error}{more}") from error
    if only_pairs and named.speech.only_pairs:
        notes.append("all speech is in noisy/clean pairs: nothing is mixed, so --snr has no effect")
    splits = {
        "speakers": (training.speech, validation.speech),
        "noise": (training.noise, validation.noise),
        "rirs": (training.rirs, validation.rirs),
    }
    missing = {
        kind: groups - training.groups() - validation.groups()
        for kind, (training, validation) in splits.items()
        if (groups := previous.get(kind))
    }
    for kind, groups in missing.items():
        if groups:
            notes.append(f"{len(groups)} of the {KINDS[kind]} that validated before are gone, such as {min(groups)}")
    return TrainingData(
        ExampleSource(training.speech, training.noise, training.rirs, mixing, cache.rate_hz),
        ExampleSource(validation.speech, validation.noise, validation.rirs, mixing, cache.rate_hz),
        tuple(loader.summaries),
        tuple(notes),
        splits,
        missing,
    )


def split_pool(
    pool: RecordingPool, named: RecordingPool, seed: int, previous: Split
) -> tuple[RecordingPool, RecordingPool, list[str]]:
    """Split a pool into training and validation, which is `named` or held out; the last result are notes."""
    notes: list[str] = []
    if len(named.speech):
        speech, held_out_speech = exclude(pool.speech, named.speech), named.speech
        if not len(speech):
            raise CorpusError("validation contains all speakers of --data; choose another --valid-data, or omit it")
        if n := len(pool.speech) - len(speech):
            notes.append(f"excluded {counted(n, 'recording')} from training: validation has the same speaker or file")
    else:
        speech, held_out_speech = hold_out_speakers(pool.speech, seed, previous.get("speakers"), notes)
    if len(named.noise):
        noise, held_out_noise = exclude(pool.noise, named.noise), named.noise
        if len(pool.noise) and not len(noise):
            raise CorpusError("validation contains all recordings of --noise; choose another --valid-noise, or omit it")
        if n := len(pool.noise) - len(noise):
            notes.append(f"excluded {counted(n, 'noise')} from training: validation has the same recordings")
    else:
        noise, held_out_noise = hold_out(pool.noise, "noise", seed, previous.get("noise"))
        if len(noise) and not len(held_out_noise):
            notes.append("there is only one noise recording, so validation uses generated noise")
    rirs, held_out_rirs = hold_out(pool.rirs, "rirs", seed, previous.get("rirs"))
    validation = RecordingPool(held_out_speech, held_out_noise, held_out_rirs)
    return RecordingPool(speech, noise, rirs), validation, notes


def exclude(training: Recordings, validation: Recordings) -> Recordings:
    """The training recordings whose group is not in validation."""
    groups = validation.groups()
    return training.where(lambda recording: recording.group not in groups)


def hold_out_speakers(
    speech: Recordings, seed: int, previous: Groups | None, notes: list[str]
) -> tuple[Recordings, Recordings]:
    """Hold out the `previous` or new speakers, or recordings if there is or was only one; adds notes for the user."""
    if len(speech.groups()) < 2 or (previous and previous <= speech.by_name.keys()):
        if len(speech) < 2:
            raise CorpusError("a single recording cannot be split for validation; add more, or use --valid-data")
        first: dict[str, str] = {}  # recording of each file, by which its parts and noisy versions are grouped …
        groups = [first.setdefault(recording.entry.digest, recording.name) for recording in speech.all]
        if len(first) < 2 or (previous or frozenset()) & speech.by_name.keys() - {*groups}:
            groups = [recording.name for recording in speech.all]  # … unless all are of one file, or were not before
        speech = Recordings(tuple(
            replace(recording, group=group, speaker=recording.voice)
            for recording, group in zip(speech.all, groups, strict=True)
        ))  # fmt: skip
        notes.append(
            "there is only one speaker, or all share a file, so validation holds out recordings: the scores are for"
            " voices from training"
        )
    training, validation = hold_out(speech, "speakers", seed, previous)
    share = validation.n_samples() / speech.n_samples()
    if share > LARGE_SHARE:
        notes.append(
            f"validation uses {share:.0%} of the speech, because the smallest speaker or file is that large; use"
            " --valid-data to choose other speech"
        )
    return training, validation


def hold_out(recordings: Recordings, kind: str, seed: int, previous: Groups | None) -> tuple[Recordings, Recordings]:
    """Recordings for training, and those whose groups validated before or, if there was no start, are drawn now."""
    groups = draw_groups(recordings, seed) if previous is None else previous & recordings.groups()
    if previous and not groups:
        raise CorpusError(
            f"the data no longer contains any of the {KINDS[kind]} that this run validates on; restore the folders and"
            " names"
        )
    validation = recordings.where(lambda recording: recording.group in groups)
    return exclude(recordings, validation), validation


def draw_groups(recordings: Recordings, seed: int) -> Groups:
    """Draw validation groups with about VALIDATION_SHARE of all samples; none if there is only one group."""
    sizes: dict[str, int] = {}
    for recording in recordings.all:
        sizes[recording.group] = sizes.get(recording.group, 0) + recording.length
    if len(sizes) < 2:
        return frozenset()
    names = sorted(sizes)
    order = [names[i] for i in random_stream(seed, Purpose.SPLIT).permutation(len(names))]
    wanted, taken = VALIDATION_SHARE * sum(sizes.values()), 0
    drawn: list[str] = []
    for group in order[:-1]:
        if taken + sizes[group] <= 2 * wanted:
            drawn.append(group)
            taken += sizes[group]
        if taken >= wanted:
            break
    if taken < wanted / 2:  # only large groups remain: take the smallest of them
        rest = [group for group in order if group not in drawn]
        large = [group for group in rest if sizes[group] >= wanted]
        if len(rest) > 1:
            drawn.append(min(large or rest, key=lambda group: (sizes[group], group)))
    return frozenset(drawn)


def merge_groups(
    training: Recordings, validation: Recordings, previous: Groups | None
) -> tuple[Recordings, Recordings]:
    """The same recordings, with groups merged that contain the same file; names of `previous` groups are kept."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first_group: dict[str, str] = {}  # by digest
    for recording in (*training.all, *validation.all):
        group = root(recording.group)
        other = root(first_group.setdefault(recording.entry.digest, group))
        kept, merged = sorted((group, other), key=lambda name: (name not in (previous or ()), name))
        parent[merged] = kept
    first, second = (
        Recordings(tuple(replace(recording, group=root(recording.group)) for recording in side.all))
        for side in (training, validation)
    )
    return first, second


def save_split(path: Path, data: TrainingData) -> None:
    """Write the groups of training and validation by kind; missing ones too, in case they come back."""
    table = {
        kind: {
            "training": sorted(training.groups()),
            "validation": sorted(validation.groups() | data.missing.get(kind, frozenset())),
        }
        for kind, (training, validation) in data.splits.items()
    }
    write_whole(path, json.dumps(table, indent=1) + "\n")


def load_split(path: Path) -> Split:
    """Read the validation groups of a saved split; raises CorpusError if the file is damaged."""
    try:
        table = renamed(read_json(path.read_bytes()), "data")
        return {kind: frozenset(both["validation"]) for kind, both in table.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path}: not a split written by segan; choose another --run-dir") from error
