"""Planning: what becomes of which recording, as a list of jobs."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice
from pathlib import Path, PurePath

from segan_cli.enhancement.inputs import expand, find_recordings, named
from segan_cli.enhancement.jobs import Job, JobList, check_paths
from segan_cli.errors import AudioError
from segan_cli.remote import check_writable_scheme, find_files, is_remote, join
from segan_cli.same_file import STREAM, Use, name_key


@dataclass(frozen=True)
class Shard:
    """One of `n` parts of a batch; the name of a recording, in its folder or as given, decides which part it is in."""

    index: int  # 1 … n
    n: int

    def holds(self, name: PurePath) -> bool:
        """Whether a recording belongs to this part."""
        return name_key(name.as_posix()) % self.n == self.index - 1


@dataclass(frozen=True)
class Plan:
    """The jobs of a batch."""

    jobs: JobList
    folder: Path | None  # that holds all targets
    notes: list[str]  # about files that are left out
    refused: dict[str, str]  # recordings that can have no output, and why

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def has_stream(self) -> bool:
        """Whether a job reads standard input or writes standard output."""
        return any(STREAM in (job.source, job.target) for job in self)


def make_plan(
    inputs: Sequence[Path],
    output: Path | None,
    suffix: str | None,
    extension: str | None,
    names: Iterable[Path] = (),
    *,
    slash: bool = False,
    shard: Shard | None = None,
    others: Sequence[Use] = (),
) -> Plan:
    """Find the recordings of files, folders (searched recursively), globs and STREAM, in order, and name their outputs.

    Args:
        inputs: paths and globs.
        output: a file, STREAM, or a folder, where the tree of the inputs is mirrored.
        suffix: without `output`, targets are beside their sources, with this before the extension.
        extension: replaces that of the source.
        names: further inputs that are not globs, from a list; read once.
        slash: `output` was given with a slash at its end, so it is a folder.
        shard: the part of the jobs to do.
        others: further files that the command reads or writes.

    Raises AudioError when an input is missing or all are refused, SameFileError when a file would be written twice, or
    over one that is read.
    """
    names = iter(names)
    listed = list(islice(names, 2))
    found = [entry for path in inputs for entry in expand(path, single=len(inputs) + len(listed) == 1)]
    entries = [*found, *map(named, listed)]
    for path in [path for path, is_folder in found if not is_folder] if output is None else [output]:
        check_writable_scheme(path)
    several = "several" if len(entries) > 1 else "a folder" if entries[0].is_folder else None
    targets = Targets(output, choose_folder(output, slash, extension, several), suffix, extension)
    jobs, mine, notes, refused = JobList(), bytearray(), list[str](), dict[str, str]()
    for source, relative in find_recordings(chain(entries, map(named, names)), targets.folder, notes):
        try:
            jobs.append(Job(source, targets.of(source, relative or PurePath(source.name))))
        except AudioError as error:
            refused[str(source)] = str(error)
            continue
        mine.append(shard is None or shard.holds(relative or PurePath(str(source))))
    if suffix is not None:
        fresh = not_results(jobs, suffix)
        jobs, mine = jobs.kept(fresh), bytearray(compress(mine, fresh))
        if results := fresh.count(0):
            notes.append(f"{results} result{'s' * (results > 1)} of an earlier run ({suffix}) left out")
    check_paths(jobs, others)
    if not len(jobs):
        empty = f"{entries[0].path}: the folder holds no recordings; is it the right one?"
        raise AudioError(next(iter(refused.values()), empty))
    refused = {name: why for name, why in refused.items() if shard is None or shard.holds(PurePath(name))}
    return Plan(jobs.kept(mine), targets.folder, notes, refused)


@dataclass(frozen=True)
class Targets:
    """Where outputs go."""

    output: Path | None
    folder: Path | None  # of all of them
    suffix: str | None
    extension: str | None

    def of(self, source: Path, relative: PurePath) -> Path:
        """Return where a recording goes; raises AudioError for a name that does not stay in the folder."""
        ending = self.extension.lower() if self.extension and source != STREAM else relative.suffix
        if self.folder is not None:
            inner = join(self.folder, relative)
            return inner.with_name(f"{inner.stem}{ending}")
        if self.output is None and source == STREAM:
            raise AudioError("-: standard input has no name for the output; give -o FILE or -o -")
        return self.output or source.with_name(f"{relative.stem}{self.suffix}{ending}")


def choose_folder(output: Path | None, slash: bool, extension: str | None, several: str | None) -> Path | None:
    """Return the folder of all targets; None if they are beside their sources, or `output` is the only one.

    Raises AudioError when it is no folder, but must be one for `several` inputs, or is a file of another extension.
    """
    if output is None:
        return None
    if not (several or is_folder(output, slash)):
        if extension and output.suffix.lower() != extension.lower():
            raise AudioError(f"{output}: --format {extension[1:]} contradicts this name; give one of them")
        return None
    if output == STREAM:
        raise AudioError("-o -: standard output takes one recording; give -o FOLDER for several")
    if not is_folder(output, slash):
        raise AudioError(f"{output}: one file cannot hold {several}; name a folder, or end its name in a slash")
    return output


def is_folder(output: Path, slash: bool) -> bool:
    """Whether an output means a folder: it is one, ends in a slash, or does not exist and has no extension."""
    if is_remote(output):
        return slash or not output.suffix or "/" not in str(output).partition("://")[2]  # a bucket
    return output != STREAM and (output.is_dir() or slash or not (output.suffix or os.path.lexists(output)))


def not_results(jobs: JobList, suffix: str) -> bytes:
    """Return a flag for each job: 0 if its source has the suffix, and what it would be the result of is there too."""

    def key(source: Path, stem: str) -> int:
        return name_key(f"{source.parent}/{stem}")

    stems = {key(job.source, job.source.stem) for job in jobs}
    return bytes(
        not (stem.endswith(suffix) and key(source, stem.removesuffix(suffix)) in stems)
        for source, stem in ((job.source, job.source.stem) for job in jobs)
    )


class ExistingTargets:
    """Which targets exist: local files by a request each, remote ones by one listing of their folder."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` holds all targets, None if they are beside their sources."""
        self.listed: set[Path] = set()
        self.found: set[Path] = set()
        self.root = folder if folder is not None and is_remote(folder) else None
        if self.root is not None:
            self._list(self.root, recursive=True)

    def __contains__(self, target: Path) -> bool:
        if target == STREAM:
            return False
        if not is_remote(target):
            return os.path.isfile(target)  # noqa: PTH113  # Path.is_file raises for overlong names
        if self.root is None and target.parent not in self.listed:
            self._list(target.parent, recursive=False)
        return target in self.found

    def _list(self, folder: Path, recursive: bool) -> None:
        self.listed.add(folder)
        self.found |= {folder / name for name in find_files(folder, recursive, hidden=True)}
