"""What happens to a recording beside noise: band limits, clipping, codecs, lost packets. Drawn first, then rendered."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from segan_cli.config.training import CodecName, MixingConfig

Array = NDArray[np.float32]

CODECS: dict[CodecName, tuple[str, str, int]] = {  # libsndfile's format and encoding, and the rate they are used at
    "mu-law": ("WAV", "ULAW", 8_000),
    "gsm": ("WAV", "GSM610", 8_000),
    "opus": ("OGG", "OPUS", 16_000),
    "vorbis": ("OGG", "VORBIS", 16_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 16_000),
}
SQUEEZED = ("opus", "vorbis", "mp3")  # they have a quality to draw
LOWEST_QUALITY = 0.9  # of libsndfile's compression level, 0 … 1, best to worst


@dataclass(frozen=True)
class Degradation:
    """Everything that was drawn for the damage to one window; None where there is none."""

    band_hz: float | None = None  # upper limit, of noisy and clean
    clipping_db: float | None = None  # ceiling below the peak
    codec: CodecName | None = None
    compression: float = 0.0  # 0 … 1, best to worst
    gaps: tuple[tuple[int, int], ...] = ()  # first and last sample of lost packets


def draw_degradation(rng: np.random.Generator, config: MixingConfig, length: int, rate_hz: int) -> Degradation:
    """Draw what will happen to `length` samples; the same draws are made whatever the probabilities."""
    struck = rng.random(4) < (
        config.band_probability,
        config.clipping_probability,
        config.codec_probability,
        config.gap_probability,
    )
    band_hz, clipping_db = float(rng.uniform(*config.band_hz)), float(rng.uniform(*config.clipping_db))
    codec, compression = config.codecs[int(rng.integers(len(config.codecs)))], float(rng.uniform(0, LOWEST_QUALITY))
    gaps = []
    if struck[3]:
        for _ in range(max(1, round(rng.integers(1, 6) * length / rate_hz))):
            n = round(rng.uniform(*config.gap_ms) / 1000 * rate_hz)
            start = int(rng.integers(max(1, length - n)))
            gaps.append((start, min(length, start + n)))
    return Degradation(
        band_hz if struck[0] else None,
        clipping_db if struck[1] else None,
        codec if struck[2] else None,
        compression if struck[2] else 0.0,
        tuple(gaps),
    )


def damage(spec: Degradation, noisy: Array, clean: Array, rate_hz: int) -> tuple[Array, Array]:
    """noisy [n] and clean [n] → both as damaged; only a band limit touches the clean side."""
    if spec.band_hz is not None:
        noisy, clean = (limit_band(side, spec.band_hz, rate_hz) for side in (noisy, clean))
    if spec.clipping_db is not None:
        ceiling = float(np.abs(noisy).max()) * 10 ** (spec.clipping_db / 20)
        noisy = np.clip(noisy, -ceiling, ceiling)
    if spec.codec is not None:
        noisy = through_codec(spec.codec, spec.compression, noisy, rate_hz)
    for start, end in spec.gaps:
        noisy = np.concatenate((noisy[:start], np.zeros(end - start, np.float32), noisy[end:]))
    return noisy, clean


def limit_band(samples: Array, highest_hz: float, rate_hz: int) -> Array:
    """Samples [n] without what lies above a frequency (Butterworth of order 8 both ways, so without delay)."""
    return np.asarray(sosfiltfilt(butter(8, highest_hz, fs=rate_hz, output="sos"), samples, padlen=0), np.float32)


def through_codec(codec: CodecName, compression: float, samples: Array, rate_hz: int) -> Array:
    """Samples [n] encoded and decoded in memory, without delay, as many as before."""
    format, subtype, codec_hz = CODECS[codec]
    inner = samples if codec_hz == rate_hz else soxr.resample(samples, rate_hz, codec_hz)
    file = io.BytesIO()
    level = {"compression_level": compression} if codec in SQUEEZED else {}
    with soundfile.SoundFile(file, "w", codec_hz, 1, subtype, format=format, **level) as encoder:
        encoder.write(np.clip(inner, -1.0, 1.0))
    file.seek(0)
    outer, _ = soundfile.read(file, dtype="float32")
    if codec_hz != rate_hz:
        outer = soxr.resample(outer[: len(inner)], codec_hz, rate_hz)
    return np.asarray(np.pad(outer[: len(samples)], (0, max(0, len(samples) - len(outer)))), np.float32)
