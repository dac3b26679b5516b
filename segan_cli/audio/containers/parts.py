"""Recordings within a file: where their bytes are, and a file object that reads them as one file."""

import io
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO

Piece = bytes | range  # literal content, or a range of bytes of the file


@dataclass(frozen=True)
class Part:
    """A complete recording within a file."""

    pieces: tuple[Piece, ...]
    n_samples: int | None = None  # per channel, if its frames were counted
    missing: str | None = None  # what is missing compared with its header
    note: str | None = None  # how header and content disagree, if nothing is missing


@dataclass(frozen=True)
class FileView:
    """A range of bytes of an open file; reads past its end are short."""

    file: IO[bytes]
    start: int
    end: int

    def at(self, position: int, n: int) -> bytes:
        """Read n bytes at a position."""
        if not 0 <= position < self.end:
            return b""
        self.file.seek(position)
        return self.file.read(min(n, self.end - position))

    def find(self, content: bytes, position: int) -> int:
        """Return the position of the first occurrence of `content`, -1 if there is none."""
        overlap = len(content) - 1
        while block := self.at(position, 1 << 20):
            place = block.find(content)
            if place >= 0:
                return position + place
            if len(block) <= overlap:
                return -1
            position += len(block) - overlap
        return -1

    def blank(self, position: int) -> bool:
        """Whether only zeros follow a position."""
        while block := self.at(position, 1 << 20):
            if block.strip(b"\0"):
                return False
            position += len(block)
        return True


class PiecewiseFile(io.RawIOBase):
    """A read-only file object over pieces of a file, one after the other."""

    def __init__(self, path: Path, pieces: tuple[Piece, ...]) -> None:
        self.file = path.open("rb")
        self.pieces = pieces
        self.ends = list(accumulate(map(len, pieces)))
        self.place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.ends[-1]}[whence]
        self.place = max(0, base + offset)
        return self.place

    def tell(self) -> int:
        """Return the position."""
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # libsndfile passes nothing else
        """Read into a buffer; return the number of bytes."""
        done, wanted = 0, len(buffer)
        while done < wanted and (index := bisect_right(self.ends, self.place)) < len(self.pieces):
            piece = self.pieces[index]
            n = min(wanted - done, self.ends[index] - self.place)
            offset = len(piece) - (self.ends[index] - self.place)
            if isinstance(piece, bytes):
                content = piece[offset : offset + n]
            else:
                self.file.seek(piece[offset])
                content = self.file.read(n)
            if not content:
                break
            buffer[done : done + len(content)] = content
            done += len(content)
            self.place += len(content)
        return done

    def close(self) -> None:
        """Close the underlying file."""
        self.file.close()
        super().close()
