"""The ONNX Runtime backend, on the CPU and without torch."""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np

from segan_cli.arrays import Array
from segan_cli.backends.graph import Graph, check_in_process
from segan_cli.backends.network import Network
from segan_cli.backends.thread_pool import ThreadPool
from segan_cli.system import cpu_count

SEGMENTS_PER_CALL = 4  # so that activations stay in the cache
TEST_TIMEOUT_S, CALL_TIMEOUT_S = 30, 600  # for the test of a file that is not trusted, and for later calls


class OnnxNetwork(Network):
    """An ONNX file that `segan export` wrote. Each thread runs a few segments at a time. Forked processes reopen it."""

    def __init__(self, path: Path, threads: int | None = None, jobs: int = 1, *, trusted: bool) -> None:
        """Open with `threads` for each of `jobs`, and test a file that is not `trusted`; raises CheckpointError."""
        self.path: Path = path.absolute()
        self.name, self.trusted, self.description = str(path), trusted, "onnx on cpu"
        self.threads = threads * jobs if threads else cpu_count()
        self.batch = SEGMENTS_PER_CALL * (threads or max(1, cpu_count() // jobs))
        self.lock = Lock()
        self.graph_and_pool: tuple[Graph, ThreadPool | None] | None = None
        if not trusted:
            check_in_process(self.path, self.name, TEST_TIMEOUT_S)
        self.config = self._open()[0].config
        NETWORKS.add(self)

    def reset(self) -> None:
        """Abandon the graph and threads of a parent process, whose locks may never be released."""
        ABANDONED.append(self.graph_and_pool)
        self.lock, self.graph_and_pool = Lock(), None

    def _open(self) -> tuple[Graph, ThreadPool | None]:
        """Return the graph and its threads; create them in a new process."""
        with self.lock:
            if self.graph_and_pool is None:
                graph = Graph(self.path, self.name, self.trusted)
                single = self.trusted and self.threads == 1
                pool = None if single else ThreadPool(self.threads, self.name, graph.end)
                graph.load()
                self.graph_and_pool = graph, pool
            return self.graph_and_pool

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Start on segments [B, 1, T] in the threads; without threads, the caller runs them while waiting."""
        graph, pool = self._open()
        size = min(SEGMENTS_PER_CALL, -(-len(noisy) // self.threads))
        parts = [slice(first, first + size) for first in range(0, len(noisy), size)]

        def run(part: slice) -> Array:
            return graph(noisy[part], None if z is None else z[part])

        enhanced = map(run, parts) if pool is None else pool.map(run, parts, CALL_TIMEOUT_S)
        return lambda: np.concatenate(list(enhanced))

    def step(self, spectra: Array, state: Array) -> tuple[Array, Array]:
        """Run a causal generator on the next frames, as `Runner.step` says, in one of the threads if there are any."""
        graph, pool = self._open()
        if pool is None:
            return graph.step(spectra, state)
        return next(pool.map(lambda _: graph.step(spectra, state), [None], CALL_TIMEOUT_S))


NETWORKS: "weakref.WeakSet[OnnxNetwork]" = weakref.WeakSet()
ABANDONED: list[object] = []  # kept alive: their finalisers would wait for threads that do not exist here


def reset_after_fork() -> None:
    """Reset all networks in a forked process."""
    for network in list(NETWORKS):
        network.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset_after_fork)
