"""Audio files: the extensions and formats, the properties of a recording, the format of an output."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import soundfile

from segan_cli.atomic import check_place
from segan_cli.audio.layouts import read_mask
from segan_cli.errors import AudioError

FORMATS = {  # file extension → libsndfile's format
    ".wav": "WAV", ".wave": "WAV", ".bwf": "WAV", ".rf64": "RF64", ".w64": "W64", ".flac": "FLAC",
    ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aiff": "AIFF", ".aif": "AIFF", ".aifc": "AIFF",
    ".caf": "CAF", ".au": "AU", ".snd": "AU", ".svx": "SVX",
}  # fmt: skip
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


def check_shape(name: str, rate_hz: int, channels: int) -> None:
    """Raise AudioError when the sampling rate or the number of channels is out of range."""
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise AudioError(f"{name}: has a rate of {rate_hz} Hz; rates from {low} to {high} Hz can be read")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: has {channels} channels; up to {MAX_CHANNELS} can be read")


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
    candidates: list[str] = []
    if like is not None:
        same = ("WAV" if like.format == "WAVEX" else like.format) == format
        candidates += [like.subtype] if same or like.subtype.startswith(COMMON) else []
        candidates += DEEP.get(like.subtype, ()) if like.format in soundfile.available_formats() else ()
    supported = (candidate for candidate in candidates if soundfile.check_format(format, candidate))
    return format, next(supported, soundfile.default_subtype(format))


def check_writable(path: Path, force: bool = False) -> None:
    """Raise an error unless a recording can be written to this path; without `force` it must not exist."""
    if path.suffix.lower() not in FFMPEG_EXTENSIONS and not path.is_dir():
        output_format(path)
    check_place(path, force)
