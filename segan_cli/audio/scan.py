"""Scanning a file for the recordings it really holds, whatever its headers say: one or several, complete or cut."""

from dataclasses import replace
from pathlib import Path

from segan_cli.audio.chunks import CHUNKED, find_data_chunk, scan_chunks
from segan_cli.audio.mpeg import ID3, frame_header, scan_mpeg, skip_id3
from segan_cli.audio.ogg import MAGIC, scan_ogg
from segan_cli.audio.pieces import FileView, Part
from segan_cli.audio.sphere import scan_sphere

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
        if head.startswith(b"NIST"):
            return scan_sphere(view)
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
    data = find_data_chunk(view, view.start)
    format_chunk = view.find(b"fmt ", view.start)
    if data is None or not 0 <= format_chunk <= data.start or view.at(format_chunk + 8, 2) != MP3_FORMAT_TAG:
        return None
    end = min(view.end, data.start + data.size)
    parts = scan_mpeg(FileView(view.file, data.start, end)) or [Part((range(data.start, end),))]
    if data.start + data.size <= view.end:
        return parts
    missing = f"its header specifies {data.size} bytes of samples, the file has {end - data.start}"
    return [*parts[:-1], replace(parts[-1], missing=missing)]
