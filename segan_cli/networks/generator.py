"""The SEGAN generator."""

import torch
from torch import Tensor, nn

from segan_cli.config import GeneratorConfig, product
from segan_cli.networks.layers import downsampling, initialise, initialise_he, upsampling


class Generator(nn.Module):
    """Maps noisy windows to enhanced ones (arXiv 1703.09452, section 3).

    Strided convolutions with PReLU compress the window to the thought vector c, the latent z is joined to it, and
    transposed convolutions mirror the way back. Each encoder layer's output, taken before its PReLU as in the authors'
    code, is concatenated to its mirror's activation; the last activation is tanh.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = product(config.strides)
        self.unit = config.input_rms or 1.0  # the level that counts as 1 between first and last layer
        layers = list(zip((1, *config.channels[:-1]), config.channels, config.strides, config.dilations, strict=True))
        k = config.kernel_size
        self.encoder = nn.ModuleList(downsampling(i, o, k, s, d) for i, o, s, d in layers)
        slope = 0.0 if config.input_rms is None else 0.25
        self.encoder_activations = nn.ModuleList(nn.PReLU(c, slope) for c in config.channels)
        # c and z come in; every later layer gets its predecessor's output beside the skip of the same width
        joined = [config.channels[-1] + config.latent_channels] + [2 * c for c in config.channels[-2::-1]]
        self.decoder = nn.ModuleList(
            upsampling(n, i, k, s, d) for n, (i, _, s, d) in zip(joined, reversed(layers), strict=True)
        )
        self.decoder_activations = nn.ModuleList(nn.PReLU(c, slope) for c in config.channels[-2::-1])
        initialise(self)
        if config.input_rms is not None:  # all layers but the last, which starts near silence
            for layer in (*self.encoder, *self.decoder[:-1]):
                initialise_he(layer, slope)

    def latent_shape(self, n_windows: int, n_samples: int) -> tuple[int, int, int] | None:
        """Shape [B, C, T / stride] of the z that `forward` expects, or None when the model has none."""
        if not self.config.latent_channels:
            return None
        return n_windows, self.config.latent_channels, n_samples // self.stride

    def forward(self, noisy: Tensor, z: Tensor | None) -> Tensor:
        """noisy [B, 1, T], T a multiple of the stride, and z [B, C, T / stride] or None → enhanced [B, 1, T]."""
        h, skips = noisy / self.unit, []
        for convolution, activation in zip(self.encoder, self.encoder_activations, strict=True):
            h = convolution(h)
            skips.append(h)
            h = activation(h)
        skips.pop()  # the thought vector is no skip
        if z is not None:
            h = torch.cat((z, h), 1)
        for convolution, activation in zip(self.decoder[:-1], self.decoder_activations, strict=True):
            h, skip = convolution(h), skips.pop()
            if self.config.gated_skips:
                skip = skip * torch.sigmoid(h)
            h = torch.cat((activation(h), skip), 1)
        return torch.tanh(self.unit * self.decoder[-1](h))
