"""What lies in WAV and AIFF files beside the samples: time codes, markers, tags, as chunks from file to file."""

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

RIFF, FORM = (b"RIFF", b"RF64", b"BW64"), (b"FORM",)
OF_SAMPLES = {  # chunks that describe samples as they lie in a file, and fillings
    b"fmt ", b"data", b"ds64", b"fact", b"PEAK", b"levl", b"JUNK", b"junk", b"PAD ", b"FLLR", b"wavl",
    b"COMM", b"SSND", b"FVER", b"CHAN", b"chan",
}  # fmt: skip
TOLD = frozenset(("LIST", "id3", "ID3", "NAME", "AUTH", "ANNO", "(c)"))  # what other formats get as tags
WITH_ID3 = frozenset(("id3", "ID3"))
IN_SAMPLES = (b"cue ", b"smpl", b"plst", b"MARK", b"INST")  # chunks that point at samples by their number
REFERENCE = 338  # where a bext chunk has its time: samples since midnight, in 64 bits
LARGEST = 2**32 - 1  # what a size field holds
PIECE = 1 << 20

Chunk = tuple[bytes, int, int]  # name, place of its content, its bytes


def kind(path: Path) -> str:
    """RIFF for WAV files of all sorts, FORM for AIFF, else nothing."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] in RIFF and head[8:12] == b"WAVE":
        return "RIFF"
    return "FORM" if head[:4] in FORM and head[8:12] in (b"AIFF", b"AIFC") else ""


def chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """The chunks of an open file, as far as it reaches."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    form = file.read(12)[:4]
    place, long_size = 12, 0
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack(">4sI" if form in FORM else "<4sI", file.read(8))
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        if name == b"data" and size == LARGEST and long_size:
            size = long_size
        yield name, place + 8, min(size, end - place - 8)
        place += 8 + size + size % 2


def names(path: Path) -> frozenset[str]:
    """What a WAV or AIFF file has beside its samples; nothing for others."""
    if not kind(path):
        return frozenset()
    with path.open("rb") as file:
        found = {name.decode("ascii", "replace").strip() for name, _, size in chunks(file) if name not in OF_SAMPLES}
    return frozenset(name for name in found if name.isprintable())


def copy_chunks(source: Path, target: Path, rate: Fraction, warn: Callable[[str], None]) -> None:
    """Put at the end of `target` what `source`, of the same kind, has beside its samples.

    `rate` is the target's over the source's; the time code follows it.
    """
    with source.open("rb") as before, target.open("r+b") as after:
        found = [chunk for chunk in chunks(before) if chunk[0] not in OF_SAMPLES and chunk[2]]
        lost = [chunk for chunk in found if chunk[0] in IN_SAMPLES and rate != 1]
        if lost:
            warn("markers are left out, as the rate is another one")
        found = [chunk for chunk in found if chunk not in lost]
        long = after.read(4) in RIFF[1:]
        end = after.seek(0, os.SEEK_END)
        if not long and end + sum(size + 9 for _, _, size in found) > LARGEST:
            warn("what lies beside the samples (time code, tags) is left out, as the file would be too long for it")
            return
        for name, place, size in found:
            append(before, after, name, place, size, rate)
        if found:
            close(after, long)


def append(before: IO[bytes], after: IO[bytes], name: bytes, place: int, size: int, rate: Fraction) -> None:
    """Copy a chunk to the end of a file."""
    if after.seek(0, os.SEEK_END) % 2:
        after.write(b"\0")
    after.seek(0)
    little = after.read(4) in RIFF
    start = after.seek(0, os.SEEK_END)
    after.write(struct.pack("<4sI" if little else ">4sI", name, size))
    before.seek(place)
    for left in range(size, 0, -PIECE):
        after.write(before.read(min(left, PIECE)))
    after.write(b"\0" * (size % 2))
    if name == b"bext" and size >= REFERENCE + 8 and rate != 1:
        after.seek(start + 8 + REFERENCE)
        (time,) = struct.unpack("<Q", after.read(8))
        after.seek(start + 8 + REFERENCE)
        after.write(struct.pack("<Q", min(round(time * rate), 2**64 - 1)))


def close(file: IO[bytes], long: bool) -> None:
    """Tell a file's length in its head."""
    size = file.seek(0, os.SEEK_END) - 8
    file.seek(0)
    little = file.read(4) in RIFF
    file.seek(20 if long else 4)
    file.write(struct.pack("<Q" if long else "<I" if little else ">I", size))
