"""A process that outlives this one, and says what was in work when a library crashed it or the system killed it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from segan_cli.stopping import WITNESSES
from segan_cli.text import one_line, utf8

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
line = b""
for line in sys.stdin.buffer: pass
sys.stderr.buffer.write(line)
"""


class Witness:
    """Follows a batch through a pipe, whose end tells of a crash."""

    def __init__(self) -> None:
        self.n_done, self.in_work = 0, dict[str, None]()
        self.lock = Lock()
        words = [sys.executable, "-I", "-S", "-c", PROGRAM]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """Note that a recording is in work while the block runs."""
        self._note(name, 0)
        yield
        self._note(name, 1)

    def _note(self, name: str, n_done: int) -> None:
        with self.lock:
            self.n_done += n_done
            if n_done:
                self.in_work.pop(name, None)
            else:
                self.in_work[name] = None
            assert self.process.stdin is not None
            self.process.stdin.write(f"{utf8(self.testimony())}\n".encode())
            self.process.stdin.flush()

    def testimony(self) -> str:
        """Return the line for a crash at this moment."""
        done = f"{self.n_done} recording{'s' * (self.n_done != 1)}"
        return one_line(
            f"segan: crashed or was killed after {done}, at work on: {', '.join(self.in_work)};"
            " leave out what it fails on, and add --skip-existing to go on"
        )


@contextmanager
def witnessed() -> Iterator[Witness]:
    """Start a witness, and end it without a word when the block ends in whatever way."""
    witness = Witness()
    WITNESSES.add(witness.process)
    try:
        yield witness
    finally:
        WITNESSES.discard(witness.process)
        witness.process.kill()
        witness.process.wait()
