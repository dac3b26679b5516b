"""What training adds to speech: generated noise, rooms, band limits, clipping, codecs, lost packets."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from segan_cli.arrays import Array
from segan_cli.config.training import CodecName, MixingConfig, NoiseKind
from segan_cli.data.recordings import Recordings

MAX_RIR_S = 1.0  # longer responses are cut
BEFORE_S = 0.001  # kept before the direct sound, the highest peak
TARGET_S = {  # of a response, that the training target keeps
    "early": 0.05,  # early reflections support intelligibility: the numerator of C50, ISO 3382-1
    "dry": 0.0025,  # the direct sound, as in the DNS Challenge's reverberation targets
}

SLOPES = {"white": 0.0, "pink": -1.0, "brown": -2.0}  # exponent of the power spectral density over frequency
LOWEST_HZ = 20.0  # the density is flat below
MAX_MODULATION_DB = 6.0  # depth of the slow amplitude modulation
MODULATION_HZ = (0.1, 2.0)  # its rate
MAINS_HZ = (50.0, 60.0)  # of Europe and Asia, and of the Americas
HIGHEST_HUM_HZ = 2_000.0
FAINT = 0.02  # level of the white noise under hum, relative to a harmonic of level 1
FRAME, HOP = 512, 256  # samples, of the long-term spectrum

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


def load_rir(rirs: Recordings, name: str, rate_hz: int) -> Array:
    """Load a room impulse response from shortly before its highest peak, with an early part of unit energy."""
    samples = rirs.excerpt(name, 0, rirs[name].length)
    direct = max(0, int(np.abs(samples).argmax()) - round(BEFORE_S * rate_hz))
    response = samples[direct : direct + round(MAX_RIR_S * rate_hz)]
    energy = float(np.sum(np.square(response[: round(TARGET_S["early"] * rate_hz)])))
    return np.asarray(response / np.sqrt(max(energy, 1e-12)), np.float32)


def apply_rir(
    rir: Array, speech: Array, lead: int, target: Literal["early", "dry"], rate_hz: int
) -> tuple[Array, Array]:
    """Convolve speech [lead + n] with a room impulse response → reverberant speech [n] and the training target [n].

    The `lead` brings the reverberation of earlier speech; the target has early reflections too, or direct sound alone.
    """
    import torch
    from torchaudio.functional import fftconvolve

    reverberant, clean = (
        fftconvolve(torch.from_numpy(speech), torch.from_numpy(taps))[lead : len(speech)].numpy()
        for taps in (rir, rir[: round(TARGET_S[target] * rate_hz)])
    )
    return reverberant, clean


def generate(kind: NoiseKind, seed: int, length: int, rate_hz: int, speech: Array) -> Array:
    """Generate noise [length] with an RMS of 1 and slow amplitude modulation.

    Args:
        speech: Speech whose long-term spectrum shapes noise of the kind "speech-shaped".
    """
    rng = np.random.default_rng(seed)
    if kind == "hum":
        noise = hum(rng, length, rate_hz)
    else:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        if kind == "speech-shaped":
            magnitude = smooth_spectrum(speech, len(spectrum))
        else:
            hz = np.maximum(np.fft.rfftfreq(length, 1 / rate_hz), LOWEST_HZ)
            magnitude = hz ** (SLOPES[kind] / 2)
        noise = np.fft.irfft(spectrum * magnitude, length)
    rate, phase = rng.uniform(*MODULATION_HZ), rng.uniform(0, 2 * np.pi)
    depth_db = rng.uniform(0, MAX_MODULATION_DB)
    t = np.arange(length) / rate_hz
    noise = noise * 10 ** (depth_db / 20 * np.sin(2 * np.pi * rate * t + phase))
    rms = max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9)
    return np.asarray(noise / rms, np.float32)


def hum(rng: np.random.Generator, length: int, rate_hz: int) -> NDArray[np.float64]:
    """Mains hum [length]: harmonics of 50 or 60 Hz within 1 %, stronger odd ones, over faint white noise."""
    mains = rng.choice(MAINS_HZ) * rng.uniform(0.99, 1.01)
    t = np.arange(length) / rate_hz
    noise = FAINT * rng.standard_normal(length)
    decay = rng.uniform(0.5, 1.5)
    for k in range(1, int(min(HIGHEST_HUM_HZ, rate_hz / 2) / mains)):
        level = rng.uniform(0.3, 1.0) * k**-decay * (1.0 if k % 2 else 0.5)
        noise += level * np.sin(2 * np.pi * k * mains * t + rng.uniform(0, 2 * np.pi))
    return noise


def smooth_spectrum(speech: Array, bins: int) -> NDArray[np.float64]:
    """Long-term magnitude spectrum of speech [n], interpolated to `bins` frequencies from 0 to Nyquist."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(speech, (0, FRAME)), FRAME)[::HOP] * np.hanning(FRAME)
    magnitude = np.sqrt(np.mean(np.abs(np.fft.rfft(frames)) ** 2, axis=0)) + 1e-9
    return np.asarray(np.interp(np.linspace(0, 1, bins), np.linspace(0, 1, len(magnitude)), magnitude))


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
