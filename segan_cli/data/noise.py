"""Generated noise."""

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array
from segan_cli.config.training import NoiseKind

SLOPES = {"white": 0.0, "pink": -1.0, "brown": -2.0}  # exponent of the power spectral density over frequency
LOWEST_HZ = 20.0  # the density is flat below
MAX_MODULATION_DB = 6.0  # depth of the slow amplitude modulation
MODULATION_HZ = (0.1, 2.0)  # its rate
MAINS_HZ = (50.0, 60.0)  # of Europe and Asia, and of the Americas
HIGHEST_HUM_HZ = 2_000.0
FAINT = 0.02  # level of the white noise under hum, relative to a harmonic of level 1
FRAME, HOP = 512, 256  # samples, of the long-term spectrum


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
