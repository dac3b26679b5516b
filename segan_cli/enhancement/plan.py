"""Planning: turning names in lists, files, folders, globs and URLs into a list of jobs, in one pass."""

import codecs
import glob
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice, pairwise
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from segan_cli.audio.files import MEDIA, count_others, suggestion
from segan_cli.errors import AudioError, ConfigError
from segan_cli.storage.atomic import DEVICES, is_unfinished
from segan_cli.storage.remote import (
    as_path,
    check_writable_scheme,
    find_files,
    find_kind,
    find_matches,
    is_remote,
    join,
)
from segan_cli.storage.same_file import STREAM, Use, check_uses, name_key
from segan_cli.text import counted

Found = tuple[Path, PurePath | None]  # a recording or STREAM, and its name in the folder that was searched, if one was


class Entry(NamedTuple):
    """A file or folder to enhance, or STREAM."""

    path: Path
    is_folder: bool


def read_names(content: bytes) -> Iterator[Path]:
    """Yield the paths in a list, separated by NUL (`find -print0`) or one per line; unfinished outputs are left out."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise AudioError("--files-from: the list is in UTF-16; save it in UTF-8")
    nul = b"\0" in content
    for found in re.finditer(rb"[^\0]+" if nul else rb"[^\n]+", content.removeprefix(codecs.BOM_UTF8)):
        path = as_path(os.fsdecode(found[0] if nul else found[0].rstrip(b"\r")))
        if found[0].strip() and not is_unfinished(path.name):
            yield path


def entry_of(path: Path) -> Entry:
    """Return the entry of a name that is not a glob; a URL counts as a file, without a request to its server."""
    return Entry(path, not is_remote(path) and os.path.isdir(path))


def expand(path: Path, single: bool) -> list[Entry]:
    """Return the entries of a path or glob; raises AudioError when a glob or the `single` input matches nothing."""
    magic = glob.has_magic(str(path))
    if is_remote(path):
        matches = {path: what} if (what := find_kind(path)) else find_matches(path) if magic else {}
        found = [Entry(match, kind == "directory") for match, kind in matches.items()]
    elif path == STREAM or os.path.exists(path):
        found = [entry_of(path)]
    else:
        found = [entry_of(Path(name)) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207  # Path.glob refuses absolute patterns
    if found:
        return found
    if magic:
        raise AudioError(f"{path}: nothing matches")
    if single:
        raise AudioError(f"{path}: no such file; {'check the URL' if is_remote(path) else suggestion(path)}")
    return [Entry(path, is_folder=False)]


def find_recordings(entries: Iterable[Entry], plan: "Plan") -> Iterator[Found]:
    """Yield the recordings of files and folders, but not those in the folder of the plan, which notes what is left."""
    for path, is_folder in entries:
        if not is_folder:
            yield path, None
            continue
        others: Counter[str] = Counter()
        found = find_remote(path, plan.folder, others) if is_remote(path) else find_local(path, plan, others)
        try:
            n = 0
            for n, recording in enumerate(found, 1):  # noqa: B007
                yield recording
            if not n:
                plan.refused.setdefault(str(path), f"{path}: the folder contains no recordings; is it the right one?")
        except AudioError as error:
            plan.refused[str(path)] = str(error)
        if others:
            plan.notes.append(f"{path}: {count_others(others)} left out")


def find_local(folder: Path, plan: "Plan", others: Counter[str]) -> Iterator[Found]:
    """Yield the recordings below a local folder, and count the other files by extension."""

    def refuse(error: OSError) -> None:
        plan.refused[error.filename] = f"{error.filename}: cannot be searched ({error.strerror})"

    excluded = os.path.realpath(plan.folder) if plan.folder is not None and not is_remote(plan.folder) else None
    for current, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        plan.notes += [
            f"{Path(current, name)}: is a link to a folder, which is not followed; give it as an input"
            for name in folders
            if Path(current, name).is_symlink()
        ]
        folders[:] = [name for name in folders if os.path.realpath(Path(current, name)) != excluded]
        for name in sorted(name for name in names if name[0] != "."):
            source = Path(current, name)
            is_special = os.path.exists(source) and not os.path.isfile(source)
            if source.suffix.lower() in MEDIA and not is_special:
                yield source, source.relative_to(folder)
            else:
                others[source.suffix.lower()] += 1


def find_remote(folder: Path, output: Path | None, others: Counter[str]) -> Iterator[Found]:
    """Yield the recordings below a remote folder, and count the other files by extension."""
    prefix = f"{folder}/"
    excluded = f"{output}/".removeprefix(prefix) if f"{output}/".startswith(prefix) else None
    for name in find_files(folder):
        relative = PurePosixPath(name)
        if excluded and name.startswith(excluded):
            continue
        if relative.suffix.lower() in MEDIA:
            yield folder / name, relative
        else:
            others[relative.suffix.lower()] += 1


class Job(NamedTuple):
    """One recording to enhance."""

    source: Path  # or STREAM
    target: Path  # or STREAM; its folder is made


class Plan:
    """The jobs of a batch, in order; their names are kept as bytes, in an eighth of the memory that paths take."""

    def __init__(self, folder: Path | None, notes: list[str], refused: dict[str, str], jobs: Iterable[Job]) -> None:
        """`folder` holds all targets, None if they are next to their sources; `notes` are on omitted files."""
        self.names, self.ends, self.folder, self.notes = bytearray(), array("Q"), folder, notes
        self.refused = refused  # recordings that can have no output, folders without recordings, and why
        for job in jobs:
            self.append(job)

    def append(self, job: Job) -> None:
        """Add a job at the end."""
        for path in (job.source, job.target):
            self.names += str(path).encode(errors="surrogatepass")
            self.ends.append(len(self.names))

    def __len__(self) -> int:
        return len(self.ends) // 2

    def __iter__(self) -> Iterator[Job]:
        places = pairwise(chain([0], self.ends))
        paths = (as_path(self.names[start:end].decode(errors="surrogatepass")) for start, end in places)
        return map(Job, paths, paths)  # source, target, source, target …

    def select(self, flags: Sequence[int]) -> "Plan":
        """Return the jobs whose flag is not 0."""
        return self if all(flags) else Plan(self.folder, self.notes, self.refused, compress(self, flags))

    @property
    def has_stream(self) -> bool:
        """Whether a job reads standard input or writes standard output."""
        return any(STREAM in (job.source, job.target) for job in self)


def check_paths(jobs: Iterable[Job], others: Sequence[Use] = ()) -> None:
    """Check jobs and `others`; raises SameFileError when a file is written twice, or over one that is read."""

    def uses() -> Iterator[Use]:
        for job in jobs:
            yield Use(job.source, "input")
            yield Use(job.target, str(job.source), written=True)
        yield from others

    check_uses(uses)


@dataclass(frozen=True)
class Shard:
    """One of `n` parts of a batch; the name of a recording, in its folder or as given, decides which part it is in."""

    index: int  # 1 … n
    n: int

    def holds(self, name: PurePath) -> bool:
        """Whether a recording belongs to this part."""
        return name_key(name.as_posix()) % self.n == self.index - 1


def make_plan(
    inputs: Sequence[Path],  # paths and globs
    output: Path | None,  # a file, STREAM, or a folder, where the tree of the inputs is mirrored
    suffix: str | None,  # without `output`, targets are next to their sources, with this before the extension
    extension: str | None,  # in lower case, replaces that of the source
    names: Iterable[Path] = (),  # further inputs that are not globs, from a list; read once
    *,
    slash: bool = False,  # `output` was given with a slash at its end, so it is a folder
    shard: Shard | None = None,  # the part of the jobs to do
    others: Sequence[Use] = (),  # further files that the command reads or writes
) -> Plan:
    """Find the recordings of files, folders (searched recursively), globs and STREAM, in order, and name their outputs.

    Raises AudioError when an input is missing or all are refused, ConfigError when the output cannot be that of the
    inputs, and SameFileError when a file would be written twice, or over one that is read.
    """
    names = iter(names)
    listed = list(islice(names, 2))  # enough to know whether there are several
    found = [entry for path in inputs for entry in expand(path, single=len(inputs) + len(listed) == 1)]
    entries = [*found, *map(entry_of, listed)]
    for path in [path for path, is_folder in found if not is_folder] if output is None else [output]:
        check_writable_scheme(path)
    several = "several" if len(entries) > 1 else "a folder" if entries[0].is_folder else None
    targets = Targets(output, choose_folder(output, slash, extension, several), suffix, extension)
    plan, mine, refusal = Plan(targets.folder, [], {}, ()), bytearray(), ""
    for source, relative in find_recordings(chain(entries, map(entry_of, names)), plan):
        is_mine = shard is None or shard.holds(relative or PurePath(str(source)))
        try:
            plan.append(Job(source, targets.of(source, relative or PurePath(source.name))))
        except AudioError as error:
            refusal = refusal or str(error)
            if is_mine:
                plan.refused[str(source)] = str(error)
        else:
            mine.append(is_mine)
    if suffix is not None:
        fresh = flag_new_inputs(plan, suffix)
        plan, mine = plan.select(fresh), bytearray(compress(mine, fresh))
        if results := fresh.count(0):
            plan.notes.append(f"{counted(results, 'result')} of an earlier run ({suffix}) left out")
    check_paths(plan, others)
    if not len(plan):
        raise AudioError(refusal or next(iter(plan.refused.values())))
    return plan.select(mine)


class Targets(NamedTuple):
    """Where outputs go."""

    output: Path | None
    folder: Path | None  # of all of them
    suffix: str | None
    extension: str | None

    def of(self, source: Path, relative: PurePath) -> Path:
        """Return where a recording goes; raises AudioError for a name that does not stay in the folder."""
        ending = self.extension if self.extension and source != STREAM else relative.suffix
        if self.folder is not None:
            inner = join(self.folder, relative)
            return inner.with_name(f"{inner.stem}{ending}")
        if self.output is None and source == STREAM:
            raise ConfigError("-: standard input has no name for the output; give -o FILE or -o -")
        return self.output or source.with_name(f"{relative.stem}{self.suffix}{ending}")


def choose_folder(output: Path | None, slash: bool, extension: str | None, several: str | None) -> Path | None:
    """Return the folder of all targets; None if they are next to their sources, or `output` is the only one.

    Raises ConfigError when it is not a folder, but must be one for `several` inputs, or is a file of another extension.
    """
    if output is None:
        return None
    if DEVICES.fullmatch(str(output.parent)):
        raise ConfigError(f"{output}: is a device; give a file, or -o - for standard output")
    if not (several or means_folder(output, slash)):
        if extension and output.suffix.lower() != extension:
            raise ConfigError(f"{output}: --format {extension[1:]} contradicts this name; give one of them")
        return None
    if output == STREAM:
        raise ConfigError("-o -: standard output takes one recording; give -o FOLDER for several")
    if not means_folder(output, slash):
        raise ConfigError(f"{output}: one file cannot contain {several}; give a folder, or end the name with a slash")
    return output


def means_folder(output: Path, slash: bool) -> bool:
    """Whether an output means a folder: it is one, ends in a slash, or does not exist and has no extension."""
    if is_remote(output):
        return slash or not output.suffix or "/" not in str(output).partition("://")[2]  # a bucket
    return output != STREAM and (output.is_dir() or slash or not (output.suffix or os.path.lexists(output)))


def flag_new_inputs(jobs: Plan, suffix: str) -> bytes:
    """Return a flag for each job: 0 for a result of an earlier run, whose source is a job too."""

    def key(source: Path, stem: str) -> int:
        return name_key(f"{source.parent}/{stem}")

    stems = {key(job.source, job.source.stem) for job in jobs}
    return bytes(
        not (stem.endswith(suffix) and key(source, stem.removesuffix(suffix)) in stems)
        for source, stem in ((job.source, job.source.stem) for job in jobs)
    )
