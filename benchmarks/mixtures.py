"""Modes covered and sample quality of every objective and remedy on a ring of 8 Gaussians and a grid of 25.

python benchmarks/mixtures.py

Writes benchmarks/results/mixtures.json, docs/figures/mixtures.png and the tables in docs/adversarial.md. It took 55
minutes on two cores shared with a training run.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import report
import torch
from toys import Mixture, Played, Setting, grid, play, ring

from segan_cli.config.training import AdversarialConfig as Game
from segan_cli.losses.adversarial import OBJECTIVES

TARGETS = {"ring": ring, "grid": grid}
SAMPLES = 2_500
NS = Game(objective="non-saturating")
LAG = 1e-4  # learning rate of a discriminator, a tenth of the generator's

ROWS = {
    **{name: Setting(Game(objective=name)) for name in OBJECTIVES},
    "wasserstein-clip, 5 D steps, clip 0.1": Setting(Game("wasserstein-clip", discriminator_steps=5, weight_clip=0.1)),
    "wasserstein-gp, 5 D steps, λ 0.1": Setting(
        Game("wasserstein-gp", discriminator_steps=5, gradient_penalty_weight=0.1)
    ),
    "non-saturating, label smoothing 0.1": Setting(replace(NS, label_smoothing=0.1)),
    "non-saturating, separate steps": Setting(replace(NS, separate_steps=True)),
    "least-squares, separate steps": Setting(Game(separate_steps=True)),
    "non-saturating, R1 0.1": Setting(replace(NS, r1_weight=0.1)),
    "non-saturating, instance noise 0.5": Setting(replace(NS, instance_noise=0.5)),
    "non-saturating, D lags": Setting(NS, discriminator_rate=LAG),
    "non-saturating, D lags, 5 D steps": Setting(replace(NS, discriminator_steps=5), discriminator_rate=LAG),
    "non-saturating, D lags, unrolled 5": Setting(replace(NS, unrolled_steps=5), discriminator_rate=LAG),
    "non-saturating, D lags, instance noise 0.5": Setting(replace(NS, instance_noise=0.5), discriminator_rate=LAG),
    "wasserstein-gp, λ 0.1, D lags, 5 D steps": Setting(
        Game("wasserstein-gp", discriminator_steps=5, gradient_penalty_weight=0.1), discriminator_rate=LAG
    ),
    "non-saturating, uniform z": Setting(NS, latent="uniform"),
    "non-saturating, batch norm": Setting(NS, batch_norm=True),
    "non-saturating, uniform z, batch norm": Setting(NS, latent="uniform", batch_norm=True),
}
CONDITIONAL = {
    "class to the generator alone": Setting(NS, conditional="generator"),
    "class to both networks": Setting(NS, conditional="inputs"),
    "auxiliary classifier": Setting(NS, conditional="classifier"),
}


def measure(target: Mixture, played: Played) -> dict[str, float]:
    """Modes covered, share of good samples, their width, and the share in the requested mode.

    A sample within three deviations of a mode is good, a mode with at least a quarter of its share of good samples is
    covered. Width is the RMS distance of good samples to their centre, 1 for the untruncated target.
    """
    points, asked = played.generate(SAMPLES)
    distance, mode = target.nearest(points)
    good = distance < 3 * target.std
    share = torch.bincount(mode[good], minlength=len(target.centres)) / SAMPLES
    width = distance[good].square().mean().sqrt() / (target.std * 2**0.5) if good.any() else torch.zeros(())
    return {
        "modes": int((share > 0.25 / len(target.centres)).sum()),
        "quality": float(good.float().mean()),
        "width": float(width),
        "obeyed": float((good & (mode == asked)).float().mean()),
    }


def run(job: tuple[str, Setting, str, int]) -> tuple[tuple[str, Setting, str, int], dict[str, float]]:
    """Train one row on one target with one seed."""
    torch.set_num_threads(1)
    _, setting, target, seed = job
    return job, measure(TARGETS[target](), play(TARGETS[target](), setting, seed))


def main() -> None:
    """Train everything, write results, figure and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--only", action="append", help="train only the row of this name and keep the others; repeatable"
    )
    arguments = parser.parse_args()
    rows = {**ROWS, **CONDITIONAL}
    results = report.load("mixtures") if arguments.only else {}
    results["budget"] = {"steps": arguments.steps, "seeds": arguments.seeds}
    for name in arguments.only or rows:
        results[name] = {}
    jobs = [
        (name, replace(rows[name], steps=arguments.steps), target, seed)
        for seed in range(arguments.seeds)
        for name in arguments.only or rows
        for target in (TARGETS if name in ROWS else ("ring",))
    ]
    with get_context("spawn").Pool(2) as pool:
        for (name, _, target, seed), scores in pool.imap(run, jobs):
            results[name].setdefault(target, []).append(scores)
            print(name, target, seed, scores, flush=True)
    report.save("mixtures", results)
    draw(results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown tables of all rows and of the conditional ones: means over seeds, with the range of modes."""

    def modes(rows: Sequence[dict[str, float]]) -> str:
        values = [row["modes"] for row in rows]
        mean = f"{np.mean(values):.1f}"
        return mean if len(set(values)) == 1 else f"{mean} ({min(values)} … {max(values)})"

    def mean(rows: Sequence[dict[str, float]], name: str) -> str:
        value = np.mean([row[name] for row in rows])
        return f"{value:.2f}" if name == "width" else f"{value:.0%}"

    def cells(name: str, target: str) -> list[str]:
        rows = results[name][target]
        return [modes(rows), mean(rows, "quality"), mean(rows, "width")]

    headings = ["objective", "ring: modes of 8", "good", "width", "grid: modes of 25", "good", "width"]
    lines = [[name, *cells(name, "ring"), *cells(name, "grid")] for name in ROWS]
    by_class = ["ring by class", "in the mode asked for", "modes of 8", "good", "width"]
    asked = [[name, mean(results[name]["ring"], "obeyed"), *cells(name, "ring")] for name in CONDITIONAL]
    return {"mixtures": report.table(headings, lines), "conditional": report.table(by_class, asked)}


def draw(results: dict[str, Any]) -> None:
    """Modes covered by every row on both targets: a bar for the mean, a dot per seed, darker for better samples."""
    import matplotlib.pyplot as plt

    names = list(ROWS)[::-1]
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.22 * len(names) + 0.8), sharey=True, layout="constrained")
    for axis, (target, make) in zip(axes, TARGETS.items(), strict=True):
        rows = [results[name][target] for name in names]
        quality = [np.mean([row["quality"] for row in seeds]) for seeds in rows]
        axis.barh(names, [np.mean([row["modes"] for row in seeds]) for seeds in rows], color=plt.cm.Blues(quality))
        for name, seeds in zip(names, rows, strict=True):
            axis.plot([row["modes"] for row in seeds], [name] * len(seeds), ".", color="0.3", markersize=4)
        axis.axvline(len(make().centres), color="0.7", linewidth=0.8)
        axis.set_title(f"{target}: modes covered", fontsize=8)
        axis.tick_params(labelsize=7)
    bar = figure.colorbar(plt.cm.ScalarMappable(cmap="Blues"), ax=axes)
    bar.set_label("share of good samples", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    report.save_figure("mixtures", figure)


if __name__ == "__main__":
    main()
