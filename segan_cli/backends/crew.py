"""Threads that call a function for others, who wait so long and no longer."""

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

JOINED_S = 10.0  # a thread that a library does not let go is left behind


class Crew:
    """Threads that call a function for others.

    They are daemons: an executor's thread that a signal's error meets while it starts would keep the process for ever.
    They end with their crew or, at the end of the process, with what they are at: Python may not end around them.
    """

    def __init__(self, n: int, name: str, end: Callable[[], None]) -> None:
        """`name` is that of the model they work for, `end` has the calls that run return soon."""
        self.name, self.end = name, end
        self.work: SimpleQueue[Any] = SimpleQueue()
        threads = [Thread(target=serve, args=(self.work,), daemon=True) for _ in range(n)]
        for thread in threads:
            thread.start()
        weakref.finalize(self, dismiss, self.work, threads, end)

    def map(self, call: Callable[[P], T], parts: Iterable[P], patience_s: int) -> Iterator[T]:
        """What a function gives for each part, in order; all are begun at once.

        Raises CheckpointError when one does not come within `patience_s` of waiting.
        """
        futures = []
        for part in parts:
            future: Future[T] = Future()
            self.work.put((future, call, part))
            futures.append(future)
        return (self._result(future, patience_s) for future in futures)

    def _result(self, future: "Future[T]", patience_s: int) -> T:
        """What a call gives; it is ended when it takes too long, and when whoever waits is stopped.

        Seconds count while this process runs, not while it is suspended.
        """
        try:
            for _ in range(patience_s):
                with suppress(TimeoutError):
                    return future.result(1.0)
            raise CheckpointError(f"{self.name}: the model takes more than {patience_s} s for its work; use another")
        finally:
            if not future.done():
                self.end()


def serve(work: "SimpleQueue[Any]") -> None:
    """Run tasks until the end of the queue."""
    while (task := work.get()) is not None:
        future, call, part = task
        try:
            future.set_result(call(part))
        except BaseException as error:  # whoever waits gets it
            future.set_exception(error)
        del task, future, call, part


def dismiss(work: "SimpleQueue[Any]", threads: list[Thread], end: Callable[[], None]) -> None:
    """Let threads end, once each is done with what it is at; nobody waits for the rest."""
    with suppress(Empty):
        while True:
            work.get_nowait()
    for _ in threads:
        work.put(None)
    end()
    for thread in threads:
        if thread is not current_thread():  # one of them may have held the crew last
            thread.join(JOINED_S)
