"""Where samples come from: files, standard input, raw streams; all as blocks."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from segan_cli.audio.ffmpeg import decoding
from segan_cli.audio.files import FOREIGN, AudioInfo, check_shape, known, open_audio, read_blocks
from segan_cli.audio.streams import Encoding, read_samples, read_wav_header
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


@contextmanager
def open_file(path: Path) -> Iterator[Source]:
    """A file by libsndfile or else by ffmpeg, or a named pipe as `open_stream` reads it.

    Raises AudioError when it cannot be read, also in the midst of it.
    """
    if path.is_fifo():
        with path.open("rb") as pipe, open_stream(pipe, name=str(path)) as source:
            yield source
    elif foreign(path):
        with decoding(path) as (encoding, stream):
            check_shape(str(path), encoding.rate_hz, encoding.channels)
            form = path.suffix[1:].upper()
            info = AudioInfo(encoding.rate_hz, encoding.channels, None, form, encoding.subtype, mask=encoding.mask)
            blocks = read_samples(stream.read, encoding, block_of(encoding.rate_hz, encoding.channels))
            yield Source(str(path), info, blocks, path=path)
    else:
        with open_audio(path) as file:
            blocks = read_blocks(file, path, block_of(file.samplerate, file.channels))
            yield Source(str(path), AudioInfo.of(file), blocks, path=path)


@contextmanager
def open_stream(stream: IO[bytes], raw: Encoding | None = None, name: str = STDIN) -> Iterator[Source]:
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
        blocks = read_samples(stream.read1, encoding, block_of(encoding.rate_hz, encoding.channels), n_bytes)
        yield Source(name, info, blocks, live=True)
        return
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        shutil.copyfileobj(stream, file)
        file.flush()
        try:
            source = stack.enter_context(open_file(Path(file.name)))
            yield Source(name, source.info, source.blocks, path=source.path)
        except AudioError as error:
            raise AudioError(str(error).replace(file.name, name)) from error


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


def foreign(path: Path) -> bool:
    """Whether a file is ffmpeg's: by its ending, or as libsndfile does not know it where there is an ffmpeg."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    return path.suffix.lower() in FOREIGN or (not known(path) and shutil.which("ffmpeg") is not None)


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
