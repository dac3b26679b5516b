"""Enhancement of sound from one device to another."""

from threading import Event

import numpy as np

from segan_cli.arrays import Array
from segan_cli.audio.meter import decibels
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.frame_engine import frame_hop

SMOOTHING = 0.9  # per block, of the levels


class LiveEnhancement:
    """Enhances blocks of sound as they are recorded; after an error it is silent."""

    def __init__(self, enhancer: Enhancer, rate_hz: int, channels: int) -> None:
        self.block = frame_hop(enhancer.network.config, rate_hz)  # samples
        self.stream = enhancer.stream(rate_hz, channels, live=True, block=self.block)
        self.n_blocks = 0
        self.rate_hz = rate_hz
        self.delay_s = (self.block + self.stream.delay) / rate_hz  # of the model
        self.powers = np.zeros(2)  # smoothed, of input and output
        self.error: Exception | None = None
        self.ended = Event()  # set by an error, or when a device stops

    def process(self, block: Array) -> Array:
        """Return the output for a block [channels, n]; called in the thread of the devices."""
        self.n_blocks += 1
        if self.error is None:
            try:
                enhanced = np.clip(self.stream.push(block), -1, 1)
                powers = np.array([np.mean(np.square(side)) for side in (block, enhanced)])
                self.powers = SMOOTHING * self.powers + (1 - SMOOTHING) * powers
                return enhanced
            except Exception as error:  # raised where the end is waited for
                self.error = error
                self.ended.set()
        return np.zeros_like(block)

    @property
    def seconds(self) -> float:
        """Duration of the sound so far."""
        return self.n_blocks * self.block / self.rate_hz

    def levels_db(self) -> tuple[float, float]:
        """Return the level of input and output, relative to full scale."""
        before, after = decibels(self.powers)
        return float(before), float(after)
