"""Planning: inputs (files, folders, globs, lists) to jobs."""

import codecs
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from segan_cli.atomic import is_unfinished
from segan_cli.audio.files import MEDIA, count_others, suggestion
from segan_cli.enhancement.jobs import Job, check_paths
from segan_cli.errors import AudioError
from segan_cli.remote import as_path, check_writable_scheme, find_files, find_kind, find_matches, is_remote, join
from segan_cli.same_file import STREAM, Use, name_key


@dataclass(frozen=True)
class Shard:
    """One of `n` parts of a batch; the name of a recording, in its folder or as given, decides which part it is in."""

    index: int  # 1 … n
    n: int

    def holds(self, name: PurePath) -> bool:
        """Whether a recording belongs to this part."""
        return name_key(name.as_posix()) % self.n == self.index - 1


class NameList:
    """The paths in a list, separated by NUL (`find -print0`) or one per line; unfinished outputs are left out."""

    def __init__(self, content: bytes) -> None:
        self.content = content.removeprefix(codecs.BOM_UTF8)
        self.separator = b"\0" if b"\0" in content else b"\n"

    def __iter__(self) -> Iterator[Path]:
        for name in split(self.content, self.separator):
            path = as_path(os.fsdecode(name if self.separator == b"\0" else name.rstrip(b"\r")))
            if name.strip() and not is_unfinished(path.name):
                yield path


