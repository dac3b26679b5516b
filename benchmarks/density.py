"""A one-dimensional target: at convergence the discriminator returns ½ everywhere and the densities match.

python benchmarks/density.py

Writes benchmarks/results/density.json, docs/figures/density.png and the table in docs/adversarial.md; minutes.
"""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import report
import torch
from toys import Mixture, Played, Setting, play

from segan_cli.config.training import AdversarialConfig as Game

TARGET = Mixture(torch.tensor([[-1.0], [1.5]]), 0.5)
EDGES = torch.linspace(-4, 4, 81)
MIDDLES = (EDGES[1:] + EDGES[:-1]) / 2
SAMPLES = 200_000
MOMENTS = (0.02, 0.2, 1.0)  # shares of the training after which it is measured
SLOW, FAST = 1e-4, 2e-3  # learning rates of generator and discriminator, so that D stays near its optimum
PLAYS = {
    "minimax": Setting(Game("minimax"), generator_rate=SLOW, discriminator_rate=FAST),
    "non-saturating": Setting(Game("non-saturating"), generator_rate=SLOW, discriminator_rate=FAST),
    "non-saturating, both fast": Setting(Game("non-saturating"), generator_rate=FAST, discriminator_rate=FAST),
}


def density(points: torch.Tensor) -> np.ndarray:
    """Histogram of points [n, 1] as a density over the bins."""
    counts = torch.histogram(points[:, 0], EDGES)[0]
    return (counts / len(points) / (EDGES[1] - EDGES[0])).numpy()


def target_density() -> np.ndarray:
    """The density of the target at the middles of the bins."""
    x = MIDDLES[:, None] - TARGET.centres[:, 0]
    return ((-0.5 * (x / TARGET.std) ** 2).exp() / (TARGET.std * (2 * torch.pi) ** 0.5)).mean(1).numpy()


def look(played: Played) -> dict[str, Any]:
    """Densities and σ(D) on the bins, and their distances from theory.

    `distance` is the total variation between the densities, `from_half` the mean |σ(D) - ½| under the target, and
    `from_optimum` the mean |σ(D) - p / (p + q)| under the target, the optimal discriminator for the present densities.
    """
    p, q = target_density(), density(played.generate(SAMPLES)[0])
    says = torch.sigmoid(played.discriminate(MIDDLES[:, None])).numpy()
    weight = p / p.sum()
    return {
        "density": q.astype(float).round(4).tolist(),
        "says": says.astype(float).round(4).tolist(),
        "distance": float(0.5 * np.abs(p - q).sum() * float(EDGES[1] - EDGES[0])),
        "from_half": float((weight * np.abs(says - 0.5)).sum()),
        "from_optimum": float((weight * np.abs(says - p / np.maximum(p + q, 1e-9))).sum()),
    }


def main() -> None:
    """Play, write results, figure and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [round(share * arguments.steps) for share in MOMENTS]
    results: dict[str, Any] = {}
    for name, setting in PLAYS.items():

        def watch(step: int, played: Played, name: str = name) -> None:
            if step in wanted:
                results[f"{name}, step {step}"] = view = look(played)
                print(name, step, {k: v for k, v in view.items() if isinstance(v, float)}, flush=True)

        # both learning rates decay, so that the networks converge
        play(TARGET, replace(setting, steps=arguments.steps, batch=512, latent_size=1, decay=True), 0, watch)
    report.save("density", results)
    draw(results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown table of the distances."""
    headings = ["objective", "total variation", "σ(D) from p / (p + q)", "σ(D) from ½"]
    lines = [
        [name, *(f"{view[key]:.3f}" for key in ("distance", "from_optimum", "from_half"))]
        for name, view in results.items()
    ]
    return {"density": report.table(headings, lines)}


def draw(results: dict[str, Any]) -> None:
    """Target density, generated density and σ(D) at each moment."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(PLAYS), len(MOMENTS), figsize=(3.2 * len(MOMENTS), 2.3 * len(PLAYS)), sharey=True, layout="constrained"
    )
    x, p = MIDDLES.numpy(), target_density()
    for axis, (name, view) in zip(axes.flat, results.items(), strict=True):
        axis.fill_between(x, p, color="0.85", label="target p")
        axis.plot(x, view["density"], label="generated q")
        axis.plot(x, view["says"], label="σ(D)")
        axis.plot(x, p / np.maximum(p + np.array(view["density"]), 1e-9), ":", color="0.4", label="p / (p + q)")
        axis.axhline(0.5, color="0.7", linewidth=0.6)
        axis.set_title(name, fontsize=8)
        axis.set_ylim(0, 1.2)
    axes[0, 0].legend(fontsize=6)
    report.save_figure("density", figure)


if __name__ == "__main__":
    main()
