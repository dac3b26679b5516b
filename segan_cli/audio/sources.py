"""Recordings as blocks of samples: files, standard input, raw streams."""

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import soxr
from numpy.typing import NDArray

from segan_cli.atomic import scratch_file
from segan_cli.audio.containers.parts import Part
from segan_cli.audio.containers.scan import scan_file
from segan_cli.audio.containers.wav import (
    Encoding,
    PrependedStream,
    read_samples,
    read_wav_header,
    skip_trailing_chunks,
)
from segan_cli.audio.ffmpeg.decoder import Decoding, decoding
from segan_cli.audio.ffmpeg.program import find_ffmpeg, is_playlist
from segan_cli.audio.files import FFMPEG_EXTENSIONS, MPEG_AUDIO, AudioInfo, check_shape
from segan_cli.audio.integrity import IntegrityCheck
from segan_cli.audio.layouts import unkept_layout
from segan_cli.audio.libsndfile.reader import is_native, open_audio, read_blocks
from segan_cli.errors import AudioError, TruncatedError
from segan_cli.remote import download, is_remote

Array = NDArray[np.float32]

STDIN = "standard input"
BLOCK_S = 10.0  # longest block …
BLOCK_SAMPLES = 1 << 20  # … and its most samples, of all channels together


@dataclass(frozen=True)
class Source:
    """An open recording."""

    name: str
    info: AudioInfo
    blocks: Iterator[Array]  # [channels, n]
    live: bool = False  # a stream whose samples should be passed on without delay
    path: Path | None = None  # of a file that holds all of it, tags and pictures too
    warnings: list[str] = field(default_factory=list)  # how header and content disagree; complete after the last block
    blocks_from: Callable[[int], Iterator[Array]] | None = None  # the blocks from a sample on, if it can seek
    first: int | None = None  # of a part: its first sample

    def part(self, first: int, end: int | None) -> "Source":
        """Return the samples from `first` to before `end`, or to the end; those before are not read if it can seek."""
        seeks = self.blocks_from is not None and first > 0
        blocks = self.blocks_from(first) if self.blocks_from is not None and seeks else self.blocks
        blocks = cut(blocks, 0 if seeks else first, None if end is None else end - first)
        return replace(self, blocks=blocks, first=first)


@contextmanager
def open_file(path: Path, allow_truncated: bool = False) -> Iterator[Source]:
    """Open a file by libsndfile or ffmpeg, or a named pipe as by `open_stream`; it is read to its real end.

    Raises AudioError when it cannot be read, also in the middle, and TruncatedError when it has less than its header
    specifies, unless `allow_truncated` is given.
    """
    if is_remote(path):
        opened = open_remote(path, allow_truncated)
    elif path.is_fifo():
        opened = open_pipe(path, allow_truncated)
    elif path.is_file() and is_playlist(path):
        raise AudioError(f"{path}: is a playlist of other files; give those files")
    else:
        check, parts = IntegrityCheck(str(path), allow_truncated, []), scan_native(path)
        opened = open_decoded(path, check, parts) if needs_ffmpeg(path, parts) else open_native(path, check, parts)
    with opened as source:
        yield source


@contextmanager
def open_pipe(path: Path, allow_truncated: bool) -> Iterator[Source]:
    """Open a named pipe."""
    with path.open("rb") as pipe, open_stream(pipe, None, str(path), allow_truncated) as source:
        yield source


@contextmanager
def open_decoded(path: Path, check: IntegrityCheck, parts: Sequence[Part]) -> Iterator[Source]:
    """Open a file by ffmpeg."""
    for part in parts:
        check.report(part.missing, part.note)
    with decoding(path) as decoder:
        encoding, media = decoder.encoding, decoder.media
        check_shape(str(path), encoding.rate_hz, encoding.channels)
        extension = path.suffix[1:].upper()
        info = AudioInfo(encoding.rate_hz, encoding.channels, None, extension, media.subtype, mask=encoding.mask)
        info = check.without_layout(info, "ambisonic" if media.is_ambisonic else None)
        yield Source(str(path), info, decode(decoder, check), path=path, warnings=check.warnings)


