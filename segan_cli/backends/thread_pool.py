"""A pool of daemon threads whose results are waited for with a time limit."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread, current_thread
from typing import Any, TypeVar

from segan_cli.errors import CheckpointError

P = TypeVar("P")
T = TypeVar("T")

JOIN_TIMEOUT_S = 10.0  # after which a thread that is stuck in a library is abandoned


class ThreadPool:
    """A pool of daemon threads; those of an executor can keep the process alive for ever after a signal."""

    def __init__(self, n: int, name: str, end: Callable[[], None]) -> None:
        """`name` is that of the model, for errors; `end` interrupts running calls."""
        self.name, self.end = name, end
        self.work: SimpleQueue[Any] = SimpleQueue()
        threads = [Thread(target=serve, args=(self.work,), daemon=True) for _ in range(n)]
        for thread in threads:
            thread.start()
        weakref.finalize(self, shut_down, self.work, threads, end)

    def map(self, call: Callable[[P], T], items: Iterable[P], timeout_s: int) -> Iterator[T]:
        """Call a function for each item, all at once, and yield the results in order; raises CheckpointError."""
        futures = []
        for item in items:
            future: Future[T] = Future()
            self.work.put((future, call, item))
            futures.append(future)
        return (self._result(future, timeout_s) for future in futures)

    def _result(self, future: Future[T], timeout_s: int) -> T:
        """Wait for a result; end the calls when it takes too long or the wait is interrupted.

        Time during which the process is suspended does not count.
        """
        try:
            for _ in range(timeout_s):
                with suppress(TimeoutError):
                    return future.result(1.0)
            raise CheckpointError(f"{self.name}: it takes more than {timeout_s} s for a batch; use another model")
        finally:
            if not future.done():
                self.end()


def serve(work: SimpleQueue[Any]) -> None:
    """Run tasks from a queue until None comes."""
    while (task := work.get()) is not None:
        future, call, item = task
        try:
            future.set_result(call(item))
        except BaseException as error:  # raised where the result is waited for
            future.set_exception(error)
        del task, future, call, item


def shut_down(work: SimpleQueue[Any], threads: list[Thread], end: Callable[[], None]) -> None:
    """Drop queued tasks and end the threads after their current call."""
    with suppress(Empty):
        while True:
            work.get_nowait()
    for _ in threads:
        work.put(None)
    end()
    for thread in threads:
        if thread is not current_thread():  # which may have held the last reference to the pool
            thread.join(JOIN_TIMEOUT_S)
