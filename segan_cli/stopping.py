"""Signals that ask a command to stop: at once while nothing is begun, in good order while something is."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer, main_thread
from types import FrameType
from typing import Any, TypeVar

from segan_cli.errors import StoppedError

Listener = TypeVar("Listener", "Stop", "Leave")

STOPS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
SOON_S = 0.01  # until a stop that got lost is heard again
UNFINISHED: set[Path] = set()  # outputs that are being written; whoever writes one enters it and takes it out


class Stop:
    """Remembers the first signal; the next one ends the process at once."""

    def __init__(self) -> None:
        self.signal_number = 0  # none yet

    def __call__(self) -> bool:
        """Whether one has come."""
        return self.signal_number > 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self():
            leave_at_once(number, frame)
        self.signal_number = number

    def again(self) -> None:
        """Nothing is ever raised, so nothing can get lost."""


class Leave:
    """Has the first signal raise StoppedError where the main thread is; the next one ends the process at once."""

    def __init__(self) -> None:
        self.signal_number = 0  # none yet
        self.lost = False  # whether the error was raised where nobody could get it

    def __call__(self) -> int:
        """The signal that has come, 0 for none."""
        return self.signal_number

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal_number and not self.lost:
            leave_at_once(number, frame)
        self.signal_number, self.lost = number, False
        raise StoppedError("stopped; what was not finished is removed", number)

    def again(self) -> None:
        """Have the signal come once more, as its error was raised in a library's callback or a finaliser."""
        self.lost = True
        timer = Timer(SOON_S, signal.pthread_kill, (main_thread().ident, self.signal_number))
        timer.daemon = True
        timer.start()


@contextmanager
def listening(listener: Listener) -> Iterator[Listener]:
    """Have a listener handle the signals that ask to stop while the block runs."""

    hook = sys.unraisablehook

    def lost(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, StoppedError):
            listener.again()
        else:
            hook(unraisable)

    before = _handle(listener.handle)
    sys.unraisablehook = lost
    try:
        yield listener
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_when_told() -> None:
    """From now on what asks to stop ends the process at once, in a line: nothing is begun that could be cut short."""
    _handle(leave_at_once)
    atexit.register(_handle, signal.SIG_IGN)  # the exit code stands by then; Python itself would restore the defaults


def leave_in_silence() -> None:
    """The same without a line, once one is said."""
    _handle(lambda number, frame: os._exit(128 + number))


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """End the process: unfinished outputs are removed, and no library can hold it up or turn it into something else."""
    del frame
    remove_unfinished()
    shown_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a progress bar hides it
    os.write(2, shown_cursor + b"segan: stopped\n")
    os._exit(128 + number)


def remove_unfinished() -> None:
    """Remove all outputs that are being written."""
    for path in list(UNFINISHED):
        path.unlink(missing_ok=True)


def _handle(handler: Any) -> dict[signal.Signals, Any]:
    """Set a handler for what asks to stop; → those before. A SIGHUP that nohup had ignored stays ignored."""
    heard = [n for n in STOPS if n.name != "SIGHUP" or signal.getsignal(n) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}
