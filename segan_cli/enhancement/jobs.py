"""Jobs of a source and a target each, and the check that no file is written twice or over an input."""

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.errors import AudioError
from segan_cli.remote import is_remote

STREAM = Path("-")  # standard input or output

Keys = NDArray[np.uint64]  # hashes of names


@dataclass(frozen=True)
class Job:
    """One recording to enhance."""

    source: Path  # or STREAM
    target: Path  # or STREAM
    make_folder: bool = False  # create the folder of the target


def name_key(name: str) -> int:
    """Return a hash of 64 bits of a name, the same in every process."""
    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest(), "little")


def check_paths(jobs: Iterable[Job], others: Iterable[Path] = ()) -> int:
    """Return the number of jobs, which may be millions: their names are compared by hashes.

    `jobs` is iterated again to name files whose hashes are equal. Raises AudioError when two outputs are the same file,
    or one is an input; `others` are outputs too.
    """
    n = 0
    names, files = _Keys(), _Keys()  # by name, and by device and inode
    folders: dict[str, str] = {}
    outputs = [(path, path) for path in others]
    for job in jobs:
        n += 1
        if job.source != STREAM:
            names.sources.append(name_key(_real_name(job.source, folders)))
            files.sources.append(_file_key(job.source))
        if job.target != STREAM:
            names.targets.append(name_key(_real_name(job.target, folders)))
            files.targets.append(_file_key(job.target))
    for path in others:
        names.targets.append(name_key(_real_name(path, folders)))
        files.targets.append(_file_key(path))
    if names.conflicts(repeated=True) or files.conflicts(repeated=False):
        _name_conflict(jobs, outputs, n)
    return n


class _Keys:
    """Hashes of all sources and targets; 0 stands for none."""

    def __init__(self) -> None:
        self.sources, self.targets = array("Q"), array("Q")

    def conflicts(self, repeated: bool) -> bool:
        """Whether a target has the hash of a source or, with `repeated`, of another target."""
        sources, targets = (np.frombuffer(keys, np.uint64) for keys in (self.sources, self.targets))
        sources, known = sources[sources > 0], targets[targets > 0]
        unique = np.unique(known)
        return bool(np.isin(unique, sources).any()) or (repeated and len(unique) < len(known))


def _name_conflict(jobs: Iterable[Job], others: list[tuple[Path, Path]], n: int) -> None:
    """Raise AudioError for the first target that is a source or another target."""
    folders: dict[str, str] = {}
    sources = {_real_name(job.source, folders) for job in jobs if job.source != STREAM}
    inodes = {_file_id(job.source) for job in jobs if job.source != STREAM} - {None}
    taken: dict[str, Path] = {}
    outputs = [(job.target, job.source) for job in jobs if job.target != STREAM] + others
    for target, source in outputs:
        place = _real_name(target, folders)
        if place in taken:
            raise AudioError(f"{target}: both {taken[place]} and {source} would be written to this file")
        taken[place] = source
        if place in sources or _file_id(target) in inodes:
            raise AudioError(f"{target}: is {'the' if n == 1 else 'an'} input itself; name another output")


def _real_name(path: Path, folders: dict[str, str]) -> str:
    """Return the name of a file without links; `folders` are those resolved before."""
    if is_remote(path):
        return str(path)
    if os.path.islink(path):  # noqa: PTH114  # Path.is_symlink raises for overlong names
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    if name == os.pardir:
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)  # noqa: PTH118


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return what identifies a local file under all its names; None if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a remote path is no os.PathLike
    except (OSError, TypeError):
        return None
    return status.st_dev, status.st_ino


def _file_key(path: Path) -> int:
    """Return a hash of what identifies a local file, 0 if it does not exist."""
    identity = _file_id(path)
    return 0 if identity is None else name_key(f"{identity[0]} {identity[1]}")
