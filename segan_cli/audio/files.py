"""Audio files by libsndfile: file extensions, opening, reading in blocks, the format of an output."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.atomic import check_place
from segan_cli.audio.layouts import read_mask
from segan_cli.audio.mpg123 import MPEG, is_mpeg, quiet_mpg123
from segan_cli.audio.pieces import Part, PiecewiseFile
from segan_cli.errors import AudioError

Array = NDArray[np.float32]

FORMATS = {  # file extension → libsndfile's format
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
    ".aifc": "AIFF",
    ".bwf": "WAV",
    ".nist": "NIST",
    ".snd": "AU",
    ".sph": "NIST",
    ".svx": "SVX",
    ".wave": "WAV",
}
VIDEO = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".mpg", ".mpeg",
    ".ts", ".mts", ".m2ts", ".vob", ".ogv", ".mxf",
))  # fmt: skip
MPEG_AUDIO = frozenset((".mp1", ".mp2", ".mpa"))  # read by libsndfile, written by ffmpeg
FFMPEG_EXTENSIONS = VIDEO | MPEG_AUDIO | {
    ".m4a", ".m4b", ".m4r", ".aac", ".mka", ".weba", ".wma", ".amr", ".awb", ".ac3", ".eac3", ".dts", ".ape", ".wv",
    ".tta", ".voc", ".tak", ".mpc", ".spx", ".gsm", ".dsf", ".ra", ".rm",
}  # fmt: skip
MEDIA = FFMPEG_EXTENSIONS | set(FORMATS)  # extensions that a folder is searched for
CHECKED = {*FORMATS.values(), "WAVEX", "MPEG"}  # formats whose length is checked against the content
UNKNOWN_LENGTH = 1 << 62  # numbers of frames from here on mean that libsndfile does not know it
SIGNED_8_BIT = ("FLAC", "AIFF", "CAF", "AU")  # formats whose 8-bit samples are signed
DEEP = {"ALAC_20": ("PCM_24",), "ALAC_24": ("PCM_24",), "PCM_24": ("PCM_24", "ALAC_24")}  # subtype → alternatives
DEEP |= dict.fromkeys(("PCM_32", "ALAC_32", "FLOAT", "DOUBLE"), ("PCM_32", "ALAC_32", "PCM_24", "ALAC_24"))
COMMON = ("PCM_", "FLOAT", "DOUBLE")  # subtypes that most formats have
LARGEST_WAV = 2**32 - 2**20  # bytes of samples
RATES_HZ = 1_000, 768_000
MAX_CHANNELS = 64


def count_others(extensions: Counter[str]) -> str:
    """Describe files that are not audio by their extensions: `3 other files (2 .txt, 1 .jpg)`."""
    n = extensions.total()
    kinds = ", ".join(f"{times} {extension or 'without extension'}" for extension, times in extensions.most_common(5))
    return f"{n} other file{'s' * (n > 1)} ({kinds}{', …' * (len(extensions) > 5)})"


@dataclass(frozen=True)
class AudioInfo:
    """Properties of a recording."""

    rate_hz: int
    channels: int
    n_samples: int | None  # per channel; None: not known before the end
    format: str  # libsndfile's format, such as WAV, or the extension of another container
    subtype: str  # libsndfile's encoding, such as PCM_16
    tags: dict[str, str] = field(default_factory=dict)  # libsndfile's: title, artist …
    mask: int = 0  # channel mask as in WAV; 0: not specified

    @classmethod
    def of(cls, file: soundfile.SoundFile) -> "AudioInfo":
        """Return the properties of an open file."""
        tags = {name: text for name, text in file.copy_metadata().items() if text}
        n_samples = file.frames if file.frames < UNKNOWN_LENGTH else None
        return cls(file.samplerate, file.channels, n_samples, file.format, file.subtype, tags, read_mask(file))

    def at(self, rate_hz: int) -> "AudioInfo":
        """Return the properties of the same recording at another rate."""
        n = self.n_samples
        return replace(self, rate_hz=rate_hz, n_samples=None if n is None else -(-n * rate_hz // self.rate_hz))


def suggestion(missing: Path) -> str:
    """Suggest the file in the same folder whose name is closest to that of a missing file."""
    from difflib import get_close_matches  # only needed for an error

    try:
        names = [path.name for path in missing.parent.iterdir() if path.name[0] != "."]
    except OSError:
        return "check the path"
    close = get_close_matches(missing.name, names, 1)
    return f"did you mean {missing.with_name(close[0])}?" if close else "check the path"


def probe(path: Path) -> AudioInfo:
    """Read a file's header; raises AudioError when it is missing, a folder, empty or not audio."""
    with open_audio(path) as file:
        return AudioInfo.of(file)


