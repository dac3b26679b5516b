"""Inputs: names in lists, files, folders, globs and URLs to recordings, in one walk."""

import codecs
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from segan_cli.atomic import is_unfinished
from segan_cli.audio.files import MEDIA, count_others, suggestion
from segan_cli.errors import AudioError
from segan_cli.remote import as_path, find_files, find_kind, find_matches, is_remote
from segan_cli.same_file import STREAM


class Entry(NamedTuple):
    """A file or folder to enhance, or STREAM."""

    path: Path
    is_folder: bool


class Recording(NamedTuple):
    """A recording that was found."""

    source: Path  # or STREAM
    relative: PurePath | None  # in the folder that was searched; None for one that was named itself


def read_names(content: bytes) -> Iterator[Path]:
    """Yield the paths in a list, separated by NUL (`find -print0`) or one per line; unfinished outputs are left out."""
    nul = b"\0" in content
    for found in re.finditer(rb"[^\0]+" if nul else rb"[^\n]+", content.removeprefix(codecs.BOM_UTF8)):
        path = as_path(os.fsdecode(found[0] if nul else found[0].rstrip(b"\r")))
        if found[0].strip() and not is_unfinished(path.name):
            yield path


def named(path: Path) -> Entry:
    """Return the entry of a name that is no glob; no server is asked about a URL, which is taken for a file."""
    return Entry(path, not is_remote(path) and os.path.isdir(path))  # noqa: PTH112  # Path.is_dir raises for overlong names


def expand(path: Path, single: bool) -> list[Entry]:
    """Return the entry of a path, or those that match a glob.

    Raises AudioError when nothing matches, and when the `single` input is missing; a missing file among others fails
    later without stopping them.
    """
    magic = glob.has_magic(str(path))
    if is_remote(path):
        matches = {path: what} if (what := find_kind(path)) else find_matches(path) if magic else {}
        found = [Entry(match, kind == "directory") for match, kind in matches.items()]
    elif path == STREAM or os.path.exists(path):  # noqa: PTH110  # Path.exists raises for overlong names
        found = [named(path)]
    else:
        found = [named(Path(name)) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207  # Path.glob refuses absolute patterns
    if found:
        return found
    if magic:
        raise AudioError(f"{path}: nothing matches")
    if single:
        raise AudioError(f"{path}: no such file; {'check the URL' if is_remote(path) else suggestion(path)}")
    return [Entry(path, is_folder=False)]


def find_recordings(entries: Iterable[Entry], output: Path | None, notes: list[str]) -> Iterator[Recording]:
    """Yield the recordings of files and folders, each folder searched once, but not the folder `output` in it.

    `notes` gets a line about other files and about links to folders, which are not followed.
    """
    for path, is_folder in entries:
        if not is_folder:
            yield Recording(path, None)
            continue
        others: Counter[str] = Counter()
        yield from find_remote(path, output, others) if is_remote(path) else find_local(path, output, others, notes)
        if others:
            notes.append(f"{path}: {count_others(others)} left out")


def find_local(folder: Path, output: Path | None, others: Counter[str], notes: list[str]) -> Iterator[Recording]:
    """Yield the recordings below a local folder, and count the other files by extension."""
    excluded = output.resolve() if output is not None and not is_remote(output) else None
    for current, folders, names in os.walk(folder, onerror=raise_unreadable):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        notes += [
            f"{Path(current, name)}: is a link to a folder, which is not followed; give it as an input"
            for name in folders
            if Path(current, name).is_symlink()
        ]
        folders[:] = [name for name in folders if Path(current, name).resolve() != excluded]
        for name in sorted(name for name in names if name[0] != "."):
            source = Path(current, name)
            if source.suffix.lower() in MEDIA and source.is_file():
                yield Recording(source, source.relative_to(folder))
            else:
                others[source.suffix.lower()] += 1


def find_remote(folder: Path, output: Path | None, others: Counter[str]) -> Iterator[Recording]:
    """Yield the recordings below a remote folder, and count the other files by extension."""
    prefix = f"{folder}/"
    excluded = f"{output}/".removeprefix(prefix) if f"{output}/".startswith(prefix) else None
    for name in find_files(folder):
        relative = PurePosixPath(name)
        if excluded and name.startswith(excluded):
            continue
        if relative.suffix.lower() in MEDIA:
            yield Recording(folder / name, relative)
        else:
            others[relative.suffix.lower()] += 1


def raise_unreadable(error: OSError) -> None:
    """Raise AudioError for a folder that cannot be searched."""
    raise AudioError(f"{error.filename}: cannot be searched ({error.strerror})") from error
