"""Chunked containers (WAV, RF64, W64, AIFF, CAF, 8SVX) and AU: where their samples really begin and end."""

import struct
from dataclasses import dataclass

from segan_cli.audio.pieces import FileView, Part
from segan_cli.audio.streams import UNKNOWN_SIZE

MAX_CHUNKS = 10_000  # walked in a file
TAG_MAGICS = (b"ID3", b"TAG", b"APE")  # tags that writers append behind the chunks


@dataclass(frozen=True)
class ChunkFormat:
    """Layout of the chunks of a container."""

    first: int  # offset of the first chunk
    id_bytes: int
    size_format: str  # of struct
    data_ids: tuple[bytes, ...]  # ids of the chunk that holds the samples
    align: int = 2
    size_includes_header: bool = False

    @property
    def header_bytes(self) -> int:
        """Bytes before the content of a chunk."""
        return self.id_bytes + struct.calcsize(self.size_format)


CHUNK_FORMATS = {  # by the first four bytes of a file
    b"RIFF": ChunkFormat(12, 4, "<I", (b"data",)),
    b"RIFX": ChunkFormat(12, 4, ">I", (b"data",)),
    b"RF64": ChunkFormat(12, 4, "<I", (b"data",)),
    b"BW64": ChunkFormat(12, 4, "<I", (b"data",)),
    b"FORM": ChunkFormat(12, 4, ">I", (b"SSND", b"BODY")),
    b"riff": ChunkFormat(40, 16, "<Q", (b"data",), 8, size_includes_header=True),
    b"caff": ChunkFormat(8, 4, ">Q", (b"data",), 1),
}
AU = {b".snd": ">I", b"dns.": "<I"}
CHUNKED = {*CHUNK_FORMATS, *AU}
FORM_TYPES = (b"WAVE", b"AIFF", b"AIFC", b"8SVX", b"16SV")


@dataclass(frozen=True)
class DataChunk:
    """The samples of a recording as its header describes them."""

    start: int
    size: int  # bytes
    size_position: int  # of the size field in the file
    size_format: str  # of struct
    size_excess: int = 0  # of the size field over the size

    @property
    def size_is_known(self) -> bool:
        """Whether the writer knew the size."""
        return 0 < self.size < (UNKNOWN_SIZE if struct.calcsize(self.size_format) == 4 else 1 << 62)


def scan_chunks(view: FileView) -> list[Part] | None:
    """Find the recordings of a chunked file; None if it is no such file or a single one whose header is right."""
    parts: list[Part] = []
    start, header_is_right = view.start, True
    while (data := find_data_chunk(view, start)) is not None and data.start <= view.end:
        end, following = find_end(view, data, start)
        part = make_part(view, data, start, end, following)
        header_is_right = header_is_right and part.missing is None and part.note is None
        parts.append(part)
        if following is None:
            break
        start = following
    return parts if parts and not (header_is_right and len(parts) == 1) else None


def find_data_chunk(view: FileView, start: int) -> DataChunk | None:
    """Find the chunk of samples of the recording that begins at `start`."""
    magic = view.at(start, 4)
    if magic in AU:
        head = view.at(start, 24)
        if len(head) < 24:
            return None
        offset, size = struct.unpack_from(AU[magic] + AU[magic][1], head, 4)
        return DataChunk(start + offset, size, start + 8, AU[magic]) if offset >= len(head) else None
    chunk_format = CHUNK_FORMATS.get(magic)
    if chunk_format is None or (chunk_format.first == 12 and view.at(start + 8, 4) not in FORM_TYPES):
        return None
    position, long_size = start + chunk_format.first, None
    for _ in range(MAX_CHUNKS):
        head = view.at(position, chunk_format.header_bytes)
        if len(head) < chunk_format.header_bytes:
            break
        (size,) = struct.unpack_from(chunk_format.size_format, head, chunk_format.id_bytes)
        chunk_id, content = head[:4], position + chunk_format.header_bytes
        excess = chunk_format.header_bytes if chunk_format.size_includes_header else 0
        if chunk_id in chunk_format.data_ids:
            if long_size is not None and size == 0xFFFFFFFF:
                return DataChunk(content, long_size[1], long_size[0], "<Q")
            size_position = position + chunk_format.id_bytes
            return DataChunk(content, size - excess, size_position, chunk_format.size_format, excess)
        if chunk_id == b"ds64" and len(field := view.at(content + 8, 8)) == 8:
            long_size = content + 8, struct.unpack("<Q", field)[0]
        if size < excess:
            break
        position = align(content + size - excess - start, chunk_format.align) + start
    return None


def find_end(view: FileView, data: DataChunk, start: int) -> tuple[int, int | None]:
    """Return where the samples really end, and where another recording follows, if any."""
    magic = view.at(start, 4)
    if data.size != 0 and not data.size_is_known:
        return view.end, None
    end = data.start + data.size
    if end > view.end:
        return view.end, None
    if magic in AU:
        if view.at(end, 4) in CHUNKED:
            return end, end
        return end if data.size and view.blank(end) else view.end, None
    chunk_format = CHUNK_FORMATS[magic]
    aligned = align(end - start, chunk_format.align) + start
    for position in (aligned, end):  # some writers do not pad to an even size
        valid, following = walk_trailing_chunks(view, position, chunk_format, data.size == 0)
        if valid:
            return end, following
    following = view.find(view.at(start, 8 if magic == b"caff" else 4), end)
    if following >= 0 and find_data_chunk(view, following) is not None:
        return end, following
    return view.end, None


def walk_trailing_chunks(
    view: FileView, position: int, chunk_format: ChunkFormat, size_unknown: bool
) -> tuple[bool, int | None]:
    """Walk the chunks behind the samples; return whether they are valid, and where another recording begins."""
    for _ in range(MAX_CHUNKS):
        head = view.at(position, chunk_format.header_bytes)
        if len(head) < chunk_format.header_bytes:
            break
        if not head.strip(b"\0"):
            return not size_unknown and view.blank(position), None
        if head[:4] in CHUNKED and find_data_chunk(view, position) is not None:
            return True, position
        if head[:3] in TAG_MAGICS:
            return True, None
        (size,) = struct.unpack_from(chunk_format.size_format, head, chunk_format.id_bytes)
        size -= chunk_format.header_bytes if chunk_format.size_includes_header else 0
        if not all(32 <= letter < 127 for letter in head[:4]) or not 0 <= size <= view.end - position:
            return False, None
        position = align(position + chunk_format.header_bytes + size - view.start, chunk_format.align) + view.start
    return True, None


def make_part(view: FileView, data: DataChunk, start: int, end: int, following: int | None) -> Part:
    """Return a recording as a file of its own whose header has the real size, and how it disagreed."""
    stop = view.end if following is None else following
    n = end - data.start
    if n == data.size:
        return Part((range(start, stop),))
    field = min(n + data.size_excess, 256 ** struct.calcsize(data.size_format) - 1)
    behind = data.size_position + struct.calcsize(data.size_format)
    pieces = (range(start, data.size_position), struct.pack(data.size_format, field), range(behind, stop))
    if not data.size_is_known:
        return Part(pieces, note="its header was never completed; it is read to its end")
    if n < data.size:
        return Part(pieces, missing=f"its header specifies {data.size} bytes of samples, the file has {n}")
    return Part(pieces, note=f"its header specifies {data.size} bytes of samples, {n} are read")


def align(n: int, to: int) -> int:
    """Return n rounded up to a multiple of `to`."""
    return -(-n // to) * to
