"""Finding the recordings that a file really contains, whatever its headers say: one or several, complete or cut."""

import struct
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from zlib import crc32

from segan_cli.audio.containers.chunks import (
    AU,
    CHUNK_FORMATS,
    CHUNKED,
    MAX_CHUNKS,
    Chunk,
    ChunkFormat,
    FileView,
    Part,
    find_data,
    read_chunks,
)
from segan_cli.audio.containers.mpeg import ID3, TAG_MAGICS, frame_header, scan_mpeg, skip_id3
from segan_cli.audio.containers.vorbis import LAST_PAGE, MAGIC, PAGE_HEADER, lead_in
from segan_cli.text import counted

FIRST_PAGE = 2  # flag
CHECKSUM = 22  # where it is in the header of a page
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # bytes from the lowest bit on
AUDIO_MAGICS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")  # of the first packet of an audio stream
FLAC = b"fLaC\0\0\0\x22"  # magic number of FLAC and the header of its first block
MP3_FORMAT_TAG = b"\x55\0"


@dataclass
class OggLink:
    """One recording of a chain."""

    start: int
    stop: int = 0  # end of its last complete page
    serial: int | None = None  # serial number of its audio stream
    page: int = -1  # number of the last page of that stream
    missing_pages: int = 0
    damaged_pages: int = 0
    ended: bool = False
    only_headers: bool = True  # whether all pages so far are first pages


def scan_ogg(view: FileView) -> list[Part]:
    """Find the recordings of an Ogg file; none for a single complete one."""
    links: list[OggLink] = []
    position, cut = view.start, False
    while len(head := view.at(position, PAGE_HEADER + 255)) >= PAGE_HEADER:
        n_segments = head[PAGE_HEADER - 1]
        if head[:4] != MAGIC:
            position = view.find(MAGIC, position)
            if position < 0:
                break
            continue
        content = position + PAGE_HEADER + n_segments
        stop = content + sum(head[PAGE_HEADER : PAGE_HEADER + n_segments])
        if stop > view.end or len(head) < PAGE_HEADER + n_segments:
            cut = True
            break
        if view.at(stop, 4) not in (MAGIC, b"") and 0 < (following := view.find(MAGIC, position + 4)) < stop:
            position = following  # this page is cut: another begins within it, whose number tells what is missing
            continue
        if head[5] & FIRST_PAGE and (not links or not links[-1].only_headers):
            links.append(OggLink(position))
        if links:
            add_page(links[-1], view.at(position, stop - position), stop)
        position = stop
    if not links or any(link.serial is None for link in links):
        return []
    parts = [ogg_part(view, link, cut and link is links[-1]) for link in links]
    return [] if len(parts) == 1 and parts[0].missing is None and not parts[0].lead_in else parts


def add_page(link: OggLink, page: bytes, stop: int) -> None:
    """Add a page, which ends at `stop`, to a recording."""
    flags, serial, number = page[5], *struct.unpack_from("<II", page, 14)
    if flags & FIRST_PAGE:
        content = page[PAGE_HEADER + page[PAGE_HEADER - 1] :]
        if link.serial is None and content.startswith(AUDIO_MAGICS):
            link.serial, link.page = serial, number
    else:
        link.only_headers = False
        if serial == link.serial:
            link.missing_pages += max(0, number - link.page - 1)
            link.damaged_pages += not has_valid_checksum(page)
            link.page = number
    link.ended = link.ended or (serial == link.serial and bool(flags & LAST_PAGE))
    link.stop = stop


def has_valid_checksum(page: bytes) -> bool:
    """Whether the checksum of an Ogg page is right, a CRC-32 as zlib's, but from the highest bit on and without XOR."""
    mirrored = (page[:CHECKSUM] + bytes(4) + page[CHECKSUM + 4 :]).translate(MIRRORED)
    computed = (crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "big").translate(MIRRORED)
    return computed == page[CHECKSUM : CHECKSUM + 4]


def ogg_part(view: FileView, link: OggLink, cut: bool) -> Part:
    """Return a recording of a chain as a file of its own, and what is missing."""
    pieces, missing = (range(link.start, link.stop),), None
    if cut or not link.ended:
        missing = "its Ogg stream has no end-of-stream page"
    elif link.missing_pages:
        missing = f"its Ogg stream lacks {counted(link.missing_pages, 'page')}"
    elif link.damaged_pages:
        missing = f"its Ogg stream has {counted(link.damaged_pages, 'damaged page')}"
    return Part(pieces, missing=missing, lead_in=lead_in(view, link.start, link.serial or 0))


def scan_file(path: Path) -> list[Part]:
    """Find the recordings in a file; none where libsndfile can be trusted to read all of it."""
    with path.open("rb") as file:
        view = FileView(file, 0, path.stat().st_size)
        start = 0
        while (head := view.at(start, 10))[:3] == ID3:
            start = skip_id3(head, start)
        untagged = FileView(file, start, view.end)
        if head[:4] in CHUNKED:
            return scan_mp3_in_wav(untagged) or scan_chunks(untagged)
        if head[:4] == MAGIC:
            return scan_ogg(untagged)
        if head.startswith(FLAC[:4]):
            return scan_flac(untagged)
        begins = frame_header(head[:4]) is not None
        if start or begins:
            return scan_mpeg(view, begins)
    return []


