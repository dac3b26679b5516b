"""Enhancement above 8 kHz, on full-band speech and noise that were not trained on.

python benchmarks/high_band.py --speech FOLDER --noise FOLDER [--before RESULTS.json]

Folders hold recordings of 44.1 or 48 kHz with sound up to 16 kHz at least. Writes benchmarks/results/high_band.json
and, if results of another version are given to compare with, the table in docs/recordings.md.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import report
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from segan_cli import Enhancer
from segan_cli.audio.sources import read_mono

Array = NDArray[np.float32]
Powers = NDArray[np.float64]

RATE_HZ, FRAME = 48_000, 1_536  # 32 ms
BAND_HZ, UPPER_HZ = (8_200, 20_000), (12_000, 20_000)
SNRS_DB = (0, 5, 10, 15)
N_NOISES, SECONDS, PAUSE_S, SPEECH_RMS = 12, 20, 1.2, 0.07
SPEECH_RANGE_DB = 30  # of frames that count as speech, below the loudest
INAUDIBLE, PROMINENT = 0.01, 10  # power of speech over noise in the band: noise alone is measured, and speech alone
FLOOR_DB = -60  # of the log-spectral distance, below the loudest frame of the clean band
GUARD = 9  # frames around a pause frame that must be pause too
ONSET_S, SETTLED_S = 0.2, 1.0  # after a noise begins: it is measured from one to the other
NARROW_HZ = 11_000  # limit of the voice for the spread of gains above it
LABELS = {
    "speech_db": "noise during speech", "pause_db": "noise in pauses", "difference_db": "their difference",
    "fricative_db": "fricatives, against clean", "noisy_lsd_speech_db": "LSD in speech, noisy",
    "lsd_speech_db": "LSD in speech, enhanced", "noisy_lsd_pause_db": "LSD in pauses, noisy",
    "lsd_pause_db": "LSD in pauses, enhanced", "onset_db": "noise that begins in speech, after 0.2 s",
    "spread_db": "spread of gains above the voice, p5 to p95",
}  # fmt: skip


def spectra(signal: Array) -> Powers:
    """Power spectra [n, bins] of half-overlapping frames."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[:: FRAME // 2]
    return np.asarray(np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME)))), np.float64)


def band(powers: Powers, band_hz: tuple[int, int]) -> Powers:
    """The bins of a band."""
    first, end = (round(hz * FRAME / RATE_HZ) for hz in band_hz)
    return powers[:, first:end]


def join(recordings: list[Array], seconds: float) -> Array:
    """Recordings at the same level, with digital silence before, between and after them, [seconds]."""
    pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
    parts = [part for signal in recordings for part in (pause, signal * np.float32(SPEECH_RMS / signal.std()))]
    return np.concatenate([*parts, pause])[: round(seconds * RATE_HZ)].astype(np.float32)


def lsd_db(clean: Powers, other: Powers, frames: NDArray[np.bool_]) -> float:
    """Log-spectral distance of a band over some frames."""
    floor = 10 ** (FLOOR_DB / 10) * clean.mean(1).max()
    logs = [10 * np.log10(np.maximum(powers[frames], floor)) for powers in (clean, other)]
    return float(np.mean(np.sqrt(np.mean(np.square(logs[0] - logs[1]), axis=1))))


def change_db(after: Powers, before: Powers) -> float:
    """Change of the summed power."""
    return float(10 * np.log10((after.sum() + 1e-20) / (before.sum() + 1e-20)))


def measure(enhancer: Enhancer, clean: Array, noise: Array, snr_db: float) -> dict[str, float]:
    """All figures in dB for one voice in one noise; those that no frame gives are left out."""
    gain = np.sqrt(np.mean(np.square(clean[clean != 0])) / np.mean(np.square(noise))) * 10 ** (-snr_db / 20)
    noise = np.asarray(gain * noise, np.float32)
    enhanced = enhancer.enhance(clean + noise, RATE_HZ)
    whole = spectra(clean).sum(1)
    before, after, voice, sound = (band(spectra(s), BAND_HZ) for s in (clean + noise, enhanced, clean, noise))
    speech = whole > 10 ** (-SPEECH_RANGE_DB / 10) * whole.max()
    pause = np.convolve(whole == 0, np.ones(GUARD), "same") == GUARD
    ratio = voice.sum(1) / np.maximum(sound.sum(1), 1e-20)
    figures = {
        "noisy_lsd_speech_db": lsd_db(voice, before, speech), "lsd_speech_db": lsd_db(voice, after, speech),
        "noisy_lsd_pause_db": lsd_db(voice, before, pause), "lsd_pause_db": lsd_db(voice, after, pause),
        "pause_db": change_db(after[pause], before[pause]),
    }  # fmt: skip
    if (noise_alone := speech & (ratio < INAUDIBLE)).sum() >= GUARD:
        figures["speech_db"] = change_db(after[noise_alone], before[noise_alone])
        figures["difference_db"] = abs(figures["speech_db"] - figures["pause_db"])
    if (fricatives := speech & (ratio > PROMINENT)).sum() >= GUARD:
        figures["fricative_db"] = change_db(after[fricatives], voice[fricatives])
    return figures


