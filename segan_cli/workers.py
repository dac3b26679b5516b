"""Worker processes: they leave signals to the main process, and end when that one is no more."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread, Timer
from types import FrameType

from segan_cli.errors import SeganError
from segan_cli.machine import cores

GRACE_S = 20.0  # a signal to all processes lets a worker serve the main one for so long


@contextmanager
def worker_pool(jobs: int | None = None) -> Iterator[Executor]:
    """Processes for scoring, one a core unless told; on an error what waits is dropped.

    Raises SeganError when a worker dies.
    """
    pool = ProcessPoolExecutor(jobs or cores(), mp_context=get_context("spawn"), initializer=belong)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise SeganError("a worker process that scored files died; is there enough memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


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