def decode(decoder: Decoding, check: IntegrityCheck) -> Iterator[Array]:
    """Yield the blocks that ffmpeg decodes, then check its log."""
    encoding, n = decoder.encoding, 0
    for block in read_samples(decoder.stream.read, encoding, block_length(encoding.rate_hz, encoding.channels)):
        n += block.shape[1]
        yield block
    check.report(*decoder.check(n / encoding.rate_hz))


def scan_native(path: Path) -> list[Part]:
    """Scan a file that libsndfile reads; an empty list where it can be trusted to read all of it."""
    native = path.is_file() and path.suffix.lower() not in FFMPEG_EXTENSIONS - MPEG_AUDIO
    return (scan_file(path) or []) if native else []


@contextmanager
def open_native(path: Path, check: IntegrityCheck, scanned: Sequence[Part]) -> Iterator[Source]:
    """Open a file, or its parts as one recording, by libsndfile.

    Raises AudioError if the rates or channels of the parts differ.
    """
    parts: Sequence[Part | None] = scanned or [None]
    infos: list[AudioInfo] = []
    for number, part in enumerate(parts, 1):
        if part is not None:
            check.report(part.missing, part.note)
        with open_audio(path, part) as file:
            info = AudioInfo.of(file)
        infos.append(info if part is None or part.n_samples is None else replace(info, n_samples=part.n_samples))
        if (info.rate_hz, info.channels) != (infos[0].rate_hz, infos[0].channels):
            shape = f"{info.rate_hz} Hz and {info.channels} channels"
            raise AudioError(f"{path}: part {number} of {len(parts)} has {shape}, unlike the first; split it first")
    if len(parts) > 1:
        check.warn(f"holds {len(parts)} recordings, read one after the other")

    def blocks_from(first: int) -> Iterator[Array]:
        for part, info in zip(parts, infos, strict=True):
            if part is not None and info.n_samples is not None and info.n_samples <= first:
                first -= info.n_samples
                continue
            with open_audio(path, part) as file:
                blocks = read_blocks(file, path, block_length(info.rate_hz, info.channels), first)
                yield from check.check_length(blocks, info.n_samples, info.rate_hz, first)
            first = 0

    lengths = [info.n_samples for info in infos if info.n_samples is not None]
    seeks = not scanned or len(lengths) == len(infos)  # a part of unknown length cannot be skipped
    info = replace(infos[0], n_samples=sum(lengths) if len(lengths) == len(infos) else None)
    info = check.without_layout(info, unkept_layout(path))
    blocks = blocks_from if seeks else None
    yield Source(str(path), info, blocks_from(0), path=path, warnings=check.warnings, blocks_from=blocks)


