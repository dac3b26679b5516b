"""Audio files: extensions and formats, channel layouts, and properties, which the content may contradict."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import soundfile

from segan_cli.arrays import MAX_CHANNELS, RATES_HZ, Array
from segan_cli.audio.containers.chunks import wav_format
from segan_cli.errors import AudioError, OutputError, TruncatedError
from segan_cli.storage.atomic import check_place, writing
from segan_cli.storage.remote import is_remote
from segan_cli.text import counted

STANDARD_MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}  # of FLAC, Vorbis and Opus
XIPH = {  # by channels: index in WAV order of each channel of Vorbis and Opus
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
FIXED_LAYOUT_FORMATS = ("FLAC", "OGG")  # formats whose layout follows from the number of channels
SIDE, BACK = 0x600, 0x30
LIBSNDFILE = (2, 3, 4, 11, 9, 10, 12, 13, 8, 14, 15, 16, 17, 19, 18, 20, 22, 21)  # its position for each bit of a mask
AMBISONIC_WAV = bytes.fromhex("2107d3118644c8c1ca000000")  # end of the format GUID of B-format
AMBISONIC_OPUS, SPEAKERS_OPUS = (2, 3), (0, 1)  # channel mapping families; the others have no layout
HEAD_BYTES = 4096
GET_MAP, SET_MAP = 0x1100, 0x1101  # sf_command numbers that soundfile does not name
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
NO_SAMPLES = "contains no samples"
NO_HEADER = {".raw": "raw samples have no header; pipe them in with --raw --rate HZ"}  # extension → what to do
UNKNOWN_LENGTH = 1 << 62  # numbers of frames from here on mean that libsndfile does not know it
SIGNED_8_BIT = ("FLAC", "AIFF", "CAF", "AU")  # formats whose 8-bit samples are signed
ALAC = "ALAC"  # in subtypes of CAF, whose encoder in libsndfile damages the end of some recordings
DEEPER_SUBTYPES: dict[str, tuple[str, ...]] = {
    "ALAC_16": ("PCM_16",),
    "ALAC_20": ("PCM_24",),
    "ALAC_24": ("PCM_24",),
}  # subtype → alternatives
DEEPER_SUBTYPES |= dict.fromkeys(("PCM_32", "ALAC_32", "FLOAT", "DOUBLE"), ("PCM_32", "PCM_24"))
COMMON = ("PCM_", "FLOAT", "DOUBLE")  # subtypes that most formats have
LARGEST_WAV = 2**32 - 2**20  # bytes of samples


def read_mask(file: soundfile.SoundFile) -> int:
    """Return the mask of an open file; 0 if it has none, or its channels are not in WAV order."""
    if file.format in FIXED_LAYOUT_FORMATS:
        return STANDARD_MASKS.get(file.channels, 0) if file.channels > 2 else 0
    places = soundfile._ffi.new(f"int[{file.channels}]")
    if not soundfile._snd.sf_command(file._file, GET_MAP, places, soundfile._ffi.sizeof(places)):
        return 0
    bits = [LIBSNDFILE.index(place) if place in LIBSNDFILE else -1 for place in places]
    known = -1 not in bits and bits == sorted(set(bits))
    return mask_to_store(file.channels, sum(1 << bit for bit in bits)) if known else 0


def unsupported_layout(path: Path) -> str | None:
    """Describe a layout that is not one of loudspeakers, which libsndfile does not report; None for others."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    opus = head.find(b"OpusHead")
    if head[:4] == b"OggS" and 0 <= opus < len(head) - 18 and head[opus + 18] not in SPEAKERS_OPUS:
        family = head[opus + 18]
        kind = "ambisonic" if family in AMBISONIC_OPUS else "without positions"
        return f"{kind} (Opus channel mapping family {family})"
    return ambisonic_layout(wav_format(path))


def ambisonic_layout(wav_format: bytes) -> str | None:
    """Describe the layout of a WAV format chunk if it is ambisonic."""
    return "ambisonic (B-format)" if AMBISONIC_WAV in wav_format else None


def write_mask(file: soundfile.SoundFile, mask: int) -> bool:
    """Write the mask to a file open for writing; False if its format cannot store it."""
    if file.format in FIXED_LAYOUT_FORMATS:
        return mask == STANDARD_MASKS.get(file.channels)
    places = soundfile._ffi.new("int[]", [place for bit, place in enumerate(LIBSNDFILE) if mask >> bit & 1])
    return bool(soundfile._snd.sf_command(file._file, SET_MAP, places, soundfile._ffi.sizeof(places)))


def mask_to_store(channels: int, mask: int) -> int:
    """Return a mask, but 0 for plain mono and stereo, and for one that does not fit the number of channels."""
    usual = channels <= 2 and mask == STANDARD_MASKS.get(channels)
    return 0 if usual or mask.bit_count() != channels else mask


