"""Noisy audio to enhanced audio: array to array, stream to stream, file to file."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.files import MOST_CHANNELS, RATES_HZ, check_writable
from segan_cli.audio.filters import Emphasis, Resampler
from segan_cli.audio.linking import follow, middle
from segan_cli.audio.sinks import open_target
from segan_cli.audio.sources import Source, open_file
from segan_cli.backends.choice import open_network
from segan_cli.backends.network import BackendName, Network, Precision, is_sound
from segan_cli.errors import AudioError, ConfigError
from segan_cli.framing import Finish, OverlapAdd
from segan_cli.high_band import HighBand
from segan_cli.machine import MOST_THREADS
from segan_cli.plan import Job, check
from segan_cli.schema import check_within, short

if TYPE_CHECKING:
    from segan_cli.checkpoint import Model

Array = NDArray[np.float32]
Channels = Literal["linked", "independent"]
HighBandPolicy = Literal["denoise", "keep", "drop"]

AHEAD = 2  # batches under way while a recording is read, put back together and written
LARGEST_SAMPLE = 1e6  # full scale is 1
LEAST_OFFSET = 0.1  # mean of a window, as a share of its deviation; that of sound alone is smaller
MOST_WINDOWS, LARGEST_SEED = 4_096, 2**32 - 1


@dataclass(frozen=True)
class Settings:
    """What a user may ask of the enhancement."""

    strength: float = 1.0  # 0: the input as it is, 1: all of the model's work
    channels: Channels = "linked"  # all by the filter of their mid, or each on its own
    high_band: HighBandPolicy = "denoise"  # what becomes of sound above the model's band
    precision: Precision = "fp32"  # of the network's layers
    batch: int | None = None  # windows that go through the network at once; unasked as many as suit it
    seed: int = 0  # of every signal's z

    def __post_init__(self) -> None:
        if not isinstance(self.strength, int | float) or not 0 <= self.strength <= 1:
            raise ConfigError(f"strength {short(self.strength)}; it must lie between 0 and 1")
        for name, kind in (("channels", Channels), ("high_band", HighBandPolicy), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} {short(getattr(self, name))}; choose {', '.join(get_args(kind))}")
        check_within("enhancer", {"batch": 1 if self.batch is None else self.batch}, 1, MOST_WINDOWS)
        check_within("enhancer", {"seed": self.seed}, 0, LARGEST_SEED)


class Enhancer:
    """Runs a model on audio of any length, rate and channel count; one may serve several threads."""

    def __init__(
        self,
        model: "Model | str | Path" = "default",
        device: str = "auto",
        backend: BackendName = "auto",
        threads: int | None = None,
        jobs: int = 1,
        **settings: Any,
    ) -> None:
        """`model` is a shipped model's name, a file or a model; `settings` are the fields of `Settings`.

        `backend` is "torch", "onnx", or "auto" for the one that suits. The network has `threads` for each of the `jobs`
        that use it at once, unasked all cores together. Raises CheckpointError when there is no such model, ConfigError
        when a setting cannot be.
        """
        self.settings = Settings(**settings)
        check_within("enhancer", {"threads": 1 if threads is None else threads, "jobs": jobs}, 1, MOST_THREADS)
        if isinstance(model, str | Path):
            self.network: Network = open_network(model, device, backend, self.settings.precision, threads, jobs)
        else:
            from segan_cli.backends.pytorch import TorchNetwork

            self.network = TorchNetwork(model, device, self.settings.precision, threads, jobs)

    def stream(self, rate_hz: int, channels: int = 1) -> "EnhancerStream":
        """A fresh stream for one signal; raises ConfigError for a rate or a number of channels that none has."""
        return EnhancerStream(self, rate_hz, channels)

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] or [n, channels] at `rate_hz`, floats, full scale 1 → enhanced, same shape, float32.

        Raises AudioError for an array that is no signal, ConfigError for a rate that none has.
        """
        signal = samples(noisy)
        if signal.ndim not in (1, 2):
            raise AudioError(f"an array of shape {list(signal.shape)}; give samples [n] or [n, channels]")
        if not signal.size:
            return signal
        channels = signal.reshape(len(signal), -1)
        stream = EnhancerStream(self, rate_hz, channels.shape[1], AHEAD)
        return np.concatenate((stream.push(channels), stream.flush())).reshape(signal.shape)

    def enhance_file(
        self, source: str | Path, target: str | Path, force: bool = False, allow_truncated: bool = False
    ) -> None:
        """Write the enhanced `source` to `target`: same rate, channels and length, memory independent of length.

        Raises AudioError or OutputError when either cannot be used, where there is a target already without `force`, or
        where the source is cut short and that is not allowed; what was there then stays. Warns where a header is wrong,
        and of what the target cannot hold, such as some tags.
        """
        source, target = Path(source), Path(target)
        check([Job(source, target)])
        check_writable(target, force)

        def warn(line: str) -> None:
            warnings.warn(f"{source}: {line}", stacklevel=4)

        with (
            open_file(source, allow_truncated) as noisy,
            open_target(target, noisy.info, noisy, None, force, warn) as write,
        ):
            for _, block in self.through(noisy):
                write(block)
        for line in noisy.warnings:
            warnings.warn(f"{source}: {line}", stacklevel=2)

    def through(self, source: Source) -> Iterator[tuple[Array, Array]]:
        """All of a recording, as pairs of original and enhanced [n, channels].

        Raises AudioError, by the recording's name, where it holds no numbers.
        """
        stream = EnhancerStream(self, source.info.rate_hz, source.info.channels, 0 if source.live else AHEAD)
        for block in source.blocks:
            try:
                original, enhanced = stream.step(block)
            except AudioError as error:
                raise AudioError(f"{source.name}: {error}") from error
            if len(enhanced):
                yield original, enhanced
        yield stream.end()


