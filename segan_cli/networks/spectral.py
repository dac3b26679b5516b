"""The spectral generator: a mask on the compressed spectrum, by recurrence over time and attention over frequency."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, silu

from segan_cli.architecture import SpectralConfig
from segan_cli.networks.layers import full

TINY = 1e-8  # power that keeps roots and quotients finite, where windows have a level of 1 and the open mask is 1


class SpectralGenerator(nn.Module):
    """Maps noisy windows to enhanced ones by a complex mask on the power-compressed spectrum.

    Convolutions bring frames of bins to fewer bands with more channels; blocks then look along time both ways (GRU) and
    along frequency (attention), as the dual-path networks of arXiv 1910.06379 and 2203.15149 do; the mirrored way back
    is joined by skips and ends in a mask. Spectra are two tensors [B, N frames, F], real and imaginary parts; layers
    hear and give [B, N, positions, C], but for the first and the last convolution's outer side, [B, C, N, F].
    """

    open: Tensor  # what goes through the bound and comes out as a mask of 1

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config, self.stride = config, config.frame // 2
        self.fourier = Fourier(config.frame)
        self.bound = config.largest_gain**config.power
        self.register_buffer("open", torch.tensor((self.bound * math.atanh(1 / self.bound), 0.0)), persistent=False)
        c, steps = config.channels, config.steps
        positions = config.frame // 2 // steps
        self.inward = Convolution(3, c, 2 * steps, steps)
        self.encoder = nn.ModuleList(Convolution(c, c, 3) for _ in range(config.depth))
        self.to_bands, self.to_width = nn.Linear(positions, config.bands), nn.Linear(c, config.width)
        self.places = nn.Parameter(torch.zeros(config.bands, config.width))  # tells bands apart
        self.blocks = nn.ModuleList(Block(config.width, config.hidden, config.heads) for _ in range(config.blocks))
        self.from_width, self.from_bands = nn.Linear(config.width, c), nn.Linear(config.bands, positions)
        self.merges = nn.ModuleList(nn.Linear(2 * c, c) for _ in range(config.depth))
        self.decoder = nn.ModuleList(Convolution(c, c, 3) for _ in range(config.depth))
        self.outward = nn.Conv2d(2 * c, 2 * steps, 3, padding=1)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, noisy: Tensor, z: None = None) -> Tensor:
        """noisy [B, 1, T], T a multiple of half a frame → enhanced [B, 1, T]."""
        real, imaginary = self.analyse(noisy[:, 0] / self.config.input_rms)
        power = real.square() + imaginary.square() + TINY
        gain = power ** ((self.config.power - 1) / 2)
        h = torch.stack((real * gain, imaginary * gain, power.sqrt() * gain), 1)
        h = self.inward(h[..., :-1])
        skips = [h]
        for layer in self.encoder:
            h = h + layer(channels_first(h))
            skips.append(h)
        h = self.banded(h)
        for block in self.blocks:
            h = block(h)
        h = self.from_bands(self.from_width(h).transpose(2, 3)).transpose(2, 3)
        for merge, layer in zip(self.merges, self.decoder, strict=True):
            h = merge(torch.cat((h, skips.pop()), -1))
            h = h + layer(channels_first(h))
        a, b = self.mask(self.outward(channels_first(torch.cat((h, skips.pop()), -1))))
        enhanced = self.synthesise(real * a - imaginary * b, real * b + imaginary * a)
        return self.config.input_rms * enhanced[:, None]

    def banded(self, h: Tensor) -> Tensor:
        """[B, N, positions, channels] → [B, N, bands, width], what tells bands apart added.

        The two layers commute but for their biases; bands first need fewer multiplications.
        """
        bands, width = self.to_bands, self.to_width
        offset = torch.outer(bands.weight.sum(1), width.bias) + bands.bias[:, None]
        return linear(linear(h.transpose(2, 3), bands.weight).transpose(2, 3), width.weight) + (offset + self.places)

    def mask(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 2 · steps, N, positions] → the complex mask's two parts [B, N, F], bounded, of uncompressed spectra.

        `h` is what goes through the bound, less the open mask. The highest bin gets the mask of the one below it, the
        lowest are closed. A mask m on compressed spectra is m |m|^(1 / power - 1) on the uncompressed.
        """
        h = full(h).reshape(-1, self.config.steps, 2, *h.shape[2:]).permute(2, 0, 3, 4, 1).flatten(3)
        h = torch.cat((h, h[..., -1:]), -1)[..., self.config.closed :]
        a, b = h[0] + self.open[0], h[1] + self.open[1]
        size = (a.square() + b.square() + TINY).sqrt()
        gain = (self.bound * torch.tanh(size / self.bound)) ** (1 / self.config.power) / size
        a, b = (pad(part * gain, (self.config.closed, 0)) for part in (a, b))
        return a, b

    def analyse(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T] → real and imaginary parts [B, N, F] of frames that overlap by half.

        The first and the last frame are centred on the window's ends.
        """
        padded = pad(waveform, (self.stride, self.stride), mode="reflect")
        halves = padded.view(-1, waveform.shape[-1] // self.stride + 2, self.stride)
        real, imaginary = self.fourier.analyse(torch.cat((halves[:, :-1], halves[:, 1:]), -1))
        return real, imaginary

    def synthesise(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Parts [B, N, F] → [B, T]: what `analyse` gives comes back, as both tapers' squares add up to 1."""
        first, second = self.fourier.synthesise(real, imaginary).chunk(2, -1)
        waveform: Tensor = (first[:, 1:] + second[:, :-1]).flatten(1)
        return waveform


