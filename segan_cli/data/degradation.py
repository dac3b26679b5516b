"""Degradations by recording and transmission: band limits, clipping, codecs, lost packets."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfiltfilt

from segan_cli.arrays import Array
from segan_cli.config.training import CodecName, MixingConfig

CODECS: dict[CodecName, tuple[str, str, int]] = {  # format and subtype of libsndfile, and sampling rate of the codec
    "mu-law": ("WAV", "ULAW", 8_000),
    "gsm": ("WAV", "GSM610", 8_000),
    "opus": ("OGG", "OPUS", 16_000),
    "vorbis": ("OGG", "VORBIS", 16_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 16_000),
}
VARIABLE_QUALITY = ("opus", "vorbis", "mp3")
FILTER_ORDER = 8  # of the band limit, which is applied forwards and backwards
GAPS_PER_S = (1, 5)  # fewest and most
MAX_COMPRESSION = 0.9  # of libsndfile's compression level, 0 … 1, best to worst quality


@dataclass(frozen=True)
class Degradation:
    """The degradations of one example; None for those it does not have."""

    band_hz: float | None = None  # upper band limit of noisy and clean
    clipping_db: float | None = None  # ceiling relative to the peak
    codec: CodecName | None = None
    compression: float = 0.0  # 0 … 1, best to worst quality
    gaps: tuple[tuple[int, int], ...] = ()  # start and end of lost packets, in samples


def draw_degradation(rng: np.random.Generator, config: MixingConfig, length: int, rate_hz: int) -> Degradation:
    """Draw degradations for `length` samples."""
    kinds = ("band", "clipping", "codec", "gap")
    has_band, has_clipping, has_codec, has_gaps = rng.random(4) < [getattr(config, f"{k}_probability") for k in kinds]
    band_hz, clipping_db = float(rng.uniform(*config.band_hz)), float(rng.uniform(*config.clipping_db))
    codec, compression = config.codecs[int(rng.integers(len(config.codecs)))], float(rng.uniform(0, MAX_COMPRESSION))
    gaps = []
    if has_gaps:
        for _ in range(max(1, round(rng.integers(*GAPS_PER_S, endpoint=True) * length / rate_hz))):
            n = round(rng.uniform(*config.gap_ms) / 1000 * rate_hz)
            start = int(rng.integers(max(1, length - n)))
            gaps.append((start, min(length, start + n)))
    return Degradation(
        band_hz if has_band else None, clipping_db if has_clipping else None, codec if has_codec else None,
        compression if has_codec else 0.0, tuple(gaps),
    )  # fmt: skip


def degrade(spec: Degradation, noisy: Array, clean: Array, rate_hz: int) -> tuple[Array, Array]:
    """Apply degradations to noisy [n] and clean [n]; only the band limit applies to the clean signal."""
    if spec.band_hz is not None:
        noisy, clean = (limit_band(side, spec.band_hz, rate_hz) for side in (noisy, clean))
    if spec.clipping_db is not None:
        ceiling = float(np.abs(noisy).max()) * 10 ** (spec.clipping_db / 20)
        noisy = np.clip(noisy, -ceiling, ceiling)
    if spec.codec is not None:
        noisy = apply_codec(spec.codec, spec.compression, noisy, rate_hz)
    for start, end in spec.gaps:
        noisy = np.concatenate((noisy[:start], np.zeros(end - start, np.float32), noisy[end:]))
    return noisy, clean


def limit_band(samples: Array, highest_hz: float, rate_hz: int) -> Array:
    """Low-pass samples [n] with a zero-phase Butterworth filter of order 8."""
    sections = butter(FILTER_ORDER, highest_hz, fs=rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, samples, padlen=0), np.float32)


def apply_codec(codec: CodecName, compression: float, samples: Array, rate_hz: int) -> Array:
    """Encode and decode samples [n] in memory; length and alignment stay the same."""
    format, subtype, codec_hz = CODECS[codec]
    resampled = samples if codec_hz == rate_hz else soxr.resample(samples, rate_hz, codec_hz)
    file = io.BytesIO()
    level = {"compression_level": compression} if codec in VARIABLE_QUALITY else {}
    with soundfile.SoundFile(file, "w", codec_hz, 1, subtype, format=format, **level) as encoder:
        encoder.write(np.clip(resampled, -1.0, 1.0))
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    if codec_hz != rate_hz:
        decoded = soxr.resample(decoded[: len(resampled)], codec_hz, rate_hz)
    return np.asarray(np.pad(decoded[: len(samples)], (0, max(0, len(samples) - len(decoded)))), np.float32)
