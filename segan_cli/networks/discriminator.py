"""The SEGAN discriminator."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from segan_cli.config.model import DiscriminatorConfig
from segan_cli.networks.layers import VirtualBatchNorm, downsampling, initialise, phase_shuffle


class Discriminator(nn.Module):
    """Classifies a candidate as clean or enhanced, given the noisy segment (arXiv 1703.09452, section 3).

    The reference batch of virtual batch norm is set once before training and saved with the weights.
    """

    reference: Tensor

    def __init__(self, config: DiscriminatorConfig, window: int, reference_windows: int) -> None:
        super().__init__()
        self.config = config
        layers = zip((2, *config.channels[:-1]), config.channels, config.strides, strict=True)
        self.convolutions = nn.ModuleList(downsampling(i, o, config.kernel_size, s) for i, o, s in layers)
        if config.norm == "virtual":
            self.norms = nn.ModuleList(VirtualBatchNorm(c) for c in config.channels)
            self.register_buffer("reference", torch.zeros(reference_windows, 2, window))
        elif config.norm == "batch":  # used in training alone, so no running statistics
            self.norms = nn.ModuleList(nn.BatchNorm1d(c, track_running_stats=False) for c in config.channels)
        self.activations = nn.ModuleList(self._activation(c) for c in config.channels)
        frames, widths = window // math.prod(config.strides), (*config.hidden, 1)
        if config.hidden:
            head: list[nn.Module] = [nn.Flatten(), nn.Linear(config.channels[-1] * frames, widths[0])]
            for n_in, n_out in itertools.pairwise(widths):
                head += [self._activation(n_in), nn.Linear(n_in, n_out)]
        else:
            head = [nn.Conv1d(config.channels[-1], 1, 1), nn.Flatten(), nn.Linear(frames, 1)]
        self.head = nn.Sequential(*head)
        initialise(self)
        if config.spectral_norm:
            for layer in (*self.convolutions, *self.head):
                if isinstance(layer, nn.Conv1d | nn.Linear):
                    spectral_norm(layer)

    def _activation(self, channels: int) -> nn.Module:
        slope = self.config.leaky_slope
        return nn.PReLU(channels, 0.0) if slope is None else nn.LeakyReLU(slope)

    def set_reference(self, candidate: Tensor, noisy: Tensor) -> None:
        """Set the reference batch: clean [R, 1, T] and noisy [R, 1, T]."""
        self.reference.copy_(torch.cat((candidate, noisy), 1))

    def forward(self, candidate: Tensor, noisy: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """candidate [B, 1, T] and its condition, noisy [B, 1, T] → logits [B].

        The output of each convolutional layer is appended to `features`.
        """
        h = torch.cat((candidate, noisy), 1)
        reference = self.reference if self.config.norm == "virtual" else None
        for i, (convolution, activation) in enumerate(zip(self.convolutions, self.activations, strict=True)):
            if self.config.phase_shuffle and self.training:
                h = phase_shuffle(h, self.config.phase_shuffle)
            h = convolution(h)
            if reference is not None:
                h, reference = self.norms[i](h, convolution(reference))
                reference = activation(reference)
            elif self.config.norm == "batch":
                h = self.norms[i](h)
            h = activation(h)
            if features is not None:
                features.append(h)
        return self.head(h).reshape(len(h))  # type: ignore[no-any-return]
