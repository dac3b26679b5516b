"""Files that appear whole or not at all: whatever segan writes for a user is written here."""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segan_cli.errors import OutputError
from segan_cli.stopping import UNFINISHED

PART = ".part"  # in the name of a file that is not finished, and of its lock
KEPT = 40  # characters of such a name that are those of the file
LONGEST_SUFFIX = 16
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system says that has none
WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the disk is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an error",
}
KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def atomically(path: Path, force: bool = True) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the block ends without an error, and is removed when it fails.

    Raises OutputError when it cannot be written, when another process is writing it, when `path` is no regular file, or
    when there is one and no `force`.
    """
    try:
        with _claimed(path):
            check_free(path, force)
            with _new(path) as beside:
                yield beside
                check_free(path, force)
                beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({reason(path, error)})") from error


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file and bring it to the disk; raises OutputError, and leaves what was there, when that fails."""
    with atomically(path) as beside, beside.open("r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_free(path: Path, force: bool) -> None:
    """Raise OutputError where `path` is anything but a regular file, or, without `force`, is there at all."""
    if path.is_symlink() and not path.exists():
        raise OutputError(f"{path}: is a link to a file that does not exist; remove the link or name another file")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path}: cannot be written (it is a folder; name a file in it)")
    for is_kind, kind in KINDS:
        if is_kind(mode):
            raise OutputError(f"{path}: is {kind}, not a file; name a file, or write to standard output by -o -")
    if not force:
        raise OutputError(f"{path}: exists already; add --force to overwrite it, or --skip-existing")


def check_place(path: Path, force: bool) -> None:
    """Raise OutputError unless a file can be written under this name, as far as can be told without writing any."""
    try:
        check_free(path, force)
        if not path.parent.is_dir():
            raise NotADirectoryError
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({reason(path, error)})") from error


def reason(path: Path, error: OSError) -> str:
    """Why a file cannot be written, in words."""
    if path.is_dir():
        return "it is a folder; name a file in it"
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist; make it first"
    return WORDS.get(error.errno or 0) or error.strerror or str(error)


def unfinished(name: str) -> bool:
    """Whether a file's name is that of an unfinished output, or of its lock."""
    return name.startswith(".") and Path(name).stem.endswith(PART)


def _start(path: Path) -> str:
    """How the names of unfinished files of `path`, and of no other file, begin; without characters of a glob."""
    stem = "".join(c for c in path.stem if c.isascii() and (c.isalnum() or c in "-_"))[:KEPT]
    return f".{stem}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}"


@contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A new, empty file beside `path`, with its ending; removed at the end where it still has that name."""
    suffix = path.suffix if path.suffix.isascii() and len(path.suffix) <= LONGEST_SUFFIX else ""
    beside = path.with_name(f"{_start(path)}-{secrets.token_hex(8)}{PART}{suffix}")
    UNFINISHED.add(beside)
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield beside
    finally:
        beside.unlink(missing_ok=True)
        UNFINISHED.discard(beside)


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Hold `path` for this writer alone; whatever a killed one left beside it is removed.

    The lock lies on a file of its own, as some network drives let nobody write to a file that is locked. It is the
    system's, which releases it when the process ends, so nobody's number is asked for. Where a lock file was there
    already and nobody holds it, a writer was killed; only then are there parts to look for. Raises OutputError when
    another writer holds it.
    """
    place = path.with_name(f"{_start(path)}{PART}.lock")
    lock = None
    try:
        while lock is None:
            left = os.path.lexists(place)
            lock = _take(place, path)
        UNFINISHED.add(place)
        if left and _flock(lock):
            for part in path.parent.glob(f"{_start(path)}-*{PART}*"):
                part.unlink(missing_ok=True)
        yield
    finally:
        UNFINISHED.discard(place)
        if lock is not None:
            os.close(lock)
        with suppress(OSError):  # of another writer who has it, or has removed it
            lock = os.open(place, os.O_RDWR | os.O_NOFOLLOW)
            try:
                _flock(lock)
                place.unlink()
            finally:
                os.close(lock)


def _take(place: Path, path: Path) -> int | None:
    """The lock file, open and locked; none where its last holder has just removed it."""
    lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        _flock(lock)
        if os.path.samestat(os.fstat(lock), place.lstat()):
            return lock
    except FileNotFoundError:
        pass
    except BlockingIOError as error:
        os.close(lock)
        raise OutputError(f"{path}: is being written by another process; wait until it ends") from error
    os.close(lock)
    return None


def _flock(lock: int) -> bool:
    """Lock an open file, once more where it is locked already; false where the file system knows no locks.

    Raises BlockingIOError when another has it.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        if error.errno == errno.EACCES:  # what some file systems say in its place
            raise BlockingIOError(*error.args) from error
        raise
    return True
