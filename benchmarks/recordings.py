"""Effect of `segan enhance` on what it should preserve: clean speech, music, silence, stereo image and high band.

python benchmarks/recordings.py --data speech-valid/ --noise noise-valid/ --music noise/music

Writes benchmarks/results/recordings.json and the tables in docs/recordings.md.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray

from segan_cli import Enhancer
from segan_cli.config.training import MixingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.mixing import ExampleSource, draw_utterances
from segan_cli.data.recordings import CorpusLoader, Recordings
from segan_cli.measures.catalog import measure_all

Array = NDArray[np.float32]

RATE_HZ = 16_000
N_RECORDINGS = 24  # per row
SNRS_DB = (0, 5, 10, 15, 20)
MIXING = MixingConfig(
    babble_probability=0.0, second_noise_probability=0.0, reverb_probability=0.0, level_db=(-30.0, -20.0)
)
DELAY, BALANCE_DB = 11, -6.0  # of the second channel: samples, level
CHANNELS = ("linked", "independent")


def mixes(speech: Recordings, noise: Recordings, snr_db: float) -> Iterator[tuple[Array, Array]]:
    """Noisy and clean signals at an SNR, with the same utterances and noises at every SNR."""
    source = ExampleSource(speech, noise, Recordings(()), MIXING, RATE_HZ)
    for spec in draw_utterances(source, N_RECORDINGS, 1):
        yield source.render(replace(spec, snr_db=float(snr_db)))


def level_db(signal: Array) -> float:
    """RMS level in dBFS, at least -120."""
    return float(10 * np.log10(max(float(np.mean(np.square(signal, dtype=np.float64))), 1e-12)))


def pair(first: Array, second: Array) -> Array:
    """Two recordings of equal level and length, [2, n]."""
    n = min(len(first), len(second))
    gain = np.float32(10 ** ((level_db(first[:n]) - level_db(second[:n])) / 20))
    return np.stack((first[:n], gain * second[:n]))


def distortion(enhancer: Enhancer, speech: list[Array], music: list[Array]) -> dict[str, dict[str, float]]:
    """Scores and level change of signals without noise; two talkers have equal levels."""

    def alone(signals: list[Array]) -> list[tuple[Array, Array]]:
        return [(signal, enhancer.enhance(signal, RATE_HZ)) for signal in signals]

    pairs = [pair(*two) for two in zip(speech, speech[1:] + speech[:1], strict=True)]
    kinds = {
        "clean speech": alone(speech),
        "two talkers": alone([two.mean(0) for two in pairs]),
        "two talkers, a channel each": [
            sides for two in pairs for sides in zip(two, enhancer.enhance(two.T, RATE_HZ).T, strict=True)
        ],
        "music": alone(music),
    }
    rows = {}
    for kind, signals in kinds.items():
        scores = [measure_all(before, after) for before, after in signals]
        names = ("si_sdr_db",) if kind == "music" else ("pesq_wb", "stoi", "si_sdr_db")
        rows[kind] = {name: float(np.mean([score[name] for score in scores])) for name in names} | {
            "level_db": float(np.mean([level_db(after) - level_db(before) for before, after in signals]))
        }
    silence = enhancer.enhance(np.zeros(10 * RATE_HZ, np.float32), RATE_HZ)
    rows["silence"] = {"level_db": level_db(silence)}
    return rows


def stereo_image(pairs: list[tuple[Array, Array]], enhancer: Enhancer) -> dict[str, float]:
    """Errors of the level and delay between two channels of speech with independent noise."""
    errors, delays, scores = [], [], []
    for (noisy, clean), (other_noisy, other_clean) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        n = min(len(clean), len(other_clean))
        gain = 10 ** (BALANCE_DB / 20)
        right = gain * np.roll(clean, DELAY)[:n]
        sound = np.stack((clean[:n], right), 1)
        noises = np.stack(((noisy - clean)[:n], gain * (other_noisy - other_clean)[:n]), 1)
        out = enhancer.enhance(sound + noises, RATE_HZ)
        shift = np.fft.irfft(np.fft.rfft(out[:, 1], 2 * n) * np.conj(np.fft.rfft(out[:, 0], 2 * n)))
        delays.append(abs(int(np.argmax(shift[:64])) - DELAY))
        active = np.abs(sound[:, 0]) > 0.1 * np.abs(sound[:, 0]).max()
        balance = level_db(np.roll(out[:, 1], -DELAY)[active]) - level_db(out[:, 0][active])
        errors.append(abs(balance - BALANCE_DB))
        scores.append(np.mean([float(measure_all(sound[:, c], out[:, c])["si_sdr_db"]) for c in range(2)]))
    return {
        "level_error_db": float(np.mean(errors)), "largest_level_error_db": float(np.max(errors)),
        "largest_delay_error": float(np.max(delays)), "si_sdr_db": float(np.mean(scores)),
    }  # fmt: skip


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    names = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "si_sdr_db": "SI-SDR (dB)", "level_db": "level change (dB)"}
    distortions = [
        [row, *(f"{cells[name]:.2f}" if name in cells else "–" for name in names)]
        for row, cells in results["harm"].items()
        if row != "silence"
    ]
    images = [
        [
            row, f"{cells['level_error_db']:.2f} dB", f"{cells['largest_level_error_db']:.2f} dB",
            f"{cells['largest_delay_error']:.0f}", f"{cells['si_sdr_db']:.1f} dB",
        ]
        for row, cells in results["image"].items()
    ]  # fmt: skip
    return {
        "harm": report.table(["", *names.values()], distortions),
        "stereo": report.table(["channels", "level error", "largest", "delay error (samples)", "SI-SDR"], images),
    }


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clean speech that the model was not trained on")
    parser.add_argument("--noise", required=True, help="noise that the model was not trained on")
    parser.add_argument("--music", required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    arguments = parser.parse_args()
    loader = CorpusLoader(Cache(arguments.cache, RATE_HZ), None)
    data = loader.load((arguments.data,), (arguments.noise,), (), "validation")
    tunes = loader.load((), (arguments.music,), (), "validation").noise
    rng = np.random.default_rng(0)
    music = [tunes.excerpt(tunes.draw(rng).name, 0, 10 * RATE_HZ) for _ in range(N_RECORDINGS)]
    speech = [clean for _, clean in mixes(data.speech, data.noise, 0)]
    noisy = {f"{snr_db} dB": list(mixes(data.speech, data.noise, snr_db)) for snr_db in SNRS_DB}
    results = {
        "harm": distortion(Enhancer(), speech, music),
        "image": {how: stereo_image(noisy["10 dB"], Enhancer(channels=how)) for how in CHANNELS},
    }
    report.save("recordings", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "recordings.md", heading, text)


if __name__ == "__main__":
    main()
