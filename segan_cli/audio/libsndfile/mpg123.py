"""Keeps libmpg123's messages about damaged frames, which cannot be switched off, out of standard error."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

from segan_cli.audio.containers.chunks import wav_format

MPEG = "MPEG_LAYER"  # in libsndfile's subtypes that libmpg123 decodes
FORMAT_TAGS = (b"\x50\0", b"\x55\0")  # of WAV files
MESSAGES = re.compile(
    rb"(?:(?:\A|(?<=\n))\n)?\[src/libmpg123/[^\n]*\n|Warning: Xing stream size off [^\n]*\n"
    rb"|Note: (Illegal Audio-MPEG-Header 0x|Trying to resync|Skipped \d|Junk at the beginning|Looks like a RIFF"
    rb"|Could be a BMP|Hit end of \(available\) data|Input data end)[^\n]*\n|Illegal bit allocation value\.\n"
)
LOCK = Lock()


@dataclass
class Redirection:
    """Standard error while it is redirected into a temporary file."""

    stderr: int  # descriptor of the real one
    buffer: IO[bytes]
    users: int = 0
    n_passed: int = 0  # bytes of the buffer that were passed on


class StderrFilter:
    """Redirects standard error while anyone decodes MPEG audio, and passes on what others write."""

    def __init__(self) -> None:
        self.redirection: Redirection | None = None

    def enter(self) -> None:
        """Begin to redirect, or join in."""
        with LOCK:
            if self.redirection is None:
                self.redirection = Redirection(os.dup(2), tempfile.TemporaryFile())  # noqa: SIM115  # closed by the last
                os.dup2(self.redirection.buffer.fileno(), 2)
            self.redirection.users += 1

    def leave(self) -> None:
        """Pass on what was written; the last user restores standard error."""
        with LOCK:
            redirection = self.redirection
            assert redirection is not None
            redirection.users -= 1
            self.pass_on(redirection)
            if redirection.users == 0:
                os.dup2(redirection.stderr, 2)
                self.pass_on(redirection)  # what was written since
                os.close(redirection.stderr)
                redirection.buffer.close()
                self.redirection = None

    def pass_on(self, redirection: Redirection) -> None:
        """Write the buffer without libmpg123's messages to standard error; while in use, up to the last line end."""
        if sys.platform == "win32":  # never redirected
            return
        size = os.fstat(redirection.buffer.fileno()).st_size
        content = os.pread(redirection.buffer.fileno(), size - redirection.n_passed, redirection.n_passed)
        if redirection.users:
            content = content[: content.rfind(b"\n") + 1]
        redirection.n_passed += len(content)
        content = MESSAGES.sub(b"", content)
        while content:
            content = content[os.write(redirection.stderr, content) :]


FILTER = StderrFilter()


@contextmanager
def quiet_mpg123(needed: bool) -> Iterator[None]:
    """Remove libmpg123's messages from standard error while the block runs; other output follows at its end."""
    if not needed or sys.__stderr__ is None or sys.platform == "win32":
        yield
        return
    FILTER.enter()
    try:
        yield
    finally:
        FILTER.leave()


def is_mpeg(path: Path) -> bool:
    """Whether a file may be MPEG audio, or a WAV file that holds some, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(3)
    return start == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0") or wav_format(path)[:2] in FORMAT_TAGS
