"""Where samples come from: files, standard input, raw streams; all as blocks."""

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from segan_cli.audio.ffmpeg import Decoding, decoding, playlist
from segan_cli.audio.files import FFMPEG_ENDINGS, MPEG_AUDIO, AudioInfo, check_shape, known, open_audio, read_blocks
from segan_cli.audio.pieces import Part
from segan_cli.audio.streams import SKIPPED, Encoding, read_samples, read_wav_header
from segan_cli.audio.survey import survey
from segan_cli.errors import AudioError

Array = NDArray[np.float32]

STDIN = "standard input"
BLOCK_S = 10.0  # read at a time, at most …
BLOCK_SAMPLES = 1 << 20  # … and so many of all channels


@dataclass(frozen=True)
class Source:
    """A recording that is being read."""

    name: str
    info: AudioInfo
    blocks: Iterator[Array]  # [n, channels]
    live: bool = False  # they come when they come, and somebody may be listening
    path: Path | None = None  # of a file with all of it, tags and pictures too
    warnings: list[str] = field(default_factory=list)  # where header and content disagree; all are there at the end


@dataclass(frozen=True)
class Door:
    """What becomes of a recording that is not as its header says."""

    name: str
    allow_truncated: bool
    warnings: list[str]

    def lacks(self, what: str) -> None:
        """Something is missing: a note where that is allowed; raises AudioError where it is not."""
        if not self.allow_truncated:
            raise AudioError(f"{self.name}: cut short: {what}; segan enhance --allow-truncated takes what is there")
        self.note(f"cut short: {what}")

    def report(self, part: Part) -> None:
        """Report what was found of a part."""
        if part.missing is not None:
            self.lacks(part.missing)
        if part.note is not None:
            self.note(part.note)

    def note(self, what: str) -> None:
        """Something is worth a line."""
        if what not in self.warnings:
            self.warnings.append(what)

    def counted(self, blocks: Iterator[Array], n_samples: int | None, rate_hz: int) -> Iterator[Array]:
        """Blocks as they are, of which so many samples should come."""
        n = 0
        try:
            for block in blocks:
                n += len(block)
                yield block
        except AudioError as error:
            if not n:
                raise
            self.lacks(str(error).removeprefix(f"{self.name}: "))
            return
        if n_samples is not None and n < n_samples:
            self.lacks(f"its header tells of {n_samples / rate_hz:.2f} s, and {n / rate_hz:.2f} s are there")


@contextmanager
def open_file(path: Path, allow_truncated: bool = False) -> Iterator[Source]:
    """A file by libsndfile or else by ffmpeg, or a named pipe as `open_stream` reads it, to its real end.

    Raises AudioError when it cannot be read, also in the midst of it, and when it holds less than its header promises,
    unless that is allowed.
    """
    door = Door(str(path), allow_truncated, [])
    if path.is_fifo():
        with path.open("rb") as pipe, open_stream(pipe, None, str(path), allow_truncated) as source:
            yield source
        return
    if path.is_file() and playlist(path):
        raise AudioError(f"{path}: is a playlist, which names other files; give those")
    parts = surveyed(path)
    if needs_ffmpeg(path, parts):
        for part in parts:
            door.report(part)
        with decoding(path) as sound:
            encoding = sound.encoding
            check_shape(str(path), encoding.rate_hz, encoding.channels)
            form = path.suffix[1:].upper()
            info = AudioInfo(encoding.rate_hz, encoding.channels, None, form, encoding.subtype, mask=encoding.mask)
            yield Source(str(path), info, through_ffmpeg(sound, door), path=path, warnings=door.warnings)
    elif parts:
        yield joined(path, parts, door)
    else:
        with open_audio(path) as file:
            info = AudioInfo.of(file)
            blocks = read_blocks(file, path, block_of(file.samplerate, file.channels))
            counted = door.counted(blocks, info.n_samples, info.rate_hz)
            yield Source(str(path), info, counted, path=path, warnings=door.warnings)


def through_ffmpeg(sound: Decoding, door: Door) -> Iterator[Array]:
    """What ffmpeg decodes, and what it said of it at its end."""
    encoding, n = sound.encoding, 0
    for block in read_samples(sound.stream.read, encoding, block_of(encoding.rate_hz, encoding.channels)):
        n += len(block)
        yield block
    missing, note = sound.verdict(n / encoding.rate_hz)
    if missing is not None:
        door.lacks(missing)
    if note is not None:
        door.note(note)


def surveyed(path: Path) -> list[Part]:
    """The parts of a file that libsndfile cannot be left alone with; none of others."""
    ours = path.is_file() and path.suffix.lower() not in FFMPEG_ENDINGS - MPEG_AUDIO
    return (survey(path) or []) if ours else []


