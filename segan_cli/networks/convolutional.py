"""The convolutional generator and discriminator of SEGAN."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.networks.families import Discriminator, Generator
from segan_cli.networks.layers import (
    HighPass,
    VirtualBatchNorm,
    downsampling,
    initialise,
    initialise_he,
    phase_shuffle,
    upsampling,
)


class ConvolutionalGenerator(Generator):
    """Maps noisy segments to enhanced ones (arXiv 1703.09452, section 3).

    Strided convolutions with PReLU compress the segment to the thought vector c, the latent z is concatenated to it,
    and a decoder of transposed convolutions mirrors the encoder. The output of each encoder layer, taken before its
    PReLU as in the authors' code, joins the activation of its mirror as `skip_merge` specifies; without skips the
    thought vector alone carries the input to the decoder. The last activation is tanh. The high-pass filter of
    `high_pass` is applied to input and output.
    """

    def __init__(self, config: ConvolutionalConfig) -> None:
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
        self.high_pass = HighPass(config.high_pass) if config.high_pass else nn.Identity()
        initialise(self)
        if config.input_rms is not None:  # all layers except the last, which starts near silence
            for layer in (*self.encoder, *self.decoder[:-1]):
                initialise_he(layer, slope)

    def forward(self, noisy: Tensor, z: Tensor | None) -> Tensor:
        """noisy [B, 1, T], T a multiple of the stride, and z [B, C, T / stride] or None → enhanced [B, 1, T]."""
        h, skips = self.high_pass(noisy) / self.unit, []
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
        enhanced: Tensor = self.high_pass(torch.tanh(self.unit * self.decoder[-1](h)))
        return enhanced

    def merge(self, h: Tensor, skip: Tensor) -> Tensor:
        """A decoder activation [B, C, L] with its skip [B, C, L] → [B, 2 C, L] by concatenation, else [B, C, L]."""
        if self.config.skip_merge == "concat":
            return torch.cat((h, skip), 1)
        return h + skip if self.config.skip_merge == "sum" else h


class ConvolutionalDiscriminator(Discriminator):
    """Classifies a candidate as clean or enhanced, given the noisy segment (arXiv 1703.09452, section 3).

    The reference batch of virtual batch norm is set once before training and saved with the weights.
    """

    reference: Tensor

    def __init__(self, config: ConvolutionalDiscriminatorConfig, segment_length: int, reference_segments: int) -> None:
        super().__init__()
        self.config, self.needs_reference = config, config.norm == "virtual"
        layers = zip((2, *config.channels[:-1]), config.channels, config.strides, strict=True)
        self.convolutions = nn.ModuleList(downsampling(i, o, config.kernel_size, s) for i, o, s in layers)
        if self.needs_reference:
            self.norms = nn.ModuleList(VirtualBatchNorm(c) for c in config.channels)
            self.register_buffer("reference", torch.zeros(reference_segments, 2, segment_length))
        elif config.norm == "batch":  # used in training alone, so no running statistics
            self.norms = nn.ModuleList(nn.BatchNorm1d(c, track_running_stats=False) for c in config.channels)
        self.activations = nn.ModuleList(self._activation(c) for c in config.channels)
        frames, widths = segment_length // math.prod(config.strides), (*config.hidden, 1)
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
        """candidate [B, 1, T] and its condition, noisy → logits [B]; hidden outputs are appended to `features`."""
        h = torch.cat((candidate, noisy), 1)
        reference = self.reference if self.needs_reference else None
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
