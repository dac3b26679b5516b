"""Opening files to be written by libsndfile: encoding, bit rate and channel layout as they were, or the nearest."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from segan_cli.atomic import WORDS
from segan_cli.audio import bitrate
from segan_cli.audio.files import SIZE_FIELD, AudioInfo, output_format
from segan_cli.audio.layouts import STANDARD, write_mask
from segan_cli.audio.streams import BYTES
from segan_cli.errors import OutputError

RF64_AUTO_DOWNGRADE = 0x1210  # libsndfile's command, which soundfile has no name for
SYSTEM = 2  # libsndfile's number of an error that the system told
BITS = {"ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32} | {name: 8 * n for name, n in BYTES.items()}


def opened(
    path: Path, info: AudioInfo, source: Path | None, subtype: str | None, warn: Callable[[str], None]
) -> soundfile.SoundFile:
    """A file to write into, of the format that its name ends in.

    The encoding is the one that is asked for, or else that of `info` or the nearest that can be written; lossy files
    get the bit rate of `source` where that is lossy too. Raises OutputError when the format takes no such recording.
    """
    format, encoding = output_format(path, info, subtype)
    quality: dict[str, Any] = {}
    if source is not None and encoding in bitrate.LOSSY and info.subtype in bitrate.LOSSY:
        quality = bitrate.settings(source, encoding, info.rate_hz, info.channels)
    usual = soundfile.default_subtype(format)
    tries = [(encoding, quality)] if subtype or encoding == usual else [(encoding, quality), (usual, {})]
    for tried, settings in tries:
        try:
            file = _open(path, info, format, tried, settings)
        except soundfile.LibsndfileError as error:
            if error.code == SYSTEM:
                raise
            continue
        if subtype is None:
            alike = source is not None and source.suffix.lower() == path.suffix.lower()
            tell_encoding(info, format, tried, alike, warn)
        tell_layout(file, info, warn)
        return file
    shape = f"{info.channels} channel{'s' * (info.channels > 1)} at {info.rate_hz} Hz"
    raise OutputError(f"{path}: cannot be written ({format} does not take {shape}; choose another --format or --rate)")


def _open(path: Path, info: AudioInfo, format: str, subtype: str, settings: dict[str, Any]) -> soundfile.SoundFile:
    n_samples = info.n_samples
    if format == "WAV" and (n_samples is None or n_samples * info.channels * BYTES.get(subtype, 1) > SIZE_FIELD):
        format = "RF64"  # a WAV file all the same, with longer sizes …
    elif format == "WAV" and (info.mask or info.format == "WAVEX") and soundfile.check_format("WAVEX", subtype):
        format = "WAVEX"
    name = path if os.name == "nt" else os.fsencode(path)
    file = soundfile.SoundFile(name, "w", info.rate_hz, info.channels, subtype, format=format, **settings)
    if format == "RF64" and n_samples is None:  # … where it turns out to need them
        soundfile._snd.sf_command(file._file, RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
    return file


def tell_encoding(info: AudioInfo, format: str, subtype: str, alike: bool, warn: Callable[[str], None]) -> None:
    """Say where the encoding of a recording could not be kept in the same format, or its depth in another.

    Recordings whose names end alike count as of the same format.
    """
    same = alike or info.format == format or {info.format, format} <= {"WAV", "WAVEX", "RF64"}
    shallower = info.format in soundfile.available_formats() and BITS.get(subtype, 64) < BITS.get(info.subtype, 0)
    if subtype != info.subtype and ((same and info.subtype not in BITS) or shallower):
        known = soundfile.available_subtypes()
        before, after = (known.get(name, name) for name in (info.subtype, subtype))
        warn(f"the encoding became {after}, as {format} cannot be written as {before}")


def tell_layout(file: soundfile.SoundFile, info: AudioInfo, warn: Callable[[str], None]) -> None:
    """Write which loudspeaker each channel is for; say where the format cannot."""
    if info.mask and not write_mask(file, info.mask) and info.mask != STANDARD.get(info.channels):
        warn(f"the channel layout (mask {info.mask:#x}) is left out, as {file.format} cannot tell it")


def error_words(file: soundfile.SoundFile | None, error: soundfile.LibsndfileError) -> str:
    """What an error of libsndfile's means, in the system's words where it comes from there."""
    if error.code != SYSTEM:
        return str(error.error_string).strip().rstrip(".")
    told = "" if file is None or file.closed else soundfile._ffi.string(soundfile._snd.sf_strerror(file._file)).decode()
    why = told.partition(":")[2].strip().rstrip(".")
    return next((words for code, words in WORDS.items() if os.strerror(code) == why), why) or "is the disk full?"
