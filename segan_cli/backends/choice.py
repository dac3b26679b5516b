"""Choosing the backend for a model and a machine."""

import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from segan_cli.backends.network import BackendName, Network, Precision, check_device, check_network
from segan_cli.backends.pretrained import check_model, find_model, find_onnx, is_shipped
from segan_cli.config.schema import short_repr
from segan_cli.errors import ConfigError
from segan_cli.system import require_extra


def open_network(
    model: str | Path, device: str = "auto", backend: BackendName = "auto", precision: Precision = "fp32",
    threads: int | None = None, jobs: int = 1,
) -> Network:  # fmt: skip
    """Open a shipped model or a model file on a backend.

    Backend "auto" is torch if the machine seems to have a GPU and torch is installed, or if the model does not exist as
    ONNX or the arguments need torch, and ONNX Runtime otherwise.
    `threads` are for each of the `jobs` that call the network at once; by default they share all cores. A file is
    tested on noise first. Raises CheckpointError when there is no such model or it fails the test, ConfigError when the
    backend does not support the arguments.
    """
    name = str(model)
    if backend not in get_args(BackendName):
        raise ConfigError(f"backend {short_repr(backend)}; choose {', '.join(get_args(BackendName))}")
    check_model(name, onnx=backend != "torch")
    check_device(device)
    file = find_onnx(name)
    supported = device in ("auto", "cpu") and precision == "fp32"
    use_onnx = backend == "onnx" or Path(name).suffix.lower() == ".onnx"  # torch cannot read it
    if backend == "auto" and supported and file is not None:
        use_onnx = use_onnx or device == "cpu" or find_spec("torch") is None or not has_accelerator()
    if not use_onnx:
        require_extra("train", f"{name}: torch")
        from segan_cli.backends.pytorch import TorchNetwork
        from segan_cli.networks.checkpoint import load_model

        path = find_model(name)
        network = TorchNetwork(load_model(path), device, precision, threads, jobs, name, path)
        if not is_shipped(name):
            check_network(name, network)
        return network
    if not supported:
        raise ConfigError("backend onnx: supports only device cpu and precision fp32; omit the others")
    if file is None:
        raise ConfigError(f"{find_model(name)}: has no ONNX file; make one with segan export, or use backend torch")
    from segan_cli.backends.onnx import OnnxNetwork

    return OnnxNetwork(file, threads, jobs, trusted=is_shipped(name))


def has_accelerator() -> bool:
    """Whether this machine seems to have a GPU that torch could use, without importing torch."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    if platform.system() == "Windows":
        return Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "nvcuda.dll").exists()
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
