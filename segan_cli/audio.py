"""Audio files and rates: reading in blocks, resampling, emphasis, atomic writing."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import lfilter

from segan_cli.errors import AudioError

Array = NDArray[np.float32]

EXTENSIONS = frozenset((".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".caf", ".w64", ".rf64", ".au"))


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself."""

    rate_hz: int
    channels: int
    n_samples: int  # per channel
    format: str  # libsndfile's major format, such as WAV
    subtype: str  # libsndfile's encoding, such as PCM_16


def probe(path: Path) -> AudioInfo:
    """Read a file's header; raises AudioError when it is missing, a folder, empty or not audio."""
    with open_audio(path) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)


@contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a file for reading; raises AudioError when it is missing, a folder, empty or not audio."""
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; give an audio file")
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty; nothing was recorded in it")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise AudioError(f"{path}: not a readable audio file ({reason.strip().rstrip('.')})") from error
    with file:
        if file.frames == 0:
            raise AudioError(f"{path}: the file holds no samples; nothing was recorded in it")
        yield file


def read_blocks(path: Path, block_s: float) -> Iterator[Array]:
    """A file's samples as blocks [n, channels] of at most `block_s` seconds; raises AudioError on a damaged file."""
    with open_audio(path) as file:
        n = max(1, round(block_s * file.samplerate))
        while True:
            try:
                block = file.read(n, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise AudioError(f"{path}: damaged after sample {file.tell()} ({error.error_string})") from error
            if not len(block):
                return
            yield block


def read_mono(path: Path, rate_hz: int) -> Array:
    """A whole file as the mean of its channels at `rate_hz`, [n]."""
    info = probe(path)
    mono = np.concatenate([block.mean(axis=1) for block in read_blocks(path, 60.0)])
    return mono if info.rate_hz == rate_hz else soxr.resample(mono, info.rate_hz, rate_hz)


@contextmanager
def atomic_writer(
    path: Path, rate_hz: int, channels: int, like: AudioInfo | None = None
) -> Iterator[soundfile.SoundFile]:
    """A sound file open for writing that appears under its name only when the block ends without an error.

    The format follows the name's extension, the encoding that of `like` where the format allows it. Raises AudioError
    when the format is unknown or the place cannot be written; the unfinished file is removed on any error.
    """
    format, subtype = output_format(path, like)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with soundfile.SoundFile(beside, "w", rate_hz, channels, subtype, format=format) as file:
            yield file
        beside.replace(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: cannot be written ({_reason(path, error)})") from error
    finally:
        beside.unlink(missing_ok=True)


def output_format(path: Path, like: AudioInfo | None = None) -> tuple[str, str]:
    """libsndfile's format and encoding for a file name; raises AudioError when its extension names none.

    The encoding is that of `like` where it is plain samples or of the same format, else the format's default.
    """
    extension = path.suffix[1:].lower()
    if extension == "opus":
        return "OGG", "OPUS"
    format = {"aif": "AIFF"}.get(extension, extension.upper())
    if format not in soundfile.available_formats() or format == "RAW":
        raise AudioError(f"{path}: cannot tell an audio format from this name; end it in .wav, .flac, .ogg or .mp3")
    plain = ("PCM_", "FLOAT", "DOUBLE")
    kept = like is not None and (like.format == format or like.subtype.startswith(plain))
    if like is not None and kept and soundfile.check_format(format, like.subtype):
        return format, like.subtype
    return format, soundfile.default_subtype(format)


def check_writable(path: Path) -> None:
    """Raise AudioError unless a sound file can be written under this name; leaves nothing behind."""
    try:
        if path.is_dir():
            raise IsADirectoryError
        output_format(path)
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({_reason(path, error)})") from error


def _reason(path: Path, error: Exception) -> str:
    if path.is_dir():
        return "it is a folder; name a file in it"
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist; make it first"
    return getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)


class Resampler:
    """Streaming change of rate without delay: blocks [n, channels] in, blocks [m, channels] out (soxr, HQ)."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        self.stream = soxr.ResampleStream(from_hz, to_hz, channels, "float32") if from_hz != to_hz else None
        self.channels = channels

    def push(self, block: Array, last: bool = False) -> Array:
        """The samples that are final now; all that are left when it is the last block."""
        if self.stream is None:
            return block
        resampled: Array = self.stream.resample_chunk(np.ascontiguousarray(block), last)
        return resampled.reshape(-1, self.channels)


class Emphasis:
    """Pre-emphasis y[n] = x[n] - a x[n-1] or its inverse, with the filter's state carried from block to block."""

    def __init__(self, coefficient: float, channels: int, inverse: bool = False) -> None:
        forward, one = [1.0, -coefficient], [1.0]
        self.b, self.a = (one, forward) if inverse else (forward, one)
        self.state = np.zeros((channels, 1))

    def push(self, block: Array) -> Array:
        """block [channels, n] → filtered, same shape."""
        if not block.size:
            return block
        filtered, self.state = lfilter(self.b, self.a, block, axis=1, zi=self.state)
        return np.asarray(filtered, np.float32)
