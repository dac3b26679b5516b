"""Enhancement of one signal, block by block."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segan_cli.audio.files import MAX_CHANNELS, RATES_HZ
from segan_cli.audio.filters import Emphasis, Resampler
from segan_cli.backends.high_band import load_high_band
from segan_cli.backends.network import Network, Precision
from segan_cli.config.schema import check_int_range, short_repr
from segan_cli.enhancement.high_band import HighBand
from segan_cli.enhancement.overlap_add import Finish, OverlapAdd
from segan_cli.enhancement.segments import SegmentEnhancer, remove_offset
from segan_cli.errors import AudioError, ConfigError

Array = NDArray[np.float32]
Channels = Literal["linked", "independent"]
HighBandPolicy = Literal["denoise", "keep", "drop"]

MAX_SAMPLE = 1e6  # full scale is 1
MAX_BATCH, MAX_SEED = 4_096, 2**32 - 1


@dataclass(frozen=True)
class Settings:
    """Settings of the enhancement."""

    strength: float = 1.0  # from 0, the input, to 1, the output of the model
    channels: Channels = "linked"  # "linked": all get the transfer function of their mean; "independent": each its own
    high_band: HighBandPolicy = "denoise"  # for sound above the band of the model
    precision: Precision = "fp32"  # of the layers of the network
    batch: int | None = None  # segments per call of the network; None: chosen by the backend
    seed: int = 0  # for the latents of every signal

    def __post_init__(self) -> None:
        if not isinstance(self.strength, int | float) or not 0 <= self.strength <= 1:
            raise ConfigError(f"strength {short_repr(self.strength)}; it must lie between 0 and 1")
        for name, kind in (("channels", Channels), ("high_band", HighBandPolicy), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} {short_repr(getattr(self, name))}; choose {', '.join(get_args(kind))}")
        check_int_range("enhancer", {"batch": 1 if self.batch is None else self.batch}, 1, MAX_BATCH)
        check_int_range("enhancer", {"seed": self.seed}, 0, MAX_SEED)


class EnhancerStream:
    """Enhances one signal in blocks: resamples it to the model's rate, runs the model on segments, resamples back.

    What the model changes is resampled back and added to the input, so the input is unchanged where the model changes
    nothing: x + strength * (back(model(x') - x') + h(x - back(x'))), where x' is x at the model's rate and h the change
    above its band.
    """

    def __init__(self, network: Network, settings: Settings, rate_hz: int, channels: int, ahead: int = 0) -> None:
        """`ahead` batches may be in flight between calls; their output comes later."""
        rate_hz = whole_rate(rate_hz)
        check_int_range("signal", {"channels": channels}, 1, MAX_CHANNELS)
        config, linked = network.config, settings.channels == "linked"
        self.settings, self.channels, self.ended = settings, channels, False
        self.flat = False  # whether blocks come as [n]
        self.axis: int | None = None  # of the channels in blocks of two axes; None before the first
        self.enhance_segments = SegmentEnhancer(network, linked, settings.seed)
        model_hz = config.sample_rate_hz
        self.to_model_rate = Resampler(rate_hz, model_hz, channels)
        self.emphasis = Emphasis(config.pre_emphasis, channels)
        self.config, self.n_in = config, 0  # n_in: input samples so far, at the model's rate
        batch = max(1, (settings.batch or network.batch) // (1 if linked else channels))
        self.segments = OverlapAdd(self._start, channels, config.segment_length, config.hop, batch, ahead)
        self.deemphasis = Emphasis(config.pre_emphasis, channels, inverse=True)
        self.to_signal_rate = Resampler(model_hz, rate_hz, channels)
        self.high_band: HighBand | None = None
        if rate_hz > model_hz and settings.high_band != "keep":
            above = load_high_band() if settings.high_band == "denoise" else None
            self.high_band = HighBand(above, rate_hz, model_hz, channels, linked)
        self.pending = Queue(channels)  # input whose output is not final …
        self.pending_low = Queue(channels)  # … and the same at the model's rate

    def push(self, block: ArrayLike) -> Array:
        """Add a block and return the output that is final now, in the same layout, of any length.

        Blocks are [channels, n], [n, channels], or [n] for one channel. The first block decides between the first two;
        if both its axes have the number of channels, it is [channels, n].

        Raises AudioError when the block has another shape, or samples that are not finite or far beyond full scale.
        """
        samples = as_samples(block)
        if samples.ndim == self.channels == 1:
            self.flat = True
            return np.asarray(self.step(samples[None])[1][0])
        axis = self._channel_axis(samples.shape)
        enhanced = self.step(np.moveaxis(samples, axis, 0))[1]
        self.axis = axis
        return np.ascontiguousarray(np.moveaxis(enhanced, 0, axis))

    def _channel_axis(self, shape: tuple[int, ...]) -> int:
        """Return the axis of the channels in a block; raises AudioError when none has their number."""
        for axis in (0, 1) if self.axis is None else (self.axis,):
            if len(shape) == 2 and shape[axis] == self.channels:
                return axis
        layouts = f"[{self.channels}, n]", f"[n, {self.channels}]"
        layout = " or ".join(layouts) if self.axis is None else f"{layouts[self.axis]}, as before"
        raise AudioError(f"a block of shape {list(shape)} for {self.channels} channels; give blocks {layout}")

    def flush(self) -> Array:
        """Return the rest of the output, so that its length equals that of the input."""
        rest = self.step(np.zeros((self.channels, 0), np.float32), last=True)[1]
        return np.asarray(rest[0]) if self.flat else np.ascontiguousarray(np.moveaxis(rest, 0, self.axis or 0))

    def step(self, block: Array, last: bool = False) -> tuple[Array, Array]:
        """Add a block [channels, n]; return what is final now, original and enhanced, [channels, m] each."""
        if not (np.abs(block) <= MAX_SAMPLE).all():
            raise AudioError("holds samples that are NaN, infinite or far beyond full scale; repair it first")
        if self.ended:
            raise ConfigError("the stream has ended; make another with Enhancer.stream")
        self.ended = last
        self.pending.push(block)
        noisy = self.to_model_rate.push(block, last)
        self.pending_low.push(noisy)
        self.n_in += noisy.shape[1]
        enhanced = self.segments.push(self.emphasis.push(noisy))
        if last:
            enhanced = np.concatenate((enhanced, self.segments.flush()), axis=1)
        enhanced = self.deemphasis.push(enhanced)
        noisy = self.pending_low.pop(enhanced.shape[1])
        change = self.to_signal_rate.push(enhanced - noisy, last)
        n = len(self.pending) if last else min(change.shape[1], len(self.pending))
        original = self.pending.pop(n)
        change = fit_length(change, n)
        if self.high_band is not None:
            original, change = self.high_band.push(original, change, last)
        return original, original + np.float32(self.settings.strength) * change

    def _start(self, noisy: Array) -> Finish:
        """Start on segments [N, channels, T]."""
        if self.n_in >= self.config.hop:  # in shorter signals an offset cannot be told from sound
            noisy = remove_offset(noisy, self.config.pre_emphasis)
        return self.enhance_segments(noisy)


class Queue:
    """A first-in, first-out queue of samples [channels, n]."""

    def __init__(self, channels: int) -> None:
        self.samples = np.zeros((channels, 0), np.float32)

    def __len__(self) -> int:
        return self.samples.shape[1]

    def push(self, samples: Array) -> None:
        """Append samples."""
        self.samples = np.concatenate((self.samples, samples), axis=1)

    def pop(self, n: int) -> Array:
        """Remove and return the first n samples."""
        first, self.samples = self.samples[:, :n], self.samples[:, n:]
        return first


def as_samples(array: object) -> Array:
    """Convert an array to float32 samples; raises AudioError for anything but real floats."""
    try:
        given = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: a tensor that requires a gradient
        raise AudioError("not an array of samples; give floats [n] or [channels, n]") from error
    if given.dtype.kind != "f":
        hint = f"; divide them by {np.iinfo(given.dtype).max}" if given.dtype.kind == "i" else ""
        raise AudioError(f"samples of type {given.dtype}; give floats whose full scale is 1{hint}")
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused later
        return np.array(given, np.float32)


def whole_rate(rate_hz: object) -> int:
    """Return a sampling rate as an int; raises ConfigError when it is not a whole number in range."""
    low, high = RATES_HZ
    number = rate_hz if isinstance(rate_hz, int | float | np.number) and not isinstance(rate_hz, bool) else None
    if number is None or not low <= number <= high or number != int(number):
        raise ConfigError(f"rate_hz {short_repr(rate_hz)}; it must be a whole number between {low} and {high}")
    return int(number)


def fit_length(samples: Array, n: int) -> Array:
    """Cut samples [channels, m] to n, or pad them with zeros: resampling twice can differ by a sample at the end."""
    return np.pad(samples[:, :n], ((0, 0), (0, max(0, n - samples.shape[1]))))
