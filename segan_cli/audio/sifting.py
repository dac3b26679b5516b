"""Standard error without what libmpg123 says of each damaged frame, which nothing else can keep from it."""

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

MPEG = "MPEG_LAYER"  # in libsndfile's name of an encoding that libmpg123 decodes
MPEG_TAGS = (b"\x50\0", b"\x55\0")  # of WAV files
CHATTER = re.compile(  # what libmpg123 says
    rb"\n?\[src/libmpg123/[^\n]*\n|Warning: Xing stream size off [^\n]*\n"
    rb"|Note: (Illegal Audio-MPEG-Header 0x|Trying to resync|Skipped \d|Junk at the beginning|Looks like a RIFF"
    rb"|Could be a BMP|Hit end of \(available\) data|Input data end)[^\n]*\n|Illegal bit allocation value\.\n"
)
CHANGING = Lock()


@dataclass
class Standing:
    """Standard error while it is sifted."""

    real: int  # descriptor of what it was
    meanwhile: IO[bytes]
    readers: int = 0
    passed: int = 0  # bytes of it that were dealt with


class Sifter:
    """Holds standard error while anyone decodes MPEG audio, and passes on what others write there."""

    def __init__(self) -> None:
        self.standing: Standing | None = None

    def enter(self) -> None:
        """One more decodes."""
        with CHANGING:
            if self.standing is None:
                self.standing = Standing(os.dup(2), tempfile.TemporaryFile())  # noqa: SIM115  # closed by who leaves last
                os.dup2(self.standing.meanwhile.fileno(), 2)
            self.standing.readers += 1

    def leave(self) -> None:
        """One fewer does."""
        with CHANGING:
            standing = self.standing
            assert standing is not None
            standing.readers -= 1
            if standing.readers == 0:
                os.dup2(standing.real, 2)
            self.pass_on(standing)
            if standing.readers == 0:
                os.close(standing.real)
                standing.meanwhile.close()
                self.standing = None

    def pass_on(self, standing: Standing) -> None:
        """What came so far goes where it should; unless all have left, up to the last whole line."""
        size = os.fstat(standing.meanwhile.fileno()).st_size
        content = os.pread(standing.meanwhile.fileno(), size - standing.passed, standing.passed)
        if standing.readers:
            content = content[: content.rfind(b"\n") + 1]
        standing.passed += len(content)
        content = CHATTER.sub(b"", content)
        while content:
            content = content[os.write(standing.real, content) :]


SIFTER = Sifter()


@contextmanager
def sifted(needed: bool) -> Iterator[None]:
    """What libmpg123 says meanwhile does not reach standard error; what anyone else says does, at the end of it."""
    if not needed or sys.__stderr__ is None:
        yield
        return
    SIFTER.enter()
    try:
        yield
    finally:
        SIFTER.leave()


def is_mpeg(path: Path) -> bool:
    """Whether a file may be MPEG audio by its first bytes, or a WAV file that holds some."""
    with path.open("rb") as file:
        start = file.read(4_096)
    if start[:4] in (b"RIFF", b"RF64"):
        place = start.find(b"fmt ")
        return place >= 0 and start[place + 8 : place + 10] in MPEG_TAGS
    return start[:3] == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0")
