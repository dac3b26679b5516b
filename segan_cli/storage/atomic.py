"""Atomic writing: every file that segan writes for a user is complete or absent."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segan_cli.errors import ERRNO_MESSAGES, ExistsError, OutputError, SeganError
from segan_cli.process.stopping import UNFINISHED
from segan_cli.storage.remote import check_writable_scheme, find_kind, is_remote, upload

PART = ".part"  # in the names of unfinished files and of their locks
STEM_LENGTH = 40  # characters of the name of the file in the names of its unfinished file
MAX_SUFFIX = 16
SCRATCH = "segan-"  # at the start of the names of files in the system's temporary folder
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # which Windows does not have
FULL_BYTES = 1 << 16  # left on a disk that counts as full
DEVICES = re.compile(r"/dev(/fd)?|/proc/(self|\d+)(/task/\d+)?/fd")  # folders
NEW_S = 60.0  # age below which a file may not be locked yet
LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def atomically(path: Path, force: bool = False) -> Iterator[Path]:
    """Create a temporary file next to `path`, flushed to disk to replace it when the block ends without an error.

    A remote file is made in the system's temporary folder and then uploaded. Raises OutputError when it cannot be
    written, another process is writing it, or `path` is not a regular file, and ExistsError when `path` exists and
    `force` is not given.
    """
    with writing(path):
        if is_remote(path):
            check_target(path, force)
            with scratch_file(path.suffix) as temporary:
                yield temporary
                check_target(path, force)
                upload(temporary, path)
            return
        with locked(path):
            check_target(path, force)
            suffix = path.suffix if path.suffix.isascii() and len(path.suffix) <= MAX_SUFFIX else ""
            name = f"{_prefix(path)}-{secrets.token_hex(8)}{PART}{suffix}"  # beside it, with its suffix
            with _new_file(path.with_name(name), 0o666) as temporary:
                yield temporary
                check_target(path, force)
                with temporary.open("r+b") as file:
                    os.fsync(file.fileno())
                with suppress(OSError):  # there is none yet, or its file system has no modes
                    temporary.chmod(stat.S_IMODE(path.stat().st_mode))
                temporary.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise any OSError of the block as an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({reason(path, error)})") from error


@contextmanager
def scratch_file(suffix: str = "") -> Iterator[Path]:
    """Create an empty, locked file in the system's temporary folder; it is removed when the block ends.

    Raises OutputError, which names the folder, when the block fails and the folder is full.
    """
    path = Path(tempfile.gettempdir(), f"{SCRATCH}{secrets.token_hex(8)}{suffix}")
    with _new_file(path, 0o600), _held(path):
        try:
            yield path
        except (OSError, SeganError) as error:
            if shutil.disk_usage(path.parent).free >= FULL_BYTES:
                raise
            raise OutputError(f"{path.parent}: the temporary folder is full; set TMPDIR to another one") from error


def remove_scratch() -> None:
    """Remove files of this user in the system's temporary folder that no process locks, as theirs was killed."""
    if sys.platform == "win32":
        return
    folder = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), "/tmp")  # `gettempdir` writes a file
    for path in Path(folder).glob(f"{SCRATCH}{'[0-9a-f]' * 16}*"):
        with suppress(OSError):  # of another user, locked, or gone
            status = path.lstat()
            if (
                not stat.S_ISREG(status.st_mode)
                or status.st_uid != os.getuid()
                or time.time() - status.st_mtime < NEW_S
            ):
                continue
            lock = os.open(path, os.O_RDWR | NOFOLLOW)
            try:
                if _flock(lock):
                    path.unlink()
            finally:
                os.close(lock)


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write or replace a file; raises OutputError when that fails, and an existing file is left unchanged."""
    with atomically(path, force=True) as temporary:
        temporary.write_bytes(content.encode(errors="surrogateescape") if isinstance(content, str) else content)


def check_target(path: Path, force: bool) -> None:
    """Raise OutputError when `path` is anything but a regular file, ExistsError when it exists without `force`."""
    if is_remote(path):
        check_writable_scheme(path)
        if not force and find_kind(path) is not None:
            raise ExistsError(f"{path}: already exists")
        return
    if path.is_symlink() and not path.exists():
        raise OutputError(f"{path}: is a link to a file that does not exist; remove the link or give another file")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if DEVICES.fullmatch(os.path.realpath(path.parent)):  # such as /dev/stderr, a link to what may be a file
        raise OutputError(f"{path}: is a device, not a file; give a file")
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path}: cannot be written (it is a folder; give a file in it)")
    for is_kind, kind in KINDS:
        if is_kind(mode):
            raise OutputError(f"{path}: is {kind}, not a file; give a file")
    if not force:
        raise ExistsError(f"{path}: already exists")


def check_place(path: Path, force: bool) -> None:
    """Check without writing whether a file can be written; raises the errors of `check_target` and OutputError."""
    with writing(path):
        check_target(path, force)
        if is_remote(path):
            return
        if not path.parent.is_dir():
            raise NotADirectoryError
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission")


def reason(path: Path, error: OSError) -> str:
    """Explain why a file cannot be written."""
    if not is_remote(path) and os.path.isdir(path):
        return "it is a folder; give a file in it"
    if error.errno in ERRNO_MESSAGES:
        return ERRNO_MESSAGES[error.errno]
    if not is_remote(path) and not os.path.isdir(path.parent):
        if os.path.lexists(path.parent):
            return f"{path.parent} is not a folder"
        return f"the folder {path.parent} does not exist; create it first"
    return error.strerror or str(error)


def is_unfinished(name: str) -> bool:
    """Whether a file name is that of an unfinished output or of its lock."""
    return name.startswith(".") and Path(name).stem.endswith(PART)


def _prefix(path: Path) -> str:
    """Return the prefix of the names of the unfinished files of `path` only; it has no glob characters."""
    stem = "".join(c for c in path.stem if c.isascii() and (c.isalnum() or c in "-_"))[:STEM_LENGTH]
    return f".{stem}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}"


def remove_leftovers(path: Path) -> bool:
    """Remove what a killed writer left next to `path`; returns False if another process is writing it."""
    if is_remote(path) or not os.path.lexists(_lock_path(path)):
        return True
    with suppress(OSError, OutputError), locked(path):
        pass
    return not os.path.lexists(_lock_path(path))


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{_prefix(path)}{PART}.lock")


@contextmanager
def _new_file(path: Path, mode: int) -> Iterator[Path]:
    """Create an empty file that must not exist; it is removed when the block ends, also by a signal."""
    UNFINISHED.add(path)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield path
    finally:
        path.unlink(missing_ok=True)
        UNFINISHED.discard(path)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Lock a file while the block runs, but not on Windows, where nobody else could read it."""
    if sys.platform == "win32":
        yield
        return
    lock = os.open(path, os.O_RDWR | NOFOLLOW)
    try:
        _flock(lock)
        yield
    finally:
        os.close(lock)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock `path` for this writer, and remove unfinished files of writers that were killed.

    The lock is on a separate file, as some network drives do not allow writing to a locked file, and is released by the
    system when the process ends. An existing lock file that nobody holds means that a writer was killed. Raises
    OutputError when another writer holds the lock.
    """
    lock_path = _lock_path(path)
    lock, existed, is_locked = None, False, False
    try:
        while lock is None:
            existed = os.path.lexists(lock_path)
            lock, is_locked = _acquire(lock_path, path)
        UNFINISHED.add(lock_path)
        if existed and is_locked:
            for part in path.parent.glob(f"{_prefix(path)}-*{PART}*"):
                part.unlink(missing_ok=True)
        yield
    finally:
        UNFINISHED.discard(lock_path)
        if lock is not None:
            _remove_lock(lock_path, lock)
        else:  # a signal or an error came after the file was created
            with suppress(OSError):  # another writer holds it, or has removed it
                lock = os.open(lock_path, os.O_RDWR | NOFOLLOW)
                try:
                    _flock(lock)
                except BlockingIOError:
                    os.close(lock)
                else:
                    _remove_lock(lock_path, lock)


def _remove_lock(lock_path: Path, lock: int) -> None:
    """Remove a lock file while it is locked, as a process that was just forked may hold it a little longer."""
    if sys.platform == "win32":  # which does not delete open files
        os.close(lock)
        with suppress(OSError):  # another writer has opened it
            lock_path.unlink()
        return
    with suppress(OSError):
        lock_path.unlink()
    os.close(lock)


def _acquire(lock_path: Path, path: Path) -> tuple[int | None, bool]:
    """Open the lock file, None if its last holder has just removed it, and lock it if the file system has locks."""
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o666)
    try:
        is_locked = _flock(lock)
        if os.path.samestat(os.fstat(lock), lock_path.lstat()):
            return lock, is_locked
    except FileNotFoundError:
        pass
    except BlockingIOError as error:
        os.close(lock)
        raise OutputError(f"{path}: is being written by another process; wait until it ends") from error
    os.close(lock)
    return None, False


def _flock(lock: int) -> bool:
    """Lock an open file; False if the file system has no locks. Raises BlockingIOError when another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in LOCKS_UNSUPPORTED:
            return False
        if error.errno == errno.EACCES:  # Windows and some file systems report this instead
            raise BlockingIOError(*error.args) from error
        raise
    return True
