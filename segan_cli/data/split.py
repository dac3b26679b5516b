"""Which recordings are held out for validation: whole speakers, whole noise recordings, whole rooms."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segan_cli.atomic import write_whole
from segan_cli.data.recordings import Recordings
from segan_cli.errors import CorpusError
from segan_cli.plain_json import read_json

SHARE = 0.05  # of the samples that validation gets, where the groups' sizes allow

Groups = frozenset[str]
Split = dict[str, Groups]  # speakers, noise, rooms → the groups that validation has


def hold_out(kinds: Sequence[Recordings], seed: int) -> Groups:
    """Groups with about a twentieth of all samples, drawn by the seed; none where there is but one group."""
    sizes: dict[str, int] = {}
    for recordings in kinds:
        for recording in recordings.all:
            sizes[recording.group] = sizes.get(recording.group, 0) + recording.length
    if len(sizes) < 2:
        return frozenset()
    order = [sorted(sizes)[i] for i in np.random.default_rng(seed).permutation(len(sizes))]
    wanted, taken = SHARE * sum(sizes.values()), 0
    held: list[str] = []
    for group in order[:-1]:
        if taken + sizes[group] <= 2 * wanted:
            held.append(group)
            taken += sizes[group]
        if taken >= wanted:
            break
    if taken < wanted / 2:  # all that is left is large: take the smallest of it
        rest = [group for group in order if group not in held]
        large = [group for group in rest if sizes[group] >= wanted]
        if len(rest) > 1:
            held.append(min(large or rest, key=lambda group: (sizes[group], group)))
    return frozenset(held)


def joined(kinds: Sequence[Recordings]) -> list[Recordings]:
    """The same recordings, with groups that share a content made one."""
    parent: dict[str, str] = {}

    def top(group: str) -> str:
        while parent.setdefault(group, group) != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first: dict[str, str] = {}  # group in which a content was met first
    for recordings in kinds:
        for recording in recordings.all:
            ours = top(recording.group)
            theirs = top(first.setdefault(recording.entry.digest, ours))
            parent[max(ours, theirs)] = min(ours, theirs)
    return [
        Recordings(tuple(replace(recording, group=top(recording.group)) for recording in recordings.all))
        for recordings in kinds
    ]


def kept_apart(recordings: Sequence[Recordings], before: Groups) -> Groups:
    """The groups that an earlier start held out; raises CorpusError when none of them is there any more."""
    there = before & {group for kind in recordings for group in kind.groups()}
    if before and not there:
        raise CorpusError("nothing of what this run holds out for validation is in its data; bring it back")
    return there


def divide(recordings: Recordings, held: Groups) -> tuple[Recordings, Recordings]:
    """The recordings of all other groups, and of those that are held out."""
    ours = [i for i, recording in enumerate(recordings.all) if recording.group not in held]
    theirs = [i for i, recording in enumerate(recordings.all) if recording.group in held]
    return recordings.subset(ours), recordings.subset(theirs)


def apart(training: Recordings, validation: Iterable[Recordings]) -> tuple[Recordings, int]:
    """Training without what validation has, by group or by content; and how many recordings that were."""
    groups: set[str] = set()
    digests: set[str] = set()
    for recordings in validation:
        groups |= {recording.group for recording in recordings.all}
        digests |= {recording.entry.digest for recording in recordings.all}
    keep = [
        i
        for i, recording in enumerate(training.all)
        if recording.group not in groups and recording.entry.digest not in digests
    ]
    return training.subset(keep), len(training) - len(keep)


def save_split(path: Path, sides: dict[str, tuple[Sequence[Recordings], Sequence[Recordings]]]) -> None:
    """Write the groups that training and validation have of each kind."""
    table = {
        kind: {
            name: sorted({group for recordings in side for group in recordings.groups()})
            for name, side in zip(("training", "validation"), both, strict=True)
        }
        for kind, both in sides.items()
    }
    write_whole(path, (json.dumps(table, indent=1) + "\n").encode())


def load_split(path: Path) -> Split:
    """The groups that validation has, as they were written; raises CorpusError when the file is damaged."""
    try:
        table = read_json(path.read_bytes())
        return {kind: frozenset(both["validation"]) for kind, both in table.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path}: not a split that segan wrote; name another --run-dir") from error
