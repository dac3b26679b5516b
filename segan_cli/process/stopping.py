"""Signals that stop a command: immediately while it starts, and with cleanup once it is working."""

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, Timer, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from segan_cli.errors import StoppedError

if TYPE_CHECKING:
    from subprocess import Popen

Listener = TypeVar("Listener", "StopAfterStep", "RaiseOnSignal")

STOPS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
BROKEN_PIPE = getattr(signal, "SIGPIPE", signal.SIGTERM)  # Windows has no SIGPIPE
REPEAT_S = 1.0  # after the first signal, in which another counts as the same: `timeout` and batch systems send two
RESEND_S = 0.01  # delay before a signal whose error was lost is sent again
UNFINISHED: set[Path] = set()  # temporary files of outputs that are being written
ABANDONED: list[Thread] = []  # threads that may be in a library, which can crash when Python ends
CRASH_REPORTERS: set["Popen[bytes]"] = set()  # processes that would mistake an immediate exit for a crash


class StopAfterStep:
    """Remembers the first signal; another one, a second or more later, ends the process immediately."""

    raised: StoppedError | None = None

    def __init__(self) -> None:
        self.signal_number = 0  # none yet
        self.received_s = 0.0

    def __call__(self) -> bool:
        """Whether a signal was received."""
        return self.signal_number > 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self():
            if time.monotonic() - self.received_s >= REPEAT_S:
                exit_now(number, frame)
            return
        self.signal_number, self.received_s = number, time.monotonic()
        if os.isatty(2):
            os.write(2, b"\nsegan: stopping after this step; press Ctrl-C again to quit immediately\n")

    def resend(self) -> None:
        """Do nothing, as no error was raised that could be lost."""


class RaiseOnSignal:
    """Raises StoppedError in the main thread at the first signal; the second ends the process immediately."""

    def __init__(self) -> None:
        self.signal_number = 0  # none yet
        self.lost = False  # the error was raised in a callback, which ignored it
        self.raised: StoppedError | None = None

    def __call__(self) -> int:
        """Return the signal that was received, 0 for none."""
        return self.signal_number

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal_number and not self.lost:
            exit_now(number, frame)
        self.signal_number, self.lost = number, False
        self.raised = StoppedError("stopped; unfinished outputs were removed", number)
        raise self.raised

    def resend(self) -> None:
        """Send the signal again, as its error was lost in a callback or a finaliser."""
        self.lost = True
        if sys.platform == "win32":
            start_timer(RESEND_S, signal.raise_signal, self.signal_number)
        else:
            start_timer(RESEND_S, signal.pthread_kill, main_thread().ident, self.signal_number)


@contextmanager
def listening(listener: Listener) -> Iterator[Listener]:
    """Let a listener handle the stop signals while the block runs."""
    hook = sys.unraisablehook

    def lost(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, StoppedError):
            listener.resend()
        else:
            hook(unraisable)

    before = _handle(listener.handle)
    sys.unraisablehook = lost
    try:
        yield listener
    except Exception as error:
        if listener.raised is not None:  # it was raised in a library, such as in a lock, which then failed itself
            raise listener.raised from error
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_on_signals() -> None:
    """Let stop signals end the process immediately, with one line, until a listener handles them."""
    _handle(exit_now)
    atexit.register(_handle, signal.SIG_IGN)  # so that a late signal does not change the exit code


def exit_on_signals_silently() -> None:
    """Let stop signals end the process without a line, when one was printed already."""
    _handle(lambda number, frame: os._exit(128 + number))


def exit_now(number: int, frame: FrameType | None) -> None:
    """Remove unfinished outputs and end the process, whatever libraries are doing."""
    del frame
    _clean_up()
    shown_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a progress bar hides it
    with suppress(OSError):  # of a full device
        os.write(2, shown_cursor + b"segan: stopped\n")
    os._exit(128 + number)


def exit_with(code: int) -> NoReturn:
    """End the process, without the end of Python if threads were abandoned."""
    if any(thread.is_alive() for thread in ABANDONED):
        _clean_up()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _clean_up() -> None:
    remove_unfinished()
    for reporter in CRASH_REPORTERS:
        reporter.kill()


@contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """End the process with one line and exit code 1 if the block takes longer: signals do not interrupt C libraries."""
    timer = start_timer(seconds, _give_up, message)
    try:
        yield
    finally:
        timer.cancel()


def start_timer(seconds: float, call: Callable[..., object], *arguments: object) -> Timer:
    """Call a function after a time, unless the process ends before."""
    timer = Timer(seconds, call, arguments)
    timer.daemon = True
    timer.start()
    return timer


def _give_up(message: str) -> None:
    print(f"segan: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def remove_unfinished() -> None:
    """Remove the temporary files of all outputs."""
    for path in list(UNFINISHED):
        with suppress(OSError):  # Windows does not delete open files
            path.unlink()


def _handle(handler: Any) -> dict[signal.Signals, Any]:
    """Set a handler for the stop signals and return the previous ones; a SIGHUP that nohup ignores stays ignored."""
    handled = [n for n in STOPS if n.name != "SIGHUP" or signal.getsignal(n) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in handled}