def joined(path: Path, parts: Sequence[Part], door: Door) -> Source:
    """The parts of a file one after the other as one recording; raises AudioError where they do not fit together."""
    infos: list[AudioInfo] = []
    for number, part in enumerate(parts, 1):
        door.report(part)
        with open_audio(path, part) as file:
            info = AudioInfo.of(file)
        infos.append(info if part.n_samples is None else replace(info, n_samples=part.n_samples))
        if (info.rate_hz, info.channels) != (infos[0].rate_hz, infos[0].channels):
            shape = f"{info.rate_hz} Hz and {info.channels} channels"
            raise AudioError(f"{path}: part {number} of {len(parts)} has {shape}, unlike the first; split it first")
    if len(parts) > 1:
        door.note(f"holds {len(parts)} recordings, read one after the other")
    lengths = [info.n_samples for info in infos if info.n_samples is not None]

    def blocks() -> Iterator[Array]:
        for part, info in zip(parts, infos, strict=True):
            with open_audio(path, part) as file:
                through = read_blocks(file, path, block_of(info.rate_hz, info.channels))
                yield from door.counted(through, info.n_samples, info.rate_hz)

    info = replace(infos[0], n_samples=sum(lengths) if len(lengths) == len(infos) else None)
    return Source(str(path), info, blocks(), path=path, warnings=door.warnings)


@contextmanager
def open_stream(
    stream: IO[bytes], raw: Encoding | None = None, name: str = STDIN, allow_truncated: bool = False
) -> Iterator[Source]:
    """Bytes as they come: raw samples, WAV, or anything else that `open_file` knows, by a temporary file."""
    head = b"" if raw else stream.read(12)
    if raw is None and not head:
        raise AudioError(f"{name}: nothing came; pipe a recording into it")
    stream = io.BufferedReader(Rejoined(head, stream))
    if raw or (head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"):
        encoding, n_bytes = (raw, None) if raw else read_wav_header(stream, name)
        check_shape(name, encoding.rate_hz, encoding.channels)
        n_samples = None if n_bytes is None else n_bytes // encoding.frame_bytes
        info = AudioInfo(encoding.rate_hz, encoding.channels, n_samples, "WAV", encoding.subtype, mask=encoding.mask)
        door = Door(name, allow_truncated, [])
        yield Source(name, info, streamed(stream, encoding, n_bytes, door), live=True, warnings=door.warnings)
        return
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        shutil.copyfileobj(stream, file)
        file.flush()
        try:
            source = stack.enter_context(open_file(Path(file.name), allow_truncated))
            yield replace(source, name=name)
        except AudioError as error:
            raise AudioError(str(error).replace(file.name, name)) from error


def streamed(stream: IO[bytes], encoding: Encoding, n_bytes: int | None, door: Door) -> Iterator[Array]:
    """The samples of a stream, and those of WAV streams that follow the first."""
    largest = block_of(encoding.rate_hz, encoding.channels)
    while True:
        blocks = read_samples(stream.read1, encoding, largest, n_bytes)  # type: ignore[attr-defined]  # buffered
        yield from door.counted(blocks, None if n_bytes is None else n_bytes // encoding.frame_bytes, encoding.rate_hz)
        if n_bytes is None or not (left := pass_chunks(stream, n_bytes % 2)):
            return
        if not left.startswith(b"RIFF"):
            return door.note("what follows its samples is neither a chunk nor another recording, and left out")
        stream = io.BufferedReader(Rejoined(left, stream))
        following, n_bytes = read_wav_header(stream, door.name)
        if following != encoding:
            raise AudioError(f"{door.name}: another recording follows, of another encoding; pipe in one at a time")
        door.note("holds several recordings, read one after the other")


def pass_chunks(stream: IO[bytes], n_filling: int) -> bytes:
    """Read past the chunks behind a WAV stream's samples; → the first bytes of what is none, nothing at the end."""
    stream.read(n_filling)
    while len(head := stream.read(8)) == 8 and head[:4] != b"RIFF" and head[:4].strip(b"\0"):
        if not all(32 <= letter < 127 for letter in head[:4]):
            return head
        left = int.from_bytes(head[4:], "little")
        left += left % 2
        while left and (content := stream.read(min(left, SKIPPED))):
            left -= len(content)
    return head if head.strip(b"\0") and len(head) == 8 else b""


class Rejoined(io.RawIOBase):
    """A stream whose first bytes were taken already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self.head, self.rest = head, rest

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What there is, at once."""
        content = self.head[: len(buffer)] or self.rest.read1(len(buffer))  # type: ignore[attr-defined]  # buffered
        self.head = self.head[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)


def needs_ffmpeg(path: Path, parts: Sequence[Part] = ()) -> bool:
    """Whether a file is ffmpeg's: by its ending, or as libsndfile does not know it where there is an ffmpeg."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    if path.suffix.lower() in FFMPEG_ENDINGS - MPEG_AUDIO:
        return True
    return not known(path, parts[0] if parts else None) and shutil.which("ffmpeg") is not None


def read_mono(path: Path, rate_hz: int) -> tuple[Array, AudioInfo]:
    """A whole file as the mean of its channels at `rate_hz`, [n], and what it says of itself.

    Raises AudioError when it cannot be read.
    """
    with open_file(path) as source:
        blocks = [block.mean(axis=1) for block in source.blocks]
    mono = np.concatenate(blocks or [np.zeros(0, np.float32)])
    rate = source.info.rate_hz
    return np.asarray(mono if rate == rate_hz else soxr.resample(mono, rate, rate_hz), np.float32), source.info


def block_of(rate_hz: int, channels: int) -> int:
    """Samples of each channel that are read at a time at most."""
    return max(1, min(round(BLOCK_S * rate_hz), BLOCK_SAMPLES // channels))