def channel_order(channels: int, before: str, after: str) -> tuple[int, ...] | None:
    """Return the order of the channels of format `before` in a file of format `after`; None if it is the same.

    libsndfile leaves the channels of Vorbis and Opus in the order of these codecs.
    """
    xiph = XIPH.get(channels)
    if xiph is None or (before == "OGG") == (after == "OGG"):
        return None
    return xiph if after == "OGG" else tuple(xiph.index(i) for i in range(channels))


def count_others(extensions: Counter[str]) -> str:
    """Describe files that are not audio by their extensions: `3 other files (2 .txt, 1 .jpg)`."""
    kinds = ", ".join(f"{times} {extension or 'without extension'}" for extension, times in extensions.most_common(5))
    return f"{counted(extensions.total(), 'other file')} ({kinds}{', …' * (len(extensions) > 5)})"


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
    lossy: bool = False  # whether ffmpeg decoded it from a lossy codec

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

    if os.path.islink(missing):
        return "it is a dangling link"
    try:
        names = [path.name for path in missing.parent.iterdir() if path.name[0] != "." and path.exists()]
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
    """Return libsndfile's format and subtype for an output; raises OutputError when its extension is not known.

    The subtype is `subtype` if given, else that of `like` if the format has it, else the nearest of more than 16 bits
    or the default of the format.
    """
    extension = path.suffix.lower()
    format = FORMATS.get(extension)
    if format is None:
        raise OutputError(f"{path}: no audio format has this extension; use .wav, .flac, .ogg or .mp3")
    if subtype is not None:
        if extension == ".opus" and subtype != "OPUS":
            raise OutputError(f"{path}: .opus files hold Opus; choose another --subtype")
        subtype = "PCM_S8" if subtype == "PCM_U8" and format in SIGNED_8_BIT else subtype
        if not soundfile.check_format(format, subtype) or subtype.startswith(ALAC):
            raise OutputError(f"{path}: {format} does not support {subtype}; choose another --subtype")
        return format, subtype
    if extension == ".opus":
        return "OGG", "OPUS"
    candidates: list[str] = []
    if like is not None:
        same = ("WAV" if like.format == "WAVEX" else like.format) == format
        keeps = (same and not like.subtype.startswith(ALAC)) or like.subtype.startswith(COMMON)
        candidates += [like.subtype] if keeps else []
        candidates += DEEPER_SUBTYPES.get(like.subtype, ()) if like.format in soundfile.available_formats() else ()
    supported = (candidate for candidate in candidates if soundfile.check_format(format, candidate))
    return format, next(supported, soundfile.default_subtype(format))


def check_writable(path: Path, force: bool = False) -> None:
    """Raise an error unless a recording can be written to this path; without `force` it must not exist."""
    with writing(path):
        if path.suffix.lower() not in FFMPEG_EXTENSIONS and (is_remote(path) or not path.is_dir()):
            output_format(path)
    check_place(path, force)


@dataclass(frozen=True)
class IntegrityCheck:
    """Compares the content of a recording with its header: disagreement is a warning, missing content an error."""

    name: str
    allow_truncated: bool
    warnings: list[str] = field(default_factory=list)

    def on_missing(self, what: str) -> None:
        """Raise TruncatedError for missing content, or warn if that is allowed."""
        if not self.allow_truncated:
            raise TruncatedError(f"{self.name}: truncated: {what}")
        self.warn(f"truncated: {what}")

    def report(self, missing: str | None, note: str | None) -> None:
        """Report what is missing, if anything, and how header and content disagree otherwise."""
        if missing is not None:
            self.on_missing(missing)
        if note is not None:
            self.warn(note)

    def warn(self, message: str) -> None:
        """Add a warning once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def without_layout(self, info: AudioInfo, layout: str | None) -> AudioInfo:
        """Warn about a layout, if there is one, that no output keeps, and return the properties without it."""
        if layout is None:
            return info
        self.warn(f"its channel layout ({layout}) is lost: players will treat its channels as loudspeaker channels")
        return replace(info, format="discrete", mask=0)  # not in loudspeaker order

    def check_length(
        self, blocks: Iterator[Array], n_samples: int | None, rate_hz: int, first: int = 0
    ) -> Iterator[Array]:
        """Yield blocks [channels, n] from sample `first` on, of which `n_samples` samples are expected in all."""
        n = first
        try:
            for block in blocks:
                n += block.shape[1]
                yield block
        except AudioError as error:
            if n == first:
                raise
            if n_samples is None or n < n_samples:
                self.on_missing(str(error).removeprefix(f"{self.name}: "))
            else:
                self.warn("other data follows the samples and is ignored")
            return
        if n_samples is not None and n < n_samples:
            self.on_missing(f"its header specifies {n_samples / rate_hz:.2f} s, but the file has {n / rate_hz:.2f} s")