def measure_onset(enhancer: Enhancer, clean: Array, rng: np.random.Generator) -> float:
    """Level change of a noise from 8 to 14 kHz that begins in the middle of speech."""
    whole = np.convolve(np.square(clean), np.ones(FRAME), "same")
    speech = np.flatnonzero(whole > 0.1 * whole.max())
    onset = int(speech[len(speech) // 2])
    hiss = sosfilt(butter(6, (8_000, 14_000), "bandpass", fs=RATE_HZ, output="sos"), rng.standard_normal(len(clean)))
    hiss[:onset] = 0.0
    noise = np.asarray(0.1 * SPEECH_RMS / hiss[onset:].std() * hiss, np.float32)
    enhanced = enhancer.enhance(clean + noise, RATE_HZ)
    part = slice(onset + round(ONSET_S * RATE_HZ), onset + round(SETTLED_S * RATE_HZ))
    voice, sound, after = (band(spectra(s[part]), (8_500, 13_500)) for s in (clean, noise, enhanced))
    alone = voice.sum(1) < 0.1 * sound.sum(1)
    return change_db(after[alone], sound[alone])


def measure_spread(enhancer: Enhancer, clean: Array, noise: Array) -> float:
    """Range of gains above a voice that ends at 11 kHz, from the 5th to the 95th percentile of frames with speech."""
    narrow = sosfilt(butter(10, NARROW_HZ, fs=RATE_HZ, output="sos"), clean).astype(np.float32)
    noisy = narrow + np.float32(0.1 * SPEECH_RMS / noise.std()) * noise
    before, after = (band(spectra(s), UPPER_HZ).sum(1) for s in (noisy, enhancer.enhance(noisy, RATE_HZ)))
    whole = spectra(narrow).sum(1)
    gains_db = 10 * np.log10((after / before)[whole > 10 ** (-SPEECH_RANGE_DB / 10) * whole.max()])
    low, high = np.percentile(gains_db, (5, 95))
    return float(high - low)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="results of this benchmark with another version")
    arguments = parser.parse_args()
    rng, enhancer = np.random.default_rng(0), Enhancer()
    utterances = rng.permutation(sorted(arguments.speech.rglob("*.flac")))
    noises = list(rng.permutation(sorted(arguments.noise.rglob("*.flac"))))
    figures: dict[str, list[float]] = {name: [] for name in LABELS}
    done = 0
    for path in noises:
        noise = np.resize(read_mono(path, RATE_HZ)[0], SECONDS * RATE_HZ)
        powers = spectra(noise)
        if band(powers, UPPER_HZ).mean() < 1e-6 * powers.mean():  # nothing is there
            continue
        chosen = [read_mono(utterances[i], RATE_HZ)[0] for i in rng.integers(len(utterances), size=6)]
        clean = join(chosen, SECONDS)
        for snr_db in SNRS_DB:
            for name, value in measure(enhancer, clean, noise, snr_db).items():
                figures[name].append(value)
        figures["onset_db"].append(measure_onset(enhancer, clean, rng))
        figures["spread_db"].append(measure_spread(enhancer, clean, rng.standard_normal(len(clean)).astype(np.float32)))
        done += 1
        if done == N_NOISES:
            break
    results = {
        name: {"mean": float(np.mean(values)), "worst": float(max(values, key=abs)), "n": len(values)}
        for name, values in figures.items()
    }
    report.save("high_band", results)
    if arguments.before is None:
        return
    before = json.loads(arguments.before.read_text(encoding="utf-8"))
    rows = [[label, *(f"{side[name]['mean']:.1f}" for side in (before, results))] for name, label in LABELS.items()]
    text = report.table(["dB", "suppressor", "network"], rows)
    report.insert(report.ROOT / "docs" / "recordings.md", "real high band", text)


if __name__ == "__main__":
    main()
