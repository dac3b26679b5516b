"""Writing files with libsndfile: limits of its encoders, and the bit rate nearest to that of an original."""

import io
import math
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile

from segan_cli.audio.files import LARGEST_WAV, STANDARD_MASKS, AudioInfo, output_format, write_mask
from segan_cli.audio.levels import Warn
from segan_cli.audio.wav import BYTES
from segan_cli.errors import ERRNO_MESSAGES, OutputError
from segan_cli.text import counted

MP3_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
FLAC_LARGEST_HZ, FLAC_STEP_HZ = 65_535, 10  # above it, rates are stored in steps
LOSSY = ("MPEG_LAYER_III", "VORBIS", "OPUS")
MP3_KBPS = ((32_000, 32, 320), (16_000, 8, 160), (0, 8, 64))  # lowest sampling rate, lowest and highest bit rate
MPEG_1_HZ = 32_000  # and above
# Bytes of a frame, by (MPEG-1, channels), below which LAME stores no delay with a constant bit rate (VbrTag.c).
LAME_FRAME_BYTES = {(True, 1): 177, (True, 2): 192, (False, 1): 169, (False, 2): 177}
OPUS_BPS = 6_000, 256_000  # per channel
STEPS = 6  # of the search for the quality of Vorbis
RF64_AUTO_DOWNGRADE = 0x1210  # sf_command number that soundfile does not name
SYSTEM_ERROR = 2  # libsndfile's error code for errors of the system
BITS = {"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32} | {name: 8 * n for name, n in BYTES.items()}


@dataclass(frozen=True)
class Limits:
    """The limits of one encoding."""

    name: str
    channels: float = math.inf  # at most
    rates_hz: tuple[int, ...] = ()  # no others
    largest_hz: float = math.inf

    def complaint(self, rate_hz: int, channels: int) -> str | None:
        """Return which limit a recording exceeds, and what to do; None if it fits."""
        if channels > self.channels:
            most = counted(int(self.channels), "channel")
            return f"{self.name} supports at most {most}, not {channels}; choose another --format"
        rates, step = self.rates_hz, FLAC_STEP_HZ
        if rates and rate_hz not in rates:
            supported = f"{', '.join(map(str, rates[:-1]))} and {rates[-1]} Hz"
            advice = f"add --rate {next((rate for rate in rates if rate >= rate_hz), rates[-1])}"
        elif rate_hz > self.largest_hz:
            supported, advice = f"at most {self.largest_hz} Hz", "use a lower --rate"
        elif self.name == "FLAC" and rate_hz > FLAC_LARGEST_HZ and rate_hz % step:
            supported = f"only multiples of {step} Hz above {FLAC_LARGEST_HZ} Hz"
            advice = f"add --rate {rate_hz // step * step}"
        else:
            return None
        return f"{self.name} supports {supported}, not {rate_hz}; {advice}, or choose another --format"


FORMAT_LIMITS = {"FLAC": Limits("FLAC", 8, largest_hz=655_350), "SVX": Limits("8SVX", 1, largest_hz=65_535)}
ENCODING_LIMITS = {
    "VORBIS": Limits("Vorbis", largest_hz=200_000),
    "OPUS": Limits("Opus", rates_hz=OPUS_HZ),
    "MPEG_LAYER_III": Limits("MP3", 2, MP3_HZ),
    "IMA_ADPCM": Limits("IMA ADPCM", 2),
    "MS_ADPCM": Limits("Microsoft ADPCM", 2),
    "GSM610": Limits("GSM 6.10", 1),
    **dict.fromkeys(("G721_32", "G723_24", "G723_40"), Limits("G.72x ADPCM", 1)),
    **dict.fromkeys(("NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), Limits("NMS ADPCM", 1)),
}


def exceeded_limit(format: str, subtype: str, rate_hz: int, channels: int) -> str | None:
    """Return which limit a recording exceeds in libsndfile's format and subtype, and what to do; None if it fits."""
    found = ENCODING_LIMITS.get(subtype) or FORMAT_LIMITS.get(format)
    return found.complaint(rate_hz, channels) if found is not None else None


def encoder_settings(original: Path, subtype: str, rate_hz: int, channels: int) -> dict[str, Any]:
    """Return libsndfile's settings for the bit rate of `original`; empty if that is not known."""
    bps, constant = bit_rate(original)
    if not bps:
        return {}
    if subtype == "MPEG_LAYER_III":
        low, high = next((low, high) for rate, low, high in MP3_KBPS if rate_hz >= rate)
        level = (high - bps / 1000) / (high - low)
        is_mpeg_1 = rate_hz >= MPEG_1_HZ
        frame_bytes = (144 if is_mpeg_1 else 72) * bps // rate_hz
        constant = constant and frame_bytes >= LAME_FRAME_BYTES[is_mpeg_1, channels]
        return {"compression_level": clamped(level), "bitrate_mode": "CONSTANT" if constant else "AVERAGE"}
    if subtype == "OPUS":
        low, high = OPUS_BPS
        return {"compression_level": clamped((high - bps / channels) / (high - low))}
    found = vorbis_level(bps, rate_hz, channels)
    return {} if found is None else {"compression_level": found}


def bit_rate(path: Path) -> tuple[int, bool]:
    """Return the bit rate of a lossy file, 0 if not known, and whether it is constant."""
    import mutagen

    try:
        info: Any = getattr(mutagen.File(path), "info", None)
        mode = getattr(info, "bitrate_mode", 0)
        bps = int(getattr(info, "bitrate", 0))
        if not bps and type(info).__name__ == "OggOpusInfo":
            bps = int(path.stat().st_size * 8 / max(info.length, 1e-3))
    except (mutagen.MutagenError, ValueError, LookupError, TypeError, OverflowError, struct.error):
        return 0, False
    return bps, int(mode) in (0, 1)  # mutagen's unknown and constant


@lru_cache(maxsize=16)
def vorbis_level(bps: int, rate_hz: int, channels: int) -> float | None:
    """Find libsndfile's compression level for a nominal bit rate of Vorbis, by bisection; None if not supported."""
    low, high = 0.0, 1.0  # the higher the level, the fewer bits
    for _ in range(STEPS):
        level = (low + high) / 2
        content = io.BytesIO()
        try:
            with soundfile.SoundFile(
                content, "w", rate_hz, channels, "VORBIS", format="OGG", compression_level=level
            ) as file:
                file.write([[0.0] * channels])
        except soundfile.LibsndfileError:
            return None
        start = content.getvalue().find(b"\x01vorbis")
        (nominal,) = struct.unpack_from("<i", content.getvalue(), start + 20)
        if nominal == bps:
            return level
        low, high = (level, high) if nominal > bps else (low, level)
    return (low + high) / 2


def clamped(level: float) -> float:
    """Clamp a compression level to the range that libsndfile accepts."""
    return min(0.99, max(0.0, level))  # it refuses 1


def open_for_writing(
    path: Path, info: AudioInfo, source: Path | None, subtype: str | None, warn: Warn
) -> soundfile.SoundFile:
    """Open a file for writing; its extension gives the format.

    The encoding is `subtype` or that of `info`, or the nearest that the format has; lossy files get the bit rate of
    `source` if that is lossy too. Raises OutputError when the format does not support the recording.
    """
    format, encoding = output_format(path, info, subtype)
    default = soundfile.default_subtype(format)
    candidates = [encoding] if subtype or path.suffix.lower() == ".opus" else [encoding, default]
    limits = [exceeded_limit(format, candidate, info.rate_hz, info.channels) for candidate in candidates]
    if None not in limits:
        raise OutputError(f"{path}: cannot be written: {limits[-1]}")
    encoding = candidates[limits.index(None)]
    quality: dict[str, Any] = {}
    if source is not None and encoding in LOSSY and info.subtype in LOSSY:
        quality = encoder_settings(source, encoding, info.rate_hz, info.channels)
    try:
        file = _open(path, info, format, encoding, quality)
    except soundfile.LibsndfileError as error:
        if error.code == SYSTEM_ERROR or encoding == candidates[-1]:
            raise
        encoding = default
        file = _open(path, info, format, encoding, {})
    if subtype is None:
        same_extension = source is not None and source.suffix.lower() == path.suffix.lower()
        warn_of_encoding(info, format, encoding, same_extension, warn)
    if info.mask and not write_mask(file, info.mask) and info.mask != STANDARD_MASKS.get(info.channels):
        warn(f"the channel layout (mask {info.mask:#x}) is left out, because {file.format} cannot store it")
    return file


def _open(path: Path, info: AudioInfo, format: str, subtype: str, settings: dict[str, Any]) -> soundfile.SoundFile:
    n_samples, is_wav = info.n_samples, format == "WAV"
    large = n_samples is None or n_samples * info.channels * BYTES.get(subtype, 1) > LARGEST_WAV
    if is_wav and large and soundfile.check_format("RF64", subtype):
        format = "RF64"  # WAV with 64-bit sizes …
    elif is_wav and (info.mask or info.format == "WAVEX") and soundfile.check_format("WAVEX", subtype):
        format = "WAVEX"
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    target = path if os.name == "nt" else os.open(path, flags, 0o666)  # without a name, which 8SVX would store
    file = soundfile.SoundFile(target, "w", info.rate_hz, info.channels, subtype, format=format, **settings)
    if is_wav and n_samples is None:  # … if they turn out to be needed
        soundfile._snd.sf_command(file._file, RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
    return file


def warn_of_encoding(info: AudioInfo, format: str, subtype: str, same_extension: bool, warn: Warn) -> None:
    """Warn if the encoding was not kept in the same format, or the bit depth in another."""
    same = same_extension or info.format == format or {info.format, format} <= {"WAV", "WAVEX", "RF64"}
    other = (subtype in LOSSY and not info.lossy) or info.subtype not in BYTES
    shallower = info.format in soundfile.available_formats() and BITS.get(subtype, 64) < BITS.get(info.subtype, 0)
    if subtype != info.subtype and ((same and other) or shallower):
        names = soundfile.available_subtypes()
        before, after = (names.get(name, name) for name in (info.subtype, subtype))
        warn(f"the encoding became {after}, because {format} cannot be written as {before}")


def error_message(file: soundfile.SoundFile | None, error: soundfile.LibsndfileError) -> str:
    """Explain an error of libsndfile, by the system's message if it comes from there."""
    if error.code != SYSTEM_ERROR:
        return str(error.error_string).strip().rstrip(".")
    text = "" if file is None or file.closed else soundfile._ffi.string(soundfile._snd.sf_strerror(file._file)).decode()
    why = text.partition(":")[2].strip().rstrip(".")
    return (
        next((words for code, words in ERRNO_MESSAGES.items() if os.strerror(code) == why), why) or "is the disk full?"
    )
