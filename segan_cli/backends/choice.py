"""The backend that suits a model and a machine."""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

from segan_cli.backends.network import BackendName, Network, Precision, try_out
from segan_cli.backends.pretrained import find_model, find_onnx, is_shipped
from segan_cli.errors import ConfigError


def open_network(
    model: str | Path,
    device: str = "auto",
    backend: BackendName = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
    jobs: int = 1,
) -> Network:
    """The network of a shipped model's name or a file, on the backend that suits.

    Unasked that is ONNX Runtime on the CPU where it is installed and the model is there as ONNX, and torch otherwise.
    `threads` serve each of the `jobs` that call it at once; unasked they share all cores.
    A file is tried out before it is trusted with a recording. Raises CheckpointError when there is no such model or it
    does not make sound, ConfigError when the backend cannot do what is asked.
    """
    name = str(model)
    file = find_onnx(name)
    able = device in ("auto", "cpu") and precision == "fp32"
    alone = Path(name).suffix == ".onnx"  # torch cannot read it
    wanted = backend == "onnx" or alone
    if backend == "auto" and not wanted:
        wanted = able and file is not None and find_spec("onnxruntime") is not None
        wanted = wanted and (device == "cpu" or not accelerator_there())
    if not wanted:
        from segan_cli.backends.pytorch import TorchNetwork
        from segan_cli.networks.checkpoint import load_model

        network = TorchNetwork(load_model(find_model(name)), device, precision, threads, jobs, name)
        if not is_shipped(name):
            try_out(name, network.config, network)
        return network
    if backend == "torch":
        raise ConfigError(f"{name}: torch does not read ONNX; give the model that it was exported from")
    if not able:
        raise ConfigError("backend onnx: runs on the cpu with precision fp32 alone; leave out --device and --precision")
    if file is None:
        raise ConfigError(f"{find_model(name)}: not there as ONNX; make it so by segan export, or use --backend torch")
    if find_spec("onnxruntime") is None:
        raise ConfigError("backend onnx: onnxruntime is not installed; pip install onnxruntime, or use --backend torch")
    from segan_cli.backends.onnx import OnnxNetwork

    return OnnxNetwork(file, threads, jobs, is_shipped(name))


def accelerator_there() -> bool:
    """Whether this machine looks as if it had a GPU that torch could use; asking torch would mean loading it."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    if platform.system() == "Windows":
        return Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "nvcuda.dll").exists()
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
