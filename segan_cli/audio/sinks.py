"""Where samples go: files, whole or not at all, and standard output."""

import fcntl
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.atomic import WORDS, atomically
from segan_cli.audio.encoder import encoding_into
from segan_cli.audio.files import FFMPEG_ENDINGS, FORMATS, SIZE_FIELD, AudioInfo, open_audio, output_format, read_blocks
from segan_cli.audio.layouts import STANDARD, order
from segan_cli.audio.native import error_words, opened
from segan_cli.audio.side_chunks import TOLD, WITH_ID3, copy_chunks, kind, names
from segan_cli.audio.sources import Source
from segan_cli.audio.streams import Encoding, wav_header
from segan_cli.audio.tags import copy_tags
from segan_cli.errors import AudioError, OutputError, StoppedError

PACKED = ("FLAC", "OGG", "MP3")  # formats that are finished when they are closed, as is Apple Lossless
RIFFS = {"WAV": "RIFF", "WAVEX": "RIFF", "RF64": "RIFF", "AIFF": "FORM"}  # kinds of formats that are made of chunks
TAGGED = (".m4a", ".m4b", ".m4v", ".mp4", ".mov", ".wma", ".wmv", ".asf", ".wv", ".ape", ".tta")  # mutagen knows, too

Array = NDArray[np.float32]
Write = Callable[[Array], object]  # takes the next samples [n, channels]
Warn = Callable[[str], None]  # takes a line on what could not be kept


def ignore(line: str) -> None:
    """Say nothing."""


@contextmanager
def open_target(
    path: Path,
    info: AudioInfo,
    original: Source | None = None,
    subtype: str | None = None,
    force: bool = True,
    warn: Warn = ignore,
) -> Iterator[Write]:
    """A file that appears under its name when the block ends without an error, of the format that its ending names.

    `info` has its rate and channels, and the encoding to keep where the format has it and no `subtype` is asked for.
    What `original` has beside its sound is kept where the format can: tags, covers, chapters, time code, channel
    layout, bit rate, pictures of a video; what cannot be kept is told by `warn`. What libsndfile does not know goes
    through ffmpeg. Raises OutputError when it cannot be written; what was there before then stays.
    """
    with atomically(path, force) as beside:
        try:
            if path.suffix.lower() in FFMPEG_ENDINGS:
                with _by_ffmpeg(beside, info, original, warn) as write:
                    yield write
            else:
                output_format(path, info, subtype)  # says what is wrong with its name or encoding
                with _by_libsndfile(beside, info, original, subtype, warn) as write:
                    yield write
        except (AudioError, OutputError) as error:
            if str(beside) not in str(error):
                raise
            raise OutputError(str(error).replace(str(beside), str(path))) from error


@contextmanager
def _by_ffmpeg(path: Path, info: AudioInfo, original: Source | None, warn: Warn) -> Iterator[Write]:
    places = order(info.channels, info.format, "WAV")
    mask = info.mask or (STANDARD[info.channels] if places is not None else 0)
    encoding = Encoding(info.rate_hz, info.channels, "FLOAT", mask)
    source = original.path if original is not None else None
    with encoding_into(path, encoding, source, warn) as stream:
        yield lambda samples: stream.write(encoding.encode(placed(samples, places)))
    if source is not None and path.suffix.lower() in TAGGED:
        copy_tags(source, path, warn)


