"""The SEGAN discriminator."""

import torch
from torch import Tensor, nn

from segan_cli.config import DiscriminatorConfig, product
from segan_cli.networks.layers import VirtualBatchNorm, downsampling, initialise


class Discriminator(nn.Module):
    """Judges whether a candidate is the clean version of a noisy window (arXiv 1703.09452, section 3).

    The reference batch of virtual batch norm is given once, before training, and is saved with the weights.
    """

    reference: Tensor

    def __init__(self, config: DiscriminatorConfig, window: int, reference_windows: int) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList(
            downsampling(i, o, config.kernel_size, s)
            for i, o, s in zip((2, *config.channels[:-1]), config.channels, config.strides, strict=True)
        )
        if config.virtual_batch_norm:
            self.norms = nn.ModuleList(VirtualBatchNorm(c) for c in config.channels)
            self.register_buffer("reference", torch.zeros(reference_windows, 2, window))
        self.activation = nn.LeakyReLU(config.leaky_slope)
        self.squeeze = nn.Conv1d(config.channels[-1], 1, 1)
        self.linear = nn.Linear(window // product(config.strides), 1)
        initialise(self)

    def set_reference(self, candidate: Tensor, noisy: Tensor) -> None:
        """Fix the reference batch: clean [R, 1, T] beside noisy [R, 1, T]."""
        self.reference.copy_(torch.cat((candidate, noisy), 1))

    def forward(self, candidate: Tensor, noisy: Tensor) -> Tensor:
        """candidate [B, 1, T] and the noisy [B, 1, T] it comes from → logits [B]."""
        h = torch.cat((candidate, noisy), 1)
        if self.config.virtual_batch_norm:
            reference = self.reference
            for convolution, norm in zip(self.convolutions, self.norms, strict=True):
                h, reference = norm(convolution(h), convolution(reference))
                h, reference = self.activation(h), self.activation(reference)
        else:
            for convolution in self.convolutions:
                h = self.activation(convolution(h))
        return self.linear(self.squeeze(h)).reshape(len(h))  # type: ignore[no-any-return]
