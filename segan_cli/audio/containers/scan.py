"""Scanning a file for the recordings it really holds, whatever its headers say: one or several, complete or cut."""

import struct
from dataclasses import replace
from pathlib import Path

from segan_cli.audio.containers.chunks import (
    AU,
    CHUNK_FORMATS,
    CHUNKED,
    MAX_CHUNKS,
    Chunk,
    ChunkFormat,
    find_data,
    read_chunks,
)
from segan_cli.audio.containers.mpeg import ID3, TAG_MAGICS, frame_header, scan_mpeg, skip_id3
from segan_cli.audio.containers.ogg import MAGIC, scan_ogg
from segan_cli.audio.containers.parts import FileView, Part

FLAC = b"fLaC\0\0\0\x22"  # magic number of FLAC and the header of its first block
MP3_FORMAT_TAG = b"\x55\0"


def scan_file(path: Path) -> list[Part] | None:
    """Find the recordings in a file; None where libsndfile can be trusted to read all of it."""
    with path.open("rb") as file:
        view = FileView(file, 0, path.stat().st_size)
        start = 0
        while (head := view.at(start, 10))[:3] == ID3:
            start = skip_id3(head, start)
        if head[:4] in CHUNKED:
            return scan_mp3_in_wav(view) or scan_chunks(view)
        if head[:4] == MAGIC:
            return scan_ogg(view)
        if head.startswith(FLAC[:4]):
            return scan_flac(view)
        if start or frame_header(head[:4]) is not None:
            return scan_mpeg(view)
    return None


def scan_flac(view: FileView) -> list[Part] | None:
    """Find the recordings of a FLAC file; None for a single one."""
    starts = [view.start]
    while (position := view.find(FLAC, starts[-1] + 1)) >= 0:
        starts.append(position)
    if len(starts) == 1:
        return None
    return [Part((range(start, stop),)) for start, stop in zip(starts, [*starts[1:], view.end], strict=True)]


def scan_mp3_in_wav(view: FileView) -> list[Part] | None:
    """Find the MP3 data in a WAV file; None for other WAV files."""
    is_mp3 = False
    for data in read_chunks(view, view.start):
        if data.name == b"fmt ":
            is_mp3 = view.at(data.start, 2) == MP3_FORMAT_TAG
        if data.is_data:
            break
    else:
        return None
    if not is_mp3:
        return None
    end = min(view.end, data.start + data.size)
    parts = scan_mpeg(FileView(view.file, data.start, end)) or [Part((range(data.start, end),))]
    if data.start + data.size <= view.end:
        return parts
    missing = f"its header specifies {data.size} bytes of samples, the file has {end - data.start}"
    return [*parts[:-1], replace(parts[-1], missing=missing)]


def scan_chunks(view: FileView) -> list[Part] | None:
    """Find the recordings of a chunked file; None if it is no such file or a single one whose header is right."""
    parts: list[Part] = []
    start: int | None = view.start
    while start is not None and (data := find_data(view, start)) is not None and data.start <= view.end:
        end, following = find_end(view, data, start)
        parts.append(make_part(view, data, start, end, following))
        start = following
    header_is_right = all(part.missing is None and part.note is None for part in parts)
    return None if header_is_right and len(parts) <= 1 else parts


def find_end(view: FileView, data: Chunk, start: int) -> tuple[int, int | None]:
    """Return where the samples really end, and where another recording follows, if any."""
    magic, end = view.at(start, 4), data.start + data.size
    if (data.size != 0 and not data.size_is_known) or end > view.end:
        return view.end, None
    if magic in AU:
        if view.at(end, 4) in CHUNKED:
            return end, end
        return end if data.size and view.blank(end) else view.end, None
    chunk_format = CHUNK_FORMATS[magic]
    for position in (chunk_format.align(end - start) + start, end):  # some writers do not pad to an even size
        valid, following = walk_trailing_chunks(view, position, chunk_format, data.size == 0)
        if valid:
            return end, following
    following = view.find(view.at(start, 8 if magic == b"caff" else 4), end)
    if following >= 0 and find_data(view, following) is not None:
        return end, following
    return view.end, None


def walk_trailing_chunks(
    view: FileView, position: int, chunk_format: ChunkFormat, size_unknown: bool
) -> tuple[bool, int | None]:
    """Walk the chunks behind the samples; return whether they are valid, and where another recording begins."""
    for _ in range(MAX_CHUNKS):
        chunk = chunk_format.chunk_at(view, position)
        if chunk is None:
            break
        if not view.at(position, chunk.start - position).strip(b"\0"):
            return not size_unknown and view.blank(position), None
        if chunk.name in CHUNKED and find_data(view, position) is not None:
            return True, position
        if chunk.name[:3] in TAG_MAGICS:  # which writers append
            return True, None
        if not all(32 <= letter < 127 for letter in chunk.name) or not 0 <= chunk.size <= view.end - position:
            return False, None
        position = chunk_format.align(chunk.start + chunk.size - view.start) + view.start
    return True, None


def make_part(view: FileView, data: Chunk, start: int, end: int, following: int | None) -> Part:
    """Return a recording as a file of its own whose header has the real size, and how it disagreed."""
    stop = view.end if following is None else following
    n = end - data.start
    if n == data.size:
        return Part((range(start, stop),))
    field_bytes = struct.calcsize(data.size_format)
    field = min(n + data.size_excess, 256**field_bytes - 1)
    behind = data.size_position + field_bytes
    pieces = (range(start, data.size_position), struct.pack(data.size_format, field), range(behind, stop))
    if not data.size_is_known:
        return Part(pieces, note="its header was never completed; it is read to its end")
    if n < data.size:
        return Part(pieces, missing=f"its header specifies {data.size} bytes of samples, the file has {n}")
    return Part(pieces, note=f"its header specifies {data.size} bytes of samples, {n} are read")
