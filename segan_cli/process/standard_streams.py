"""Standard output and standard error: errors of the former are one line, errors of the latter are ignored."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from segan_cli.errors import ERRNO_MESSAGES, OutputError, StoppedError
from segan_cli.process.stopping import BROKEN_PIPE


class _StandardOutput(io.FileIO):
    """Standard output; after the first error, which is raised as one line, everything is dropped."""

    failed = False

    def write(self, content: Any) -> int:
        """Write bytes; raises OutputError, or StoppedError when the reader of a pipe is gone."""
        if self.failed:
            return len(content)
        try:
            return super().write(content)
        except OSError as error:
            self.failed = True
            if isinstance(error, BrokenPipeError):
                raise StoppedError("the reader of standard output has closed it", BROKEN_PIPE) from error
            why = ERRNO_MESSAGES.get(error.errno or 0) or error.strerror
            raise OutputError(f"standard output: cannot be written ({why})") from error


class _StandardError(io.FileIO):
    """Standard error; its errors are ignored, as they could not be reported anyway."""

    def write(self, content: Any) -> int:
        """Write bytes, or drop them."""
        try:
            return super().write(content)
        except OSError:
            return len(content)


def prepare_streams() -> None:
    """Make standard output and error safe to write to, and occupy closed ones before a file gets their number."""
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):  # reading 0 or writing to 1 fails
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest free number is this one
        if sys.platform != "win32":  # another program may have made them non-blocking: a pause would look like the end
            with suppress(OSError):
                os.set_blocking(number, True)
    if sys.stdout is sys.__stdout__:  # not what a program has put in their place
        sys.stdout = _wrapped(sys.stdout, _StandardOutput(1, "w", closefd=False))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _wrapped(sys.stderr, _StandardError(2, "w", closefd=False))


@contextmanager
def without_library_messages() -> Iterator[None]:
    """Keep what libraries in C write to standard error out of it while the block runs."""
    try:
        redirected = sys.stderr.fileno() == 2
    except (OSError, AttributeError):  # a program has put something in its place, or there is none
        redirected = False
    if not redirected:
        yield
        return
    real, ours = os.dup(2), sys.stderr
    ours.flush()
    with open(os.devnull, "wb") as null, _wrapped(ours, _StandardError(real, "w")) as sys.stderr:  # noqa: PTH123
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            sys.stderr = ours


def _wrapped(old: Any, file: io.FileIO) -> io.TextIOWrapper:
    """Return a text stream on a file, for encodings with few characters too; a console of Windows needs its own."""
    if sys.platform == "win32" and file.isatty():
        old.reconfigure(errors="backslashreplace")
        return old  # type: ignore[no-any-return]
    buffer = io.BufferedWriter(file)
    encoding = getattr(old, "encoding", None)  # None: that of the system
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=file.isatty())
