"""Worker processes: they leave signals to the main process, and end with it."""

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
from threading import Thread
from types import FrameType

from segan_cli.errors import SeganError, show_tracebacks, tracebacks_shown
from segan_cli.process.stopping import STOPS, start_timer
from segan_cli.system import cpu_count

WARNING_FILTER = "ignore:resource_tracker"
GRACE_S = 600.0  # for which a worker still serves the main process after SIGTERM; longer than a validation


@contextmanager
def worker_pool(jobs: int | None = None) -> Iterator[Executor]:
    """Open a pool of worker processes, by default one per core; raises SeganError when one dies."""
    _start_tracker()  # the pool would start it with a warning
    context, arguments = _Context(), (0, tracebacks_shown())
    pool = ProcessPoolExecutor(jobs or cpu_count(), context, initializer=init_worker, initargs=arguments)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise SeganError("a worker process died; the machine may be out of memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def init_worker(_worker_id: int = 0, debug: bool = False) -> None:
    """Initialise a worker process, also of torch's DataLoader, which gives its number; `debug` prints tracebacks."""
    for number in STOPS:
        signal.signal(number, _leave_later if number == signal.SIGTERM else signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    if debug:
        show_tracebacks()
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _start_tracker() -> None:
    """Start Python's resource tracker so that it removes leaked semaphores without a warning."""
    sys.warnoptions.append(WARNING_FILTER)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(WARNING_FILTER)


class _Process(SpawnProcess):
    """A process that starts with signals blocked: they would interrupt its imports."""

    def start(self) -> None:
        _start_tracker()  # which would unblock the signals
        if sys.platform == "win32":
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    Process = _Process


def _leave_later(number: int, frame: FrameType | None) -> None:
    start_timer(GRACE_S, os._exit, 128 + number)


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)
