"""Generated speech-like audio and tiny models that the tests share."""

import gc
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings

SAMPLES = Path(__file__).parents[1] / "samples"  # real speech: clean/ and noisy/

settings.register_profile("busy", deadline=None)  # the machine may be busy
settings.load_profile("busy")
torch.set_num_threads(1)  # the networks of the tests are too small to share


def voice(seconds, rate_hz=16_000, seed=0):
    """A made-up voice: gliding harmonics in syllables with pauses between, [n] float32."""
    return _voice(seconds, rate_hz, seed).copy()


@lru_cache(100)
def _voice(seconds, rate_hz, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6)) + 5 * np.sin(2 * np.pi * 5 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    formants = [(700 + 250 * np.sin(2 * np.pi * 2.1 * t), 130), (1500 + 500 * np.sin(2 * np.pi * 1.3 * t), 200)]
    sound = np.zeros_like(t)
    for k in range(1, 30):
        weight = sum(np.exp(-(((k * pitch - centre) / (2 * width)) ** 2)) for centre, width in formants) + 0.02
        sound += weight * np.sin(k * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t + rng.uniform(0, 6)) + 0.4, 0, 1)
    return (0.1 * sound * syllables).astype(np.float32)


def hiss(seconds, rate_hz=16_000, seed=0, level=0.02):
    """White noise, [n] float32."""
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * rate_hz))).astype(np.float32)


def decibels(signal, beside):
    """Power of a signal relative to another, in dB."""
    return 10 * np.log10(np.mean(np.square(signal)) / np.mean(np.square(beside)))


def write_hours(path):
    """Write a WAV of five hours, which is sparse: every command takes a long time with it."""
    soundfile.write(path, voice(5.0) + hiss(5.0), 16_000)
    n_bytes = 5 * 3_600 * 16_000 * 2
    with path.open("r+b") as file:
        file.truncate(44 + n_bytes)
        for place, size in ((4, 36 + n_bytes), (40, n_bytes)):
            file.seek(place)
            file.write(size.to_bytes(4, "little"))


def assert_same_sound(ours, theirs):
    """Two files hold the same, up to the rounding of 16 bits."""
    (heard, rate_hz), (expected, expected_hz) = map(soundfile.read, (ours, theirs))
    assert rate_hz == expected_hz
    np.testing.assert_allclose(heard, expected, atol=1e-4)


class Identity(torch.nn.Module):
    """A generator that returns its input."""

    def forward(self, noisy, z):
        return noisy


def write_pairs(folder):
    """Make a folder with clean/ and noisy/: four pairs of two seconds."""
    for side in ("clean", "noisy"):
        (folder / side).mkdir(parents=True)
    for i in range(4):
        clean = voice(2.0, seed=i)
        soundfile.write(folder / "clean" / f"u{i}.wav", clean, 16_000)
        soundfile.write(folder / "noisy" / f"u{i}.wav", clean + hiss(2.0, seed=i), 16_000)
    return folder


@pytest.fixture
def pairs(tmp_path):
    """A folder with pairs."""
    return write_pairs(tmp_path / "pairs")


def pytest_collection_finish():
    """Exclude the imported modules and collected tests from garbage collection, which takes a sixth of the time."""
    gc.collect()
    gc.freeze()
