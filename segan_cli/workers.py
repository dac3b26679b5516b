"""How a worker process behaves: it leaves signals to the main process, and ends when that one is no more."""

import os
import signal
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from threading import Thread, Timer
from types import FrameType

GRACE_S = 20.0  # a signal to all processes lets a worker serve the main one for so long


def belong() -> None:
    """Make this process a worker of its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave_later)
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _leave_later(number: int, frame: FrameType | None) -> None:
    timer = Timer(GRACE_S, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)
