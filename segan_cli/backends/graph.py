"""An ONNX graph: its file is checked, and it is tested in a separate process.

A file that is not trusted may crash, use all memory or never end.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from segan_cli.arrays import Array
from segan_cli.backends.network import check_network
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import check_size, parse_metadata
from segan_cli.errors import CheckpointError, ConfigError, SeganError
from segan_cli.runtime import SILENT, load_onnxruntime

onnxruntime = load_onnxruntime()

MAX_MEMORY = 4 << 30  # bytes of all graphs that are not trusted, together
POLL_S = 0.2  # for the end of the parent process
PACKAGES = str(Path(__file__).parents[2])
PROGRAM = f"import sys; sys.path.insert(0, {PACKAGES!r}); from segan_cli.backends.graph import main; main()"
EXTERNAL_DATA = re.compile(rb"(\x08|\x88\x80*\x00)location")  # a tensor that is stored in another file


class Graph:
    """An ONNX graph that `segan export` wrote, as a function on arrays; `load` reads it."""

    config: ModelConfig

    def __init__(self, path: Path, name: str, trusted: bool) -> None:
        """The memory of a graph that is not `trusted` is limited."""
        self.path, self.name = path, name
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = 1
        self.options.log_severity_level = SILENT
        self.options.add_session_config_entry("session.load_model_format", "ONNX")  # the ORT format is not validated
        if not trusted:
            kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
            where = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
            onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({"max_mem": MAX_MEMORY}))
            self.options.add_session_config_entry("session.use_env_allocators", "1")
        self.running = self._running()

    def load(self) -> None:
        """Read the file; raises CheckpointError when it is not a model of segan."""
        check_size(self.path, self.name)
        try:
            content = self.path.read_bytes()
            if EXTERNAL_DATA.search(content):
                raise CheckpointError(f"{self.name}: stores weights in another file; give a model in a single file")
            self.session = onnxruntime.InferenceSession(
                content, self.options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            about = self.session.get_modelmeta().custom_metadata_map.get("segan")
        except SeganError:
            raise
        except Exception as error:  # the runtime's exceptions have no common base class
            raise CheckpointError(f"{self.name}: not a readable ONNX file ({brief(error)})") from error
        if about is None:
            raise CheckpointError(f"{self.name}: an ONNX file, but not written by segan export")
        try:
            self.config, *_ = parse_metadata(about)
        except ConfigError as error:
            raise CheckpointError(f"{self.name}: {brief(error)}") from error

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """Enhance segments [B, 1, T] with latents z; raises CheckpointError when the output is not valid."""
        inputs = {"noisy": noisy} if z is None else {"noisy": noisy, "z": z}
        return self._run(inputs, {"enhanced": noisy})[0]

    def step(self, spectra: Array, state: Array) -> tuple[Array, Array]:
        """Return mask [B, 2, N, F] and next state of the next frames, as `Runner.step` does."""
        mask, state = self._run({"spectra": spectra, "state": state}, {"mask": spectra, "next_state": state})
        return mask, state

    def _run(self, inputs: dict[str, Array], outputs: dict[str, Array]) -> list[Array]:
        """Return outputs by name, which must have the shapes of the arrays that are given for them."""
        try:
            results: list[Any] = self.session.run([*outputs], inputs, self.running)
        except Exception as error:
            raise CheckpointError(f"{self.name}: the model cannot be run ({brief(error)})") from error
        for result, like in zip(results, outputs.values(), strict=True):
            if not isinstance(result, np.ndarray) or result.dtype != np.float32 or result.shape != like.shape:
                output = f"{result.dtype} {list(result.shape)}" if isinstance(result, np.ndarray) else "no array"
                raise CheckpointError(
                    f"{self.name}: the model returns {output} for float32 {list(like.shape)}; export it again"
                )
        return results

    def end(self) -> None:
        """Make running calls in all threads fail."""
        self.running.terminate = True
        self.running = self._running()

    def _running(self) -> Any:
        options = onnxruntime.RunOptions()
        options.log_severity_level = SILENT
        return options


def brief(error: Exception) -> str:
    """Return the message of an error as one short line."""
    return " ".join(str(error).split())[:200]


def check_in_process(path: Path, name: str, timeout_s: float) -> None:
    """Test a file on noise in another process, if there is a Python; raises CheckpointError when it fails."""
    if not sys.executable:
        return
    words = [sys.executable, "-P", "-c", PROGRAM, str(path), name, str(os.getpid())]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"{name}: it takes more than {timeout_s:g} s for a short test; use another model"
        ) from error
    if done.returncode == 1:
        raise CheckpointError(done.stdout.decode(errors="replace").strip() or f"{name}: the test of the model failed")
    if done.returncode:
        raise CheckpointError(f"{name}: it crashes ONNX Runtime (exit code {done.returncode}); use another model")


def main() -> None:
    """Test a file: its path, its name in errors, which go to standard output, and the parent process are arguments."""
    path, name, parent = sys.argv[1:]
    if sys.platform != "win32":  # where the parent does not change
        Thread(target=exit_with, args=(int(parent),), daemon=True).start()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream
    try:
        graph = Graph(Path(path), name, trusted=False)
        graph.load()
        check_network(name, graph)
    except SeganError as error:
        print(error)
        sys.exit(1)


def exit_with(parent: int) -> None:
    """Exit when the parent process has ended, as a graph may never return."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