class RemoteFolder:
    """A folder of an object store, listed once; the names are kept as bytes, which take little memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.names = path, "\0".join(find_files(path)).encode(errors="surrogateescape")

    def __str__(self) -> str:
        return str(self.path)

    def __iter__(self) -> Iterator[str]:
        return (os.fsdecode(name) for name in split(self.names, b"\0") if name)


class Plan:
    """The jobs for files, folders (searched recursively), globs and STREAM, in order.

    Every iteration finds them anew, so that a plan of millions needs little memory.
    """

    def __init__(
        self,
        inputs: Sequence[Path],
        output: Path | None,
        suffix: str | None,
        extension: str | None,
        names: Iterable[Path] = (),
        *,
        slash: bool = False,
        shard: Shard | None = None,
        others: Sequence[Use] = (),
    ) -> None:
        """Plan the jobs, and check them.

        Args:
            inputs: paths and globs.
            output: a file, STREAM, or a folder, where the tree of the inputs is mirrored.
            suffix: without `output`, targets are beside their sources, with this before the extension.
            extension: replaces that of the source.
            names: further inputs that are not globs, from a list; read at every iteration.
            slash: `output` was given with a slash at its end, so it is a folder.
            shard: the part of the jobs to do.
            others: further files that the command reads or writes.

        Raises AudioError when an input is missing, SameFileError when a file would be written twice, or over one that
        is read.
        """
        self.output, self.suffix, self.extension, self.names = output, suffix, extension, names
        self.notes: list[str] = []  # about files in folders that are left out, from the first iteration
        self.noting = True
        self.shard: Shard | None = None
        single = len(inputs) == 1 and not any(True for _ in names)
        self.found = [found for entry in inputs for found in expand(entry, single)]
        first = list(islice(self._entries(), 2))
        several = len(first) > 1 or isinstance(first[0], RemoteFolder) or is_local_folder(first[0])
        self.folder = output if output is not None and (several or is_folder(output, slash)) else None
        self._check_output("several" if len(first) > 1 else "a folder", slash)
        self.stems: NDArray[np.uint64] = np.zeros(0, np.uint64)  # of all sources, sorted, if targets are beside them
        if suffix is not None:
            self.stems = np.sort(np.fromiter((stem_key(job.source, job.source.stem) for job in self), np.uint64))
            self.noting = False
        n = check_paths(self, others)
        self.noting = False
        if not n:
            raise AudioError(f"{first[0]}: the folder holds no recordings; is it the right one?")
        if results := max(0, len(self.stems) - n):
            self.notes.append(f"{results} result{'s' * (results > 1)} of an earlier run ({suffix}) left out")
        self.shard = shard
        self.n = n if shard is None else sum(1 for _ in self)

    def __iter__(self) -> Iterator[Job]:
        for entry in self._entries():
            for source, relative in find_recordings(entry, self.folder, self.notes if self.noting else None):
                if self._is_result(source):
                    continue
                inside = relative if source is not entry else PurePath(str(source))  # the name that decides
                if self.shard is not None and not self.shard.holds(inside):
                    continue
                ending = self.extension.lower() if self.extension and source != STREAM else relative.suffix
                if self.folder is not None:
                    inner = join(self.folder, relative)
                    target = inner.with_name(f"{inner.stem}{ending}")
                else:
                    target = self.output or source.with_name(f"{relative.stem}{self.suffix}{ending}")
                yield Job(source, target, make_folder=self.output is not None)

    def _entries(self) -> Iterator["Path | RemoteFolder"]:
        yield from self.found
        yield from self.names

    def _is_result(self, source: Path) -> bool:
        """Whether a source has the suffix, and the source it would be the result of is there too."""
        if not len(self.stems) or not source.stem.endswith(self.suffix or ""):
            return False
        key = stem_key(source, source.stem.removesuffix(self.suffix or ""))
        place = int(np.searchsorted(self.stems, np.uint64(key)))
        return place < len(self.stems) and int(self.stems[place]) == key

    def _check_output(self, what: str, slash: bool) -> None:
        """Raise AudioError for an output that does not fit the inputs."""
        output, folder, extension = self.output, self.folder, self.extension
        for place in self.found if output is None else [output]:  # beside which the outputs are
            if not isinstance(place, RemoteFolder):
                check_writable_scheme(place)
        if folder == STREAM:
            raise AudioError("-o -: standard output takes one recording; give -o FOLDER for several")
        if folder is not None and not is_folder(folder, slash):
            raise AudioError(f"{folder}: one file cannot hold {what}; name a folder, or end its name in a slash")
        if extension and output is not None and folder is None and output.suffix.lower() != extension.lower():
            raise AudioError(f"{output}: --format {extension[1:]} contradicts this name; give one of them")
        if output is None and any(entry == STREAM for entry in self._entries()):
            raise AudioError("-: standard input has no name for the output; give -o FILE or -o -")


class ExistingTargets:
    """Which targets exist: local files by a request each, remote ones by one listing of their folder."""

    def __init__(self, plan: Plan) -> None:
        self.listed: set[Path] = set()
        self.keys: set[int] = set()
        self.root = plan.folder if plan.folder is not None and is_remote(plan.folder) else None
        if self.root is not None:
            self._list(self.root, recursive=True)

    def __contains__(self, target: Path) -> bool:
        if target == STREAM:
            return False
        if not is_remote(target):
            return os.path.isfile(target)  # noqa: PTH113  # Path.is_file raises for overlong names
        if self.root is None and target.parent not in self.listed:
            self._list(target.parent, recursive=False)
        return name_key(str(target)) in self.keys

    def _list(self, folder: Path, recursive: bool) -> None:
        self.listed.add(folder)
        self.keys |= {name_key(str(folder / name)) for name in find_files(folder, recursive, hidden=True)}


def stem_key(source: Path, stem: str) -> int:
    """Return a hash of the folder of a source and of a name without its extension."""
    return name_key(f"{source.parent}/{stem}")


def split(content: bytes, separator: bytes) -> Iterator[bytes]:
    """Split bytes at every separator, one piece at a time."""
    start = 0
    while start < len(content):
        end = content.find(separator, start)
        end = len(content) if end < 0 else end
        yield content[start:end]
        start = end + 1


def expand(entry: Path, single: bool) -> Iterator[Path | RemoteFolder]:
    """Yield a path, or the files that match a glob.

    Raises AudioError when nothing matches, and when the `single` input is missing; a missing file among others fails
    later without stopping them.
    """
    found: list[Path | RemoteFolder]
    magic = glob.has_magic(str(entry))
    if is_remote(entry):
        matches = {entry: what} if (what := find_kind(entry)) else find_matches(entry) if magic else {}
        found = [RemoteFolder(path) if kind == "directory" else path for path, kind in matches.items()]
        if not (found or single or magic):
            found = [entry]  # fails later
    elif entry == STREAM or os.path.exists(entry) or not (single or magic):  # noqa: PTH110
        yield entry
        return
    else:
        found = [*sorted(map(Path, glob.glob(str(entry), recursive=True)))]  # noqa: PTH207  # Path.glob refuses absolute patterns
    if not found:
        hint = "check the URL" if is_remote(entry) else suggestion(entry)
        raise AudioError(f"{entry}: {'nothing matches' if magic else f'no such file; {hint}'}")
    yield from found


def find_recordings(
    entry: Path | RemoteFolder, output: Path | None, notes: list[str] | None
) -> Iterator[tuple[Path, PurePath]]:
    """Yield the recordings of a file or folder, each with its relative path; the folder `output` is left out.

    `notes` gets a line about other files and about links to folders, which are not followed.
    """
    others: Counter[str] = Counter()
    if isinstance(entry, RemoteFolder):
        place, found = entry.path, find_remote(entry, output, others)
    elif is_local_folder(entry):
        place, found = entry, find_local(entry, output, others, notes)
    else:
        yield entry, PurePath(entry.name)
        return
    yield from found
    if others and notes is not None:
        notes.append(f"{place}: {count_others(others)} left out")


def find_local(
    folder: Path, output: Path | None, others: Counter[str], notes: list[str] | None
) -> Iterator[tuple[Path, PurePath]]:
    """Yield the recordings below a local folder, and count the other files by extension."""
    excluded = output.resolve() if output is not None and not is_remote(output) else None
    for current, folders, names in os.walk(folder, onerror=raise_unreadable):
        if notes is not None:
            notes += [
                f"{Path(current, name)}: is a link to a folder, which is not followed; give it as an input"
                for name in sorted(folders)
                if name[0] != "." and Path(current, name).is_symlink()
            ]
        folders[:] = sorted(name for name in folders if name[0] != "." and Path(current, name).resolve() != excluded)
        for name in sorted(names):
            source = Path(current, name)
            if name[0] == ".":
                continue
            if source.suffix.lower() in MEDIA and source.is_file():
                yield source, source.relative_to(folder)
            else:
                others[source.suffix.lower()] += 1


def find_remote(folder: RemoteFolder, output: Path | None, others: Counter[str]) -> Iterator[tuple[Path, PurePath]]:
    """Yield the recordings below a remote folder, and count the other files by extension."""
    prefix = f"{folder.path}/"
    excluded = f"{output}/".removeprefix(prefix) if output is not None and f"{output}/".startswith(prefix) else None
    for name in folder:
        relative = PurePosixPath(name)
        if excluded and name.startswith(excluded):
            continue
        if relative.suffix.lower() in MEDIA:
            yield folder.path / name, relative
        else:
            others[relative.suffix.lower()] += 1


def is_local_folder(entry: Path | RemoteFolder) -> bool:
    """Whether a path is a local folder."""
    return isinstance(entry, Path) and os.path.isdir(entry)  # noqa: PTH112  # Path.is_dir raises for overlong names


def is_folder(output: Path, slash: bool) -> bool:
    """Whether an output means a folder: it is one, ends in a slash, or does not exist and has no extension."""
    if is_remote(output):
        return slash or not output.suffix or "/" not in str(output).partition("://")[2]  # a bucket
    return output != STREAM and (output.is_dir() or slash or not (output.suffix or os.path.lexists(output)))


def raise_unreadable(error: OSError) -> None:
    """Raise AudioError for a folder that cannot be searched."""
    raise AudioError(f"{error.filename}: cannot be searched ({error.strerror})") from error
