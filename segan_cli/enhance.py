"""Noisy audio to enhanced audio: array to array, stream to stream, file to file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segan_cli.audio.files import check_writable
from segan_cli.audio.filters import BandGain, Emphasis, Resampler
from segan_cli.audio.sinks import open_target
from segan_cli.audio.sources import open_file
from segan_cli.checkpoint import Model, find_model, load_model
from segan_cli.device import choose_device
from segan_cli.errors import AudioError, ConfigError
from segan_cli.framing import OverlapAdd
from segan_cli.networks.layers import level_gain
from segan_cli.plan import Job, check

Array = NDArray[np.float32]
Channels = Literal["linked", "independent"]
HighBandPolicy = Literal["gain", "keep", "drop"]
Precision = Literal["fp32", "bf16"]

LARGEST_SAMPLE = 1e6  # full scale is 1
LINK_FRAME = 1_024  # samples of the frames in which channels follow their mid
LARGEST_LINK = 2.0  # gain with which a channel may follow it
CANCELLED = 0.05  # share of the channels' power below which their mid tells nothing of them


@dataclass(frozen=True)
class Settings:
    """What a user may ask of the enhancement."""

    strength: float = 1.0  # 0: the input as it is, 1: all of the model's work
    channels: Channels = "linked"  # all by the filter of their mid, or each on its own
    high_band: HighBandPolicy = "gain"  # above the model's band: falls as the upper part of it, kept, dropped
    precision: Precision = "fp32"  # of the network's layers
    batch: int = 16  # windows of all channels that go through at once
    seed: int = 0  # of every signal's z

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength {self.strength}; it must lie between 0 and 1")
        for name, kind in (("channels", Channels), ("high_band", HighBandPolicy), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} {getattr(self, name)}; choose {', '.join(get_args(kind))}")
        if self.batch < 1:
            raise ConfigError(f"batch {self.batch}; it must be 1 or more")


class Enhancer:
    """Runs a model on audio of any length, rate and channel count; one may serve several threads."""

    def __init__(self, model: Model | str | Path = "default", device: str = "auto", **settings: Any) -> None:
        """`model` is a shipped model's name, a file or a model; `settings` are the fields of `Settings`.

        Raises CheckpointError when there is no such model, ConfigError when a setting cannot be.
        """
        self.model = model if isinstance(model, Model) else load_model(find_model(str(model)))
        self.device = choose_device(device)
        self.model.generator.to(self.device)
        self.settings = Settings(**settings)

    def stream(self, rate_hz: int, channels: int = 1) -> "EnhancerStream":
        """A fresh stream for one signal."""
        return EnhancerStream(self, rate_hz, channels)

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] or [n, channels] at `rate_hz` → enhanced, same shape."""
        if not len(noisy):
            return np.array(noisy, np.float32)
        signal = np.asarray(noisy, np.float32).reshape(len(noisy), -1)
        stream = self.stream(rate_hz, signal.shape[1])
        return np.concatenate((stream.push(signal), stream.flush())).reshape(noisy.shape)

    def enhance_file(self, source: str | Path, target: str | Path, force: bool = False) -> None:
        """Write the enhanced `source` to `target`: same rate, channels and length, memory independent of length.

        Raises AudioError when either cannot be used, or where there is a target already without `force`; what was there
        then stays.
        """
        source, target = Path(source), Path(target)
        check([Job(source, target)])
        check_writable(target, force)
        with open_file(source) as noisy, open_target(target, noisy.info, source) as write:
            for _, block in self.stream(noisy.info.rate_hz, noisy.info.channels).through(noisy.name, noisy.blocks):
                write(block)


