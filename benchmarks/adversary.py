"""Score models that differ in their adversary: all measures, DNSMOS, sibilants and lost frames.

python benchmarks/adversary.py --data speech-valid/ --noise noise-valid/ none=none.safetensors gan=gan.safetensors

The mixes of --data and --noise are drawn as for validation by the default recipe. Adds the models to those of earlier
runs with as many mixes. Writes the table in docs/adversarial.md, and a figure of what each model gains over the first
one against its change of PESQ.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import report
from numpy.typing import NDArray

from segan_cli.config.recipe import DEFAULT, load_recipe
from segan_cli.data.cache import Cache
from segan_cli.data.mixing import ExampleSource, draw_utterances
from segan_cli.data.recordings import CorpusLoader, Recordings
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.measures.catalog import MEASURES, measure_all
from segan_cli.measures.score import mean
from segan_cli.process.workers import worker_pool

Array = NDArray[np.float32]

RATE_HZ = 16_000
FRAME, HOP = 512, 256  # samples
SPEECH_DB = -30.0  # level of a frame with speech, relative to the loudest frame of the clean recording
LOST_DB = -8.0  # change of level from which a frame with speech counts as lost
SIBILANTS_HZ = (4_500.0, 7_500.0)
COLUMNS = (
    "pesq_wb", "stoi", "estoi", "si_sdr_db", "csig", "cbak", "covl", "lsd_db",
    "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl",
)  # fmt: skip
NOISY = "noisy"
GAINS = {"sibilants_db": "change of the level of sibilants, dB", "dnsmos_ovrl": "change of DNSMOS OVRL"}


def levels_db(signal: Array, band_hz: tuple[float, float] = (0.0, RATE_HZ / 2)) -> NDArray[np.float64]:
    """Level of each frame of a signal [n] within a band, in dB."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(signal, (0, FRAME)), FRAME)[::HOP] * np.hanning(FRAME)
    hz = np.fft.rfftfreq(FRAME, 1 / RATE_HZ)
    selected = (band_hz[0] <= hz) & (hz <= band_hz[1])
    power = np.square(np.abs(np.fft.rfft(frames)[:, selected])).sum(1)
    return np.asarray(10 * np.log10(power + 1e-10))


def speech_changes(clean: Array, enhanced: Array) -> tuple[float, float]:
    """Share of lost frames among those with speech, and median change of the sibilants' level in dB."""
    before, after = levels_db(clean), levels_db(enhanced)
    speech = before > before.max() + SPEECH_DB
    lost = float(np.mean((after - before)[speech] < LOST_DB))
    before, after = levels_db(clean, SIBILANTS_HZ), levels_db(enhanced, SIBILANTS_HZ)
    hissing = before > before.max() + SPEECH_DB
    return lost, float(np.median((after - before)[hissing]))


def score(pairs: Sequence[tuple[Array, Array]], signals: Sequence[Array], pool: Executor) -> dict[str, float | None]:
    """Means of one system: all measures, change of sibilants in dB, share of lost frames."""
    jobs = [pool.submit(measure_all, clean, signal, COLUMNS) for (_, clean), signal in zip(pairs, signals, strict=True)]
    rows = [job.result() for job in jobs]
    means = {name: mean([row[name] for row in rows]) for name in COLUMNS}
    changes = np.array([speech_changes(clean, signal) for (_, clean), signal in zip(pairs, signals, strict=True)])
    return means | {"sibilants_db": float(changes[:, 1].mean()), "lost": float(changes[:, 0].mean())}


def cells(row: dict[str, float | None]) -> list[str]:
    """The cells of one system."""
    means = ["–" if row[name] is None else f"{row[name]:.3f}" for name in COLUMNS]
    return [*means, f"{row['sibilants_db']:+.1f} dB", f"{row['lost']:.1%}"]


def draw(results: dict[str, dict[str, float | None]]) -> None:
    """Draw the gains of each model over the first against its change of PESQ."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    first, *others = (name for name in results if name != NOISY)
    figure, panels = plt.subplots(1, len(GAINS), figsize=(11, 4), layout="constrained")
    for panel, (name, label) in zip(panels, GAINS.items(), strict=True):
        for i, system in enumerate((first, *others)):
            x, y = (results[system][column] - results[first][column] for column in ("pesq_wb", name))  # type: ignore[operator]
            panel.plot(x, y, "os^"[i // 10], label=system)  # there are ten colours
        panel.set(xlabel="change of PESQ-WB", ylabel=label)
        panel.margins(0.1)
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    report.save_figure("adversary", figure)


def main() -> None:
    """Score the noisy mixes and every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clean speech that no model was trained on")
    parser.add_argument("--noise", required=True, help="noise that no model was trained on")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--mixes", type=int, default=120)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    arguments = parser.parse_args()
    models = [entry.split("=", 1) for entry in arguments.models]
    enhancers = {name: Enhancer(model, strength=arguments.strength) for name, model in models}
    data = CorpusLoader(Cache(arguments.cache, RATE_HZ), None).load(
        (arguments.data,), (arguments.noise,), (), "validation"
    )
    mixing = load_recipe(DEFAULT).training.mixing
    source = ExampleSource(data.speech, data.noise, Recordings(()), mixing, RATE_HZ)
    pairs = [source.render(spec) for spec in draw_utterances(source, arguments.mixes, 0)]
    results = report.load("adversary")
    if results.pop("mixes", None) != arguments.mixes:
        results = {}
    with worker_pool() as pool:
        if NOISY not in results:
            results[NOISY] = score(pairs, [noisy for noisy, _ in pairs], pool)
        for name, enhancer in enhancers.items():
            results[name] = score(pairs, [enhancer.enhance(noisy, RATE_HZ) for noisy, _ in pairs], pool)
            report.save("adversary", {"mixes": arguments.mixes, **results})
    headings = ["model", *(MEASURES[name].label for name in COLUMNS), "sibilants", "lost frames"]
    text = report.table(headings, [[name, *cells(row)] for name, row in results.items()])
    report.insert(report.ROOT / "docs" / "adversarial.md", "adversary", text)
    draw(results)


if __name__ == "__main__":
    main()
