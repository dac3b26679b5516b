"""How a generator turns a uniform z into a density: it compresses z in the modes and stretches it between them.

python benchmarks/stretching.py

The target is that of density.py, the generator a map of one z. Writes benchmarks/results/stretching.json,
docs/figures/stretching.png and the table in docs/adversarial.md; minutes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import report
import torch
from density import EDGES, FAST, MIDDLES, SLOW, TARGET
from density import density as histogram
from torch import Tensor
from toys import Setting, play

from segan_cli.config.training import AdversarialConfig as Game

SETTING = Setting(
    Game("non-saturating"), latent="uniform", generator_rate=SLOW, discriminator_rate=FAST, latent_size=1, decay=True,
    batch=512, steps=10_000,
)  # fmt: skip
BOUND = 3**0.5  # of the uniform z, of standard deviation 1
LATENT_DENSITY = 1 / (2 * BOUND)
POINTS = 100_000
PLACES = {"mode at −1": -1.0, "gap at 0.25": 0.25, "mode at 1.5": 1.5}


def target(x: Tensor) -> Tensor:
    """Density of the target at points of any shape."""
    distance = (x[..., None] - TARGET.centres[:, 0]) / TARGET.std
    return ((-0.5 * distance.square()).exp() / (TARGET.std * (2 * torch.pi) ** 0.5)).mean(-1)


def view(transform: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """A generator [n, 1] → [n, 1] on evenly spaced z: its outputs and slopes, and the density that the slopes imply.

    Around each z the latent's mass is stretched over |dG/dz| as much length, so the density there is p(z) / |dG/dz|.
    `distance` is the total variation between the density by slopes, averaged over bins, and the histogram of outputs.
    """
    z = torch.linspace(-BOUND, BOUND, POINTS)[:, None].requires_grad_()
    x = transform(z)
    (slope,) = torch.autograd.grad(x.sum(), z)
    x, slope = x.detach()[:, 0], slope[:, 0].abs()
    width = float(EDGES[1] - EDGES[0])
    bins = torch.bucketize(x, EDGES) - 1
    ours, places = histogram(x[:, None]), {}
    inverse = np.array([float(slope[bins == i].reciprocal().mean()) if (bins == i).any() else 0.0 for i in range(80)])
    for name, place in PLACES.items():
        near = (x - place).abs() < width
        places[name] = {
            "slope": float(slope[near].mean()) if near.any() else float("nan"),
            "predicted": LATENT_DENSITY / float(target(torch.tensor(place))),
        }
    thinned = slice(None, None, POINTS // 500)
    return {
        "z": rounded(z.detach()[thinned, 0]),
        "x": rounded(x[thinned]),
        "slope": rounded(slope[thinned]),
        "density": rounded(ours),
        "by_slope": rounded(LATENT_DENSITY * inverse),
        "distance": float(0.5 * width * np.abs(LATENT_DENSITY * inverse - ours).sum()),
        "places": places,
    }


def rounded(values: Tensor | np.ndarray) -> list[float]:
    """Values [n] with four digits, for a file of results."""
    return np.asarray(values, float).round(4).tolist()


def main() -> None:
    """Play, write results, figure and table."""
    torch.set_num_threads(1)
    results = {"uniform z": view(play(TARGET, SETTING, 0).transform)}
    print(results["uniform z"]["places"], results["uniform z"]["distance"])
    report.save("stretching", results)
    draw(results["uniform z"])
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown table of slopes in the modes and between them."""
    lines = [
        [name, f"{row['slope']:.2f}", f"{row['predicted']:.2f}"] for name, row in results["uniform z"]["places"].items()
    ]
    return {"stretching": report.table(["where", "slope of G", "p(z) / p(x)"], lines)}


def draw(seen: dict[str, Any]) -> None:
    """The map, its slope beside the one that would be perfect, and both densities."""
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 2.9), layout="constrained")
    x = np.array(seen["x"])
    left.plot(seen["z"], x)
    left.set(title="G(z)", xlabel="z, uniform", ylabel="x")
    middle.semilogy(x, seen["slope"], label="|dG/dz|")
    middle.semilogy(MIDDLES, LATENT_DENSITY / target(MIDDLES), ":", color="0.4", label="p(z) / p(x)")
    middle.set(title="compression and stretching", xlabel="x", xlim=(-2.5, 3), ylim=(0.1, 100))
    right.fill_between(MIDDLES, target(MIDDLES), color="0.85", label="target p(x)")
    right.plot(MIDDLES, seen["density"], label="histogram of G(z)")
    right.plot(MIDDLES, seen["by_slope"], "--", label="p(z) / |dG/dz|")
    right.set(title="density", xlabel="x", xlim=(-3, 3.5))
    middle.legend(fontsize=7)
    right.legend(fontsize=7)
    report.save_figure("stretching", figure)


if __name__ == "__main__":
    main()