class EnhancerStream:
    """One signal on its way: to the model's rate, through the model in windows, and back.

    What the model changes is brought back and added to the input, so the input passes as it is where nothing changes:
    x + strength · (back(model(x') - x') + h(x - back(x'))), x' being x at the model's rate and h what changes above its
    band.
    """

    def __init__(self, enhancer: Enhancer, rate_hz: int, channels: int, ahead: int = 0) -> None:
        """So many batches `ahead` may be under way while the caller goes on; their output comes later."""
        rate_hz = whole_rate(rate_hz)
        check_within("signal", {"channels": channels}, 1, MOST_CHANNELS)
        config, settings = enhancer.network.config, enhancer.settings
        self.network, self.settings, self.ended = enhancer.network, settings, False
        self.input_rms = config.generator.input_rms
        self.rng = np.random.default_rng(settings.seed)
        self.channels = channels
        inner_hz = config.sample_rate_hz
        self.inward = Resampler(rate_hz, inner_hz, channels)
        self.emphasis = Emphasis(config.pre_emphasis, channels)
        self.hop, self.n_in = config.hop, 0  # samples that have come, at the model's rate
        self.least_offset = LEAST_OFFSET * (1 - config.pre_emphasis)  # of what is emphasised
        alone = 1 if settings.channels == "linked" else channels  # windows of the network for each window in time
        batch = max(1, (settings.batch or enhancer.network.batch) // alone)
        self.frames = OverlapAdd(self._windows, channels, config.window, config.hop, batch, ahead)
        self.deemphasis = Emphasis(config.pre_emphasis, channels, inverse=True)
        self.change = Resampler(inner_hz, rate_hz, channels)
        self.high: HighBand | None = None
        if rate_hz > inner_hz and settings.high_band != "keep":
            linked = settings.channels == "linked"
            self.high = HighBand(inner_hz, rate_hz, channels, settings.high_band, linked)
        self.outer, self.inner = Queue(channels), Queue(channels)  # what has come in and is not out yet, at both rates
        self.passed, self.changed = Queue(channels), Queue(channels)  # what waits for the high band, its change below

    def push(self, block: Array) -> Array:
        """block [n, channels] → the output that is final now, [m, channels].

        Raises AudioError where it is no such block, holds samples that are not numbers, or larger than any recording's.
        """
        block = samples(block)
        if block.ndim != 2 or block.shape[1] != self.channels:
            raise AudioError(f"a block of shape {list(block.shape)}; give samples [n, {self.channels}]")
        return self.step(block)[1]

    def flush(self) -> Array:
        """The rest of the output, after which as many samples have come out as went in."""
        return self.end()[1]

    def end(self) -> tuple[Array, Array]:
        """The rest, as it came and enhanced, [m, channels] each."""
        return self.step(np.zeros((0, self.channels), np.float32), last=True)

    def step(self, block: Array, last: bool = False) -> tuple[Array, Array]:
        """As `push`: what is final now, as it came and enhanced, [m, channels] each."""
        if not (np.abs(block) <= LARGEST_SAMPLE).all():
            raise AudioError(
                "holds samples that are not numbers (NaN, infinity, or beyond all measure); repair it first"
            )
        if self.ended:
            raise ConfigError("the stream has given all of its signal; make another with Enhancer.stream")
        self.ended = last
        self.outer.push(block)
        noisy = self.inward.push(block, last)
        self.inner.push(noisy)
        self.n_in += len(noisy)
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
            self.passed.push(original)
            self.changed.push(change)
            high = self.high.push(noisy, enhanced, original, last)
            original, change = self.passed.pop(len(high)), self.changed.pop(len(high)) + high
        return original, original + np.float32(self.settings.strength) * change

    def _windows(self, noisy: Array) -> Finish:
        """Begin with [N, channels, window]; channels share the latent z of their window.

        A constant offset is noise, and taken off before the network, which was trained without.
        """
        if self.n_in >= self.hop:  # shorter recordings do not tell
            noisy = noisy - offsets(noisy, self.least_offset)
        if self.channels > 1 and self.settings.channels == "linked":
            mid = middle(noisy)
            wait = self._begin(mid)
            return lambda: follow(noisy, mid, wait())
        return self._begin(noisy)

    def _begin(self, noisy: Array) -> Finish:
        """[N, C, window]: each channel of each window through the network, same shape."""
        n, channels, length = noisy.shape
        z = self.network.config.generator.draw_latent(self.rng, n, length)
        if z is not None:
            z = np.repeat(z, channels, 0)
        alone = np.ascontiguousarray(noisy, np.float32).reshape(n * channels, 1, length)
        gain = level_gain(alone, self.input_rms) if self.input_rms else np.float32(1.0)
        wait = self.network.start(alone * gain, z)

        def finish() -> Array:
            enhanced = wait()
            if not is_sound(enhanced):
                raise AudioError(f"the model {self.network.name} makes samples of it that are not numbers; use another")
            return (enhanced / gain).reshape(noisy.shape)

        return finish


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


def samples(array: object) -> Array:
    """An array as samples in single precision; raises AudioError where it holds anything but real floats."""
    try:
        given = np.asarray(array)
    except (ValueError, TypeError) as error:
        raise AudioError("no array of samples; give floats [n] or [n, channels]") from error
    if given.dtype.kind != "f":
        hint = f"; divide them by {np.iinfo(given.dtype).max}" if given.dtype.kind == "i" else ""
        raise AudioError(f"samples of type {given.dtype}; give floats whose full scale is 1{hint}")
    with np.errstate(over="ignore"):  # which makes it infinite, and is told
        return np.array(given, np.float32)


def whole_rate(rate_hz: object) -> int:
    """A sampling rate as a whole number; raises ConfigError where no recording has it."""
    low, high = RATES_HZ
    number = rate_hz if isinstance(rate_hz, int | float | np.number) and not isinstance(rate_hz, bool) else None
    if number is None or not low <= number <= high or number != int(number):
        raise ConfigError(f"rate_hz {short(rate_hz)}; it must be a whole number between {low} and {high}")
    return int(number)


def fitted(samples: Array, n: int) -> Array:
    """Samples [m, channels] cut or filled up with zeros to n: two changes of rate can differ by a sample at the end."""
    return np.pad(samples[:n], ((0, max(0, n - len(samples))), (0, 0)))


def offsets(noisy: Array, least: float) -> Array:
    """Means [N, C, 1] of windows [N, C, T]; 0 where they are a smaller share of the deviation than `least`."""
    mean = noisy.mean(-1, keepdims=True)
    return np.where(np.abs(mean) > least * noisy.std(-1, keepdims=True), mean, np.float32(0.0))


def level_gain(noisy: Array, rms: float) -> Array:
    """Gain [B, 1, 1] that brings windows [B, 1, T] to an RMS, or less where the peak would pass 0.9."""
    level = np.sqrt(np.mean(np.square(noisy), axis=-1, keepdims=True))
    peak = np.abs(noisy).max(axis=-1, keepdims=True)
    return np.asarray(np.minimum(rms / np.maximum(level, 1e-6), 0.9 / np.maximum(peak, 1e-6)), np.float32)
