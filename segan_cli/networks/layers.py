"""Layers and helpers shared by generators and discriminators."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv_transpose1d, pad

from segan_cli.config.families.base import LARGEST_PEAK, LEAST_LEVEL
from segan_cli.config.families.convolutional import high_pass_size

EPSILON = 1e-5  # added to a variance
SINC_CUTOFF = 1.13  # of the windowed sinc, relative to the cutoff of the high-pass filter made of it


def downsampling(n_in: int, n_out: int, kernel_size: int, stride: int, dilation: int = 1) -> nn.Conv1d:
    """Convolution [B, n_in, L] → [B, n_out, L / stride], for an odd kernel and L a multiple of the stride."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Conv1d(n_in, n_out, kernel_size, stride, padding, dilation)


def upsampling(n_in: int, n_out: int, kernel_size: int, stride: int, dilation: int) -> nn.ConvTranspose1d:
    """Transposed convolution [B, n_in, L] → [B, n_out, L * stride], the mirror of `downsampling`."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.ConvTranspose1d(n_in, n_out, kernel_size, stride, padding, stride - 1, dilation=dilation)


def initialise(module: nn.Module) -> None:
    """Initialise convolutions and linear layers: weights normal(0, 0.02) within 2 standard deviations, biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_he(layer: nn.Conv1d | nn.ConvTranspose1d, slope: float) -> None:
    """He initialisation: a layer and its PReLU keep the variance of a signal (arXiv 1502.01852, equation 15)."""
    taps = layer.in_channels * layer.kernel_size[0]
    if isinstance(layer, nn.ConvTranspose1d):
        taps //= layer.stride[0]
    bound = math.sqrt(3 * 2 / ((1 + slope**2) * taps))  # a uniform distribution has a variance of a third of its square
    nn.init.uniform_(layer.weight, -bound, bound)


def level_gain(noisy: Tensor, rms: float) -> Tensor:
    """Gain [B, 1, 1] that normalises segments [B, 1, T] to an RMS, lower where the peak would exceed LARGEST_PEAK."""
    level = noisy.square().mean(-1, keepdim=True).sqrt()
    peak = noisy.abs().amax(-1, keepdim=True)
    return torch.minimum(rms / level.clamp_min(LEAST_LEVEL), LARGEST_PEAK / peak.clamp_min(LEAST_LEVEL))


def phase_shuffle(x: Tensor, max_shift: int) -> Tensor:
    """x [B, C, L] rolled in time by up to `max_shift`, once per batch, as in the SEGAN+ code (arXiv 1802.04208)."""
    return x.roll(int(torch.randint(-max_shift, max_shift + 1, ())), -1)


def at_least_float32(x: Tensor) -> Tensor:
    """x in single precision, or in double if it is; undoes the half precision of autocast."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class HighPass(nn.Module):
    """High-pass filter with linear phase: it subtracts the low frequencies, computed at a lower sampling rate.

    Both decimation and interpolation use a windowed sinc.
    """

    response: Tensor

    def __init__(self, cutoff: float) -> None:
        """At `cutoff`, relative to the sampling rate, half of the amplitude remains."""
        super().__init__()
        taps, self.stride = high_pass_size(cutoff)
        self.margin = taps - 1
        times = np.arange(taps) - taps // 2
        response = np.hamming(taps) * np.sinc(2 * SINC_CUTOFF * cutoff * times)
        kernel = torch.tensor(response / response.sum(), dtype=torch.float32)[None, None]
        self.register_buffer("response", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, 1, T], T at least the number of taps → the same shape."""
        x = at_least_float32(x)
        with torch.autocast("cpu", enabled=False):  # half precision is slow there with one channel
            low = conv1d(pad(x, (self.margin, self.margin), mode="reflect"), self.response, stride=self.stride)
            low = conv_transpose1d(low, self.stride * self.response, stride=self.stride)
        return x - low[..., self.margin : self.margin + x.shape[-1]]


class VirtualBatchNorm(nn.Module):
    """Normalises by the statistics of a reference batch with each example as one more member (arXiv 1606.03498)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.empty(channels, 1).normal_(1.0, 0.02))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C, L] and reference [R, C, L] → both normalised, same shapes."""
        # the derivative of a small variance overflows half precision
        x, reference = at_least_float32(x), at_least_float32(reference)
        mean = reference.mean((0, 2), keepdim=True)
        square = reference.square().mean((0, 2), keepdim=True)
        own = 1.0 / (len(reference) + 1)
        x_mean = own * x.mean(2, keepdim=True) + (1 - own) * mean
        x_square = own * x.square().mean(2, keepdim=True) + (1 - own) * square
        return self._scale(x, x_mean, x_square), self._scale(reference, mean, square)

    def _scale(self, x: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        variance = (square - mean.square()).clamp_min(0.0)
        return (x - mean) * torch.rsqrt(variance + EPSILON) * self.gain + self.shift
