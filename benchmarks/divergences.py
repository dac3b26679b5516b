"""Two segments of a line at a distance: Kullback-Leibler is infinite, Jensen-Shannon constant, Wasserstein a slope.

python benchmarks/divergences.py

Real is uniform on [0, 1], fake on [θ, θ + 1]: a discriminator trained by an objective's own loss reaches the predicted
value. On two Gaussians the gradient of a generator loss is that of its divergence. Writes
benchmarks/results/divergences.json, docs/figures/divergences.png and the tables in docs/adversarial.md; a minute.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import report
import torch
from torch import Tensor, nn

from segan_cli.config.training import AdversarialConfig
from segan_cli.losses.adversarial import OBJECTIVES
from segan_cli.training.adversary import Adversary

DISTANCES = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0)
CELL = 1 / 16  # length of the pieces of a discriminator; each segment has a point in the middle of every cell
KNOTS = torch.arange(-0.5, 4.5 + CELL / 2, CELL)
POINTS = (torch.arange(0.0, 1.0, CELL) + CELL / 2)[:, None]  # of the real segment, [16, 1]
STEPS, RATE = 1_000, 0.1
PENALTY = 10.0  # of wasserstein-gp
MEAN = 1.0  # of the fake Gaussian; the real one has mean 0, both standard deviation 1

Game = AdversarialConfig


class PiecewiseLinear(nn.Module):
    """D(x) by linear interpolation between values at fixed knots."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(len(KNOTS)))

    def forward(self, candidate: Tensor, condition: Tensor) -> Tensor:
        """candidate [B, 1], condition [B, 0] → logits [B]."""
        place = (candidate[:, 0] - KNOTS[0]) / CELL
        cell = place.detach().floor().long()
        return torch.lerp(self.values[cell], self.values[cell + 1], place - cell)


class Slope(nn.Module):
    """D(x) = y x: the best critic of two equal segments is of this form."""

    def __init__(self) -> None:
        super().__init__()
        self.y = nn.Parameter(torch.zeros(()))

    def forward(self, candidate: Tensor, condition: Tensor) -> Tensor:
        """candidate [B, 1], condition [B, 0] → logits [B]."""
        return self.y * candidate[:, 0]


ESTIMATES: dict[str, tuple[Game, type[nn.Module], Callable[[float], float]]] = {
    # name: game, discriminator, divergence from the discriminator's loss at its optimum
    "js": (Game("minimax"), PiecewiseLinear, lambda loss: math.log(2) - loss),
    "tv": (Game("hinge"), PiecewiseLinear, lambda loss: 1 - loss / 2),
    "chi2": (Game("least-squares"), PiecewiseLinear, lambda loss: 1 - 4 * loss),
    "w1": (Game("wasserstein-clip", weight_clip=1.0), Slope, lambda loss: -loss),
    "w1, penalty": (Game("wasserstein-gp", gradient_penalty_weight=PENALTY), Slope, lambda loss: -loss),
}


def theory(distance: float) -> dict[str, float]:
    """The divergences of the two segments.

    `chi2` is Pearson's χ²(q ‖ m) for m = (p + q) / 2. The penalty of weight λ lets the critic's slope grow to
    1 + θ / 2λ.
    """
    apart = min(distance, 1.0)
    return {
        "kl": 0.0 if distance == 0 else math.inf,
        "js": apart * math.log(2),
        "tv": apart,
        "chi2": apart,
        "w1": distance,
        "w1, penalty": distance * (1 + distance / (2 * PENALTY)),
    }


def trained(game: Game, kind: type[nn.Module], distance: float, steps: int = STEPS) -> tuple[float, float]:
    """The loss of a discriminator trained on the two segments, penalties left out, and the generator's slope by θ."""
    torch.manual_seed(0)
    network = kind()
    adversary = Adversary(network, torch.optim.Adam(network.parameters(), RATE), game)
    fake, condition = POINTS + distance, torch.zeros(len(POINTS), 0)
    for step in range(steps):
        adversary.optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        loss, _ = adversary(POINTS, fake, condition)
        adversary.optimizer.zero_grad()
        loss.backward()
        adversary.optimizer.step()
        adversary.clip_weights()
    with torch.no_grad():
        on_real, on_fake = (network(points, condition) for points in (POINTS, fake))
        value = float(adversary.objective.discriminator(on_real, on_fake))
    theta = torch.tensor(distance, requires_grad=True)
    adversary.generator_loss(POINTS, POINTS + theta, condition).backward()
    return value, float(theta.grad)


def gaussian(x: Tensor, mean: Tensor | float) -> Tensor:
    """Density of a Gaussian of standard deviation 1."""
    return (-0.5 * (x - mean).square()).exp() / math.sqrt(2 * math.pi)


GRID = torch.linspace(-7.5, 8.5, 4_001, dtype=torch.float64)


def integral(values: Tensor) -> Tensor:
    """Integral over the grid."""
    return values.sum() * (GRID[1] - GRID[0])


