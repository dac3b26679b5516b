"""The spectral generator: a mask on the compressed spectrum, by recurrence over time and attention over frequency."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention, silu

from segan_cli.architecture import SpectralConfig
from segan_cli.networks.layers import full

TINY = 1e-8  # power beside which a bin counts as silent, where windows have a level of 1


class SpectralGenerator(nn.Module):
    """Maps noisy windows to enhanced ones by a complex mask on the power-compressed spectrum.

    Convolutions bring frames of bins to fewer bands with more channels; blocks then look along time both ways (GRU) and
    along frequency (attention), as the dual-path networks of arXiv 1910.06379 and 2203.15149 do; the mirrored way back
    is joined by skips and ends in a mask. Everything between the two transforms is [B, N frames, F, C].
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
        spectrum = self.analyse(noisy[:, 0] / self.config.input_rms)
        power = spectrum.square().sum(-1, keepdim=True) + TINY
        spectrum = spectrum * power ** ((self.config.power - 1) / 2)
        h = self.inward(torch.cat((spectrum, power ** (self.config.power / 2)), -1)[:, :, :-1])
        skips = [h]
        for layer in self.encoder:
            h = h + layer(h)
            skips.append(h)
        h = self.to_bands(self.to_width(h).transpose(2, 3)).transpose(2, 3) + self.places
        for block in self.blocks:
            h = block(h)
        h = self.from_bands(self.from_width(h).transpose(2, 3)).transpose(2, 3)
        for merge, layer in zip(self.merges, self.decoder, strict=True):
            h = merge(torch.cat((h, skips.pop()), -1))
            h = h + layer(h)
        h = convolve(self.outward, torch.cat((h, skips.pop()), -1))
        enhanced = self.masked(spectrum, h.reshape(*h.shape[:2], -1, 2))
        return self.config.input_rms * self.synthesise(enhanced)[:, None]

    def masked(self, spectrum: Tensor, mask: Tensor) -> Tensor:
        """Compressed spectrum [B, N, F, 2] times a mask of bounded size, decompressed.

        `mask` [B, N, F - 1, 2] is what goes through the bound, less the open mask. The highest bin gets the mask of the
        one below it, the lowest are closed.
        """
        mask = pad(full(mask), (0, 0, 0, 1), mode="replicate") + self.open
        size = (mask.square().sum(-1, keepdim=True) + TINY).sqrt()
        mask = mask * (self.bound * torch.tanh(size / self.bound) / size)
        mask = pad(mask[:, :, self.config.closed :], (0, 0, self.config.closed, 0))
        (a, b), (c, d) = spectrum.unbind(-1), mask.unbind(-1)
        product = torch.stack((a * c - b * d, a * d + b * c), -1)
        power = product.square().sum(-1, keepdim=True) + TINY
        return product * power ** ((1 / self.config.power - 1) / 2)

    def analyse(self, waveform: Tensor) -> Tensor:
        """[B, T] → spectra [B, N, F, 2] of frames that overlap by half.

        The first and the last frame are centred on the window's ends.
        """
        padded = pad(waveform, (self.stride, self.stride), mode="reflect")
        halves = padded.view(-1, waveform.shape[-1] // self.stride + 2, self.stride)
        spectrum: Tensor = self.fourier.analyse(torch.cat((halves[:, :-1], halves[:, 1:]), -1))
        return spectrum

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """Spectra [B, N, F, 2] → [B, T]: what `analyse` gives comes back, as both tapers' squares add up to 1."""
        first, second = self.fourier.synthesise(spectrum).chunk(2, -1)
        waveform: Tensor = (first[:, 1:] + second[:, :-1]).flatten(1)
        return waveform


class Fourier(nn.Module):
    """Tapered frames to spectra and back."""

    taper: Tensor

    def __init__(self, frame: int) -> None:
        super().__init__()
        self.register_buffer("taper", torch.hann_window(frame).sqrt(), persistent=False)

    def analyse(self, frames: Tensor) -> Tensor:
        """Frames [B, N, frame] → spectra [B, N, F, 2]."""
        return torch.view_as_real(torch.fft.rfft(frames * self.taper, norm="ortho"))

    def synthesise(self, spectra: Tensor) -> Tensor:
        """Spectra [B, N, F, 2] → frames [B, N, frame]."""
        frames: Tensor = torch.fft.irfft(torch.view_as_complex(spectra), norm="ortho") * self.taper
        return frames


class Convolution(nn.Module):
    """Convolution over three frames and some frequencies, layer norm over channels, SiLU."""

    def __init__(self, n_in: int, n_out: int, taps: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, (3, taps), (1, stride), (1, (taps - stride + 1) // 2))
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, F, C] → [B, N, F / stride, C']."""
        return silu(self.norm(convolve(self.convolution, x)))


class Block(nn.Module):
    """Time by a GRU both ways, frequency by attention, channels by two layers, each added to what it hears."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.time_norm, self.frequency_norm, self.channel_norm = (nn.LayerNorm(width) for _ in range(3))
        self.gru = nn.GRU(width, hidden, batch_first=True, bidirectional=True)
        self.gru_out = nn.Linear(2 * hidden, width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, F, C] → same shape."""
        n_windows, n_frames, n_bands, _ = x.shape
        h, _ = self.gru(self.time_norm(x).transpose(1, 2).flatten(0, 1))
        x = x + self.gru_out(h).view(n_windows, n_bands, n_frames, -1).transpose(1, 2)
        parts = self.attention_in(self.frequency_norm(x)).view(-1, n_bands, 3, self.heads, x.shape[-1] // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        h = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.attention_out(h).view_as(x)
        narrowed: Tensor = self.narrow(silu(self.wide(self.channel_norm(x))))
        return x + narrowed


def convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution on [B, N, F, C], channels last."""
    result: Tensor = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return result
