"""The SEGAN generator."""

import torch
from torch import Tensor, nn

from segan_cli.config.model import GeneratorConfig
from segan_cli.networks.layers import downsampling, initialise, initialise_he, upsampling


class Generator(nn.Module):
    """Maps noisy segments to enhanced ones (arXiv 1703.09452, section 3).

    Strided convolutions with PReLU compress the segment to the thought vector c, the latent z is concatenated to it,
    and a decoder of transposed convolutions mirrors the encoder. The output of each encoder layer, taken before its
    PReLU as in the authors' code, joins the activation of its mirror as `skip_merge` specifies; without skips the
    thought vector alone carries the input to the decoder. The last activation is tanh.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.unit = config.input_rms or 1.0  # input level that is scaled to 1 inside the network
        layers = list(zip((1, *config.channels[:-1]), config.channels, config.strides, config.dilations, strict=True))
        k = config.kernel_size
        self.encoder = nn.ModuleList(downsampling(i, o, k, s, d) for i, o, s, d in layers)
        slope = 0.0 if config.input_rms is None else 0.25
        self.encoder_activations = nn.ModuleList(nn.PReLU(c, slope) for c in config.channels)
        mirrored = config.channels[-2::-1]  # width of each decoder layer except the last, and of its skip
        sides = 2 if config.skip_merge == "concat" else 1
        joined = [config.channels[-1] + config.latent_channels] + [sides * c for c in mirrored]
        self.decoder = nn.ModuleList(
            upsampling(n, i, k, s, d) for n, (i, _, s, d) in zip(joined, reversed(layers), strict=True)
        )
        self.decoder_activations = nn.ModuleList(nn.PReLU(c, slope) for c in mirrored)
        if config.skip_scale == "learned":
            self.skip_weights = nn.ParameterList(torch.ones(c, 1) for c in mirrored)
        initialise(self)
        if config.input_rms is not None:  # all layers except the last, which starts near silence
            for layer in (*self.encoder, *self.decoder[:-1]):
                initialise_he(layer, slope)

    def forward(self, noisy: Tensor, z: Tensor | None) -> Tensor:
        """noisy [B, 1, T], T a multiple of the stride, and z [B, C, T / stride] or None → enhanced [B, 1, T]."""
        h, skips = noisy / self.unit, []
        for convolution, activation in zip(self.encoder, self.encoder_activations, strict=True):
            h = convolution(h)
            skips.append(h)
            h = activation(h)
        skips.pop()  # the thought vector is not a skip
        if z is not None:
            h = torch.cat((z, h), 1)
        for i, (convolution, activation) in enumerate(zip(self.decoder[:-1], self.decoder_activations, strict=True)):
            h, skip = convolution(h), skips.pop()
            if self.config.skip_scale == "gated":
                skip = skip * torch.sigmoid(h)
            elif self.config.skip_scale == "learned":
                skip = skip * self.skip_weights[i]
            h = self.merge(activation(h), skip)
        return torch.tanh(self.unit * self.decoder[-1](h))

    def merge(self, h: Tensor, skip: Tensor) -> Tensor:
        """A decoder activation [B, C, L] with its skip [B, C, L] → [B, 2 C, L] by concatenation, else [B, C, L]."""
        if self.config.skip_merge == "concat":
            return torch.cat((h, skip), 1)
        return h + skip if self.config.skip_merge == "sum" else h
