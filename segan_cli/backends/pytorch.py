"""The torch backend, on any device."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from segan_cli.arrays import Array
from segan_cli.backends.network import Network, Precision, check_device
from segan_cli.errors import ConfigError
from segan_cli.networks.checkpoint import Model
from segan_cli.system import cpu_count

CPU_BATCH, ACCELERATOR_BATCH = 16, 128  # segments


class TorchNetwork(Network):
    """The generator of a loaded model."""

    def __init__(
        self, model: Model, device: str = "auto", precision: Precision = "fp32", threads: int | None = None,
        jobs: int = 1, name: str | None = None, path: Path | None = None,
    ) -> None:  # fmt: skip
        """Move the generator to the device; `threads` are for each of `jobs` calls at once. Raises ConfigError."""
        self.name, self.path, self.pid = name or model.config.preset, path, os.getpid()
        if threads is not None or jobs > 1:
            torch.set_num_threads(threads or max(1, cpu_count() // jobs))
        self.config, self.generator = model.config, model.generator
        self.device = choose_device(device)
        self.description = f"torch on {self.device}"
        self.bf16 = precision == "bf16"
        self.batch = ACCELERATOR_BATCH if self.device.type != "cpu" else CPU_BATCH
        self.max_batch: int | None = None  # segments that fit the memory, once it has run out
        self.generator.to(self.device)

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Start on segments [B, 1, T], in parts that fit the memory of the device; a GPU runs asynchronously."""
        self._check_process()
        parts: list[torch.Tensor] = []
        while (first := sum(map(len, parts))) < len(noisy):
            here = slice(first, first + (self.max_batch or len(noisy)))
            try:
                parts.append(self._run(noisy[here], None if z is None else z[here]))
            except torch.OutOfMemoryError:
                n_segments = len(noisy[here])
                if n_segments == 1:
                    raise
                self.max_batch = n_segments // 2
        return lambda: np.concatenate([part.cpu().numpy() for part in parts])

    def step(self, spectra: Array, state: Array) -> tuple[Array, Array]:
        """Run a causal generator on the next frames, as `Runner.step` says."""
        self._check_process()
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.generator.step(self._to_device(spectra), self._to_device(state))
            mask, state = (output.float().cpu().numpy() for output in outputs)
            return mask, state

    def _check_process(self) -> None:
        """Prepare for a forked process, which does not have the threads of torch."""
        if self.pid == os.getpid():
            return
        if self.device.type != "cpu":
            raise ConfigError(f"device {self.device}: not available in a forked process; make the Enhancer there")
        torch.set_num_threads(1)
        self.pid = os.getpid()

    def _run(self, noisy: Array, z: Array | None) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            enhanced: torch.Tensor = self.generator(self._to_device(noisy), None if z is None else self._to_device(z))
            return enhanced.float()

    def _to_device(self, values: Array) -> torch.Tensor:
        """Copy an array to the device, to a GPU asynchronously."""
        here = torch.from_numpy(values)
        return (here.pin_memory() if self.device.type == "cuda" else here).to(self.device, non_blocking=True)


def choose_device(name: str, number: int = 0) -> torch.device:
    """Return a device by name, for process `number` its own GPU; raises ConfigError when there is none."""
    available = ["cpu"] + ["mps"] * torch.backends.mps.is_available() + ["cuda"] * torch.cuda.is_available()
    if name == "auto":
        name = available[-1]
    check_device(name)
    device = torch.device(name)
    if device.type not in available:
        raise ConfigError(f"device {name}: not available; use auto, {', '.join(available)}")
    if device.type != "cuda":
        return device
    index = number if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise ConfigError(f"device {name}: process {number} needs a GPU of its own, and there are too few")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
