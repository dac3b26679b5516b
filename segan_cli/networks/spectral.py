"""The spectral generator: a complex mask predicted by GRUs along time and attention along frequency."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, silu

from segan_cli.config.families.spectral import SpectralConfig
from segan_cli.networks.families import Generator
from segan_cli.networks.fourier import Fourier, MatrixFourier
from segan_cli.networks.layers import at_least_float32

N_EARLIER = 2  # frames before its own that a frame of a causal convolution sees
LEVEL_DECAY = 0.984  # per frame, of the running level: a time constant of one second
MIN_LEVEL = 1e-6  # full scale is 1
TINY = 1e-8  # power that keeps roots and quotients finite; segments have level 1, and the identity mask is 1


class SpectralGenerator(Generator):
    """Maps noisy segments to enhanced ones by a complex mask on the power-compressed spectrum.

    Convolutions reduce the bins of each frame to fewer bands with more channels. Dual-path blocks follow, with a
    bidirectional GRU along time and attention along frequency (arXiv 1910.06379, 2203.15149). A mirrored decoder with
    skip connections ends in the mask.

    A causal generator sees no later frame: its convolutions see earlier ones, its GRUs run forward, and the level of a
    frame is relative to a running mean. It runs frame by frame with `step`.

    Shapes: spectra are real and imaginary parts [B, N frames, F bins]; layers take and return [B, N, positions, C],
    except the input of the first and the output of the last convolution, [B, C, N, F].
    """

    identity_mask_bias: Tensor  # input of the bound for which the mask is 1, [2]

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config, self.stride = config, config.frame // 2
        self.fourier = Fourier(config.frame)
        self.max_mask = config.max_gain**config.power
        identity = torch.tensor((self.max_mask * math.atanh(1 / self.max_mask), 0.0))
        self.register_buffer("identity_mask_bias", identity, persistent=False)
        c, stride = config.channels, config.freq_stride
        positions = config.frame // 2 // stride
        causal = config.causal
        self.input_conv = Convolution(3, c, 2 * stride, stride, causal)
        self.encoder = nn.ModuleList(Convolution(c, c, 3, 1, causal) for _ in range(config.depth))
        self.to_bands, self.to_embedding = nn.Linear(positions, config.bands), nn.Linear(c, config.embed_dim)
        self.band_embedding = nn.Parameter(torch.zeros(config.bands, config.embed_dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.from_embedding, self.from_bands = nn.Linear(config.embed_dim, c), nn.Linear(config.bands, positions)
        self.merges = nn.ModuleList(nn.Linear(2 * c, c) for _ in range(config.depth))
        self.decoder = nn.ModuleList(Convolution(c, c, 3, 1, causal) for _ in range(config.depth))
        self.output_conv = nn.Conv2d(2 * c, 2 * stride, 3, padding=(0 if causal else 1, 1))
        nn.init.zeros_(self.output_conv.weight)
        nn.init.zeros_(self.output_conv.bias)  # type: ignore[arg-type]  # never None

    def forward(self, noisy: Tensor, z: None = None) -> Tensor:
        """noisy [B, 1, T], T a multiple of half a frame → enhanced [B, 1, T]."""
        real, imaginary = self.stft(noisy[:, 0] / self.config.input_rms)
        if self.config.causal:
            start = noisy.new_zeros(len(noisy), self.config.state_size())
            mask, _ = self.step(torch.stack((real, imaginary), 1), start)
            a, b = mask.unbind(1)
        else:
            a, b = self.predict_mask(real, imaginary, None)
        enhanced = self.istft(real * a - imaginary * b, real * b + imaginary * a)
        return self.config.input_rms * enhanced[:, None]

    def step(self, spectra: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra [B, 2, N, F] of the next frames and the state [B, S] → mask [B, 2, N, F] and the next state.

        The first state is zero.
        """
        memory = Memory(state)
        spectra = spectra / running_level(spectra, memory)
        mask = torch.stack(self.predict_mask(spectra[:, 0], spectra[:, 1], memory), 1)
        return mask, memory.next_state()

    def predict_mask(self, real: Tensor, imaginary: Tensor, memory: "Memory | None") -> tuple[Tensor, Tensor]:
        """Parts of spectra of level 1 [B, N, F] → parts of the mask, same shape; `memory` is of causal generators."""
        squared = real.square() + imaginary.square() + TINY
        gain = squared ** ((self.config.power - 1) / 2)
        h = torch.stack((real * gain, imaginary * gain, squared.sqrt() * gain), 1)
        h = self.input_conv(h[..., :-1], memory)
        skips = [h]
        for layer in self.encoder:
            h = h + layer(channels_first(h), memory)
            skips.append(h)
        h = self.embed_bands(h)
        for block in self.blocks:
            h = block(h, memory)
        h = self.from_bands(self.from_embedding(h).transpose(2, 3)).transpose(2, 3)
        for merge, layer in zip(self.merges, self.decoder, strict=True):
            h = merge(torch.cat((h, skips.pop()), -1))
            h = h + layer(channels_first(h), memory)
        h = with_earlier(channels_first(torch.cat((h, skips.pop()), -1)), memory)
        return self.mask(self.output_conv(h))

    @contextmanager
    def exportable(self) -> Iterator[None]:
        """Within this context the Fourier transforms are matrix products."""
        fourier, self.fourier = self.fourier, MatrixFourier(self.config.frame)
        try:
            yield
        finally:
            self.fourier = fourier

    def embed_bands(self, h: Tensor) -> Tensor:
        """[B, N, positions, channels] → [B, N, bands, embed_dim], the band embedding added.

        The two linear layers commute except for their biases; bands first need fewer multiplications.
        """
        bands, embedding = self.to_bands, self.to_embedding
        offset = torch.outer(bands.weight.sum(1), embedding.bias) + bands.bias[:, None] + self.band_embedding
        return linear(linear(h.transpose(2, 3), bands.weight).transpose(2, 3), embedding.weight) + offset

    def mask(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The bounded complex mask of uncompressed spectra, from [B, 2 · freq_stride, N, positions] → two [B, N, F].

        The identity mask is added before the bound, so an output of 0 changes nothing. The highest bin gets the mask of
        the bin below it; the lowest `zeroed_bins` get 0. A mask m of compressed spectra is m |m|^(1 / power - 1) of the
        uncompressed ones.
        """
        h = at_least_float32(h).reshape(-1, self.config.freq_stride, 2, *h.shape[2:]).permute(2, 0, 3, 4, 1).flatten(3)
        h = torch.cat((h, h[..., -1:]), -1)[..., self.config.zeroed_bins :]
        a, b = h[0] + self.identity_mask_bias[0], h[1] + self.identity_mask_bias[1]
        size = (a.square() + b.square() + TINY).sqrt()
        gain = (self.max_mask * torch.tanh(size / self.max_mask)) ** (1 / self.config.power) / size
        a, b = (pad(part * gain, (self.config.zeroed_bins, 0)) for part in (a, b))
        return a, b

    def stft(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T] → real and imaginary parts [B, N, F] of frames that overlap by half.

        The first and the last frame are centred on the ends of the segment, which is mirrored there, or surrounded by
        silence if the generator is causal.
        """
        padded = pad(waveform, (self.stride, self.stride), mode="constant" if self.config.causal else "reflect")
        halves = padded.view(-1, waveform.shape[-1] // self.stride + 2, self.stride)
        real, imaginary = self.fourier.stft(torch.cat((halves[:, :-1], halves[:, 1:]), -1))
        return real, imaginary

    def istft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """The inverse of `stft`: parts [B, N, F] → [B, T]; the squares of overlapping windows add up to 1."""
        first, second = self.fourier.istft(real, imaginary).chunk(2, -1)
        waveform: Tensor = (first[:, 1:] + second[:, :-1]).flatten(1)
        return waveform


class Memory:
    """The state [B, S] of a causal generator between two calls, which its layers take and replace in order."""

    def __init__(self, state: Tensor) -> None:
        self.state, self.taken = state, 0
        self.replaced: list[Tensor] = []

    def take(self, *shape: int) -> Tensor:
        """The next values of the state, [B, *shape]."""
        first, self.taken = self.taken, self.taken + math.prod(shape)
        return self.state[:, first : self.taken].reshape(-1, *shape)

    def replace(self, values: Tensor) -> None:
        """Keep values [B, ...] in place of those that were taken last."""
        self.replaced.append(values.flatten(1))

    def next_state(self) -> Tensor:
        """The state after this call."""
        return torch.cat(self.replaced, 1)


def with_earlier(x: Tensor, memory: Memory | None) -> Tensor:
    """The input of a convolution [B, C, N, F], preceded by its two previous frames if there is a memory."""
    if memory is None:
        return x
    x = torch.cat((memory.take(x.shape[1], N_EARLIER, x.shape[3]), x), 2)
    memory.replace(x[:, :, -N_EARLIER:])
    return x


def running_level(spectra: Tensor, memory: Memory) -> Tensor:
    """RMS of the sound up to each frame of spectra [B, 2, N, F], [B, 1, N, 1]: an exponential moving average."""
    power = 2 * spectra.square().sum(1).mean(-1)  # [B, N]; the window halves it
    age = torch.arange(power.shape[1], device=power.device)[:, None] - torch.arange(power.shape[1], device=power.device)
    decay = torch.exp(age.clamp_min(0) * math.log(LEVEL_DECAY)) * (age >= 0)  # [N, N] of each earlier frame
    earlier = memory.take(2)  # sums of powers and of weights
    sums = torch.stack((power, torch.ones_like(power)), 1) @ decay.T
    sums = sums + earlier[:, :, None] * LEVEL_DECAY * decay[:, 0]
    memory.replace(sums[:, :, -1])
    return (sums[:, 0] / sums[:, 1]).sqrt().clamp_min(MIN_LEVEL)[:, None, :, None]


class Convolution(nn.Module):
    """Convolution over three frames and `taps` frequencies, layer norm over channels, SiLU."""

    def __init__(self, n_in: int, n_out: int, taps: int, stride: int, causal: bool) -> None:
        super().__init__()
        padding = 0 if causal else 1, (taps - stride + 1) // 2
        self.convolution = nn.Conv2d(n_in, n_out, (N_EARLIER + 1, taps), (1, stride), padding)
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        """[B, C, N, F] → [B, N, F / stride, C']: channels first for the convolution, last for what follows."""
        return silu(self.norm(self.convolution(with_earlier(x, memory)).permute(0, 2, 3, 1)))


class Block(nn.Module):
    """A GRU along time, attention along frequency and a feed-forward layer, each with a residual.

    The memory of a causal block holds the difference between the state of its GRU and the initial one, so that zeros
    mean the initial state.
    """

    initial_state: Tensor  # of the GRU, [directions, bands, hidden]

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        dim, directions = config.embed_dim, 1 if config.causal else 2
        self.heads = config.heads
        self.time_norm, self.frequency_norm, self.channel_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.gru = nn.GRU(dim, config.hidden, bidirectional=not config.causal)
        zeros = torch.zeros(directions, config.bands, config.hidden)
        if config.learned_start:
            self.initial_state = nn.Parameter(zeros)
        else:
            self.register_buffer("initial_state", zeros, persistent=False)
        self.gru_out = nn.Linear(directions * config.hidden, dim)
        self.attention_in, self.attention_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.ffn_in, self.ffn_out = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        """[B, N, F, C] → same shape."""
        n_segments, n_frames, n_bands, _ = x.shape
        initial = self.initial_state[:, None]
        state = initial.expand(-1, n_segments, -1, -1) if memory is None else initial + memory.take(*initial.shape[2:])
        h, latest = self.gru(self.time_norm(x).transpose(0, 1).flatten(1, 2), state.flatten(1, 2))
        if memory is not None:
            memory.replace((latest.view_as(state) - initial)[0])
        x = x + self.gru_out(h).view(n_frames, n_segments, n_bands, -1).transpose(0, 1)
        parts = self.attention_in(self.frequency_norm(x)).view(-1, n_bands, 3, self.heads, x.shape[-1] // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) / math.sqrt(key.shape[-1])).softmax(-1)
        h = (weights @ value).transpose(1, 2).flatten(2)
        x = x + self.attention_out(h).view_as(x)
        ffn: Tensor = self.ffn_out(silu(self.ffn_in(self.channel_norm(x))))
        return x + ffn


def channels_first(x: Tensor) -> Tensor:
    """[B, N, F, C] → [B, C, N, F], the layout of convolutions."""
    return x.permute(0, 3, 1, 2)
