"""Planning: inputs (files, folders, globs, lists) to jobs of a source and a target each."""

import codecs
import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.atomic import is_unfinished
from segan_cli.audio.files import MEDIA, count_others, suggestion
from segan_cli.errors import AudioError

STREAM = Path("-")  # standard input or output


@dataclass(frozen=True)
class Job:
    """One recording to enhance."""

    source: Path  # or STREAM
    target: Path  # or STREAM
    make_folder: bool = False  # create the folder of the target


def plan(
    inputs: Sequence[Path],
    output: str | Path | None,
    suffix: str | None,
    extension: str | None,
    names: Sequence[Path] | None = None,
    notes: list[str] | None = None,
) -> list[Job]:
    """Plan the jobs for files, folders (searched recursively), globs and STREAM.

    Args:
        inputs: paths and globs.
        output: a file, STREAM, or a folder (always if it ends in a slash), where the tree of the inputs is mirrored.
        suffix: without `output`, targets are beside their sources, with this before the extension.
        extension: replaces that of the source.
        names: further inputs that are not globs, from a list.
        notes: gets lines about files in folders that are left out.

    Raises AudioError when an input is missing, or two outputs, or an input and an output, would be the same file.
    """
    single = len(inputs) == 1 and not names
    entries = [found for entry in inputs for found in expand(entry, single)] + list(names or ())
    many = len(entries) > 1 or os.path.isdir(entries[0])  # noqa: PTH112  # Path.is_dir raises for overlong names
    slash = str(output).endswith(os.sep)
    output = None if output is None else Path(output)
    folder = output if output is not None and (many or is_folder(output, slash)) else None
    if folder == STREAM:
        raise AudioError("-o -: standard output takes one recording; give -o FOLDER for several")
    if folder is not None and not is_folder(folder, slash):
        what = "several" if len(entries) > 1 else "a folder"
        raise AudioError(f"{folder}: one file cannot hold {what}; name a folder, or end its name in a slash")
    if extension and output is not None and folder is None and output.suffix.lower() != extension.lower():
        raise AudioError(f"{output}: --format {extension[1:]} contradicts this name; give one of them")
    if output is None and STREAM in entries:
        raise AudioError("-: standard input has no name for the output; give -o FILE or -o -")
    jobs = []
    for entry in entries:
        for source, relative in find_recordings(entry, folder, [] if notes is None else notes):
            name = relative.with_suffix(extension.lower()) if extension and entry != STREAM else relative
            if folder is not None:
                target = folder / name
            else:
                target = output or source.with_name(f"{name.stem}{suffix}{name.suffix}")
            jobs.append(Job(source, target, make_folder=output is not None))
    if not jobs:
        raise AudioError(f"{entries[0]}: the folder holds no recordings; is it the right one?")
    if suffix is not None:
        jobs = without_outputs(jobs)
    check_paths(jobs)
    return jobs


def expand(entry: Path, single: bool) -> Iterator[Path]:
    """Yield a path, or the files that match a glob.

    Raises AudioError when nothing matches, and when the `single` input is missing; a missing file among others fails
    later without stopping them.
    """
    if entry == STREAM or os.path.exists(entry) or not (single or glob.has_magic(str(entry))):  # noqa: PTH110
        yield entry
        return
    found = sorted(map(Path, glob.glob(str(entry), recursive=True)))  # noqa: PTH207  # Path.glob refuses absolute patterns
    if not found:
        kind = "nothing matches" if glob.has_magic(str(entry)) else f"no such file; {suggestion(entry)}"
        raise AudioError(f"{entry}: {kind}")
    yield from found


def find_recordings(entry: Path, output: Path | None, notes: list[str]) -> Iterator[tuple[Path, Path]]:
    """Yield the recordings of a file or folder, each with its relative path; the folder `output` is left out.

    `notes` gets a line about other files and about links to folders, which are not followed.
    """
    if not os.path.isdir(entry):  # noqa: PTH112
        yield entry, Path(entry.name)
        return
    excluded = output.resolve() if output is not None else None
    others: Counter[str] = Counter()
    for folder, folders, names in os.walk(entry, onerror=raise_unreadable):
        notes += [
            f"{Path(folder, name)}: is a link to a folder, which is not followed; give it as an input"
            for name in sorted(folders)
            if name[0] != "." and Path(folder, name).is_symlink()
        ]
        folders[:] = sorted(name for name in folders if name[0] != "." and Path(folder, name).resolve() != excluded)
        for name in sorted(names):
            source = Path(folder, name)
            if name[0] == ".":
                continue
            if source.suffix.lower() in MEDIA and source.is_file():
                yield source, source.relative_to(entry)
            else:
                others[source.suffix.lower()] += 1
    if others:
        notes.append(f"{entry}: {count_others(others)} left out")


def is_folder(output: Path, slash: bool) -> bool:
    """Whether an output means a folder: it is one, ends in a slash, or does not exist and has no extension."""
    return output != STREAM and (output.is_dir() or slash or not (output.suffix or os.path.lexists(output)))


def raise_unreadable(error: OSError) -> None:
    """Raise AudioError for a folder that cannot be searched."""
    raise AudioError(f"{error.filename}: cannot be searched ({error.strerror})") from error


def without_outputs(jobs: Sequence[Job]) -> list[Job]:
    """Leave out jobs whose source is the target of another job, as when a batch with --suffix is run again."""
    targets = {job.target for job in jobs}
    return [job for job in jobs if job.source not in targets]


def check_paths(jobs: Sequence[Job], others: Sequence[Path] = ()) -> None:
    """Raise AudioError when two outputs are the same file, or one is an input; `others` are outputs too."""
    sources = {os.path.realpath(job.source): job.source for job in jobs if job.source != STREAM}
    inodes = {file_id(source) for source in sources.values()} - {None}
    taken: dict[str, Path] = {}
    outputs = [(job.target, job.source) for job in jobs if job.target != STREAM] + [(path, path) for path in others]
    for target, source in outputs:
        place = os.path.realpath(target)
        if place in taken:
            raise AudioError(f"{target}: both {taken[place]} and {source} would be written to this file")
        taken[place] = source
        if place in sources or file_id(target) in inodes:
            raise AudioError(f"{target}: is {'the' if len(jobs) == 1 else 'an'} input itself; name another output")


def file_id(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file under all its names; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def parse_list(content: bytes) -> list[Path]:
    """Parse a list of paths, separated by NUL (`find -print0`) or one per line; unfinished outputs are left out."""
    content = content.removeprefix(codecs.BOM_UTF8)
    names = content.split(b"\0") if b"\0" in content else [line.rstrip(b"\r") for line in content.split(b"\n")]
    paths = [Path(os.fsdecode(name)) for name in names if name.strip()]
    return [path for path in paths if not is_unfinished(path.name)]
