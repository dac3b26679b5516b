"""Make the two noisy/clean pairs beside this script: espeak-ng speech with synthesised noise.

Run with espeak-ng on PATH: python samples/make_samples.py
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE_HZ = 16_000
Array = NDArray[np.float64]


def speak(text: str, voice: str, words_per_minute: int) -> Array:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-w", path, text], check=True)
        samples, rate_hz = soundfile.read(path)
    speech = soxr.resample(samples, rate_hz, RATE_HZ)
    quiet = np.zeros(RATE_HZ // 2)
    return np.concatenate((quiet, 0.1 * speech / np.sqrt(np.mean(speech**2)), quiet))


def coloured(rng: np.random.Generator, n: int, slope: float) -> Array:
    """Noise whose amplitude falls with frequency as f^slope, RMS 1."""
    frequency = np.fft.rfftfreq(n, 1 / RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(n)) * np.maximum(frequency, 40.0) ** slope
    noise: Array = np.fft.irfft(spectrum, n)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def fan(rng: np.random.Generator, n: int) -> Array:
    """Rushing air over a motor's hum."""
    t = np.arange(n) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 12))
    return coloured(rng, n, -0.7) + 0.4 * hum


def street(rng: np.random.Generator, n: int) -> Array:
    """Rumble and hiss that swell and fade as traffic does."""
    t = np.arange(n) / RATE_HZ
    near = np.exp(-(((t - 1.4) / 0.7) ** 2))
    return 0.6 * coloured(rng, n, -1.0) + 1.2 * near * coloured(rng, n, -0.5)


def main() -> None:
    here = Path(__file__).parent
    rng = np.random.default_rng(7)
    for name, text, voice, speed, noise, snr_db in (
        ("fan", "The quick brown fox jumps over the lazy dog.", "en-gb", 150, fan, 5.0),
        ("street", "Please call me back when you have reached the station.", "en-us+f3", 160, street, 8.0),
    ):
        clean = speak(text, voice, speed)
        sound = noise(rng, len(clean))
        gain = np.sqrt(np.mean(clean**2) / np.mean(sound**2)) * 10 ** (-snr_db / 20)
        noisy = clean + gain * sound
        scale = min(1.0, 0.9 / np.abs(noisy).max())
        for side, samples in (("clean", clean), ("noisy", noisy)):
            (here / side).mkdir(exist_ok=True)
            soundfile.write(here / side / f"{name}.wav", scale * samples, RATE_HZ, "PCM_16")


if __name__ == "__main__":
    main()