def divergences(p: Tensor, q: Tensor) -> dict[str, Tensor]:
    """What the generator descends under the best discriminator, by objective; W₁ is that of a shift."""
    m = (p + q) / 2
    kl_pm, kl_qm = integral(p * (p / m).log()), integral(q * (q / m).log())
    js = (kl_pm + kl_qm) / 2
    shift = integral(GRID * q) - integral(GRID * p)
    return {
        "minimax": js,
        "non-saturating": integral(q * (q / p).log()) / 2 - js,
        "maximum-likelihood": integral(p * (p / q).log()) / 2,
        "least-squares": kl_pm - integral((p - m).square() / m) / 4,
        "hinge": integral((p - q).abs()),
        "wasserstein-clip": shift.abs(),
    }


def best_logits(objective: str, p: Tensor, q: Tensor) -> Tensor:
    """The logits of the best discriminator on the grid."""
    if objective == "wasserstein-clip":
        return -GRID  # fake lies to the right
    if objective == "hinge":
        return (p - q).sign()
    return p / (p + q) if objective == "least-squares" else (p / q).log()


def descents(mean: float = MEAN) -> dict[str, dict[str, float]]:
    """By objective: slope by the fake mean of the generator's loss under the fixed best D, and of its divergence."""
    slopes = {}
    for name in divergences(GRID, GRID):
        theta = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
        p, q = gaussian(GRID, 0.0), gaussian(GRID, theta)
        logits = best_logits(name, p, q).detach()
        losses = torch.stack([OBJECTIVES[name].generator(x[None], real=x[None]) for x in logits])
        (loss_slope,) = torch.autograd.grad(integral(q * losses), theta, retain_graph=True)
        (slope,) = torch.autograd.grad(divergences(p, q)[name], theta)
        slopes[name] = {"loss": float(loss_slope), "divergence": float(slope)}
    return slopes


def measure(distance: float) -> dict[str, Any]:
    """Divergences by theory and by trained discriminators, and slopes of generator losses, at one distance."""
    found, slopes = {}, {}
    for name, (game, kind, estimate) in ESTIMATES.items():
        loss, slopes[game.objective] = trained(game, kind, distance)
        found[name] = estimate(loss)
    expected = theory(distance)
    expected["kl"] = str(expected["kl"])  # JSON has no infinity
    return {"theory": expected, "trained": found, "slopes": slopes}


def main() -> None:
    """Train, write results, figure and tables."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {str(distance): measure(distance) for distance in DISTANCES}
    results["descents"] = descents()
    for name, row in results.items():
        print(name, row)
    report.save("divergences", results)
    draw(results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown tables of divergences by distance, and of slopes by objective."""
    lines = []
    for distance in DISTANCES:
        row = results[str(distance)]
        pairs = [f"{abs(row['trained'][name]):.3f} ({row['theory'][name]:.3f})" for name in ESTIMATES]
        slopes = [f"{abs(row['slopes'][name]):.3f}" for name in ("minimax", "wasserstein-clip")]
        lines.append([f"{distance:g}", row["theory"]["kl"].replace("inf", "∞").replace("0.0", "0"), *pairs, *slopes])
    headings = ["θ", "KL", "JS, `minimax`", "TV, `hinge`", "χ², `least-squares`", "W₁, `wasserstein-clip`",
                "W₁, `wasserstein-gp`", "G's slope, `minimax`", "G's slope, `wasserstein-clip`"]  # fmt: skip
    slopes = [
        [f"`{name}`", f"{row['loss']:.4f}", f"{row['divergence']:.4f}"] for name, row in results["descents"].items()
    ]
    return {
        "divergences": report.table(headings, lines),
        "descents": report.table(["objective", "derivative of G's loss", "derivative of the divergence"], slopes),
    }


def draw(results: dict[str, Any]) -> None:
    """Divergences and the slopes of generator losses against the distance."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    fine = np.linspace(0, DISTANCES[-1], 301)
    for number, (name, label) in enumerate(
        {"js": "Jensen-Shannon", "tv": "total variation", "w1": "Wasserstein"}.items()
    ):
        left.plot(fine, [theory(x)[name] for x in fine], color=f"C{number}", label=label)
        left.plot(DISTANCES, [results[str(x)]["trained"][name] for x in DISTANCES], "o", color=f"C{number}")
    left.axhline(math.log(2), color="0.8", linewidth=0.6, zorder=0)
    left.annotate("KL = ∞ for every θ > 0", (1.5, 2.85), ha="center", fontsize=8)
    left.annotate("", (0.05, 3.0), (0.05, 2.3), arrowprops={"arrowstyle": "->", "color": "0.4"})
    left.set(title="divergence (lines), trained D (dots)", xlabel="θ", ylim=(-0.1, 3.1))
    for name in ("minimax", "wasserstein-clip"):
        right.plot(DISTANCES, [abs(results[str(x)]["slopes"][name]) for x in DISTANCES], "o-", label=name)
    right.set(title="slope of the generator's loss by θ", xlabel="θ")
    left.legend(fontsize=7)
    right.legend(fontsize=7)
    report.save_figure("divergences", figure)


if __name__ == "__main__":
    main()
