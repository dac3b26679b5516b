"""Signals that ask a long command to stop in good order."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from segan_cli.errors import StoppedError

Listener = TypeVar("Listener", "Stop", "Leave")


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


class Leave:
    """Has the first SIGINT or SIGTERM raise StoppedError where the main thread is; the third ends the process."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bool:
        """Whether one has come; an error that is raised in a library's callback may not have got through."""
        return self.times > 0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        self.times += 1
        if self.times == 1:
            raise StoppedError("stopped; what was not finished is removed", number)
        if self.times > 2:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def hearing(listener: Listener) -> Iterator[Listener]:
    """Have a listener hear SIGINT and SIGTERM while the block runs."""
    before = {number: signal.signal(number, listener.hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield listener
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