@contextmanager
def open_audio(path: Path, part: Part | None = None) -> Iterator[soundfile.SoundFile]:
    """Open a file, or a part of it, for reading; raises AudioError when it is missing, empty or not audio."""
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; give an audio file")
    if not path.exists():
        raise AudioError(f"{path}: no such file; {suggestion(path)}")
    if not path.is_file():
        raise AudioError(f"{path}: is a device or socket; give an audio file, or pipe it in")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty; nothing was recorded in it")
    with ExitStack() as stack:
        try:
            file = _open(path, part, stack)
        except (soundfile.LibsndfileError, OSError) as error:
            if path.suffix.lower() == ".raw":
                raise AudioError(f"{path}: raw samples have no header; pipe them in with --raw --rate HZ") from error
            reason = getattr(error, "error_string", None) or str(error)
            raise AudioError(f"{path}: not a readable audio file ({reason.strip().rstrip('.')})") from error
        if file.frames == 0:
            raise AudioError(f"{path}: the file holds no samples; nothing was recorded in it")
        if file.format not in CHECKED:
            raise AudioError(f"{path}: {file.format} files cannot be checked for missing sound; convert it")
        check_shape(str(path), file.samplerate, file.channels)
        yield file


def _open(path: Path, part: Part | None, stack: ExitStack) -> soundfile.SoundFile:
    """Open a file, or a part of it, until `stack` closes.

    Files are opened by descriptor: given a name, libsndfile takes a `._name` that macOS left beside an MP3 for its
    resource fork, and refuses the file.
    """
    source: PiecewiseFile | Path | int = path
    if part is not None:
        source = stack.enter_context(PiecewiseFile(path, part.pieces))
    elif os.name != "nt":
        source = stack.enter_context(path.open("rb")).fileno()
    with quiet_mpg123(is_mpeg(path)):
        return stack.enter_context(soundfile.SoundFile(source, closefd=False))


def is_native(path: Path, part: Part | None = None) -> bool:
    """Whether libsndfile reads a file, or a part of it, and its length can be checked."""
    try:
        with ExitStack() as stack:
            return _open(path, part, stack).format in CHECKED
    except (soundfile.LibsndfileError, OSError):
        return False


def check_shape(name: str, rate_hz: int, channels: int) -> None:
    """Raise AudioError when the sampling rate or the number of channels is out of range."""
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise AudioError(f"{name}: has a rate of {rate_hz} Hz; rates from {low} to {high} Hz can be read")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: has {channels} channels; up to {MAX_CHANNELS} can be read")


def read_blocks(file: soundfile.SoundFile, path: Path, block: int, first: int = 0) -> Iterator[Array]:
    """Yield the samples of an open file from sample `first` on as blocks [channels, n], n at most `block`.

    Raises AudioError where the file is damaged.
    """
    library, done = soundfile._snd, first
    if first:
        with quiet_mpg123(MPEG in file.subtype):
            if library.sf_seek(file._file, first, os.SEEK_SET) != first:
                raise AudioError(f"{path}: sample {first} cannot be found; is the file damaged?")
    while True:
        samples = np.empty((block, file.channels), np.float32)
        with quiet_mpg123(MPEG in file.subtype):
            n = library.sf_readf_float(file._file, soundfile._ffi.from_buffer("float[]", samples), block)
        done += n
        if n:
            yield samples[:n].T
        if error := library.sf_error(file._file):
            reason = soundfile.LibsndfileError(error).error_string.strip(" .").removeprefix("Error : ")
            raise AudioError(f"{path}: damaged after sample {done} ({reason})")
        if n == 0:
            return


def output_format(path: Path, like: AudioInfo | None = None, subtype: str | None = None) -> tuple[str, str]:
    """Return libsndfile's format and subtype for an output; raises AudioError when its extension is not known.

    The subtype is `subtype` if given, else that of `like` if the format has it, else the nearest of more than 16 bits
    or the default of the format.
    """
    extension = path.suffix.lower()
    format = FORMATS.get(extension)
    if format is None:
        raise AudioError(f"{path}: no audio format has this extension; use .wav, .flac, .ogg or .mp3")
    if subtype is not None:
        subtype = "PCM_S8" if subtype == "PCM_U8" and format in SIGNED_8_BIT else subtype
        if not soundfile.check_format(format, subtype):
            raise AudioError(f"{path}: {format} does not support {subtype}; choose another --subtype")
        return format, subtype
    if extension == ".opus":
        return "OGG", "OPUS"
    same = like is not None and ("WAV" if like.format == "WAVEX" else like.format) == format
    if like is not None and (same or like.subtype.startswith(COMMON)) and soundfile.check_format(format, like.subtype):
        return format, like.subtype
    deep = like is not None and like.format in soundfile.available_formats() and like.subtype in DEEP
    for nearest in DEEP[like.subtype] if deep and like is not None else ():
        if soundfile.check_format(format, nearest):
            return format, nearest
    return format, soundfile.default_subtype(format)


def check_writable(path: Path, force: bool = False) -> None:
    """Raise an error unless a recording can be written to this path; without `force` it must not exist."""
    if path.suffix.lower() not in FFMPEG_EXTENSIONS and not path.is_dir():
        output_format(path)
    check_place(path, force)
