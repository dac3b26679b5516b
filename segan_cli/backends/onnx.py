"""A generator in ONNX Runtime on the CPU; torch is not loaded."""

import json
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread, current_thread
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from segan_cli.architecture import ModelConfig
from segan_cli.backends.network import Network
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.machine import cores
from segan_cli.schema import from_dict

Array = NDArray[np.float32]

TOGETHER = 4  # windows of a call, so that what lies between two layers stays in the cache


class OnnxNetwork(Network):
    """An ONNX file that `segan export` wrote as a function on arrays.

    Threads take windows each, in calls of a few: the network's own products are too small to share.
    """

    def __init__(self, path: Path, threads: int | None = None, jobs: int = 1) -> None:
        """`threads` for each of the `jobs` that call it at once, unasked one a core, work for all of them.

        Raises CheckpointError when the file is no such model.
        """
        self.threads = threads * jobs if threads else cores()
        self.batch = TOGETHER * (threads or max(1, cores() // jobs))
        self.crew = Crew(self.threads) if self.threads > 1 else None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            about = json.loads(self.session.get_modelmeta().custom_metadata_map["segan"])
            self.config = from_dict(ModelConfig, about["config"])
        except KeyError as error:
            raise CheckpointError(f"{path}: an ONNX file, but not written by segan export") from error
        except (ValueError, TypeError, ConfigError) as error:
            raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from error
        except Exception as error:  # ONNX Runtime's own, which have no base of their own
            raise CheckpointError(f"{path}: not a readable ONNX file ({' '.join(str(error).split())})") from error

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Give windows [B, 1, window] to the threads; without any, whoever waits does the work."""
        size = min(TOGETHER, -(-len(noisy) // self.threads))
        parts = [slice(first, first + size) for first in range(0, len(noisy), size)]

        def run(part: slice) -> Array:
            inputs = {"noisy": noisy[part]} if z is None else {"noisy": noisy[part], "z": z[part]}
            enhanced: Array = self.session.run(None, inputs)[0]
            return enhanced

        enhanced = (self.crew.map if self.crew else map)(run, parts)
        return lambda: np.concatenate(list(enhanced))


class Crew:
    """Threads that call a function for others.

    They are daemons: an executor's thread that a signal's error meets while it starts would keep the process for ever.
    They end with their crew or, at the end of the process, with what they are at: Python may not end around them.
    """

    def __init__(self, n: int) -> None:
        self.work: SimpleQueue[Any] = SimpleQueue()
        threads = [Thread(target=serve, args=(self.work,), daemon=True) for _ in range(n)]
        for thread in threads:
            thread.start()
        weakref.finalize(self, dismiss, self.work, threads)

    def map(self, call: Callable[[slice], Array], parts: Iterable[slice]) -> Iterator[Array]:
        """What a function gives for each part, in order; all are begun at once."""
        futures = []
        for part in parts:
            future: Future[Array] = Future()
            self.work.put((future, call, part))
            futures.append(future)
        return (future.result() for future in futures)


def serve(work: "SimpleQueue[Any]") -> None:
    """Do what comes until nothing comes."""
    while (task := work.get()) is not None:
        future, call, part = task
        try:
            future.set_result(call(part))
        except BaseException as error:  # whoever waits gets it
            future.set_exception(error)
        del task, future, call, part


def dismiss(work: "SimpleQueue[Any]", threads: list[Thread]) -> None:
    """Let threads end, once each is done with what it is at; nobody waits for the rest."""
    with suppress(Empty):
        while True:
            work.get_nowait()
    for _ in threads:
        work.put(None)
    for thread in threads:
        if thread is not current_thread():  # one of them may have held the crew last
            thread.join()
