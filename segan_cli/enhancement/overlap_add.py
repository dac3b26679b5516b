"""Windows and overlap-add as one streaming object."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Finish = Callable[[], Array]  # waits for enhanced windows
WindowFunction = Callable[[Array], Finish]


class OverlapAdd:
    """Cuts a signal into overlapping windows, runs a network on them, and puts the results back together.

    Window i starts at sample i*hop - (window - hop), so that every sample lies in equally many windows. The signal is
    mirrored beyond its first sample and beyond its last. Each result is weighted by
    w[n] = sin^2(pi (n + 1/2) / window) and the sum is divided by the weight laid down, so an identity network gives the
    signal back for any window and hop <= window. Blocks of any sizes give the same output as the whole signal at once.
    """

    def __init__(
        self, network: WindowFunction, channels: int, window: int, hop: int, batch: int, ahead: int = 0
    ) -> None:
        """`network` begins on windows [N, channels, window] and gives what waits for the same shape enhanced.

        N is at most `batch`, in order of time. So many batches `ahead` may be in flight between two calls, all whole;
        their output comes by a later call.
        """
        self.network, self.window, self.hop, self.batch, self.ahead = network, window, hop, batch, ahead
        self.in_flight: deque[tuple[int, Finish]] = deque()  # number of windows, and what waits for them
        self.weight = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
        self.padding = window - hop  # mirrored samples before the first, and how many of them the output still has
        self.begun = False  # whether they are there
        self.past: Array = np.zeros((channels, 0), np.float32)  # up to a window of input before …
        self.pending: Array = np.zeros((channels, 0), np.float32)  # … input from the next window's start on
        self.sum = np.zeros((channels, window))  # weighted results from the next window's start on
        self.weight_sum = np.zeros(window)  # the weight laid down there
        self.n_owed = 0  # input samples that have not come out yet

    def push(self, block: Array) -> Array:
        """block [channels, n] → the output samples that are final now, [channels, m]."""
        self.n_owed += block.shape[1]
        self.pending = np.concatenate((self.pending, block), axis=1)
        if not self.begun:
            if self.n_owed < self.hop:
                return self.pending[:, :0]
            self._begin()
        ready = max(0, (self.pending.shape[1] - self.window) // self.hop + 1)
        return self._run(ready - ready % self.batch if self.ahead else ready, self.ahead)

    def flush(self) -> Array:
        """The rest of the output, after which as many samples have come out as went in."""
        if not self.n_owed:
            return self.pending[:, :0]
        if not self.begun:
            self._begin()
        missing = -(-(self.n_owed + self.padding) // self.hop)  # windows until the last sample is final …
        missing -= sum(n for n, _ in self.in_flight)  # … and is not begun
        tail = max(0, missing * self.hop + self.window - self.hop - self.pending.shape[1])
        known = np.concatenate((self.past, self.pending), axis=1)
        self.pending = mirrored(known, 0, tail)[:, self.past.shape[1] :]
        n_owed, self.n_owed = self.n_owed, 0
        return self._run(missing, 0)[:, :n_owed]

    def _begin(self) -> None:
        """Put mirrored samples before the first, taken from no more than the first window is sure to hold."""
        first, rest = self.pending[:, : self.hop], self.pending[:, self.hop :]
        self.pending = np.concatenate((mirrored(first, self.padding, 0), rest), axis=1)
        self.begun = True

    def _run(self, n_windows: int, ahead: int) -> Array:
        finished = [np.zeros((len(self.pending), 0), np.float32)]
        for first in range(0, n_windows, self.batch):
            starts = range(first * self.hop, min(first + self.batch, n_windows) * self.hop, self.hop)
            windows = np.stack([self.pending[:, start : start + self.window] for start in starts])
            self.in_flight.append((len(windows), self.network(windows)))
            finished += self._finish(ahead)
        finished += self._finish(ahead)
        if n_windows:
            done, self.pending = np.split(self.pending, [n_windows * self.hop], axis=1)
            self.past = np.concatenate((self.past, done), axis=1)[:, -self.window :]
        output = np.concatenate(finished, axis=1)
        cut = min(self.padding, output.shape[1])
        self.padding -= cut
        self.n_owed -= output.shape[1] - cut
        return output[:, cut:]

    def _finish(self, ahead: int) -> list[Array]:
        finished = []
        while len(self.in_flight) > ahead:
            _, wait = self.in_flight.popleft()
            finished += [self._add(result) for result in wait()]
        return finished

    def _add(self, result: Array) -> Array:
        self.sum += result * self.weight
        self.weight_sum += self.weight
        done = (self.sum[:, : self.hop] / self.weight_sum[: self.hop]).astype(np.float32)
        for held in (self.sum, self.weight_sum):
            held[..., : -self.hop] = held[..., self.hop :]
            held[..., -self.hop :] = 0
        return done


def mirrored(samples: Array, before: int, after: int) -> Array:
    """Samples [channels, n] with so many more on either side, mirrored, back and forth where n is less than that."""
    return np.pad(samples, ((0, 0), (before, after)), mode="symmetric")