class EnhancerStream:
    """One signal on its way: to the model's rate, through the model in windows, and back.

    What the model changes is brought back and added to the input, so the input passes as it is where nothing changes:
    x + strength · (back(model(x') - x') + (h - 1) · (x - back(x'))), x' being x at the model's rate and h the gain
    above its band.
    """

    def __init__(self, enhancer: Enhancer, rate_hz: int, channels: int) -> None:
        config, settings = enhancer.model.config, enhancer.settings
        self.generator, self.device, self.settings = enhancer.model.generator, enhancer.device, settings
        self.input_rms = config.generator.input_rms
        self.rng = np.random.default_rng(settings.seed)
        self.channels = channels
        inner_hz = config.sample_rate_hz
        self.inward = Resampler(rate_hz, inner_hz, channels)
        self.emphasis = Emphasis(config.pre_emphasis, channels)
        batch = max(1, settings.batch // channels)
        self.frames = OverlapAdd(self._network, channels, config.window, config.hop, batch)
        self.deemphasis = Emphasis(config.pre_emphasis, channels, inverse=True)
        self.change = Resampler(inner_hz, rate_hz, channels)
        high = rate_hz > inner_hz and settings.high_band != "keep"
        self.high = HighBand(inner_hz, rate_hz, channels, settings.high_band == "gain") if high else None
        self.outer, self.inner = Queue(channels), Queue(channels)  # what has come in and is not out yet, at both rates

    def push(self, block: Array) -> Array:
        """block [n, channels] → the output that is final now, [m, channels].

        Raises AudioError where it holds samples that are not numbers, or larger than any recording's.
        """
        return self._step(block, last=False)[1]

    def flush(self) -> Array:
        """The rest of the output, after which as many samples have come out as went in."""
        return self._end()[1]

    def through(self, name: str, blocks: Iterable[Array]) -> Iterator[tuple[Array, Array]]:
        """All of a recording, as pairs of original and enhanced [n, channels].

        Raises AudioError, by the recording's name, where it holds no numbers.
        """
        for block in blocks:
            try:
                original, enhanced = self._step(block, last=False)
            except AudioError as error:
                raise AudioError(f"{name}: {error}") from error
            if len(enhanced):
                yield original, enhanced
        yield self._end()

    def _end(self) -> tuple[Array, Array]:
        return self._step(np.zeros((0, self.channels), np.float32), last=True)

    def _step(self, block: Array, last: bool) -> tuple[Array, Array]:
        """What is final now, as it came and enhanced, [m, channels] each."""
        if not (np.abs(block) <= LARGEST_SAMPLE).all():
            raise AudioError(
                "holds samples that are not numbers (NaN, infinity, or beyond all measure); repair it first"
            )
        self.outer.push(block)
        noisy = self.inward.push(block, last)
        self.inner.push(noisy)
        enhanced = self.frames.push(self.emphasis.push(noisy.T))
        if last:
            enhanced = np.concatenate((enhanced, self.frames.flush()), axis=1)
        enhanced = self.deemphasis.push(enhanced).T
        noisy = self.inner.pop(len(enhanced))
        change = self.change.push(enhanced - noisy, last)
        n = len(self.outer) if last else min(len(change), len(self.outer))
        original = self.outer.pop(n)
        change = fitted(change, n)
        if self.high is not None:
            change += self.high.push(noisy, enhanced, original, last)
        return original, original + np.float32(self.settings.strength) * change

    def _network(self, windows: Array) -> Array:
        """[N, channels, window] → enhanced; channels share the latent z of their window."""
        low = self.settings.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            noisy = torch.from_numpy(windows).to(self.device)
            if self.channels > 1 and self.settings.channels == "linked":
                mid = middle(noisy)
                enhanced = follow(noisy, mid, self._enhanced(mid))
            else:
                enhanced = self._enhanced(noisy)
            result: Array = enhanced.cpu().numpy()
        return result

    def _enhanced(self, noisy: Tensor) -> Tensor:
        """[N, C, window] → each channel of each window through the network, same shape."""
        n, channels, samples = noisy.shape
        z = self.generator.draw_latent(self.rng, n, samples)
        if z is not None:
            z = z.repeat_interleave(channels, 0).to(self.device)
        alone = noisy.reshape(n * channels, 1, samples)
        gain = level_gain(alone, self.input_rms) if self.input_rms else 1.0
        enhanced: Tensor = self.generator(alone * gain, z).float() / gain
        return enhanced.view_as(noisy)


class HighBand:
    """What changes above the model's band: it falls as the upper part of that band does, or altogether."""

    def __init__(self, inner_hz: int, rate_hz: int, channels: int, follows: bool) -> None:
        self.low = Resampler(inner_hz, rate_hz, channels)
        self.gain = BandGain(inner_hz, channels) if follows else None
        self.inner_hz, self.rate_hz = inner_hz, rate_hz
        self.gains = np.ones((1, channels), np.float32)  # by sample at the model's rate, from `first` on …
        self.first, self.n = -1, 0  # … and how many samples are out

    def push(self, noisy: Array, enhanced: Array, original: Array, last: bool) -> Array:
        """noisy, enhanced [m, channels] at the model's rate, original [n, channels] → its change [n, channels]."""
        high = original - fitted(self.low.push(noisy, last), len(original))
        if self.gain is None:
            return -high
        self.gains = np.concatenate((self.gains, self.gain.push(noisy, enhanced)))
        times = (self.n + np.arange(len(original))) * self.inner_hz // self.rate_hz
        change = (self.gains[np.minimum(times - self.first, len(self.gains) - 1)] - 1) * high
        self.n += len(original)
        passed = min(self.n * self.inner_hz // self.rate_hz - self.first, len(self.gains) - 1)
        self.gains, self.first = self.gains[passed:], self.first + passed
        return np.asarray(change, np.float32)


class Queue:
    """Samples [n, channels] that wait, first in, first out."""

    def __init__(self, channels: int) -> None:
        self.waiting = np.zeros((0, channels), np.float32)

    def __len__(self) -> int:
        return len(self.waiting)

    def push(self, samples: Array) -> None:
        """Take in samples."""
        self.waiting = np.concatenate((self.waiting, samples))

    def pop(self, n: int) -> Array:
        """Give out n samples."""
        first, self.waiting = self.waiting[:n], self.waiting[n:]
        return first


def fitted(samples: Array, n: int) -> Array:
    """Samples [m, channels] cut or filled up with zeros to n: two changes of rate can differ by a sample at the end."""
    return np.pad(samples[:n], ((0, max(0, n - len(samples))), (0, 0)))


def middle(channels: Tensor) -> Tensor:
    """[N, C, T] → their mean [N, 1, T]; the first channel where they cancel each other out."""
    mid = channels.mean(1, keepdim=True)
    there = mid.square().mean(2, keepdim=True) >= CANCELLED * channels.square().mean((1, 2), keepdim=True)
    return torch.where(there, mid, channels[:, :1])


def follow(channels: Tensor, mid: Tensor, enhanced: Tensor) -> Tensor:
    """Channels [N, C, T] through the filter that makes mid [N, 1, T] enhanced [N, 1, T], frame by frame.

    As all of a window's channels pass the same filter, levels and delays between them stay.
    """
    n_fft = min(LINK_FRAME, channels.shape[-1])
    window = torch.hann_window(n_fft, device=channels.device)

    def spectrum(x: Tensor) -> Tensor:
        frames = torch.stft(x.flatten(0, 1), n_fft, window=window, return_complex=True)
        return frames.view(*x.shape[:2], *frames.shape[1:])

    before, after = spectrum(mid), spectrum(enhanced)
    power = before.abs().square()
    gain = after * before.conj() / power.clamp_min(1e-12)
    gain = gain * (LARGEST_LINK / gain.abs().clamp_min(LARGEST_LINK))
    filtered = (spectrum(channels) * gain).flatten(0, 1)
    result: Tensor = torch.istft(filtered, n_fft, window=window, length=channels.shape[-1])
    return result.view_as(channels)
