"""A generator in ONNX Runtime on the CPU; torch is not loaded."""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from segan_cli.backends.crew import Crew
from segan_cli.backends.graph import Graph
from segan_cli.backends.network import Network
from segan_cli.backends.trial import prove
from segan_cli.system import cpu_count

Array = NDArray[np.float32]

TOGETHER = 4  # windows of a call, so that what lies between two layers stays in the cache
FIRST_S, LATER_S = 30, 600  # how long the trial of a foreign file may take, and any windows after it


class OnnxNetwork(Network):
    """An ONNX file that `segan export` wrote as a function on arrays.

    Threads take windows each, in calls of a few: the network's own products are too small to share. A process that is
    forked off makes graph and threads anew when it first has windows.
    """

    def __init__(self, path: Path, threads: int | None = None, jobs: int = 1, trusted: bool = False) -> None:
        """`threads` for each of the `jobs` that call it at once, unasked one a core, work for all of them.

        A file that is not `trusted` is tried out in another process first, and runs in threads always, as it might not
        end. Raises CheckpointError when it is no such model.
        """
        self.path, self.name, self.trusted = path.absolute(), str(path), trusted
        self.threads = threads * jobs if threads else cpu_count()
        self.batch = TOGETHER * (threads or max(1, cpu_count() // jobs))
        self.lock = Lock()
        self.work: tuple[Graph, Crew | None] | None = None
        if not trusted:
            prove(self.path, self.name, FIRST_S)
        self.config = self.at_work()[0].config
        NETWORKS.add(self)

    def leave_behind(self) -> None:
        """Have graph and threads made anew for the next windows: those of a parent process may be held for ever."""
        LEFT.append(self.work)
        self.lock, self.work = Lock(), None

    def at_work(self) -> tuple[Graph, Crew | None]:
        """The graph and its threads, which are made where this process has none."""
        with self.lock:
            if self.work is None:
                graph = Graph(self.path, self.name, self.trusted)
                alone = self.trusted and self.threads == 1
                crew = None if alone else Crew(self.threads, self.name, graph.end)
                graph.load()
                self.work = graph, crew
            return self.work

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Give windows [B, 1, window] to the threads; without any, whoever waits does the work."""
        graph, crew = self.at_work()
        size = min(TOGETHER, -(-len(noisy) // self.threads))
        parts = [slice(first, first + size) for first in range(0, len(noisy), size)]

        def run(part: slice) -> Array:
            return graph.run(noisy[part], None if z is None else z[part])

        enhanced = map(run, parts) if crew is None else crew.map(run, parts, LATER_S)
        return lambda: np.concatenate(list(enhanced))


NETWORKS: "weakref.WeakSet[OnnxNetwork]" = weakref.WeakSet()
LEFT: list[object] = []  # by parent processes: ending it might wait for a thread that there is not


def begin_anew() -> None:
    """Leave behind what a process that was forked off cannot use."""
    for network in list(NETWORKS):
        network.leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)
