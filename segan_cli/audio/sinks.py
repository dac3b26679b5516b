"""Writing recordings: files that are complete or absent, and standard output."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import IO

import soundfile

from segan_cli.arrays import Array
from segan_cli.audio.containers.side_chunks import ID3_CHUNKS, TAG_CHUNKS, chunk_names, container, copy_chunks
from segan_cli.audio.ffmpeg.encoder import open_encoder
from segan_cli.audio.files import (
    FFMPEG_EXTENSIONS,
    FORMATS,
    LARGEST_WAV,
    STANDARD_MASKS,
    AudioInfo,
    channel_order,
    output_format,
)
from segan_cli.audio.levels import FLOATS, Clip, TargetOptions, Warn, Write, full_scale
from segan_cli.audio.libsndfile.reader import open_audio, read_blocks
from segan_cli.audio.libsndfile.writer import error_message, open_for_writing
from segan_cli.audio.sources import Source
from segan_cli.audio.tags import copy_tags, copy_video_tags, remove_gains
from segan_cli.audio.wav import SUBTYPES, Encoding, rounded, wav_header
from segan_cli.errors import AudioError, OutputError
from segan_cli.storage.atomic import atomically

COMPRESSED = ("FLAC", "OGG", "MP3")  # formats that write their last frames when they are closed
CONTAINERS = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "AIFF": "AIFF"}


@contextmanager
def open_target(
    path: Path, info: AudioInfo, original: Source | None = None, options: TargetOptions | None = None
) -> Iterator[Write]:
    """Open a file for writing that appears when the block ends without an error; its extension gives the format.

    Rate, channels and, unless the options have a subtype, the encoding are those of `info`, the encoding only if the
    format has it. Tags, covers, chapters, time code, channel layout, bit rate and video of `original` are kept if the
    format supports them. Raises OutputError when the file cannot be written; an existing file is then left unchanged.
    """
    options = options or TargetOptions()
    with atomically(path, options.force) as temporary:
        try:
            by_ffmpeg = path.suffix.lower() in FFMPEG_EXTENSIONS
            if by_ffmpeg and options.subtype is not None:
                raise OutputError(f"{path}: ffmpeg chooses the encoding of {path.suffix} files; omit --subtype")
            if not by_ffmpeg:
                output_format(path, info, options.subtype)  # raises an error that names `path`
            opener = _open_with_ffmpeg if by_ffmpeg else _open_with_libsndfile
            with opener(temporary, info, original, options) as write:
                yield write
            if options.releveled:
                remove_gains(temporary, options.warn)
        except (AudioError, OutputError) as error:
            if str(temporary) not in str(error):
                raise
            raise OutputError(str(error).replace(str(temporary), str(path))) from error


@contextmanager
def _open_with_ffmpeg(path: Path, info: AudioInfo, original: Source | None, options: TargetOptions) -> Iterator[Write]:
    order = channel_order(info.channels, info.format, "WAV")
    mask = info.mask or (STANDARD_MASKS[info.channels] if order is not None else 0)
    encoding = Encoding(info.rate_hz, info.channels, "FLOAT", mask)
    source = original.path if original is not None else None
    chapters = original is None or original.first is None  # which an excerpt does not keep
    with open_encoder(path, encoding, source, options, chapters) as (stream, floats):

        def write(samples: Array) -> None:
            stream.write(encoding.encode(reordered(samples, order)))

        with in_range(floats, options.clip, info, write, options.warn) as bounded:
            yield bounded


@contextmanager
def _open_with_libsndfile(
    path: Path, info: AudioInfo, original: Source | None, options: TargetOptions
) -> Iterator[Write]:
    source, warn = original.path if original is not None else None, options.warn
    order, n_written = channel_order(info.channels, info.format, FORMATS[path.suffix.lower()]), 0
    try:
        with open_for_writing(path, info, source, options.subtype, warn) as file:
            format, encoding = file.format, file.subtype
            kind = container(source) if source is not None else ""
            same_kind = kind == CONTAINERS.get(format, "none")
            tags_left_out = [] if same_kind else write_tags(file, info.tags)

            def write(samples: Array) -> None:
                nonlocal n_written
                try:
                    file.write(rounded(reordered(samples, order), encoding).T)
                except soundfile.LibsndfileError as error:  # before closing the file loses its message
                    raise OutputError(f"{path}: cannot be written ({error_message(file, error)})") from error
                n_written += samples.shape[1]

            with in_range(encoding in FLOATS, options.clip, info, write, warn) as bounded:
                yield bounded
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{path}: cannot be written ({error_message(None, error)})") from error
    if format in COMPRESSED and count_samples(path) < n_written:
        raise OutputError(f"{path}: cannot be written completely; is the disk full?")
    if original is not None and source is not None:
        if same_kind:
            rate = Fraction(info.rate_hz, original.info.rate_hz)
            copy_chunks(source, path, rate, warn, original.first, options.releveled)
            return
        names = chunk_names(source)
        if lost := names - TAG_CHUNKS if kind in CONTAINERS.values() else names:
            warn(f"left out, because segan cannot write them to {path.suffix}: {', '.join(sorted(lost))}")
        if not kind or names & ID3_CHUNKS:
            known = copy_tags(source, path, warn, original.first is None)
            if not known and source.suffix.lower() in FFMPEG_EXTENSIONS:
                copy_video_tags(source, path, warn)
        elif tags_left_out:
            warn(f"left out, because segan cannot write them to {path.suffix}: {', '.join(tags_left_out)}")


def write_tags(file: soundfile.SoundFile, tags: dict[str, str]) -> list[str]:
    """Write tags that the format has; returns the names of the others, without that of the original's encoder."""
    left_out = []
    for tag, text in tags.items():
        try:
            setattr(file, tag, text)
        except soundfile.LibsndfileError:
            left_out.append(tag)
    return [tag for tag in left_out if tag != "software"]


