"""Segmentation and overlap-add of a stream."""

from collections import deque
from collections.abc import Callable

import numpy as np

from segan_cli.arrays import Array

Finish = Callable[[], Array]  # waits for enhanced segments and returns them
SegmentFunction = Callable[[Array], Finish]


class OverlapAdd:
    """Cuts a signal into overlapping segments, processes them, and adds the results up.

    Segment i starts at sample i*hop - (length - hop), so the ends are in as many segments as the middle. The signal is
    mirrored before its first and after its last sample. Each result is weighted by the taper
    w[n] = sin^2(pi (n + 1/2) / length) and the sum is divided by the sum of the tapers, so the identity gives the
    signal back for any length and hop <= length. The output does not depend on how the signal is cut into blocks.
    """

    def __init__(
        self, process: SegmentFunction, channels: int, length: int, hop: int, batch: int, ahead: int = 0
    ) -> None:
        """Set up for segments of `length` samples.

        `process` starts on segments [N, channels, length], N at most `batch`, and returns a function that waits for the
        result, same shape. Up to `ahead` full batches are left in flight between calls; their output comes later.
        """
        self.process, self.length, self.hop, self.batch, self.ahead = process, length, hop, batch, ahead
        self.in_flight: deque[tuple[int, Finish]] = deque()  # number of segments, and their function that waits
        self.taper = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
        self.padding = length - hop  # mirrored samples before the first one that are still to be cut from the output
        self.started = False  # whether they were prepended
        self.past: Array = np.zeros((channels, 0), np.float32)  # up to one segment of the input before `pending`
        self.pending: Array = np.zeros((channels, 0), np.float32)  # the input from the next segment on
        self.sum = np.zeros((channels, length))  # tapered results from the start of the next segment on
        self.taper_sum = np.zeros(length)
        self.n_pending = 0  # input samples whose output is not final

    def push(self, block: Array) -> Array:
        """Add a block [channels, n]; return the output samples that are final now, [channels, m]."""
        self.n_pending += block.shape[1]
        self.pending = np.concatenate((self.pending, block), axis=1)
        if not self.started:
            if self.n_pending < self.hop:
                return self.pending[:, :0]
            self._start()
        ready = max(0, (self.pending.shape[1] - self.length) // self.hop + 1)
        return self._run(ready - ready % self.batch if self.ahead else ready, self.ahead)

    def flush(self) -> Array:
        """Return the rest of the output, so that its length equals that of the input."""
        if not self.n_pending:
            return self.pending[:, :0]
        if not self.started:
            self._start()
        missing = -(-(self.n_pending + self.padding) // self.hop)  # segments until the last sample is final
        missing -= sum(n for n, _ in self.in_flight)  # of which these were started
        tail = max(0, missing * self.hop + self.length - self.hop - self.pending.shape[1])
        known = np.concatenate((self.past, self.pending), axis=1)
        self.pending = mirrored(known, 0, tail)[:, self.past.shape[1] :]
        n_pending, self.n_pending = self.n_pending, 0
        return self._run(missing, 0)[:, :n_pending]

    def _start(self) -> None:
        """Prepend mirrored samples, from the first hop only, so that blocks of any size give the same."""
        first, rest = self.pending[:, : self.hop], self.pending[:, self.hop :]
        self.pending = np.concatenate((mirrored(first, self.padding, 0), rest), axis=1)
        self.started = True

    def _run(self, n_segments: int, ahead: int) -> Array:
        finished = [np.zeros((len(self.pending), 0), np.float32)]
        for first in range(0, n_segments, self.batch):
            starts = range(first * self.hop, min(first + self.batch, n_segments) * self.hop, self.hop)
            segments = np.stack([self.pending[:, start : start + self.length] for start in starts])
            self.in_flight.append((len(segments), self.process(segments)))
            finished += self._finish(ahead)
        finished += self._finish(ahead)
        if n_segments:
            done, self.pending = np.split(self.pending, [n_segments * self.hop], axis=1)
            self.past = np.concatenate((self.past, done), axis=1)[:, -self.length :]
        output = np.concatenate(finished, axis=1)
        cut = min(self.padding, output.shape[1])
        self.padding -= cut
        self.n_pending -= output.shape[1] - cut
        return output[:, cut:]

    def _finish(self, ahead: int) -> list[Array]:
        finished = []
        while len(self.in_flight) > ahead:
            _, wait = self.in_flight.popleft()
            finished += [self._add(result) for result in wait()]
        return finished

    def _add(self, result: Array) -> Array:
        self.sum += result * self.taper
        self.taper_sum += self.taper
        done = (self.sum[:, : self.hop] / self.taper_sum[: self.hop]).astype(np.float32)
        for buffer in (self.sum, self.taper_sum):
            buffer[..., : -self.hop] = buffer[..., self.hop :]
            buffer[..., -self.hop :] = 0
        return done


def mirrored(samples: Array, before: int, after: int) -> Array:
    """Extend samples [..., n] by mirrored ones on both sides, mirrored repeatedly if n is small."""
    return np.pad(samples, (*[(0, 0)] * (samples.ndim - 1), (before, after)), mode="symmetric")
