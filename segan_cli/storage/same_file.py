"""Which names mean the same file, and the check that no output overwrites a file that the command reads or writes."""

import os
import stat
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segan_cli.errors import SameFileError
from segan_cli.storage.remote import is_remote

STREAM = Path("-")  # standard input or output
IS_MAC = sys.platform == "darwin"
Folders = dict[str, tuple[str, str | None]]  # by name: without links, and device and inode


class Use(NamedTuple):
    """A file that a command reads or writes, or STREAM."""

    path: Path
    what: str  # of a file that is read: input, list, model; of one that is written: its source or option
    written: bool = False


def name_key(name: str) -> int:
    """Return a hash of 64 bits of a name, the same in every process."""
    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest(), "little")


def check_uses(uses: Callable[[], Iterable[Use]]) -> None:
    """Check that no file is written twice or over one that is read.

    Files are compared without links, and by what identifies them on the disk. There may be millions: they are compared
    by hashes, and `uses` is called again to name files whose hashes are equal. Raises SameFileError.
    """
    read, written_names, written_files, streams = array("Q"), array("Q"), array("Q"), array("Q")
    folders, standard_output = Folders(), list[str]()
    for use in uses():
        name, file = _identity(use, folders)
        if use.written and use.path == STREAM:
            standard_output = file
            streams.extend(map(name_key, file))
            continue
        (written_names if use.written else read).extend(map(name_key, name))
        (written_files if use.written else read).extend(map(name_key, file))
    unique = np.unique(written_names)
    safe = len(unique) == len(written_names) and not np.isin(np.append(unique, written_files), read).any()
    if safe and not np.isin(streams, np.append(read, written_files)).any():
        return
    readers, n, writers = dict[str, str](), Counter[str](), dict[str, str]()
    for use in uses():
        if not use.written:
            readers |= dict.fromkeys(chain(*_identity(use, folders)), use.what)
            n[use.what] += 1
    for use in uses():
        if not use.written:
            continue
        shown = "standard output" if use.path == STREAM else use.path
        name, file = _identity(use, folders)
        if file and file == standard_output and use.path != STREAM:
            raise SameFileError(f"{shown}: is standard output itself; give another output")
        if other := next(filter(None, map(writers.get, name)), None):
            both = f"{shown}: both {other} and {use.what} would be written to this file"
            raise SameFileError(f"{other}: is given twice; give it once" if other == use.what else both)
        if what := next(filter(None, map(readers.get, [*name, *file])), None):
            which = f"the {what} itself" if n[what] == 1 else f"one of the {what}s"
            raise SameFileError(f"{shown}: is {which}; give another output")
        writers |= dict.fromkeys(name, use.what)


def _folded(path: str) -> str:
    """Return a name that is the same for all names that mean one file on the usual file systems of this system."""
    return unicodedata.normalize("NFD", path).casefold() if IS_MAC else os.path.normcase(path)


def _identity(use: Use, folders: Folders) -> tuple[list[str], list[str]]:
    """Return the names of a file without links, and what identifies it on the disk under all its names, if any.

    A folder can be mounted at a second place: one name is that in the folder with this inode. An overlay gives files
    another device: they also have the same inode, size and times. `folders` are those resolved before.
    """
    path = use.path
    if is_remote(path):
        return [str(path)], []
    file = []
    with suppress(OSError):  # it does not exist
        status = os.fstat(int(use.written)) if path == STREAM else os.stat(path)  # noqa: PTH116  # as for islink
        if stat.S_ISREG(status.st_mode):
            inode = status.st_ino
            file = [f"{status.st_dev} {inode}", f"{inode} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"]
    if path == STREAM:
        return [], file
    folder, name = os.path.split(path)
    if name == os.pardir or os.path.islink(path):
        folder, name = os.path.split(os.path.realpath(path))
    if folder not in folders:
        folders[folder] = os.path.realpath(folder), None
        with suppress(OSError):
            status = os.stat(folder or os.curdir)  # noqa: PTH116
            folders[folder] = folders[folder][0], f"{status.st_dev} {status.st_ino}"
    place, inode_of_folder = folders[folder]
    names = [_folded(os.path.join(place, name))]  # noqa: PTH118
    return names + ([f"{inode_of_folder} {_folded(name)}"] if inode_of_folder else []), file
