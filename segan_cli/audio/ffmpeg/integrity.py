"""Checks that what ffmpeg decoded is all that a file should hold."""

import math
import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from segan_cli.audio.ffmpeg import program

DECODED = re.compile(r"Input stream #0:\d+ \(audio\): .*\((\d+) samples\)")
ESTIMATED = "Estimating duration from bitrate"
TOLERANCE_S, TOLERANCE = 0.2, 0.001  # of the duration: codec frames, rounding
OTHERS_TOLERANCE_S = 1.0  # of the end of other streams, whose last packet may have no duration
TIME_UNIT = re.compile(rb"#tb (\d+): (\S+)")
MISSING = re.compile(  # messages about missing content, and the stream if given
    r"partial file|File ended prematurely|Error submitting packet to decoder|Decoding error|Error during demuxing"
    r"|CRC error|EBML number|exceeds containing master element|Error reading from"
    r"|corrupt input packet in stream (?P<stream>\d+)|Packet corrupt \(stream = (?P<other>\d+)"
)
POSITION = re.compile(r"at pos (\d+)")
MAX_HEADER = 1 << 16  # bytes that are searched for the size of a file
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")  # identifiers at the start of a file …
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # … and of the object with its size


def compare(
    path: Path, media: program.MediaInfo, log: str, seconds: float, rate_hz: int
) -> tuple[str | None, str | None]:
    """Compare what was decoded with its description and the log; return what is missing, and what else disagrees."""
    stated, n_bytes = stated_size(path), path.stat().st_size
    if stated is not None and n_bytes < stated:
        return f"its header specifies {stated} bytes, but the file has {n_bytes}", None
    if "mp4" in media.containers and count_boxes(path, b"ftyp") > 1 and not count_boxes(path, b"moof"):
        return "several files were joined, and only the first is read; join them with ffmpeg -f concat", None
    problems, track = program.messages(log, program.PROBLEMS), media.of("Audio")[0].index
    for message in problems:
        if found := MISSING.search(message):
            stream = found["stream"] or found["other"]
            if (stream is None or int(stream) == track) and not is_padding(path, message):
                return f"ffmpeg reports: {message}", None
    if decoded := DECODED.search(log):
        n_read = round(seconds * rate_hz)
        if int(decoded[1]) - n_read > TOLERANCE_S * rate_hz:
            return f"{decoded[1]} samples were decoded, but their timestamps leave only {n_read}", None
    duration_s = media.duration_s
    if duration_s is None or any(ESTIMATED in message for message in problems):
        return None, None
    expected_s = duration_s - media.offset_s
    if seconds > expected_s - max(TOLERANCE_S, TOLERANCE * duration_s):
        return None, None
    message = f"its container specifies {expected_s:.2f} s, but its audio lasts {seconds:.2f} s"
    start_s = 0.0 if "matroska" in media.containers else media.start_s  # the duration of Matroska counts from 0
    goes_on = len(media.streams) > 1 and others_end_s(path) - start_s > duration_s - OTHERS_TOLERANCE_S
    return (None, message) if goes_on else (message, None)


def is_padding(path: Path, message: str) -> bool:
    """Whether a message is about zeros or blanks at the end of a Matroska file, where no sound is missing."""
    found = POSITION.search(message)
    if found is None or "EBML number" not in message:
        return False
    with path.open("rb") as file:
        file.seek(int(found[1]))
        return not any(block.strip(b"\0 \r\n") for block in iter(lambda: file.read(MAX_HEADER), b""))


def is_late(media: program.MediaInfo, log: str, seconds: float) -> bool:
    """Whether the sound of a video is longer than it: ffmpeg inserts silence when the format of the sound changes."""
    duration_s = media.duration_s if media.has_video and ESTIMATED not in log else None
    return duration_s is not None and seconds + media.offset_s > duration_s + max(TOLERANCE_S, TOLERANCE * duration_s)


def others_end_s(path: Path) -> float:
    """Return when the pictures, subtitles and other audio tracks of a file end."""
    others = ("-map", "0:V?", "-map", "0:a?", "-map", "0:s?", "-map", "-0:a:0")
    listing = (*program.file_input(path), *others, "-c", "copy", "-f", "framecrc", "-")
    with program.start(
        path, "-nostdin", "-copyts", *listing, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        units: dict[int, Fraction] = {}  # of the times of each stream
        ends: dict[int, int] = {}
        try:
            for line in process.stdout:
                if found := TIME_UNIT.match(line):
                    units[int(found[1])] = Fraction(found[2].decode())
                elif line[:1].isdigit():
                    stream, _, time, duration, *_ = (int(field) for field in line.split(b",")[:4])
                    ends[stream] = max(ends.get(stream, 0), time + duration)
        finally:
            process.kill()  # after a signal
    return float(max((end * units[stream] for stream, end in ends.items()), default=-math.inf))


def stated_size(path: Path) -> int | None:
    """Return the size in bytes that the header of an AVI or ASF file specifies; None if it specifies none."""
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return riff_end(file)
    place = head.find(FILE_PROPERTIES) if head.startswith(ASF) else -1
    if place < 0 or head[place + 88 : place + 89] != b"\2":  # seekable, not a broadcast
        return None
    return int.from_bytes(head[place + 40 : place + 48], "little")


def count_boxes(path: Path, kind: bytes) -> int:
    """Count the boxes of a kind at the top level of an MP4 file."""
    n, position, end = 0, 0, path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:], "big") if size == 1 else size or end - position  # 0: up to the end
            n += head[4:8] == kind
            if not 8 <= size <= end - position:  # other data follow
                break
            position = file.seek(position + size)
    return n


def riff_end(file: BinaryIO) -> int | None:
    """Return where the RIFF parts of an AVI file end, one for each gigabyte; None if a size was not written."""
    end = file.seek(0)
    while (head := file.read(12))[:4] == b"RIFF" and head[8:] in (b"AVI ", b"AVIX"):
        size = int.from_bytes(head[4:8], "little")
        if not 0 < size < 2**32 - 1:
            return None
        end = file.seek(end + 8 + size)
    return end
