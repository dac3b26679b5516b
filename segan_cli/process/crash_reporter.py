"""A second process that prints which recordings were being enhanced if this one crashes or is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from segan_cli.process.stopping import CRASH_REPORTERS
from segan_cli.text import counted, one_line, utf8

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
line = b""
for line in sys.stdin.buffer: pass
sys.stderr.buffer.write(line)
"""


class CrashReporter:
    """Tells a second process what is being enhanced; it prints the last line that it got when the pipe ends."""

    def __init__(self) -> None:
        self.n_done, self.running = 0, dict[str, None]()
        self.lock = Lock()
        words = [sys.executable, "-I", "-S", "-c", PROGRAM]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """Note that a recording is being enhanced while the block runs."""
        self._note(name, done=False)
        yield
        self._note(name, done=True)

    def _note(self, name: str, done: bool) -> None:
        with self.lock:
            self.n_done += done
            if done:
                self.running.pop(name, None)
            else:
                self.running[name] = None
            assert self.process.stdin is not None
            with suppress(OSError):  # the second process was killed
                self.process.stdin.write(f"{utf8(self.last_line())}\n".encode())
                self.process.stdin.flush()

    def last_line(self) -> str:
        """Return the line for a crash at this moment."""
        done = counted(self.n_done, "recording")
        return one_line(
            f"segan: crashed or was killed after {done}, while enhancing: {', '.join(self.running)};"
            " to continue, omit the file that causes this and add --skip-existing"
        )


@contextmanager
def crash_reporter() -> Iterator[CrashReporter]:
    """Start a crash reporter, and end it silently when the block ends in any way."""
    reporter = CrashReporter()
    CRASH_REPORTERS.add(reporter.process)
    try:
        yield reporter
    finally:
        CRASH_REPORTERS.discard(reporter.process)
        reporter.process.kill()
        reporter.process.wait()
