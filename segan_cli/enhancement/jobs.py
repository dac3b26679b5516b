"""Which recording becomes which file: inputs, folders, globs and lists to pairs of source and target."""

import codecs
import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.atomic import unfinished
from segan_cli.audio.files import MEDIA, counted
from segan_cli.errors import AudioError

STREAM = Path("-")  # standard input or output


@dataclass(frozen=True)
class Job:
    """One recording to enhance."""

    source: Path  # or STREAM
    target: Path  # or STREAM
    in_tree: bool = False  # whether the target lies in a folder of results, which is made


def plan(
    inputs: Sequence[Path],
    output: str | Path | None,
    suffix: str | None,
    ending: str | None,
    names: Sequence[Path] | None = None,
    left: list[str] | None = None,
) -> list[Job]:
    """Jobs for files, folders (searched to their depths), globs and STREAM; `names`, those of a list, are no globs.

    Targets are `output` where it is a file or STREAM, a place in the mirrored tree where it is a folder (always where
    it ends in a slash), and without it a file beside the source whose name ends in `suffix`; `ending` replaces that of
    the source's name. `left` gets lines on what folders hold beside recordings. Raises AudioError when an input is
    missing or two sources, or a source and a target, would be the same file.
    """
    alone = len(inputs) == 1 and not names
    named = [found for entry in inputs for found in expand(entry, alone)] + list(names or ())
    many = len(named) > 1 or os.path.isdir(named[0])  # noqa: PTH112  # which a name too long is not
    slash = str(output).endswith(os.sep)
    output = None if output is None else Path(output)
    folder = output if output is not None and (many or is_folder(output, slash)) else None
    if folder == STREAM:
        raise AudioError("-o -: standard output takes one recording; give -o FOLDER for several")
    if folder is not None and not is_folder(folder, slash):
        what = "several" if len(named) > 1 else "a folder"
        raise AudioError(f"{folder}: one file cannot take {what}; name a folder, or end its name in a slash")
    if output is None and STREAM in named:
        raise AudioError("-: standard input has no place that --suffix could write beside; give -o FILE or -o -")
    jobs = []
    for entry in named:
        for source, place in members(entry, folder, [] if left is None else left):
            name = place.with_suffix(ending) if ending and entry != STREAM else place
            if folder is not None:
                target = folder / name
            else:
                target = output or source.with_name(f"{name.stem}{suffix}{name.suffix}")
            jobs.append(Job(source, target, folder is not None))
    if not jobs:
        raise AudioError(f"{named[0]}: the folder holds no recordings; is it the right one?")
    if suffix is not None:
        jobs = rerun(jobs)
    check(jobs)
    return jobs


def expand(entry: Path, alone: bool) -> Iterator[Path]:
    """A file, folder or STREAM as it is, a glob as what it finds.

    Raises AudioError when that is nothing; a file that is missing among others fails later, and the others go on.
    """
    if entry == STREAM or os.path.exists(entry) or not (alone or glob.has_magic(str(entry))):  # noqa: PTH110
        yield entry
        return
    found = sorted(map(Path, glob.glob(str(entry), recursive=True)))  # noqa: PTH207  # also absolute ones
    if not found:
        kind = "nothing matches" if glob.has_magic(str(entry)) else "no such file; check the path"
        raise AudioError(f"{entry}: {kind}")
    yield from found


def members(entry: Path, output: Path | None, left: list[str]) -> Iterator[tuple[Path, Path]]:
    """The recordings of an entry, each with its place in a mirrored tree; what lies in `output` is no input.

    `left` gets a line on other files and on links to folders, which are not followed.
    """
    if not os.path.isdir(entry):  # noqa: PTH112
        yield entry, Path(entry.name)
        return
    kept_out = output.resolve() if output is not None else None
    others: Counter[str] = Counter()
    for folder, folders, names in os.walk(entry, onerror=refuse):
        left += [
            f"{Path(folder, name)}: is a link to a folder and not followed; name it too"
            for name in sorted(folders)
            if name[0] != "." and Path(folder, name).is_symlink()
        ]
        folders[:] = sorted(name for name in folders if name[0] != "." and Path(folder, name).resolve() != kept_out)
        for name in sorted(names):
            source = Path(folder, name)
            if name[0] == ".":
                continue
            if source.suffix.lower() in MEDIA and source.is_file():
                yield source, source.relative_to(entry)
            else:
                others[source.suffix.lower()] += 1
    if others:
        left.append(f"{entry}: {counted(others)} left out")


def is_folder(output: Path, slash: bool) -> bool:
    """Whether an output is meant as a folder: it is one, ends in a slash, or is nothing yet and has no ending."""
    return output != STREAM and (output.is_dir() or slash or not (output.suffix or os.path.lexists(output)))


def refuse(error: OSError) -> None:
    """Raise AudioError for a folder that cannot be searched."""
    raise AudioError(f"{error.filename}: cannot be searched ({error.strerror})") from error


def rerun(jobs: Sequence[Job]) -> list[Job]:
    """Jobs but for those whose source another one's suffix made."""
    made = {job.target for job in jobs}
    return [job for job in jobs if job.source not in made]


def check(jobs: Sequence[Job], others: Sequence[Path] = ()) -> None:
    """Raise AudioError where two outputs are the same file, or one is an input; `others` are outputs too."""
    sources = {os.path.realpath(job.source): job.source for job in jobs if job.source != STREAM}
    inodes = {identity(source) for source in sources.values()} - {None}
    taken: dict[str, Path] = {}
    outputs = [(job.target, job.source) for job in jobs if job.target != STREAM] + [(path, path) for path in others]
    for target, source in outputs:
        place = os.path.realpath(target)
        if place in taken:
            raise AudioError(f"{target}: both {taken[place]} and {source} would become this file")
        taken[place] = source
        if place in sources or identity(target) in inodes:
            raise AudioError(f"{target}: is {'the' if len(jobs) == 1 else 'an'} input itself; name another output")


def identity(path: Path) -> tuple[int, int] | None:
    """What is the same for all names of a file; none where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def listed(content: bytes) -> list[Path]:
    """Paths of a list: separated by NUL, as find -print0 does, or else one a line; unfinished outputs are left out."""
    content = content.removeprefix(codecs.BOM_UTF8)
    names = content.split(b"\0") if b"\0" in content else [line.rstrip(b"\r") for line in content.split(b"\n")]
    paths = [Path(os.fsdecode(name)) for name in names if name.strip()]
    return [path for path in paths if not unfinished(path.name)]
