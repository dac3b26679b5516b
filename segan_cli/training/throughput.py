"""Throughput of a training."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

RECENT_STEPS = 50  # over which the throughput is measured


@dataclass(frozen=True)
class Throughput:
    """Throughput over the last steps."""

    steps_per_s: float
    audio_per_s: float  # seconds of audio per second, equally hours per hour
    waiting: float  # share of time spent waiting for data


class ThroughputMeter:
    """Measures the throughput of a training loop."""

    def __init__(self, batch_s: float) -> None:
        self.batch_s = batch_s  # seconds of segments in a step
        self.waited = 0.0
        self.marks = deque([(time.monotonic(), 0.0)], RECENT_STEPS + 1)

    def wait_for(self, batches: Iterator[T]) -> T:
        """The next batch; the time until it is ready counts as waiting."""
        start = time.monotonic()
        batch = next(batches)
        self.waited += time.monotonic() - start
        return batch

    def step(self) -> Throughput:
        """Count one step; returns the throughput over the last steps."""
        self.marks.append((time.monotonic(), self.waited))
        (start, waited), *_, (end, waited_since) = self.marks
        seconds = max(end - start, 1e-9)
        rate = (len(self.marks) - 1) / seconds
        return Throughput(rate, rate * self.batch_s, (waited_since - waited) / seconds)
