"""Recordings that lie in a file in pieces, and a view of them as files of their own."""

import io
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO

Piece = bytes | range  # content of its own, or a range of the file's bytes


@dataclass(frozen=True)
class Part:
    """A recording within a file, whole in itself."""

    pieces: tuple[Piece, ...]
    n_samples: int | None = None  # per channel, where its frames were counted
    missing: str | None = None  # what its header promises and the file does not hold
    note: str | None = None  # where header and content disagree and nothing is missing


@dataclass(frozen=True)
class Window:
    """A part of a file that is looked at; reads past its end give less."""

    file: IO[bytes]
    start: int
    end: int

    def at(self, position: int, n: int) -> bytes:
        """n bytes from a position in the file on."""
        if not 0 <= position < self.end:
            return b""
        self.file.seek(position)
        return self.file.read(min(n, self.end - position))

    def find(self, content: bytes, position: int) -> int:
        """The first place of some bytes from a position on; -1 where there is none."""
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
        """Whether nothing but zeros follows a position."""
        while block := self.at(position, 1 << 20):
            if block.strip(b"\0"):
                return False
            position += len(block)
        return True


class Pieces(io.RawIOBase):
    """Pieces of a file one after the other, as a file that can be read."""

    def __init__(self, path: Path, pieces: tuple[Piece, ...]) -> None:
        self.file = path.open("rb")
        self.pieces = pieces
        self.ends = list(accumulate(map(len, pieces)))
        self.place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To a place; → where that is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.ends[-1]}[whence]
        self.place = max(0, base + offset)
        return self.place

    def tell(self) -> int:
        """The place that is read next."""
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # all that libsndfile gives
        """As much as there is, up to the end."""
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
        """Close the file too."""
        self.file.close()
        super().close()
