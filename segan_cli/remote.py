"""Files in object stores and on other servers, named by URLs such as s3://bucket/talk.wav, through fsspec.

A URL becomes a UPath, which has the methods of Path. Listing, reading and writing go through this module.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

from segan_cli.errors import AudioError, OutputError, SeganError
from segan_cli.extras import require_extra
from segan_cli.tracebacks import LOG

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least, as C:// is a path of Windows
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"}  # an object appears when it is whole


def is_url(name: str) -> bool:
    """Whether a name is a URL."""
    return URL.match(name) is not None


def as_path(name: str) -> Path:
    """Return the path of a file name or URL; that of a URL is a UPath, used like a Path.

    Raises SeganError when the URL is not valid or needs a package that is not installed.
    """
    if not is_url(name):
        return Path(name)
    if name.lower().startswith("file://"):
        return Path(unquote(urlsplit(name).path))
    require_extra("cloud", "a URL")
    from upath import UPath

    with _explained(name, "used", SeganError):
        path = UPath(name)
        _ = path.fs  # of a package that may be missing
    return cast(Path, path)


def is_remote(path: Path) -> bool:
    """Whether a path is that of a URL."""
    return not isinstance(path, Path)


def find_files(folder: Path, recursive: bool = True) -> list[str]:
    """Return the sorted names of the files below a folder, relative to it, by one listing; empty if there are none.

    Raises AudioError when it cannot be listed.
    """
    fs, root = _filesystem(folder)
    with _explained(folder, "listed", AudioError):
        try:
            names = fs.find(root, maxdepth=None if recursive else 1)
        except FileNotFoundError:
            return []
    prefix = f"{root.rstrip('/')}/"
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix) and name != prefix)


def find_matches(pattern: Path) -> list[Path]:
    """Return the files that match a glob; raises AudioError when they cannot be listed."""
    fs, root = _filesystem(pattern)
    with _explained(pattern, "listed", AudioError):
        return [as_path(fs.unstrip_protocol(name)) for name in sorted(fs.glob(root))]


def find_kind(path: Path) -> str | None:
    """Return "file" or "directory", None if there is neither; raises AudioError when that cannot be found out."""
    fs, name = _filesystem(path)
    with _explained(path, "read", AudioError):
        try:
            return str(fs.info(name)["type"])
        except FileNotFoundError:
            return None


@contextmanager
def open_for_reading(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file as a stream of bytes, which is read as it is needed; also gives its size."""
    fs, name = _filesystem(path)
    with _explained(path, "read", AudioError):
        file = fs.open(name, "rb")
    with io.BufferedReader(file) as stream:
        yield stream, file.size


def download(path: Path, local: Path) -> None:
    """Copy a file to a local one; raises AudioError."""
    fs, name = _filesystem(path)
    with _explained(path, "read", AudioError):
        fs.get_file(name, str(local))


def upload(local: Path, path: Path) -> None:
    """Copy a local file to a remote one, which appears when it is complete; raises OutputError."""
    fs, name = _filesystem(path)
    with _explained(path, "written", OutputError):
        if path.protocol in WHOLE:  # type: ignore[attr-defined]  # of UPath
            fs.put_file(str(local), name)
            return
        temporary = f"{name}.part"
        fs.makedirs(fs._parent(name), exist_ok=True)
        fs.put_file(str(local), temporary)
        fs.mv(temporary, name)


def _filesystem(path: Path) -> tuple[Any, str]:
    """Return the fsspec file system of a path and its name there."""
    return path.fs, path.path  # type: ignore[attr-defined]  # of UPath


@contextmanager
def _explained(path: Path | str, what: str, kind: type[SeganError]) -> Iterator[None]:
    """Raise the errors of file systems, which are of many kinds, as one line."""
    try:
        yield
    except (SeganError, MemoryError):
        raise
    except Exception as error:
        LOG.debug(path, exc_info=True)
        raise kind(f"{path}: cannot be {what} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or bucket"
    if isinstance(error, PermissionError):
        return "access denied"
    return str(error).strip().partition("\n")[0] or type(error).__name__
