"""The bilinear game x·y: simultaneous gradient steps spiral outward, alternating and regularised ones do not.

python benchmarks/bilinear.py

The discriminator is D(c) = y c, real lies at 0, the generator makes the point x: by the Wasserstein objective the
discriminator minimises x y and the generator -x y. Writes benchmarks/results/bilinear.json, docs/figures/bilinear.png
and the table in docs/adversarial.md; seconds.
"""

import math
from dataclasses import replace
from typing import Any

import report
import torch
from torch import Tensor, nn

from segan_cli.config.training import AdversarialConfig
from segan_cli.training.adversary import Adversary

RATE, STEPS, START = 0.1, 500, (1.0, 0.0)
GAME = AdversarialConfig("wasserstein-gp", gradient_penalty_weight=0.0)
PLAYS = {  # name: whether both networks are updated at once, the objective
    "simultaneous": (True, GAME),
    "alternating": (False, GAME),
    "simultaneous, R1 0.5": (True, replace(GAME, r1_weight=0.5)),
    "alternating, unrolled 1": (False, replace(GAME, unrolled_steps=1)),
}


class Slope(nn.Module):
    """D(c) = y c."""

    def __init__(self, y: float) -> None:
        super().__init__()
        self.y = nn.Parameter(torch.tensor(y))

    def forward(self, candidate: Tensor, condition: Tensor) -> Tensor:
        """candidate [B, 1], condition [B, 0] → logits [B]."""
        return (self.y * candidate)[:, 0]


def trajectory(simultaneous: bool, game: AdversarialConfig, steps: int = STEPS) -> list[tuple[float, float]]:
    """The points (x, y) of a training run, with the start."""
    network, x = Slope(START[1]), nn.Parameter(torch.tensor([[START[0]]]))
    players = torch.optim.SGD(network.parameters(), RATE), torch.optim.SGD([x], RATE)
    adversary = Adversary(network, players[0], game)
    real, condition = torch.zeros(1, 1), torch.zeros(1, 0)
    path = [START]
    for _ in range(steps):
        loss, _ = adversary(real, x.detach(), condition)
        (slope,) = torch.autograd.grad(loss, [network.y])
        before = torch.autograd.grad(adversary.generator_loss(real, x, condition), [x])
        network.y.grad = slope
        players[0].step()
        after = torch.autograd.grad(adversary.generator_loss(real, x, condition), [x])
        (x.grad,) = before if simultaneous else after
        players[1].step()
        path.append((float(x.detach()), float(network.y.detach())))
    return path


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown table of the distances."""
    lines = [[name, f"{row['end']:.3g}", f"{row['largest']:.3g}", row["theory"]] for name, row in results.items()]
    headings = [f"steps of {RATE}", f"distance after {STEPS}", "largest distance", "theory for the end"]
    return {"bilinear": report.table(headings, lines)}


def main() -> None:
    """Play, write results, figure and table."""
    import matplotlib.pyplot as plt

    paths = {name: trajectory(*play) for name, play in PLAYS.items()}
    theory = {  # the eigenvalues of one step, to the power of the steps
        "simultaneous": f"{(1 + RATE**2) ** (STEPS / 2):.3g}",
        "alternating": "bounded",
        "simultaneous, R1 0.5": f"{abs(complex(1 - RATE / 4, RATE * math.sqrt(1 - 1 / 16))) ** STEPS:.2g}",
        "alternating, unrolled 1": "to 0",
    }
    results: dict[str, Any] = {}
    for name, path in paths.items():
        distances = [math.hypot(*point) for point in path]
        results[name] = {"end": distances[-1], "largest": max(distances), "theory": theory[name]}
        print(name, results[name])
    report.save("bilinear", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)
    figure, axes = plt.subplots(1, len(paths), figsize=(2.6 * len(paths), 2.8), layout="constrained")
    for axis, (name, path) in zip(axes, paths.items(), strict=True):
        axis.plot(*zip(*path, strict=True), linewidth=0.7)
        axis.plot(*START, "o", markersize=4)
        axis.plot(0, 0, "+", color="0.3")
        axis.set_title(name, fontsize=9)
        axis.set_aspect("equal", "datalim")
    report.save_figure("bilinear", figure)


if __name__ == "__main__":
    main()
