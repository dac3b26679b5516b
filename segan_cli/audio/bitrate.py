"""Bit rates of lossy encodings, and the encoder settings of libsndfile that come nearest to them."""

import io
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile

LOSSY = ("MPEG_LAYER_III", "VORBIS", "OPUS")
MP3_KBPS = ((32_000, 32, 320), (16_000, 8, 160), (0, 8, 64))  # lowest sampling rate, lowest and highest bit rate
OPUS_BPS = 6_000, 256_000  # per channel
STEPS = 6  # of the search for the quality of Vorbis


def encoder_settings(original: Path, subtype: str, rate_hz: int, channels: int) -> dict[str, Any]:
    """Return libsndfile's settings for the bit rate of `original`; empty if that is not known."""
    bps, constant = bit_rate(original)
    if not bps:
        return {}
    if subtype == "MPEG_LAYER_III":
        low, high = next((low, high) for rate, low, high in MP3_KBPS if rate_hz >= rate)
        level = (high - bps / 1000) / (high - low)
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
