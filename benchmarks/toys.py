"""Small generators and discriminators of points, trained by the losses of `segan_cli.training.adversary`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from segan_cli.config.training import AdversarialConfig
from segan_cli.training.adversary import Adversary

HIDDEN = 128  # units of each of the two hidden layers of both networks


@dataclass(frozen=True)
class Setting:
    """The settings of one training."""

    game: AdversarialConfig = field(default_factory=AdversarialConfig)
    latent: str = "normal"  # or uniform; mean 0, standard deviation 1
    batch_norm: bool = False  # in both networks
    conditional: str = ""  # class as an input of G: "generator" alone, "inputs" of D too, "classifier": D predicts it
    decay: bool = False  # both learning rates decay linearly to 0
    generator_rate: float = 1e-3
    discriminator_rate: float = 1e-3
    latent_size: int = 2
    steps: int = 4_000
    batch: int = 256


def perceptron(n_in: int, n_out: int, norm: bool) -> nn.Sequential:
    """Two hidden layers with ReLU, with or without batch norm."""
    layers: list[nn.Module] = []
    for size in (n_in, HIDDEN):
        layers += [nn.Linear(size, HIDDEN), *([nn.BatchNorm1d(HIDDEN, track_running_stats=False)] * norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, n_out))


class PointDiscriminator(nn.Module):
    """A discriminator of points [B, d] under a condition [B, c], and a classifier on the same hidden layers."""

    def __init__(self, n_in: int, n_classes: int, norm: bool) -> None:
        super().__init__()
        self.body = perceptron(n_in, 1 + n_classes, norm)

    def forward(self, candidate: Tensor, condition: Tensor) -> Tensor:
        """candidate [B, d], condition [B, c] → logits [B]."""
        return self.body(torch.cat((candidate, condition), 1))[:, 0]

    def classify(self, candidate: Tensor) -> Tensor:
        """candidate [B, d] → logits of the classes [B, n]."""
        return self.body(candidate)[:, 1:]


@dataclass(frozen=True)
class Mixture:
    """A mixture of equally likely isotropic Gaussians."""

    centres: Tensor  # [M, d]
    std: float

    def sample(self, n: int) -> tuple[Tensor, Tensor]:
        """n points [n, d] and the indices [n] of their modes."""
        modes = torch.randint(len(self.centres), (n,))
        return self.centres[modes] + self.std * torch.randn(n, self.centres.shape[1]), modes

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Distance [n] of points to the nearest centre, and its index [n]."""
        return torch.cdist(points, self.centres).min(1)

    def quality(self, points: Tensor) -> Tensor:
        """A Gaussian of three deviations around the nearest centre, at most 1: the quality for a metric objective."""
        return (-0.5 * (self.nearest(points)[0] / (3 * self.std)).square()).exp()


def ring() -> Mixture:
    """Eight modes on a circle of radius 2."""
    angle = torch.arange(8) * torch.pi / 4
    return Mixture(2 * torch.stack((angle.cos(), angle.sin()), 1), 0.05)


def grid() -> Mixture:
    """25 modes, five by five, one apart."""
    side = torch.arange(5.0) - 2
    return Mixture(torch.cartesian_prod(side, side), 0.05)


@dataclass(frozen=True)
class Played:
    """The trained networks as functions."""

    generate: Callable[[int], tuple[Tensor, Tensor]]  # number of points → points [n, d], requested classes [n]
    discriminate: Callable[[Tensor], Tensor]  # points [n, d] → logits [n], where there is no condition
    transform: Callable[[Tensor], Tensor] = lambda z: z  # z [n, latent_size] → points [n, d], where there is no class


def play(target: Mixture, setting: Setting, seed: int, watch: Callable[[int, Played], None] | None = None) -> Played:
    """Train a generator of points against a discriminator; deterministic for a given seed."""
    torch.manual_seed(seed)
    game, (n_modes, size) = setting.game, target.centres.shape
    asked = n_modes if setting.conditional else 0
    seen = n_modes if setting.conditional == "inputs" else size if game.objective == "metricgan" else 0
    generator = perceptron(setting.latent_size + asked, size, setting.batch_norm)
    network = PointDiscriminator(size + seen, n_modes if setting.conditional == "classifier" else 0, setting.batch_norm)
    optimizers = [
        torch.optim.Adam(part.parameters(), rate, betas=(0.5, 0.999))
        for part, rate in ((generator, setting.generator_rate), (network, setting.discriminator_rate))
    ]
    adversary = Adversary(network, optimizers[1], game)

    def latent(n: int) -> Tensor:
        if setting.latent == "uniform":
            return (torch.rand(n, setting.latent_size) - 0.5) * 12**0.5
        return torch.randn(n, setting.latent_size)

    def generate(modes: Tensor) -> Tensor:
        classes = [one_hot(modes, n_modes).float()] if asked else []
        return generator(torch.cat((latent(len(modes)), *classes), 1))

    def condition(modes: Tensor) -> Tensor:
        if setting.conditional == "inputs":
            return one_hot(modes, n_modes).float()
        return 6 * torch.rand(len(modes), seen) - 3  # for a metric objective: random points in place of noisy speech

    def turn(step: int, fake: Tensor, real: Tensor, modes: Tensor, given: Tensor) -> tuple[float, Tensor | None]:
        std = game.instance_noise * (1 - step / setting.steps)
        quality = None
        if game.objective == "metricgan":
            quality = torch.stack((target.quality(fake), target.quality(given)), 1)
        for side in adversary.sides:
            loss, _ = adversary(real, fake, given, std, quality, side=side)
            if setting.conditional == "classifier":
                loss = loss + cross_entropy(network.classify(real), modes)
                loss = loss + cross_entropy(network.classify(fake), modes)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            adversary.clip_weights()
        return std, quality

    played = Played(
        lambda n: (lambda modes: (generate(modes).detach(), modes))(torch.randint(n_modes, (n,))),
        lambda points: network(points, points[:, :0]).detach(),
        generator,
    )
    for step in range(setting.steps):
        for optimizer, rate in zip(optimizers, (setting.generator_rate, setting.discriminator_rate), strict=True):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / setting.steps if setting.decay else 1.0)
        for last in [False] * (game.discriminator_steps - 1) + [True]:
            real, modes = target.sample(setting.batch)
            given, fake = condition(modes), generate(modes)
            std, quality = turn(step, fake.detach(), real, modes, given)
            if last:
                loss = adversary.generator_loss(real, fake, given, std, quality)
                if setting.conditional == "classifier":
                    loss = loss + cross_entropy(network.classify(fake), modes)
                optimizers[0].zero_grad()
                loss.backward()
                optimizers[0].step()
        if watch is not None:
            watch(step + 1, played)
    return played
