"""Worker processes: they leave signals to the main process, and end when that one is no more."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from threading import Thread, Timer
from types import FrameType

from segan_cli.errors import SeganError
from segan_cli.stopping import STOPS
from segan_cli.system import cpu_count
from segan_cli.tracebacks import show_tracebacks, shown

QUIET = "ignore:resource_tracker"  # of warnings
GRACE_S = 20.0  # a signal to all processes lets a worker serve the main one for so long


@contextmanager
def worker_pool(jobs: int | None = None) -> Iterator[Executor]:
    """Processes for scoring, one a core unless told; on an error what waits is dropped.

    Raises SeganError when a worker dies.
    """
    _track()  # before a pool would, and loudly
    pool = ProcessPoolExecutor(jobs or cpu_count(), _Context(), initializer=init_worker, initargs=(shown(),))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise SeganError("a worker process that scored files died; is there enough memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def init_worker(debug: bool = False) -> None:
    """Make this process a worker of its parent; `debug` has it tell where errors come from."""
    for number in STOPS:
        signal.signal(number, _leave_later if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    if debug:
        show_tracebacks()
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _track() -> None:
    """Start Python's tracker of semaphores; it removes in silence what a second signal leaves."""
    sys.warnoptions.append(QUIET)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(QUIET)


class _Process(SpawnProcess):
    """One that gets no signal until it belongs to its parent: a signal would only break off loading its modules."""

    def start(self) -> None:
        _track()  # it would unblock signals again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    Process = _Process


def _leave_later(number: int, frame: FrameType | None) -> None:
    timer = Timer(GRACE_S, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)
