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

    Window i starts at sample i*hop - (window - hop), in zeros before the signal, and the last ones end in zeros after
    it, so that every sample lies in equally many windows. Each result is weighted by
    w[n] = sin^2(pi (n + 1/2) / window) and the sum is divided by the weight laid down, so an identity network gives the
    signal back for any window and hop <= window. Blocks of any sizes give the same output as the whole signal at once.
    """

    def __init__(
        self, network: WindowFunction, channels: int, window: int, hop: int, batch: int, ahead: int = 0
    ) -> None:
        """`network` begins on windows [N, channels, window] and gives what waits for the same shape enhanced.

        N is at most `batch`, in order of time. So many batches `ahead` may be under way between two calls, all whole;
        their output comes by a later call.
        """
        self.network, self.window, self.hop, self.batch, self.ahead = network, window, hop, batch, ahead
        self.under_way: deque[tuple[int, Finish]] = deque()  # number of windows, and what waits for them
        self.weight = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
        self.lead = window - hop  # zeros before the signal, cut from the output again
        self.pending: Array = np.zeros((channels, self.lead), np.float32)  # input from the next window's start on
        self.sum = np.zeros((channels, window))  # weighted results from the next window's start on
        self.laid = np.zeros(window)  # the weight laid down there
        self.owed = 0  # input samples that have not come out yet

    def push(self, block: Array) -> Array:
        """block [channels, n] → the output samples that are final now, [channels, m]."""
        self.owed += block.shape[1]
        self.pending = np.concatenate((self.pending, block), axis=1)
        ready = max(0, (self.pending.shape[1] - self.window) // self.hop + 1)
        return self._run(ready - ready % self.batch if self.ahead else ready, self.ahead)

    def flush(self) -> Array:
        """The rest of the output, after which as many samples have come out as went in."""
        missing = -(-(self.owed + self.lead) // self.hop)  # windows until the last owed sample is final …
        missing -= sum(n for n, _ in self.under_way)  # … and is not begun
        tail = missing * self.hop + self.window - self.hop - self.pending.shape[1]
        self.pending = np.pad(self.pending, ((0, 0), (0, max(tail, 0))))
        owed, self.owed = self.owed, 0
        return self._run(missing, 0)[:, :owed]

    def _run(self, n_windows: int, ahead: int) -> Array:
        finished = [np.zeros((len(self.pending), 0), np.float32)]
        for first in range(0, n_windows, self.batch):
            starts = range(first * self.hop, min(first + self.batch, n_windows) * self.hop, self.hop)
            windows = np.stack([self.pending[:, start : start + self.window] for start in starts])
            self.under_way.append((len(windows), self.network(windows)))
            finished += self._finish(ahead)
        finished += self._finish(ahead)
        self.pending = self.pending[:, n_windows * self.hop :]
        output = np.concatenate(finished, axis=1)
        cut = min(self.lead, output.shape[1])
        self.lead -= cut
        self.owed -= output.shape[1] - cut
        return output[:, cut:]

    def _finish(self, ahead: int) -> list[Array]:
        finished = []
        while len(self.under_way) > ahead:
            _, wait = self.under_way.popleft()
            finished += [self._add(result) for result in wait()]
        return finished

    def _add(self, result: Array) -> Array:
        self.sum += result * self.weight
        self.laid += self.weight
        done = (self.sum[:, : self.hop] / self.laid[: self.hop]).astype(np.float32)
        for held in (self.sum, self.laid):
            held[..., : -self.hop] = held[..., self.hop :]
            held[..., -self.hop :] = 0
        return done
