"""A one-dimensional target: at convergence the discriminator outputs ½ everywhere and the densities match.

python benchmarks/density.py

Writes benchmarks/results/density.json, docs/figures/density.png and the table in docs/adversarial.md; takes minutes.
"""

import argparse
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import report
import torch
from toys import GaussianMixture, Networks, Setting, train

from segan_cli.config.training import AdversarialConfig as Game

TARGET = GaussianMixture(torch.tensor([[-1.0], [1.5]]), 0.5)
EDGES = torch.linspace(-4, 4, 81)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
SAMPLES = 200_000
CHECKPOINTS = (0.02, 0.2, 1.0)  # fractions of the training at which to measure
SLOW, FAST = 1e-4, 2e-3  # learning rates of generator and discriminator that keep D close to optimal
SETTINGS = {
    "minimax": Setting(Game("minimax"), generator_rate=SLOW, discriminator_rate=FAST),
    "non-saturating": Setting(Game("non-saturating"), generator_rate=SLOW, discriminator_rate=FAST),
    "non-saturating, both fast": Setting(Game("non-saturating"), generator_rate=FAST, discriminator_rate=FAST),
}


def density(points: torch.Tensor) -> np.ndarray:
    """Histogram of points [n, 1] as a density over the bins."""
    counts = torch.histogram(points[:, 0], EDGES)[0]
    return (counts / len(points) / (EDGES[1] - EDGES[0])).numpy()


def target_density() -> np.ndarray:
    """Density of the target at the bin centres."""
    x = CENTRES[:, None] - TARGET.centres[:, 0]
    return ((-0.5 * (x / TARGET.std) ** 2).exp() / (TARGET.std * (2 * torch.pi) ** 0.5)).mean(1).numpy()


def measure(networks: Networks) -> dict[str, Any]:
    """The generated density and the discriminator output, and their distances from theory.

    `distance` is the total variation between the densities, `from_half` the mean |σ(D) - ½| under the target, and
    `from_optimum` the mean |σ(D) - p / (p + q)| under the target, the optimal discriminator for the current densities.
    """
    p, q = target_density(), density(networks.generate(SAMPLES)[0])
    output = torch.sigmoid(networks.discriminate(CENTRES[:, None])).numpy()
    weight = p / p.sum()
    return {
        "density": q.astype(float).round(4).tolist(),
        "output": output.astype(float).round(4).tolist(),
        "distance": float(0.5 * np.abs(p - q).sum() * float(EDGES[1] - EDGES[0])),
        "from_half": float((weight * np.abs(output - 0.5)).sum()),
        "from_optimum": float((weight * np.abs(output - p / np.maximum(p + q, 1e-9))).sum()),
    }


def main() -> None:
    """Train all settings, and write results, figure and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = [round(share * arguments.steps) for share in CHECKPOINTS]
    results: dict[str, Any] = {}
    for name, setting in SETTINGS.items():

        def callback(step: int, networks: Networks, name: str = name) -> None:
            if step in steps:
                results[f"{name}, step {step}"] = row = measure(networks)
                print(name, step, {k: v for k, v in row.items() if isinstance(v, float)}, flush=True)

        # both learning rates decay, so that the game converges
        train(TARGET, replace(setting, steps=arguments.steps, batch=512, latent_size=1, decay=True), 0, callback)
    report.save("density", results)
    draw(results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    headings = ["objective", "total variation", "σ(D) from p / (p + q)", "σ(D) from ½"]
    lines = [
        [name, *(f"{row[key]:.3f}" for key in ("distance", "from_optimum", "from_half"))]
        for name, row in results.items()
    ]
    return {"density": report.table(headings, lines)}


def draw(results: dict[str, Any]) -> None:
    """Plot target, generated density and discriminator output at each checkpoint."""
    figure, axes = plt.subplots(
        len(SETTINGS),
        len(CHECKPOINTS),
        figsize=(3.2 * len(CHECKPOINTS), 2.3 * len(SETTINGS)),
        sharey=True,
        layout="constrained",
    )
    x, p = CENTRES.numpy(), target_density()
    for axis, (name, row) in zip(axes.flat, results.items(), strict=True):
        axis.fill_between(x, p, color="0.85", label="target p")
        axis.plot(x, row["density"], label="generated q")
        axis.plot(x, row["output"], label="σ(D)")
        axis.plot(x, p / np.maximum(p + np.array(row["density"]), 1e-9), ":", color="0.4", label="p / (p + q)")
        axis.axhline(0.5, color="0.7", linewidth=0.6)
        axis.set_title(name, fontsize=8)
        axis.set_ylim(0, 1.2)
    axes[0, 0].legend(fontsize=6)
    (report.ROOT / "docs" / "figures").mkdir(exist_ok=True)
    figure.savefig(report.ROOT / "docs" / "figures" / "density.png", dpi=90)


if __name__ == "__main__":
    main()