@contextmanager
def open_stream(
    stream: IO[bytes], raw: Encoding | None = None, name: str = STDIN, allow_truncated: bool = False
) -> Iterator[Source]:
    """Open a stream of raw samples or WAV; other formats go through a temporary file."""
    head = b"" if raw else stream.read(12)
    if raw is None and not head:
        raise AudioError(f"{name}: is empty; pipe a recording into it")
    stream = io.BufferedReader(PrependedStream(head, stream))
    if raw or (head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"):
        encoding, n_bytes = (raw, None) if raw else read_wav_header(stream, name)
        check_shape(name, encoding.rate_hz, encoding.channels)
        n_samples = None if n_bytes is None else n_bytes // encoding.frame_bytes
        info = AudioInfo(encoding.rate_hz, encoding.channels, n_samples, "WAV", encoding.subtype, mask=encoding.mask)
        check = IntegrityCheck(name, allow_truncated, [])
        yield Source(name, info, read_stream(stream, encoding, n_bytes, check), live=True, warnings=check.warnings)
        return
    with open_copied(stream, name, allow_truncated) as source:
        yield source


@contextmanager
def open_copied(stream: IO[bytes], name: str, allow_truncated: bool = False) -> Iterator[Source]:
    """Open the content of a stream, from where it stands, by a temporary copy; raises AudioError if it is text."""
    with scratch_file() as path:
        with path.open("wb") as file:
            try:
                shutil.copyfileobj(stream, file)
            except TypeError as error:
                raise AudioError(f"{name}: is open as text; open it in binary mode, 'rb'") from error
        with open_copy(path, name, allow_truncated) as source:
            yield source


@contextmanager
def open_remote(path: Path, allow_truncated: bool) -> Iterator[Source]:
    """Open a temporary copy of a remote file."""
    with scratch_file(path.suffix) as copy:
        download(path, copy)
        with open_copy(copy, str(path), allow_truncated) as source:
            yield source


@contextmanager
def open_copy(copy: Path, name: str, allow_truncated: bool) -> Iterator[Source]:
    """Open a temporary copy of a recording; messages have the name of the recording."""
    try:
        with open_file(copy, allow_truncated) as source:
            yield replace(source, name=name)
    except TruncatedError as error:
        raise TruncatedError(error.message.replace(str(copy), name)) from error
    except AudioError as error:
        raise AudioError(str(error).replace(str(copy), name)) from error


def read_stream(stream: IO[bytes], encoding: Encoding, n_bytes: int | None, check: IntegrityCheck) -> Iterator[Array]:
    """Yield the blocks of a stream, and those of WAV streams that follow it."""
    largest = block_length(encoding.rate_hz, encoding.channels)
    while True:
        blocks = read_samples(stream.read1, encoding, largest, n_bytes)  # type: ignore[attr-defined]  # buffered
        n_samples = None if n_bytes is None else n_bytes // encoding.frame_bytes
        yield from check.check_length(blocks, n_samples, encoding.rate_hz)
        if n_bytes is None or not (head := skip_trailing_chunks(stream, n_bytes % 2)):
            return
        if not head.startswith(b"RIFF"):
            return check.warn("data after its samples is neither a chunk nor another recording, and ignored")
        stream = io.BufferedReader(PrependedStream(head, stream))
        following, n_bytes = read_wav_header(stream, check.name)
        if following != encoding:
            raise AudioError(f"{check.name}: a second recording of another encoding follows; pipe in one at a time")
        check.warn("holds several recordings, read one after the other")


def needs_ffmpeg(path: Path, parts: Sequence[Part]) -> bool:
    """Whether a file is read by ffmpeg: by its extension, or because libsndfile does not read it and ffmpeg exists."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    if path.suffix.lower() in FFMPEG_EXTENSIONS - MPEG_AUDIO:
        return True
    return not is_native(path, parts[0] if parts else None) and find_ffmpeg() is not None


def read_mono(path: Path, rate_hz: int) -> tuple[Array, AudioInfo]:
    """Read a whole file as the mean of its channels at `rate_hz`, [n], and its properties.

    Raises AudioError when it cannot be read.
    """
    with open_file(path) as source:
        blocks = [block.mean(axis=0) for block in source.blocks]
    mono = np.concatenate(blocks or [np.zeros(0, np.float32)])
    rate = source.info.rate_hz
    return np.asarray(mono if rate == rate_hz else soxr.resample(mono, rate, rate_hz), np.float32), source.info


def cut(blocks: Iterator[Array], skip: int, n: int | None) -> Iterator[Array]:
    """Yield blocks [..., samples] without the first `skip` samples, and after them only `n` if that is given."""
    for block in blocks:
        stop = block.shape[-1] if n is None else skip + n
        kept = block[..., skip:stop]
        skip = max(0, skip - block.shape[-1])
        if not kept.shape[-1]:
            continue
        yield kept
        if n is not None and (n := n - kept.shape[-1]) <= 0:
            return


def block_length(rate_hz: int, channels: int) -> int:
    """Return the largest number of samples per channel that are read at a time."""
    return max(1, min(round(BLOCK_S * rate_hz), BLOCK_SAMPLES // channels))
