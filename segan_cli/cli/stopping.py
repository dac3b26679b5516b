"""Signals that ask a long command to stop in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Remembers the first SIGINT or SIGTERM; the next one ends the process as it always would."""

    def __init__(self) -> None:
        self.signal_number = 0  # none yet

    def __call__(self) -> bool:
        """Whether one has come."""
        return self.signal_number > 0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        self.signal_number = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Hear signals while the block runs."""
    stop, numbers = Stop(), (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop.hear) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
