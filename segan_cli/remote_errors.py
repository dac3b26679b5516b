"""Errors of remote file systems, which are of many kinds, as one line."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segan_cli.errors import AudioError, SeganError
from segan_cli.tracebacks import LOG


@contextmanager
def explained(path: Path | str, what: str, kind: type[SeganError]) -> Iterator[None]:
    """Raise any error of the block as an error of segan that names the path."""
    try:
        yield
    except (SeganError, MemoryError):
        raise
    except Exception as error:
        LOG.debug(path, exc_info=True)
        raise kind(f"{path}: cannot be {what} ({reason_of(error)})") from error


def reason_of(error: Exception) -> str:
    """Describe an error of a file system in a few words."""
    if isinstance(error, FileNotFoundError):
        return "no such file, or a folder"
    if isinstance(error, PermissionError):
        return "access denied"
    return str(error).strip().partition("\n")[0] or type(error).__name__


class RemoteReader(io.RawIOBase):
    """A remote file whose errors are one line."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file = path, file

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        return int(self.file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; raises AudioError."""
        with explained(self.path, "read", AudioError):
            content = self.file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()