def scan_flac(view: FileView) -> list[Part]:
    """Find the recordings of a FLAC file; none for a single one."""
    starts = [view.start]
    while (position := view.find(FLAC, starts[-1] + 1)) >= 0:
        starts.append(position)
    parts = [Part((range(start, stop),)) for start, stop in zip(starts, [*starts[1:], view.end], strict=True)]
    return parts if len(parts) > 1 else []


def scan_mp3_in_wav(view: FileView) -> list[Part]:
    """Find the MP3 data in a WAV file; none for other WAV files."""
    before = list(takewhile(lambda chunk: not chunk.is_data, read_chunks(view, view.start)))
    is_mp3 = any(chunk.name == b"fmt " and view.at(chunk.start, 2) == MP3_FORMAT_TAG for chunk in before)
    data = find_data(view, view.start)
    if data is None or not is_mp3:
        return []
    end = min(view.end, data.start + data.size)
    parts = scan_mpeg(FileView(view.file, data.start, end)) or [Part((range(data.start, end),))]
    if data.start + data.size <= view.end:
        return parts
    missing = f"its header specifies {data.size} bytes of samples, but the file has {end - data.start}"
    return [*parts[:-1], replace(parts[-1], missing=missing)]


@dataclass(frozen=True)
class SamplesEnd:
    """Where the samples of a recording really end, and what follows them."""

    position: int
    chunks: tuple[Chunk, ...] = ()  # after the samples
    following: int | None = None  # where another recording begins


def scan_chunks(view: FileView) -> list[Part]:
    """Find the recordings of a chunked file; none if it is not such a file or a single one whose header is right."""
    parts: list[Part] = []
    start: int | None = view.start
    while start is not None and (data := find_data(view, start)) is not None and data.start <= view.end:
        end = find_end(view, data, start)
        parts.append(make_part(view, data, start, end))
        start = end.following
    header_is_right = all(part.missing is None and part.note is None for part in parts)
    return [] if header_is_right and len(parts) <= 1 else parts


def find_side_chunks(view: FileView) -> list[Chunk]:
    """Find the chunks of a file around its samples; none if it is not a chunked file."""
    before = list(takewhile(lambda chunk: not chunk.is_data, read_chunks(view)))
    data = find_data(view)
    return before if data is None else [*before, *find_end(view, data, 0).chunks]


def find_end(view: FileView, data: Chunk, start: int) -> SamplesEnd:
    """Find where the samples really end."""
    magic, end = view.at(start, 4), data.start + data.size
    if end > view.end:
        return SamplesEnd(view.end)
    if magic in AU:
        if view.at(end, 4) in CHUNKED:
            return SamplesEnd(end, following=end)
        return SamplesEnd(end if data.size and view.blank(end) else view.end)
    chunk_format = CHUNK_FORMATS[magic]
    for position in (chunk_format.align(end - start) + start, end):  # some writers do not pad to an even size
        if (found := walk_trailing_chunks(view, position, chunk_format, data)) is not None:
            return found
    following = view.find(view.at(start, 8 if magic == b"caff" else 4), end)
    if following >= 0 and find_data(view, following) is not None:
        return SamplesEnd(end, following=following)
    return SamplesEnd(view.end)


def walk_trailing_chunks(view: FileView, position: int, chunk_format: ChunkFormat, data: Chunk) -> SamplesEnd | None:
    """Walk the chunks after the samples from a position on; None if there are other data."""
    chunks: list[Chunk] = []
    first, end, following = position, data.start + data.size, None
    for _ in range(MAX_CHUNKS):
        chunk = chunk_format.chunk_at(view, position)
        if chunk is None:
            break
        if not view.at(position, chunk.start - position).strip(b"\0"):
            if not data.size_is_known or not view.blank(position):
                return None
            break
        if chunk.name in CHUNKED and find_data(view, position) is not None:
            following = position
            break
        if chunk.name[:3] in TAG_MAGICS:  # which writers append
            break
        if not all(32 <= letter < 127 for letter in chunk.name) or not 0 <= chunk.size <= view.end - position:
            return None
        chunks.append(chunk)
        position = first + chunk_format.align(chunk.start + chunk.size - first)
    return SamplesEnd(end, tuple(chunks), following)


def make_part(view: FileView, data: Chunk, start: int, end: SamplesEnd) -> Part:
    """Return a recording as a file of its own whose header has the real size, and how it disagreed."""
    stop = view.end if end.following is None else end.following
    n = end.position - data.start
    if n == data.size:
        if any(chunk.is_data for chunk in end.chunks):  # libsndfile would read the last
            return Part((range(start, end.position),), note="only the first of its data chunks is read")
        return Part((range(start, stop),))
    field_bytes = struct.calcsize(data.size_format)
    field = min(n + data.size_excess, 256**field_bytes - 1)
    behind = data.size_position + field_bytes
    pieces = (range(start, data.size_position), struct.pack(data.size_format, field), range(behind, stop))
    if not data.size_is_known:
        return Part(pieces, note="its header was never completed; the file is read to its end")
    if n < data.size:
        return Part(pieces, missing=f"its header specifies {data.size} bytes of samples, but the file has {n}")
    return Part(pieces, note=f"its header specifies {data.size} bytes of samples, but {n} are read")
