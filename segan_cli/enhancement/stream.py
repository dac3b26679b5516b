"""Enhancement of one signal, block by block."""

from math import gcd

import numpy as np
from numpy.typing import ArrayLike

from segan_cli.arrays import MAX_CHANNELS, Array, SampleQueue
from segan_cli.backends.network import Network
from segan_cli.config.schema import check_int_range, whole_rate
from segan_cli.enhancement.frame_engine import FrameEngine
from segan_cli.enhancement.segment_engine import SegmentEngine
from segan_cli.enhancement.settings import Settings
from segan_cli.errors import AudioError, ConfigError

MAX_SAMPLE = 1e6  # full scale is 1


class EnhancerStream:
    """Enhances one signal in blocks.

    The output is x + s * c, where x is the input, s the strength and c the change that the model makes, so the input is
    unchanged where the model changes nothing.
    """

    def __init__(
        self, network: Network, settings: Settings, rate_hz: int, channels: int, ahead: int = 0, live_block: int = 0
    ) -> None:
        """`ahead` batches may be in flight between calls; their output comes later.

        With a `live_block`, all blocks are multiples of this number of samples, and each call returns as many samples
        as it gets, delayed by a constant `delay`; the model must be causal.
        """
        rate_hz = whole_rate(rate_hz)
        check_int_range("signal", {"channels": channels}, 1, MAX_CHANNELS)
        self.settings, self.channels, self.ended = settings, channels, False
        self.flat = False  # whether blocks come as [n]
        self.axis: int | None = None  # of the channels in blocks of two axes; None before the first
        self.engine: FrameEngine | SegmentEngine
        self.delay, self.live_block = 0, live_block  # samples, of a live stream
        if network.config.generator.state_size():
            self.engine = frames = FrameEngine(network, settings, rate_hz, channels)
            self.delay = 2 * frames.hop - gcd(live_block, frames.hop) if live_block else 0
        elif live_block:
            raise ConfigError(
                f"model {network.name}: needs a whole segment at once; for real-time enhancement use segan-live"
            )
        else:
            self.engine = SegmentEngine(network, settings, rate_hz, channels, ahead)
        self.late = SampleQueue(channels)  # output of a live stream that is not returned yet
        self.late.push(np.zeros((channels, self.delay), np.float32))

    def push(self, block: ArrayLike) -> Array:
        """Add a block and return the output that is final now, in the same layout, of any length.

        Blocks are [channels, n], [n, channels], or [n] for one channel. The first block decides between the first two;
        if both its axes have the number of channels, it is [channels, n].

        Raises AudioError when the block has another shape or, in a live stream, no multiple of its length, or samples
        that are not finite or far beyond full scale.
        """
        samples = as_samples(block)
        if samples.ndim == self.channels == 1:
            self.flat = True
            return np.asarray(self._enhanced(samples[None])[0])
        axis = self._channel_axis(samples.shape)
        enhanced = self._enhanced(np.moveaxis(samples, axis, 0))
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
        """Return the rest of the output; its whole length is then that of the input plus the delay."""
        rest = self._enhanced(np.zeros((self.channels, 0), np.float32), last=True)
        return np.asarray(rest[0]) if self.flat else np.ascontiguousarray(np.moveaxis(rest, 0, self.axis or 0))

    def _enhanced(self, block: Array, last: bool = False) -> Array:
        """Add a block [channels, n]; return output [channels, m], of a live stream n samples."""
        if self.live_block and (n := block.shape[1]) % self.live_block:
            raise AudioError(f"a block of {n} samples; this live stream takes multiples of {self.live_block}")
        _, enhanced = self.step(block, last)
        if not self.delay:
            return enhanced
        self.late.push(enhanced)
        return self.late.pop(len(self.late) if last else block.shape[1])

    def step(self, block: Array, last: bool = False) -> tuple[Array, Array]:
        """Add a block [channels, n]; return what is final now, original and enhanced, [channels, m] each."""
        if not (np.abs(block) <= MAX_SAMPLE).all():
            raise AudioError("some samples are NaN, infinite or far beyond full scale; repair them first")
        if self.ended:
            raise ConfigError("the stream has ended; make another with Enhancer.stream")
        self.ended = last
        original, change = self.engine.push(block, last)
        return original, original + np.float32(self.settings.strength) * change


def as_samples(array: object) -> Array:
    """Convert an array to float32 samples; raises AudioError for anything but real floats."""
    try:
        given = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:  # a tensor that requires a gradient, or of bfloat16
        raise AudioError("not an array of samples; give float32 [n] or [channels, n]") from error
    if given.dtype.kind != "f":
        scale = "32768" if given.dtype == np.int16 else "the full scale of their encoding, such as 32768 for 16 bits"
        hint = f"; divide them by {scale}" if given.dtype.kind == "i" else ""
        raise AudioError(f"samples of type {given.dtype}; give floats whose full scale is 1{hint}")
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused later
        return np.array(given, np.float32)
