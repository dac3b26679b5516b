"""One signal on its way through a model, block by block."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.files import MOST_CHANNELS, RATES_HZ
from segan_cli.audio.filters import Emphasis, Resampler
from segan_cli.backends.network import Network, Precision
from segan_cli.config.schema import check_int_range, short_repr
from segan_cli.enhancement.high_band import HighBand
from segan_cli.enhancement.overlap_add import Finish, OverlapAdd
from segan_cli.enhancement.segments import SegmentEnhancer, without_offset
from segan_cli.errors import AudioError, ConfigError

Array = NDArray[np.float32]
Channels = Literal["linked", "independent"]
HighBandPolicy = Literal["denoise", "keep", "drop"]

LARGEST_SAMPLE = 1e6  # full scale is 1
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
            raise ConfigError(f"strength {short_repr(self.strength)}; it must lie between 0 and 1")
        for name, kind in (("channels", Channels), ("high_band", HighBandPolicy), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} {short_repr(getattr(self, name))}; choose {', '.join(get_args(kind))}")
        check_int_range("enhancer", {"batch": 1 if self.batch is None else self.batch}, 1, MOST_WINDOWS)
        check_int_range("enhancer", {"seed": self.seed}, 0, LARGEST_SEED)


class EnhancerStream:
    """One signal on its way: to the model's rate, through the model in windows, and back.

    What the model changes is brought back and added to the input, so the input passes as it is where nothing changes:
    x + strength · (back(model(x') - x') + h(x - back(x'))), x' being x at the model's rate and h what changes above its
    band.
    """

    def __init__(self, network: Network, settings: Settings, rate_hz: int, channels: int, ahead: int = 0) -> None:
        """So many batches `ahead` may be in flight while the caller goes on; their output comes later."""
        rate_hz = whole_rate(rate_hz)
        check_int_range("signal", {"channels": channels}, 1, MOST_CHANNELS)
        config, linked = network.config, settings.channels == "linked"
        self.settings, self.channels, self.ended = settings, channels, False
        self.enhance_segments = SegmentEnhancer(network, linked, settings.seed)
        inner_hz = config.sample_rate_hz
        self.to_model_rate = Resampler(rate_hz, inner_hz, channels)
        self.emphasis = Emphasis(config.pre_emphasis, channels)
        self.config, self.n_in = config, 0  # samples that have come, at the model's rate
        alone = 1 if linked else channels  # segments of the network for each segment in time
        batch = max(1, (settings.batch or network.batch) // alone)
        self.frames = OverlapAdd(self._segments, channels, config.window, config.hop, batch, ahead)
        self.deemphasis = Emphasis(config.pre_emphasis, channels, inverse=True)
        self.to_signal_rate = Resampler(inner_hz, rate_hz, channels)
        self.high: HighBand | None = None
        if rate_hz > inner_hz and settings.high_band != "keep":
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
        noisy = self.to_model_rate.push(block, last)
        self.inner.push(noisy)
        self.n_in += len(noisy)
        enhanced = self.frames.push(self.emphasis.push(noisy.T))
        if last:
            enhanced = np.concatenate((enhanced, self.frames.flush()), axis=1)
        enhanced = self.deemphasis.push(enhanced).T
        noisy = self.inner.pop(len(enhanced))
        change = self.to_signal_rate.push(enhanced - noisy, last)
        n = len(self.outer) if last else min(len(change), len(self.outer))
        original = self.outer.pop(n)
        change = fitted(change, n)
        if self.high is not None:
            self.passed.push(original)
            self.changed.push(change)
            high = self.high.push(noisy, enhanced, original, last)
            original, change = self.passed.pop(len(high)), self.changed.pop(len(high)) + high
        return original, original + np.float32(self.settings.strength) * change

    def _segments(self, noisy: Array) -> Finish:
        """Begin with segments [N, channels, window]."""
        if self.n_in >= self.config.hop:  # shorter recordings do not tell an offset from sound
            noisy = without_offset(noisy, self.config.pre_emphasis)
        return self.enhance_segments(noisy)


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
        raise ConfigError(f"rate_hz {short_repr(rate_hz)}; it must be a whole number between {low} and {high}")
    return int(number)


def fitted(samples: Array, n: int) -> Array:
    """Samples [m, channels] cut or filled up with zeros to n: two changes of rate can differ by a sample at the end."""
    return np.pad(samples[:n], ((0, max(0, n - len(samples))), (0, 0)))
