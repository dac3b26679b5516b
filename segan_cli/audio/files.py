"""Audio files: endings, opening and reading in blocks by libsndfile, the format of a name."""

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
from segan_cli.audio.pieces import Part, Pieces
from segan_cli.audio.sifting import MPEG, is_mpeg, sifted
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
MPEG_AUDIO = frozenset((".mp1", ".mp2", ".mpa"))  # which libsndfile reads and ffmpeg writes
FFMPEG_ENDINGS = VIDEO | MPEG_AUDIO | {  # endings of what is ffmpeg's
    ".m4a", ".m4b", ".m4r", ".aac", ".mka", ".weba", ".wma", ".amr", ".awb", ".ac3", ".eac3", ".dts", ".ape", ".wv",
    ".tta", ".voc", ".tak", ".mpc", ".spx", ".gsm", ".dsf", ".ra", ".rm",
}  # fmt: skip
MEDIA = FFMPEG_ENDINGS | set(FORMATS)  # what a folder is searched for
CHECKED = {*FORMATS.values(), "WAVEX", "MPEG"}  # formats of libsndfile whose end is found, whatever their headers say
UNENDING = 1 << 62  # samples that libsndfile tells where it does not know
SIGNED = ("FLAC", "AIFF", "CAF", "AU")  # their samples of 8 bits are
DEEP = {"ALAC_20": ("PCM_24",), "ALAC_24": ("PCM_24",), "PCM_24": ("PCM_24", "ALAC_24")}  # encodings → the nearest
DEEP |= dict.fromkeys(("PCM_32", "ALAC_32", "FLOAT", "DOUBLE"), ("PCM_32", "ALAC_32", "PCM_24", "ALAC_24"))
PLAIN = ("PCM_", "FLOAT", "DOUBLE")  # encodings that most formats have
SIZE_FIELD = 2**32 - 2**20  # bytes of samples that a WAV file can tell
RATES_HZ = 1_000, 768_000
MOST_CHANNELS = 64


def counted(endings: Counter[str]) -> str:
    """How many files of other endings there are: `3 other files (2 .txt, 1 .jpg)`."""
    n = endings.total()
    kinds = ", ".join(f"{times} {ending or 'without ending'}" for ending, times in endings.most_common(5))
    return f"{n} other file{'s' * (n > 1)} ({kinds}{', …' * (len(endings) > 5)})"


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
        n_samples = file.frames if file.frames < UNENDING else None
        return cls(file.samplerate, file.channels, n_samples, file.format, file.subtype, tags, read_mask(file))

    def at(self, rate_hz: int) -> "AudioInfo":
        """Of the same recording at another rate."""
        n = self.n_samples
        return replace(self, rate_hz=rate_hz, n_samples=None if n is None else -(-n * rate_hz // self.rate_hz))


def probe(path: Path) -> AudioInfo:
    """Read a file's header; raises AudioError when it is missing, a folder, empty or not audio."""
    with open_audio(path) as file:
        return AudioInfo.of(file)


@contextmanager
def open_audio(path: Path, part: Part | None = None) -> Iterator[soundfile.SoundFile]:
    """Open a file, or a part of it, for reading; raises AudioError when it is missing, no file, empty or not audio."""
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; give an audio file")
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise AudioError(f"{path}: is a device or socket; give an audio file, or pipe it in")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty; nothing was recorded in it")
    with ExitStack() as stack:
        try:
            file = opened(path, part, stack)
        except (soundfile.LibsndfileError, OSError) as error:
            if path.suffix.lower() == ".raw":
                raise AudioError(f"{path}: bare samples do not tell their rate; pipe them in with --raw") from error
            reason = getattr(error, "error_string", None) or str(error)
            raise AudioError(f"{path}: not a readable audio file ({reason.strip().rstrip('.')})") from error
        if file.frames == 0:
            raise AudioError(f"{path}: the file holds no samples; nothing was recorded in it")
        if file.format not in CHECKED:
            raise AudioError(f"{path}: {file.format} cannot be checked for missing sound; convert it to WAV")
        check_shape(str(path), file.samplerate, file.channels)
        yield file


def opened(path: Path, part: Part | None, stack: ExitStack) -> soundfile.SoundFile:
    """A file, or a part of it, open until `stack` closes.

    By its descriptor where the system has such: by name libsndfile looks for a resource fork of the Macintosh beside an
    MP3, and refuses both where `._name` is there.
    """
    source: Pieces | Path | int = path
    if part is not None:
        source = stack.enter_context(Pieces(path, part.pieces))
    elif os.name != "nt":
        source = stack.enter_context(path.open("rb")).fileno()
    with sifted(is_mpeg(path)):
        return stack.enter_context(soundfile.SoundFile(source, closefd=False))


def known(path: Path, part: Part | None = None) -> bool:
    """Whether libsndfile knows what a file, or a part of it, holds, and it is checked that it reads all of it."""
    try:
        with ExitStack() as stack:
            return opened(path, part, stack).format in CHECKED
    except (soundfile.LibsndfileError, OSError):
        return False


def check_shape(name: str, rate_hz: int, channels: int) -> None:
    """Raise AudioError unless rate and channel count are such as recordings have."""
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise AudioError(f"{name}: says that its rate is {rate_hz} Hz; rates from {low} to {high} Hz can be read")
    if not 1 <= channels <= MOST_CHANNELS:
        raise AudioError(f"{name}: says that it has {channels} channels; up to {MOST_CHANNELS} can be read")


def read_blocks(file: soundfile.SoundFile, path: Path, block: int) -> Iterator[Array]:
    """An open file's samples as blocks [n, channels] of at most `block`; raises AudioError where it is damaged."""
    library, done = soundfile._snd, 0
    while True:
        samples = np.empty((block, file.channels), np.float32)
        with sifted(MPEG in file.subtype):
            n = library.sf_readf_float(file._file, soundfile._ffi.from_buffer("float[]", samples), block)
        done += n
        if n:
            yield samples[:n]
        if error := library.sf_error(file._file):
            reason = soundfile.LibsndfileError(error).error_string.strip(" .").removeprefix("Error : ")
            raise AudioError(f"{path}: damaged after sample {done} ({reason})")
        if n == 0:
            return


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
    if path.suffix.lower() not in FFMPEG_ENDINGS and not path.is_dir():
        output_format(path)
    check_place(path, force)
