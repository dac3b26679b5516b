"""Bytes of a file: recordings within it, and the chunks of WAV, RF64, W64, AIFF, CAF and 8SVX; AU is one chunk."""

import io
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Protocol

Piece = bytes | range  # literal content, or a range of bytes of the file
UNKNOWN_SIZES = (  # sizes that writers enter when they do not know the real size: about 2 or 4 GiB
    range(0x7FFFF000 - 512, 0x80000001),  # rounded to whole frames
    range(0xFFFFF000, 0x100000000),
    range(0x7F000000, 0x7F000040),  # of an AIFF by SoX
)
LONG_SIZE = 0xFFFFFFFF  # size of the samples where a ds64 chunk has the real one
MAX_CHUNKS = 10_000  # walked in a file
AU = {b".snd": ">I", b"dns.": "<I"}
FORM_TYPES = (b"WAVE", b"AIFF", b"AIFC", b"8SVX", b"16SV")


@dataclass(frozen=True)
class Part:
    """A complete recording within a file."""

    pieces: tuple[Piece, ...]
    n_samples: int | None = None  # per channel, if its frames were counted
    missing: str | None = None  # what is missing compared with its header
    note: str | None = None  # how header and content disagree, if nothing is missing
    lead_in: int = 0  # samples before time 0; libsndfile reads them and leaves out as many at the end


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


class View(Protocol):
    """Bytes by their position, of a file or of a stream that is read once."""

    def at(self, position: int, n: int) -> bytes:
        """Read n bytes at a position."""


@dataclass(frozen=True)
class Chunk:
    """A chunk as its header describes it."""

    name: bytes  # four letters
    start: int  # of the content
    size: int  # bytes of the content
    size_position: int  # of the size field in the file
    size_format: str  # of struct
    size_excess: int = 0  # of the size field over the size
    is_data: bool = False  # whether it holds the samples

    @property
    def size_is_known(self) -> bool:
        """Whether the writer knew the size."""
        if struct.calcsize(self.size_format) == 8:
            return 0 < self.size < 1 << 62
        return self.size > 0 and not any(self.size in sizes for sizes in UNKNOWN_SIZES)


@dataclass(frozen=True)
class ChunkFormat:
    """Layout of the chunks of a container."""

    first: int  # offset of the first chunk
    id_bytes: int
    size_format: str  # of struct
    data_names: tuple[bytes, ...] = (b"data",)
    alignment: int = 2
    size_includes_header: bool = False

    def chunk_at(self, view: View, position: int) -> Chunk | None:
        """Return the chunk at a position; None if its header is cut."""
        n = self.id_bytes + struct.calcsize(self.size_format)
        head = view.at(position, n)
        if len(head) < n:
            return None
        (size,) = struct.unpack_from(self.size_format, head, self.id_bytes)
        name, excess = head[:4], n if self.size_includes_header else 0
        place = position + self.id_bytes
        return Chunk(name, position + n, size - excess, place, self.size_format, excess, name in self.data_names)

    def align(self, n: int) -> int:
        """Return n rounded up to where a chunk may begin."""
        return -(-n // self.alignment) * self.alignment


RIFF_FORMS = (b"RIFF", b"RF64", b"BW64")  # at the start of WAV files
CHUNK_FORMATS = {  # by the first four bytes of a file
    b"RIFX": ChunkFormat(12, 4, ">I"),
    **dict.fromkeys(RIFF_FORMS, ChunkFormat(12, 4, "<I")),
    b"FORM": ChunkFormat(12, 4, ">I", (b"SSND", b"BODY")),
    b"riff": ChunkFormat(40, 16, "<Q", alignment=8, size_includes_header=True),
    b"caff": ChunkFormat(8, 4, ">Q", alignment=1),
}
CHUNKED = {*CHUNK_FORMATS, *AU}


def read_chunks(view: View, start: int = 0) -> Iterator[Chunk]:
    """Yield the chunks of the recording that begins at `start`; none if that is not a container of chunks."""
    head = view.at(start, 12)
    magic, kind = head[:4], head[8:12]
    if magic in AU:
        if len(head := head + view.at(start + 12, 12)) == 24:
            offset, size = struct.unpack_from(AU[magic] + AU[magic][1], head, 4)
            if offset > len(head) and view.at(start + len(head), 1) != b"\0":
                yield Chunk(b"annotation", start + len(head), offset - len(head), start + 4, AU[magic])
            if offset >= len(head):
                yield Chunk(magic, start + offset, size, start + 8, AU[magic], is_data=True)
        return
    chunk_format = CHUNK_FORMATS.get(magic)
    if chunk_format is None or (chunk_format.first == 12 and kind not in FORM_TYPES):
        return
    position, long_size = start + chunk_format.first, None
    for _ in range(MAX_CHUNKS):
        chunk = chunk_format.chunk_at(view, position)
        if chunk is None:
            return
        if chunk.is_data and chunk.size == LONG_SIZE and long_size is not None:
            chunk = Chunk(chunk.name, chunk.start, long_size[1], long_size[0], "<Q", is_data=True)
        yield chunk
        if chunk.name == b"ds64" and chunk.size >= 16 and len(field := view.at(chunk.start + 8, 8)) == 8:
            long_size = chunk.start + 8, int.from_bytes(field, "little")
        if chunk.size < 0:
            return
        position = chunk_format.align(chunk.start + chunk.size - start) + start


def find_data(view: View, start: int = 0) -> Chunk | None:
    """Return the chunk of samples of the recording that begins at `start`, if it has one."""
    return next((chunk for chunk in read_chunks(view, start) if chunk.is_data), None)


def wav_format(path: Path) -> bytes:
    """Return the format chunk of a WAV file, without its size; nothing for other files."""
    with path.open("rb") as file:
        view = FileView(file, 0, path.stat().st_size)
        if kind_of(view) != "WAV":
            return b""
        found = next((chunk for chunk in read_chunks(view) if chunk.is_data or chunk.name == b"fmt "), None)
        return b"" if found is None or found.is_data else view.at(found.start, min(found.size, 64))


def kind_of(view: FileView) -> str:
    """Return "WAV" for a WAV file with little-endian sizes, "AIFF", "SVX" or "AU", and "" for others."""
    head = view.at(0, 12)
    if head[:4] in RIFF_FORMS and head[8:] == b"WAVE":
        return "WAV"
    kinds = {b"AIFF": "AIFF", b"AIFC": "AIFF", b"8SVX": "SVX", b"16SV": "SVX"}
    return "AU" if head[:4] in AU else kinds.get(head[8:], "") if head[:4] == b"FORM" else ""
