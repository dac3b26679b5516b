"""Choose the recordings for validation: whole speakers, whole noise recordings, whole room responses."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from segan_cli.atomic import write_whole
from segan_cli.config.legacy import SPLIT_KINDS, renamed
from segan_cli.data.random_streams import Purpose, random_stream
from segan_cli.data.recordings import Recordings
from segan_cli.errors import CorpusError
from segan_cli.plain_json import read_json

VALIDATION_SHARE = 0.05  # target fraction of the samples

Groups = frozenset[str]
Split = dict[str, Groups]  # "speakers", "noise", "rirs" → groups in validation


def draw_groups(parts: Sequence[Recordings], seed: int) -> Groups:
    """Draw validation groups with about VALIDATION_SHARE of all samples; none if there is only one group."""
    sizes: dict[str, int] = {}
    for recordings in parts:
        for recording in recordings.all:
            sizes[recording.group] = sizes.get(recording.group, 0) + recording.length
    if len(sizes) < 2:
        return frozenset()
    order = [sorted(sizes)[i] for i in random_stream(seed, Purpose.SPLIT).permutation(len(sizes))]
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


def merge_groups(parts: Sequence[Recordings]) -> list[Recordings]:
    """The same recordings, with groups merged that contain the same file."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first_group: dict[str, str] = {}  # by digest
    for recordings in parts:
        for recording in recordings.all:
            group = root(recording.group)
            other = root(first_group.setdefault(recording.entry.digest, group))
            parent[max(group, other)] = min(group, other)
    return [
        Recordings(tuple(replace(recording, group=root(recording.group)) for recording in recordings.all))
        for recordings in parts
    ]


def keep_groups(parts: Sequence[Recordings], previous: Groups) -> Groups:
    """The previous validation groups that still exist; raises CorpusError if all of them are gone."""
    remaining = previous & {group for recordings in parts for group in recordings.groups()}
    if previous and not remaining:
        raise CorpusError("none of this run's validation speakers are in its data any more; restore them")
    return remaining


def partition(recordings: Recordings, validation: Groups) -> tuple[Recordings, Recordings]:
    """Split recordings into training and validation by group."""
    held_out = [recording.group in validation for recording in recordings.all]
    training = [i for i, is_held_out in enumerate(held_out) if not is_held_out]
    return recordings.subset(training), recordings.subset([i for i, is_held_out in enumerate(held_out) if is_held_out])


def exclude(training: Recordings, validation: Iterable[Recordings]) -> tuple[Recordings, int]:
    """Remove recordings that share a group or their content with validation; also returns how many were removed."""
    groups: set[str] = set()
    digests: set[str] = set()
    for recordings in validation:
        groups |= {recording.group for recording in recordings.all}
        digests |= {recording.entry.digest for recording in recordings.all}
    kept = [
        i
        for i, recording in enumerate(training.all)
        if recording.group not in groups and recording.entry.digest not in digests
    ]
    return training.subset(kept), len(training) - len(kept)


def save_split(path: Path, splits: dict[str, tuple[Sequence[Recordings], Sequence[Recordings]]]) -> None:
    """Write the groups of training and validation by kind."""
    table = {
        kind: {
            name: sorted({group for recordings in parts for group in recordings.groups()})
            for name, parts in zip(("training", "validation"), both, strict=True)
        }
        for kind, both in splits.items()
    }
    write_whole(path, (json.dumps(table, indent=1) + "\n").encode())


def load_split(path: Path) -> Split:
    """Read the validation groups of a saved split; raises CorpusError if the file is damaged."""
    try:
        table = read_json(path.read_bytes())
        return {kind: frozenset(both["validation"]) for kind, both in renamed(table, SPLIT_KINDS).items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path}: not a split written by segan; choose another --run-dir") from error
