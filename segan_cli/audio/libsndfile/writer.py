"""Opening files for writing by libsndfile, with encoding, bit rate and channel layout nearest to the original."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from segan_cli.atomic import ERRNO_MESSAGES
from segan_cli.audio.containers.wav import BYTES
from segan_cli.audio.files import LARGEST_WAV, AudioInfo, output_format
from segan_cli.audio.layouts import STANDARD, write_mask
from segan_cli.audio.libsndfile.encodings import LOSSY, encoder_settings, exceeded_limit
from segan_cli.errors import OutputError

RF64_AUTO_DOWNGRADE = 0x1210  # sf_command number that soundfile does not name
SYSTEM_ERROR = 2  # libsndfile's error code for errors of the system
BITS = {"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32} | {name: 8 * n for name, n in BYTES.items()}


def open_for_writing(
    path: Path, info: AudioInfo, source: Path | None, subtype: str | None, warn: Callable[[str], None]
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
    write_layout(file, info, warn)
    return file


def _open(path: Path, info: AudioInfo, format: str, subtype: str, settings: dict[str, Any]) -> soundfile.SoundFile:
    n_samples = info.n_samples
    large = n_samples is None or n_samples * info.channels * BYTES.get(subtype, 1) > LARGEST_WAV
    if format == "WAV" and large and soundfile.check_format("RF64", subtype):
        format = "RF64"  # WAV with 64-bit sizes …
    elif format == "WAV" and (info.mask or info.format == "WAVEX") and soundfile.check_format("WAVEX", subtype):
        format = "WAVEX"
    name = path if os.name == "nt" else os.fsencode(path)
    file = soundfile.SoundFile(name, "w", info.rate_hz, info.channels, subtype, format=format, **settings)
    if format == "RF64" and n_samples is None:  # … if they turn out to be needed
        soundfile._snd.sf_command(file._file, RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
    return file


def warn_of_encoding(
    info: AudioInfo, format: str, subtype: str, same_extension: bool, warn: Callable[[str], None]
) -> None:
    """Warn if the encoding was not kept in the same format, or the bit depth in another."""
    same = same_extension or info.format == format or {info.format, format} <= {"WAV", "WAVEX", "RF64"}
    shallower = info.format in soundfile.available_formats() and BITS.get(subtype, 64) < BITS.get(info.subtype, 0)
    if subtype != info.subtype and ((same and info.subtype not in BITS) or shallower):
        names = soundfile.available_subtypes()
        before, after = (names.get(name, name) for name in (info.subtype, subtype))
        warn(f"the encoding became {after}, as {format} cannot be written as {before}")


def write_layout(file: soundfile.SoundFile, info: AudioInfo, warn: Callable[[str], None]) -> None:
    """Write the channel layout; warn if the format cannot store it."""
    if info.mask and not write_mask(file, info.mask) and info.mask != STANDARD.get(info.channels):
        warn(f"the channel layout (mask {info.mask:#x}) is left out, as {file.format} cannot store it")


def error_message(file: soundfile.SoundFile | None, error: soundfile.LibsndfileError) -> str:
    """Explain an error of libsndfile, by the system's message if it comes from there."""
    if error.code != SYSTEM_ERROR:
        return str(error.error_string).strip().rstrip(".")
    text = "" if file is None or file.closed else soundfile._ffi.string(soundfile._snd.sf_strerror(file._file)).decode()
    why = text.partition(":")[2].strip().rstrip(".")
    return (
        next((words for code, words in ERRNO_MESSAGES.items() if os.strerror(code) == why), why) or "is the disk full?"
    )