class Fourier(nn.Module):
    """Tapered frames to spectra and back."""

    taper: Tensor

    def __init__(self, frame: int) -> None:
        super().__init__()
        self.register_buffer("taper", torch.hann_window(frame).sqrt(), persistent=False)

    def analyse(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [B, N, frame] → real and imaginary parts [B, N, F]."""
        spectra = torch.fft.rfft(frames * self.taper, norm="ortho")
        return spectra.real, spectra.imag

    def synthesise(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Parts [B, N, F] → frames [B, N, frame]."""
        frames: Tensor = torch.fft.irfft(torch.complex(real, imaginary), norm="ortho") * self.taper
        return frames


class Convolution(nn.Module):
    """Convolution over three frames and some frequencies, layer norm over channels, SiLU."""

    def __init__(self, n_in: int, n_out: int, taps: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, (3, taps), (1, stride), (1, (taps - stride + 1) // 2))
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N, F] → [B, N, F / stride, C']: channels first for the convolution, last for what follows."""
        return silu(self.norm(self.convolution(x).permute(0, 2, 3, 1)))


class Block(nn.Module):
    """Time by a GRU both ways, frequency by attention, channels by two layers, each added to what it hears."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.time_norm, self.frequency_norm, self.channel_norm = (nn.LayerNorm(width) for _ in range(3))
        self.gru = nn.GRU(width, hidden, bidirectional=True)
        self.gru_out = nn.Linear(2 * hidden, width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, F, C] → same shape."""
        n_windows, n_frames, n_bands, _ = x.shape
        h, _ = self.gru(self.time_norm(x).transpose(0, 1).flatten(1, 2))
        x = x + self.gru_out(h).view(n_frames, n_windows, n_bands, -1).transpose(0, 1)
        parts = self.attention_in(self.frequency_norm(x)).view(-1, n_bands, 3, self.heads, x.shape[-1] // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) / math.sqrt(key.shape[-1])).softmax(-1)
        h = (weights @ value).transpose(1, 2).flatten(2)
        x = x + self.attention_out(h).view_as(x)
        narrowed: Tensor = self.narrow(silu(self.wide(self.channel_norm(x))))
        return x + narrowed


def channels_first(x: Tensor) -> Tensor:
    """[B, N, F, C] → [B, C, N, F], as convolutions want it."""
    return x.permute(0, 3, 1, 2)
