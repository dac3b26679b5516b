"""Reduction of real noise above 9 kHz, in frames with speech and in pauses.

python benchmarks/high_band.py --speech SPEECH.wav … --noise NOISE.wav …

All recordings must have a rate of 32 kHz or more. Writes benchmarks/results/high_band.json and the table in
docs/recordings.md.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray
from recordings import WIDE_HZ, high_band_lsd_db

from segan_cli import Enhancer
from segan_cli.audio.sources import read_mono

Array = NDArray[np.float32]

FRAME = 1_536  # 32 ms
BAND_HZ = (9_000, 15_500)
SNRS_DB = (0, 5, 10, 15)
SPEECH_RMS, PAUSE_S = 0.07, 1.2
SPEECH_RANGE_DB = 30  # of frames that count as speech, below the loudest
INAUDIBLE, PROMINENT = 0.01, 10  # power of speech over noise in the band: noise alone is measured, and speech alone
GUARD = 9  # frames around a pause frame that must be pause too


def power_spectra(signal: Array) -> NDArray[np.float64]:
    """Power spectra [n, bins] of half-overlapping frames."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[:: FRAME // 2]
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME))))


def join(recordings: list[Array]) -> Array:
    """All recordings at the same level, with digital silence before, between and after them."""
    pause = np.zeros(int(PAUSE_S * WIDE_HZ), np.float32)
    parts = [part for signal in recordings for part in (pause, signal * (SPEECH_RMS / signal.std()))]
    return np.concatenate([*parts, pause]).astype(np.float32)


def measure(enhancer: Enhancer, clean: Array, noise: Array, snr_db: float) -> dict[str, float]:
    """Level changes above 9 kHz in dB, and log-spectral distances there from the clean signal."""
    noise = np.resize(noise, len(clean))
    scale = np.sqrt(np.mean(np.square(clean[clean != 0])) / np.mean(np.square(noise))) * 10 ** (-snr_db / 20)
    noisy = clean + np.float32(scale) * noise
    enhanced = enhancer.enhance(noisy, WIDE_HZ)
    signals = {"clean": clean, "noise": noisy - clean, "noisy": noisy, "enhanced": enhanced}
    frequency = np.fft.rfftfreq(FRAME, 1 / WIDE_HZ)
    band = (frequency > BAND_HZ[0]) & (frequency < BAND_HZ[1])
    powers = {name: power_spectra(signal) for name, signal in signals.items()}
    high = {name: power[:, band] for name, power in powers.items()}
    level = powers["clean"].sum(1)
    speech = level > 10 ** (-SPEECH_RANGE_DB / 10) * level.max()
    pause = np.convolve(level == 0, np.ones(GUARD), "same") == GUARD
    ratio = high["clean"].sum(1) / high["noise"].sum(1)

    def change_db(frames: NDArray[np.bool_]) -> float:
        return float(10 * np.log10(high["enhanced"][frames].sum() / high["noisy"][frames].sum()))

    return {
        "speech_db": change_db(speech & (ratio < INAUDIBLE)), "pause_db": change_db(pause),
        "fricative_db": change_db(speech & (ratio > PROMINENT)),
        "noisy_distance_db": high_band_lsd_db(clean, noisy, BAND_HZ),
        "enhanced_distance_db": high_band_lsd_db(clean, enhanced, BAND_HZ),
    }  # fmt: skip


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, nargs="+", required=True, help="clean recordings")
    parser.add_argument("--noise", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    clean = join([read_mono(path, WIDE_HZ)[0] for path in arguments.speech])
    enhancer = Enhancer()
    results: dict[str, Any] = {
        f"{path.stem}, {snr_db} dB": measure(enhancer, clean, read_mono(path, WIDE_HZ)[0], snr_db)
        for path in arguments.noise
        for snr_db in SNRS_DB
    }
    report.save("high_band", results)
    rows = [[name, *(f"{value:.1f}" for value in cells.values())] for name, cells in results.items()]
    headings = ["noise, SNR", "during speech", "in pauses", "fricatives", "distance, noisy", "enhanced"]
    report.insert(report.ROOT / "docs" / "recordings.md", "real high band", report.table(headings, rows))


if __name__ == "__main__":
    main()