def in_range(floats: bool, clip: Clip, info: AudioInfo, write: Write, warn: Warn) -> AbstractContextManager[Write]:
    """Write samples as they are to an encoding with floats, and within full scale to others."""
    return nullcontext(write) if floats else full_scale(clip, info.rate_hz, info.channels, write, warn)


def reordered(samples: Array, order: tuple[int, ...] | None) -> Array:
    """Return samples [channels, n] with their channels in another order, if one is given."""
    return samples if order is None else samples[list(order)]


@contextmanager
def open_output_stream(stream: IO[bytes], info: AudioInfo, options: TargetOptions, raw: str | None) -> Iterator[Write]:
    """Write `raw` samples of that encoding, or WAV, to standard output, flushing every block.

    The header of the WAV gives no length in a pipe; in a file it is completed at the end.
    """
    subtype = raw or options.subtype or (info.subtype if info.subtype in SUBTYPES.values() else "PCM_16")
    encoding = Encoding(info.rate_hz, info.channels, subtype, info.mask)
    order, n_bytes = channel_order(info.channels, info.format, "WAV"), 0

    def write_bytes(content: bytes) -> None:
        nonlocal n_bytes
        stream.write(content)
        stream.flush()
        n_bytes += len(content)

    start = None if raw else seekable_position(stream)
    if not raw:
        write_bytes(wav_header(encoding))
        n_bytes = 0
    with in_range(
        subtype in FLOATS, options.clip, info, lambda samples: write_bytes(encoding.encode(samples)), options.warn
    ) as bounded:
        yield lambda samples: bounded(reordered(samples, order))
    if start is not None and n_bytes <= LARGEST_WAV:
        length, header = n_bytes, wav_header(encoding, n_bytes)
        write_bytes(b"\0" * (length % 2))
        end = stream.tell()
        stream.seek(start)
        stream.write(header)
        stream.seek(end)
        stream.flush()


def seekable_position(stream: IO[bytes]) -> int | None:
    """Return the position of a stream in a regular file; None for other streams and for files open for appending."""
    try:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return None
        if sys.platform == "win32":
            return None if stream.tell() else 0
        import fcntl

        return None if fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_APPEND else stream.tell()
    except OSError:
        return None


def count_samples(path: Path) -> int:
    """Return the number of samples per channel that can be read from a file; 0 if it is damaged."""
    try:
        with open_audio(path) as file:
            return sum(block.shape[1] for block in read_blocks(file, path, 1 << 18))
    except AudioError:
        return 0
