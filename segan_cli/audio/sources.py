"""Recordings as blocks of samples: files, standard input, raw streams."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import soxr

from segan_cli.arrays import Array
from segan_cli.audio.containers.chunks import RIFF_FORMS, Part
from segan_cli.audio.containers.scan import scan_file
from segan_cli.audio.ffmpeg.decoder import decoding
from segan_cli.audio.ffmpeg.program import find_ffmpeg, is_playlist
from segan_cli.audio.files import (
    FFMPEG_EXTENSIONS,
    MPEG_AUDIO,
    AudioInfo,
    IntegrityCheck,
    check_shape,
    unsupported_layout,
)
from segan_cli.audio.libsndfile.reader import is_native, open_audio, read_blocks
from segan_cli.audio.wav import Encoding, PrependedStream, block_length, read_stream, read_wav_header
from segan_cli.errors import AudioError
from segan_cli.storage.atomic import scratch_file
from segan_cli.storage.remote import download, is_remote
from segan_cli.text import counted

STDIN = "standard input"
LONGEST_NAME = 255  # bytes, on all common file systems
COPY_BYTES = 1 << 16  # at a time, of an open file


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
    first: int | None = None  # of an excerpt: its first sample

    def part(self, first: int, end: int | None) -> "Source":
        """Return the samples from `first` to before `end`, or to the end; those before are not read if it can seek."""
        skip, blocks = (0, self.blocks_from(first)) if self.blocks_from is not None and first else (first, self.blocks)
        return replace(self, blocks=cut(blocks, skip, None if end is None else end - first))


@contextmanager
def open_file(path: Path, allow_truncated: bool = False) -> Iterator[Source]:
    """Open a file or named pipe to its real end; raises AudioError, or TruncatedError without `allow_truncated`."""
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise AudioError(f"{path}: no such file (the name is too long)")
    with ExitStack() as stack:
        if is_remote(path):
            opened = open_copy(partial(download, path), path.suffix, str(path), allow_truncated)
        elif path.is_fifo():
            opened = open_stream(stack.enter_context(path.open("rb")), None, str(path), allow_truncated)
        elif path.is_file() and is_playlist(path):
            raise AudioError(f"{path}: is a playlist of other files; give those files")
        else:
            check = IntegrityCheck(str(path), allow_truncated)
            native = path.is_file() and path.suffix.lower() not in FFMPEG_EXTENSIONS - MPEG_AUDIO
            parts = scan_file(path) if native else []
            for part in parts:
                check.report(part.missing, part.note)
            if len(parts) > 1:
                check.warn(f"contains {len(parts)} recordings, read one after the other; tags are those of the first")
            opened = open_decoded(path, check, parts) if needs_ffmpeg(path, parts) else open_native(path, check, parts)
        yield stack.enter_context(opened)


@contextmanager
def open_decoded(path: Path, check: IntegrityCheck, parts: Sequence[Part]) -> Iterator[Source]:
    """Open a file by ffmpeg."""
    for part in parts:
        if part.lead_in:
            check.warn(f"its first {counted(part.lead_in, 'sample')} precede its time 0, as after a cut; they are kept")
    with decoding(path, check) as (info, blocks):
        yield Source(str(path), info, blocks, path=path, warnings=check.warnings)


@contextmanager
def open_native(path: Path, check: IntegrityCheck, scanned: Sequence[Part]) -> Iterator[Source]:
    """Open a file, or its parts as one recording, by libsndfile; raises AudioError if the parts do not match."""
    parts: Sequence[Part | None] = scanned or [None]
    infos: list[AudioInfo] = []
    for number, part in enumerate(parts, 1):
        if part is not None and part.lead_in:
            check.on_missing(f"without ffmpeg, its last {counted(part.lead_in, 'sample')} cannot be read")
        with open_audio(path, part) as file:
            info = AudioInfo.of(file)
        infos.append(info if part is None or part.n_samples is None else replace(info, n_samples=part.n_samples))
        if (info.rate_hz, info.channels) != (infos[0].rate_hz, infos[0].channels):
            shape = f"{info.rate_hz} Hz and {info.channels} channels"
            raise AudioError(f"{path}: part {number} of {len(parts)} has {shape}, unlike the first; split it first")

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
    info = check.without_layout(info, unsupported_layout(path))
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
    if raw or (head[:4] in RIFF_FORMS and head[8:12] == b"WAVE"):
        encoding, n_bytes = (raw, None) if raw else read_wav_header(stream, name)
        check_shape(name, encoding.rate_hz, encoding.channels)
        n_samples = None if n_bytes is None else n_bytes // encoding.frame_bytes
        info = AudioInfo(encoding.rate_hz, encoding.channels, n_samples, "WAV", encoding.subtype, mask=encoding.mask)
        check = IntegrityCheck(name, allow_truncated)
        info = check.without_layout(info, encoding.layout)
        yield Source(name, info, read_stream(stream, encoding, n_bytes, check), live=True, warnings=check.warnings)
        return
    with open_copied(stream, name, allow_truncated) as source:
        yield source


def open_copied(stream: IO[bytes], name: str, allow_truncated: bool = False) -> AbstractContextManager[Source]:
    """Open the content of a stream, from its position, through a temporary copy; raises AudioError if it is text."""

    def read(n: int) -> bytes:
        try:
            return stream.read(n)
        except UnicodeDecodeError as error:
            raise TypeError from error
        except (OSError, ValueError) as error:  # closed, or open for writing
            raise AudioError(f"{name}: cannot be read ({error}); open it for reading, 'rb'") from error

    def save(path: Path) -> None:
        with path.open("wb") as file:
            try:
                while content := read(COPY_BYTES):
                    file.write(content)
            except TypeError as error:
                raise AudioError(f"{name}: is open as text; open it in binary mode, 'rb'") from error

    return open_copy(save, "", name, allow_truncated)


@contextmanager
def open_copy(save: Callable[[Path], None], suffix: str, name: str, allow_truncated: bool) -> Iterator[Source]:
    """Open the temporary copy of a recording that `save` makes; messages have the name of the recording."""
    with scratch_file(suffix) as copy:
        save(copy)
        try:
            with open_file(copy, allow_truncated) as source:
                yield replace(source, name=name)
        except AudioError as error:
            raise type(error)(error.message.replace(str(copy), name)) from error


def needs_ffmpeg(path: Path, parts: Sequence[Part]) -> bool:
    """Whether a file is read by ffmpeg: by its extension, or because libsndfile does not read it and ffmpeg exists."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    if path.suffix.lower() in FFMPEG_EXTENSIONS - MPEG_AUDIO:
        return True
    incomplete = any(part.lead_in for part in parts) or not is_native(path, parts[0] if parts else None)
    return incomplete and find_ffmpeg() is not None


def read_mono(path: Path, rate_hz: int) -> tuple[Array, AudioInfo]:
    """Read a whole file as the mean of its channels at `rate_hz`, [n], and its properties; raises AudioError."""
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