@contextmanager
def _by_libsndfile(
    path: Path, info: AudioInfo, original: Source | None, subtype: str | None, warn: Warn
) -> Iterator[Write]:
    source = original.path if original is not None else None
    places, n_written = order(info.channels, info.format, FORMATS[path.suffix.lower()]), 0
    try:
        with opened(path, info, source, subtype, warn) as file:
            format, encoding = file.format, file.subtype
            alike = source is not None and kind(source) == RIFFS.get(format, "none")  # so tags are among its chunks
            for tag, text in {} if alike else info.tags.items():
                with suppress(soundfile.LibsndfileError):  # not every format has every tag
                    setattr(file, tag, text)

            def write(samples: Array) -> None:
                nonlocal n_written
                try:
                    file.write(placed(samples, places))
                except soundfile.LibsndfileError as error:  # while the file can still say why
                    raise OutputError(f"{path}: cannot be written ({error_words(file, error)})") from error
                n_written += len(samples)

            yield write
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{path}: cannot be written ({error_words(None, error)})") from error
    silent = format in PACKED or encoding.startswith("ALAC")  # when what they write at their end fails
    if silent and decodable(path) < n_written:
        raise OutputError(f"{path}: cannot be written whole; is the disk full?")
    if original is not None and source is not None:
        if alike:
            copy_chunks(source, path, Fraction(info.rate_hz, original.info.rate_hz), warn)
        else:
            keep_tags(source, path, warn)


def placed(samples: Array, places: tuple[int, ...] | None) -> Array:
    """Channels in another order, where there is one."""
    return samples if places is None else np.ascontiguousarray(samples[:, places])


def keep_tags(source: Path, target: Path, warn: Warn) -> None:
    """Put the tags of a file into one of another kind, and tell of what is no tag."""
    beside = names(source) - TOLD
    if beside:
        warn(f"left out, as {target.suffix} has no place for them: {', '.join(sorted(beside))}")
    if not kind(source) or names(source) & WITH_ID3:
        copy_tags(source, target, warn)


@contextmanager
def open_output(stream: IO[bytes], encoding: Encoding, raw: bool) -> Iterator[Write]:
    """Standard output: raw samples, or WAV, every block passed on at once.

    The WAV has no end where it goes into a pipe; in a file it gets its length when it ends. Raises OutputError when it
    cannot be written.
    """
    n_bytes = 0

    def pass_on(content: bytes) -> None:
        nonlocal n_bytes
        with _telling(stream):
            stream.write(content)
            stream.flush()
        n_bytes += len(content)

    start = None if raw else beginning(stream)
    if not raw:
        pass_on(wav_header(encoding))
        n_bytes = 0
    yield lambda samples: pass_on(encoding.encode(samples))
    if start is not None and n_bytes <= SIZE_FIELD:
        length, header = n_bytes, wav_header(encoding, n_bytes)
        pass_on(b"\0" * (length % 2))
        with _telling(stream):
            end = stream.tell()
            stream.seek(start)
            stream.write(header)
            stream.seek(end)
            stream.flush()


def beginning(stream: IO[bytes]) -> int | None:
    """Where in a file a stream is; none where it is no file, or one that is only added to."""
    try:
        added_to = fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_APPEND
        return None if added_to or not stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else stream.tell()
    except OSError:
        return None


@contextmanager
def _telling(stream: IO[bytes]) -> Iterator[None]:
    """Raise StoppedError when nobody reads a stream any more, OutputError when it cannot be written."""
    try:
        yield
    except BrokenPipeError as error:
        raise StoppedError("nobody reads standard output any more", signal.SIGPIPE) from error
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # where what is still waiting goes
        why = WORDS.get(error.errno or 0) or error.strerror
        raise OutputError(f"standard output: cannot be written ({why})") from error


@contextmanager
def normalising(channels: int, peak_db: float, write: Write) -> Iterator[Write]:
    """Samples that reach `write` when the block ends, with their peak at `peak_db` relative to full scale.

    Until then they wait in a temporary file.
    """
    with tempfile.TemporaryFile() as waiting:
        peak = 0.0

        def keep(samples: Array) -> None:
            nonlocal peak
            peak = max(peak, float(np.abs(samples).max(initial=0.0)))
            waiting.write(samples.astype(np.float32).tobytes())

        yield keep
        gain = np.float32(10 ** (peak_db / 20) / peak if peak else 1.0)
        waiting.seek(0)
        while content := waiting.read(channels << 20):
            write(gain * np.frombuffer(content, np.float32).reshape(-1, channels))


def decodable(path: Path) -> int:
    """Samples of each channel that a file gives; none where it is damaged."""
    try:
        with open_audio(path) as file:
            return sum(map(len, read_blocks(file, path, 1 << 18)))
    except AudioError:
        return 0
