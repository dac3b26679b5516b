"""Audio files: endings, opening and reading in blocks by libsndfile, the format of a name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.atomic import check_place
from segan_cli.audio.layouts import read_mask
from segan_cli.errors import AudioError

Array = NDArray[np.float32]

FORMATS = {  # libsndfile's major format by a name's ending
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".caf": "CAF",
    ".w64": "W64",
    ".rf64": "RF64",
    ".au": "AU",
}
VIDEO = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".3gp", ".mpg", ".mpeg", ".ts", ".mts",
))  # fmt: skip
FOREIGN = VIDEO | {  # endings of what is ffmpeg's
    ".m4a", ".m4b", ".aac", ".mka", ".wma", ".amr", ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta", ".spx", ".gsm",
}  # fmt: skip
SIGNED = ("FLAC", "AIFF", "CAF", "AU")  # their samples of 8 bits are
DEEP = {"ALAC_20": ("PCM_24",), "ALAC_24": ("PCM_24",), "PCM_24": ("PCM_24", "ALAC_24")}  # encodings → the nearest
DEEP |= dict.fromkeys(("PCM_32", "ALAC_32", "FLOAT", "DOUBLE"), ("PCM_32", "ALAC_32", "PCM_24", "ALAC_24"))
PLAIN = ("PCM_", "FLOAT", "DOUBLE")  # encodings that most formats have
SIZE_FIELD = 2**32 - 2**20  # bytes of samples that a WAV file can tell
RATES_HZ = 1_000, 768_000
MOST_CHANNELS = 64
MUTING = Lock()  # as standard error is one for all threads


@dataclass(frozen=True)
class AudioInfo:
    """What a recording says of itself."""

    rate_hz: int
    channels: int
    n_samples: int | None  # per channel; None where it is not known before the end
    format: str  # libsndfile's major format, such as WAV, or another container's ending
    subtype: str  # libsndfile's encoding, such as PCM_16
    tags: dict[str, str] = field(default_factory=dict)  # title, artist … as libsndfile knows them
    mask: int = 0  # of the channels' loudspeakers, as WAV has it; 0: not told

    @classmethod
    def of(cls, file: soundfile.SoundFile) -> "AudioInfo":
        """Of an open file."""
        tags = {name: text for name, text in file.copy_metadata().items() if text}
        return cls(file.samplerate, file.channels, file.frames, file.format, file.subtype, tags, read_mask(file))

    def at(self, rate_hz: int) -> "AudioInfo":
        """Of the same recording at another rate."""
        n = self.n_samples
        return replace(self, rate_hz=rate_hz, n_samples=None if n is None else -(-n * rate_hz // self.rate_hz))


def probe(path: Path) -> AudioInfo:
    """Read a file's header; raises AudioError when it is missing, a folder, empty or not audio."""
    with open_audio(path) as file:
        return AudioInfo.of(file)


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
        with muted():
            file = soundfile.SoundFile(native(path))
    except TypeError as error:
        raise AudioError(f"{path}: bare samples do not tell their rate; pipe them in with --raw") from error
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise AudioError(f"{path}: not a readable audio file ({reason.strip().rstrip('.')})") from error
    with file:
        if file.frames == 0:
            raise AudioError(f"{path}: the file holds no samples; nothing was recorded in it")
        check_shape(str(path), file.samplerate, file.channels)
        yield file


def native(path: Path) -> bytes | Path:
    """A path as libsndfile takes it whatever its bytes are."""
    return path if os.name == "nt" else os.fsencode(path)


def known(path: Path) -> bool:
    """Whether libsndfile knows what a file holds."""
    try:
        with muted():
            soundfile.SoundFile(native(path)).close()
    except (soundfile.LibsndfileError, OSError, TypeError):
        return False
    return True


@contextmanager
def muted() -> Iterator[None]:
    """Nothing reaches standard error meanwhile, where libmpg123 tells of each damaged frame."""
    with MUTING, Path(os.devnull).open("wb") as nowhere:
        before = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def check_shape(name: str, rate_hz: int, channels: int) -> None:
    """Raise AudioError unless rate and channel count are such as recordings have."""
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise AudioError(f"{name}: says that its rate is {rate_hz} Hz; rates from {low} to {high} Hz can be read")
    if not 1 <= channels <= MOST_CHANNELS:
        raise AudioError(f"{name}: says that it has {channels} channels; up to {MOST_CHANNELS} can be read")


def read_blocks(file: soundfile.SoundFile, path: Path, block: int) -> Iterator[Array]:
    """An open file's samples as blocks [n, channels] of at most `block`; raises AudioError where it is damaged."""
    while True:
        try:
            with muted():
                samples = file.read(block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: damaged after sample {file.tell()} ({error.error_string})") from error
        if not len(samples):
            return
        yield samples


def output_format(path: Path, like: AudioInfo | None = None, subtype: str | None = None) -> tuple[str, str]:
    """libsndfile's format and encoding for a file name; raises AudioError when its ending names none.

    The encoding is `subtype` where one is asked for, else that of `like` where it is plain samples or of the same
    format, else the nearest one of more than 16 bits or the format's default.
    """
    extension = path.suffix.lower()
    format = FORMATS.get(extension)
    if format is None:
        raise AudioError(f"{path}: cannot tell an audio format from this name; end it in .wav, .flac, .ogg or .mp3")
    if subtype is not None:
        subtype = "PCM_S8" if subtype == "PCM_U8" and format in SIGNED else subtype
        if not soundfile.check_format(format, subtype):
            raise AudioError(f"{path}: {format} has no encoding {subtype}; choose another --subtype")
        return format, subtype
    if extension == ".opus":
        return "OGG", "OPUS"
    same = like is not None and ("WAV" if like.format == "WAVEX" else like.format) == format
    if like is not None and (same or like.subtype.startswith(PLAIN)) and soundfile.check_format(format, like.subtype):
        return format, like.subtype
    deep = like is not None and like.format in soundfile.available_formats() and like.subtype in DEEP
    for nearest in DEEP[like.subtype] if deep and like is not None else ():
        if soundfile.check_format(format, nearest):
            return format, nearest
    return format, soundfile.default_subtype(format)


def check_writable(path: Path, force: bool = False) -> None:
    """Raise AudioError unless a recording can be written under this name, where without `force` none is."""
    if path.suffix.lower() not in FOREIGN and not path.is_dir():
        output_format(path)
    check_place(path, force)
