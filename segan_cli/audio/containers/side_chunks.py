"""Copying the chunks of WAV and AIFF files that are not samples: time codes, markers, tags."""

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO

from segan_cli.audio.containers.chunks import AU, LONG_SIZE, Chunk, FileView, kind_of
from segan_cli.audio.containers.scan import find_side_chunks

SAMPLE_CHUNKS = {  # chunks about the samples of one file, and padding
    b"fmt ", b"data", b"ds64", b"fact", b"PEAK", b"levl", b"JUNK", b"junk", b"PAD ", b"FLLR", b"wavl",
    b"COMM", b"SSND", b"FVER", b"CHAN", b"chan", b"VHDR", b"BODY", *AU,
    b"desc", b"kuki", b"pakt", b"free", b"peak", b"info", b"list",
}  # fmt: skip
TAG_CHUNKS = frozenset(("LIST", "id3", "ID3", "NAME", "AUTH", "ANNO", "(c)"))  # of WAV and AIFF: copied as tags
ID3_CHUNKS = frozenset(("id3", "ID3"))
MARKER_CHUNKS = (b"cue ", b"smpl", b"plst", b"MARK", b"INST")  # chunks that refer to samples by index
LABELS = b"adtl"  # start of the LIST chunk with the names of markers
TIME_REFERENCE = slice(338, 346)  # of a bext chunk (EBU Tech 3285): its time code, in samples since midnight
VERSION, LOUDNESS = slice(346, 348), slice(412, 422)  # of a bext chunk: its version and, from version 2 on, loudness
UNKNOWN_LOUDNESS = b"\xff\x7f" * 5  # in place of a loudness
COPY_BYTES = 1 << 20


def container(path: Path) -> str:
    """Return "WAV", "AIFF", "SVX" or "AU", or "" for other files."""
    with path.open("rb") as file:
        return kind_of(FileView(file, 0, path.stat().st_size))


def chunk_names(path: Path) -> frozenset[str]:
    """Return the names of the chunks that are not samples of a file of a known kind; none for other files."""
    with path.open("rb") as file:
        view = FileView(file, 0, path.stat().st_size)
        found = [chunk.name for chunk in find_side_chunks(view)]
        tags = {b"LIST"} if view.at(0, 4) == b"RIFX" else set()  # which libsndfile copies
    names = {name.decode("ascii", "replace").strip() for name in found if name not in SAMPLE_CHUNKS | tags}
    return frozenset(name for name in names if name.isprintable())


def copy_chunks(
    source: Path, target: Path, rate: Fraction, warn: Callable[[str], None], first: int | None = None,
    releveled: bool = False,
) -> None:  # fmt: skip
    """Append to `target` the chunks of `source`, a file of the same kind, that are not samples.

    `rate` is the ratio of the sampling rates of target and source, by which the time code is scaled; `first` is the
    first sample of an excerpt, which has no markers. The loudness of a `releveled` file is removed.
    """
    with source.open("rb") as before, target.open("r+b") as after:
        view = FileView(before, 0, source.stat().st_size)
        chunks = [chunk for chunk in find_side_chunks(view) if chunk.name not in SAMPLE_CHUNKS]
        found = [replace(chunk, size=n) for chunk in chunks if (n := min(chunk.size, view.end - chunk.start))]
        markers = [chunk for chunk in found if chunk.name in MARKER_CHUNKS or view.at(chunk.start, 4) == LABELS]
        lost = markers if rate != 1 or first is not None else []
        if lost:
            warn(f"markers are left out: {'the sampling rate changed' if first is None else 'this is an excerpt'}")
        found = [chunk for chunk in found if chunk not in lost]
        long = after.read(4) in (b"RF64", b"BW64")
        end = after.seek(0, os.SEEK_END)
        if not long and end + sum(chunk.size + 9 for chunk in found) > LONG_SIZE:
            warn("time code and tags are left out, because the file would become too large for them")
            return
        for chunk in found:
            head = view.at(chunk.start, LOUDNESS.stop)[: chunk.size]
            if chunk.name == b"bext":
                head = with_time(head, rate, first or 0)
                if releveled and (without := without_loudness(head)) != head:
                    head = without
                    warn("the loudness in its bext chunk is left out, because the level was changed")
            append(view, after, chunk, head)
        if found:
            size = after.seek(0, os.SEEK_END) - 8
            after.seek(0)
            big = after.read(4) == b"FORM"
            after.seek(20 if long else 4)
            after.write(struct.pack("<Q" if long else ">I" if big else "<I", size))


def append(view: FileView, after: IO[bytes], chunk: Chunk, head: bytes) -> None:
    """Append a chunk to a file, its first bytes as given."""
    size = chunk.size
    after.write(b"\0" * (after.seek(0, os.SEEK_END) % 2))
    after.write(chunk.name + struct.pack(chunk.size_format, size) + head)
    for position in range(chunk.start + len(head), chunk.start + size, COPY_BYTES):
        after.write(view.at(position, min(COPY_BYTES, chunk.start + size - position)))
    after.write(b"\0" * (size % 2))


def with_time(bext: bytes, rate: Fraction, first: int) -> bytes:
    """Return the content of a bext chunk with the time code of sample `first` at another rate."""
    if len(bext) < TIME_REFERENCE.stop:
        return bext
    time = min(round((int.from_bytes(bext[TIME_REFERENCE], "little") + first) * rate), 2**64 - 1)
    return bext[: TIME_REFERENCE.start] + time.to_bytes(8, "little") + bext[TIME_REFERENCE.stop :]


def without_loudness(bext: bytes) -> bytes:
    """Return the content of a bext chunk without the loudness, if it has one."""
    if len(bext) < LOUDNESS.stop or int.from_bytes(bext[VERSION], "little") < 2:
        return bext
    return bext[: LOUDNESS.start] + UNKNOWN_LOUDNESS + bext[LOUDNESS.stop :]
