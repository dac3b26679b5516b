"""DNSMOS: ratings of a recording without a reference, by the networks in the package speechmos."""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from segan_cli.arrays import Array
from segan_cli.measures.score import RATE_HZ, Score, Undefined
from segan_cli.runtime import load_onnxruntime

MIN_LENGTH_S, LENGTH_S = 1.0, 9.01  # of a recording; that the networks take at a time
FRAME, HOP, BANDS = 321, 160, 120  # of the mel spectrogram
RATINGS = {  # polynomials that make ratings of the outputs of the P.835 network
    "sig_mos": (-0.08397278, 1.22083953, 0.0052439),
    "bak_mos": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl_mos": (-0.06766283, 1.11546468, 0.04602535),
}


def dnsmos(samples: Array) -> dict[str, Score]:
    """P.835 ratings of signal, background and overall quality, and the P.808 rating, 1 … 5, of [n] at 16 kHz.

    The networks take 9 s at a time; shorter recordings are repeated. Source: arXiv 2110.01763, arXiv 2010.15258.
    """
    reason = None
    if not samples.any():
        reason = "silent signal"
    elif len(samples) < MIN_LENGTH_S * RATE_HZ:
        reason = "shorter than 1 s"
    elif np.abs(samples).max() > 1:
        reason = "samples above full scale"
    if reason is not None:
        return dict.fromkeys((*RATINGS, "p808_mos"), Undefined(reason))
    ratings = np.mean([_rate(part) for part in _parts(samples)], axis=0)
    return dict(zip((*RATINGS, "p808_mos"), map(float, ratings), strict=True))


def _parts(samples: Array) -> list[Array]:
    """The parts that are rated: one a second, less those that the rounding of the reference program leaves out."""
    length = int(LENGTH_S * RATE_HZ)
    while len(samples) < length:
        samples = np.append(samples, samples)
    starts = range(int(len(samples) // RATE_HZ - LENGTH_S) + 1)
    parts = [samples[start * RATE_HZ : int((start + LENGTH_S) * RATE_HZ)] for start in starts]
    return [part for part in parts if len(part) == length]


def _rate(samples: Array) -> list[float]:
    """The ratings of 9.01 s."""
    p835, p808 = _networks()
    raw = p835.run(None, {"input_1": np.float32(samples[None])})[0][0]
    ratings = [np.polyval(factors, value) for factors, value in zip(RATINGS.values(), raw, strict=True)]
    return [*ratings, p808.run(None, {"input_1": mel_spectrogram(samples[:-HOP])[None]})[0][0][0]]


@cache
def _networks() -> tuple[Any, Any]:
    """The networks for P.835 and P.808."""
    folder, load = files("speechmos") / "dnsmos_models", load_onnxruntime().InferenceSession
    return load((folder / "sig_bak_ovr.onnx").read_bytes()), load((folder / "model_v8.onnx").read_bytes())


def mel_spectrogram(samples: Array) -> Array:
    """The levels of mel bands [frames, bands], 1 at the loudest and -1 at 80 dB below or less."""
    frames = sliding_window_view(np.pad(samples, FRAME // 2), FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)))) ** 2
    level_db = 10 * np.log10(np.maximum(power @ _mel_bands().T, 1e-10))
    return np.asarray(np.maximum(level_db - level_db.max(), -80) / 40 + 1, np.float32)


@cache
def _mel_bands() -> Array:
    """Triangular filters of equal area [bands, bins], evenly spaced on Slaney's mel scale."""
    mel = np.linspace(0, 15 + 27 * np.log(RATE_HZ / 2 / 1_000) / np.log(6.4), BANDS + 2)
    hz = np.where(mel < 15, mel * 200 / 3, 1_000 * np.exp(np.log(6.4) / 27 * (mel - 15)))
    low, centre, high = (hz[i : BANDS + i, None] for i in range(3))
    bins = np.fft.rfftfreq(FRAME, 1 / RATE_HZ)
    bands = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.asarray(np.maximum(0, bands) * 2 / (high - low), np.float32)
