"""Copying the chunks of WAV and AIFF files that are not samples: time codes, markers, tags."""

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

RIFF, FORM = (b"RIFF", b"RF64", b"BW64"), (b"FORM",)
SAMPLE_CHUNKS = {  # chunks about the samples of one file, and padding
    b"fmt ", b"data", b"ds64", b"fact", b"PEAK", b"levl", b"JUNK", b"junk", b"PAD ", b"FLLR", b"wavl",
    b"COMM", b"SSND", b"FVER", b"CHAN", b"chan",
}  # fmt: skip
TAG_CHUNKS = frozenset(("LIST", "id3", "ID3", "NAME", "AUTH", "ANNO", "(c)"))  # copied to other formats as tags
ID3_CHUNKS = frozenset(("id3", "ID3"))
MARKER_CHUNKS = (b"cue ", b"smpl", b"plst", b"MARK", b"INST")  # chunks that refer to samples by index
TIME_REFERENCE = 338  # offset in a bext chunk of its time code: samples since midnight, 64 bits
VERSION, LOUDNESS = 346, 412  # offsets in a bext chunk of its version and, from version 2 on, of its loudness …
UNKNOWN_LOUDNESS = b"\xff\x7f" * 5  # … and what stands there if it is not known (EBU Tech 3285)
LARGEST_SIZE = 2**32 - 1  # of a size field
COPY_BYTES = 1 << 20

Chunk = tuple[bytes, int, int]  # id, position and size of the content


def riff_kind(path: Path) -> str:
    """Return "RIFF" for any WAV file, "FORM" for AIFF, and "" for others."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] in RIFF and head[8:12] == b"WAVE":
        return "RIFF"
    return "FORM" if head[:4] in FORM and head[8:12] in (b"AIFF", b"AIFC") else ""


def chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the chunks of an open file."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    form = file.read(12)[:4]
    place, long_size = 12, 0
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack(">4sI" if form in FORM else "<4sI", file.read(8))
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        if name == b"data" and size == LARGEST_SIZE and long_size:
            size = long_size
        yield name, place + 8, min(size, end - place - 8)
        place += 8 + size + size % 2


def chunk_names(path: Path) -> frozenset[str]:
    """Return the ids of the chunks of a WAV or AIFF file that are not samples; none for other files."""
    if not riff_kind(path):
        return frozenset()
    with path.open("rb") as file:
        found = {name.decode("ascii", "replace").strip() for name, _, size in chunks(file) if name not in SAMPLE_CHUNKS}
    return frozenset(name for name in found if name.isprintable())


def copy_chunks(
    source: Path,
    target: Path,
    rate: Fraction,
    warn: Callable[[str], None],
    first: int | None = None,
    releveled: bool = False,
) -> None:
    """Append to `target` the chunks of `source`, a file of the same kind, that are not samples.

    `rate` is the ratio of the sampling rates of target and source, by which the time code is scaled; `first` is the
    first sample of an excerpt, which has no markers. The loudness of a `releveled` file is removed.
    """
    with source.open("rb") as before, target.open("r+b") as after:
        found = [chunk for chunk in chunks(before) if chunk[0] not in SAMPLE_CHUNKS and chunk[2]]
        lost = [chunk for chunk in found if chunk[0] in MARKER_CHUNKS and (rate != 1 or first is not None)]
        if lost:
            warn(f"markers are left out, as {'the sampling rate changed' if first is None else 'this is an excerpt'}")
        found = [chunk for chunk in found if chunk not in lost]
        long = after.read(4) in RIFF[1:]
        end = after.seek(0, os.SEEK_END)
        if not long and end + sum(size + 9 for _, _, size in found) > LARGEST_SIZE:
            warn("time code and tags are left out, as the file would become too large for them")
            return
        for name, place, size in found:
            start = append(before, after, name, place, size, rate, first or 0)
            if releveled and name == b"bext" and remove_loudness(after, start, size):
                warn("the loudness in its bext chunk is left out, as the level was changed")
        if found:
            update_size(after, long)


def append(before: IO[bytes], after: IO[bytes], name: bytes, place: int, size: int, rate: Fraction, first: int) -> int:
    """Append a chunk to a file; a time code becomes that of sample `first`. Return the position of its content."""
    if after.seek(0, os.SEEK_END) % 2:
        after.write(b"\0")
    after.seek(0)
    little = after.read(4) in RIFF
    start = after.seek(0, os.SEEK_END)
    after.write(struct.pack("<4sI" if little else ">4sI", name, size))
    before.seek(place)
    for left in range(size, 0, -COPY_BYTES):
        after.write(before.read(min(left, COPY_BYTES)))
    after.write(b"\0" * (size % 2))
    if name == b"bext" and size >= TIME_REFERENCE + 8 and (rate != 1 or first):
        after.seek(start + 8 + TIME_REFERENCE)
        (time,) = struct.unpack("<Q", after.read(8))
        after.seek(start + 8 + TIME_REFERENCE)
        after.write(struct.pack("<Q", min(round((time + first) * rate), 2**64 - 1)))
    return start + 8


def remove_loudness(file: IO[bytes], place: int, size: int) -> bool:
    """Remove the loudness from the bext chunk at a position; False if it has none."""
    file.seek(place + VERSION)
    version = int.from_bytes(file.read(2), "little")
    file.seek(place + LOUDNESS)
    known = file.read(len(UNKNOWN_LOUDNESS)) != UNKNOWN_LOUDNESS
    if version < 2 or size < LOUDNESS + len(UNKNOWN_LOUDNESS) or not known:
        return False
    file.seek(place + LOUDNESS)
    file.write(UNKNOWN_LOUDNESS)
    return True


def update_size(file: IO[bytes], long: bool) -> None:
    """Write the size of a file to its header."""
    size = file.seek(0, os.SEEK_END) - 8
    file.seek(0)
    little = file.read(4) in RIFF
    file.seek(20 if long else 4)
    file.write(struct.pack("<Q" if long else "<I" if little else ">I", size))
