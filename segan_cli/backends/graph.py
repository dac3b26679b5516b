"""A graph in ONNX Runtime, with everything that its file says checked."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from segan_cli.arrays import Array
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import check_size, parse_metadata
from segan_cli.errors import CheckpointError, ConfigError, SeganError
from segan_cli.runtime import SILENT, load_onnxruntime

onnxruntime = load_onnxruntime()

MAX_MEMORY = 4 << 30  # bytes of all graphs that are not trusted, together
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
            self.config, _ = parse_metadata(about)
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
        except SeganError:  # a signal came meanwhile
            raise
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
        """Make running calls, in any thread, end soon with an error."""
        self.running.terminate = True
        self.running = self._running()

    def _running(self) -> Any:
        options = onnxruntime.RunOptions()
        options.log_severity_level = SILENT
        return options


def brief(error: Exception) -> str:
    """Return the message of an error as one short line."""
    return " ".join(str(error).split())[:200]
