"""A generator in torch, on any device."""

import os
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.backends.device import choose_device
from segan_cli.backends.network import Network, Precision
from segan_cli.errors import ConfigError
from segan_cli.networks.checkpoint import Model
from segan_cli.system import cpu_count

Array = NDArray[np.float32]

ON_CPU, ON_ACCELERATOR = 16, 128  # windows at once


class TorchNetwork(Network):
    """A model's generator as a function on arrays."""

    def __init__(
        self,
        model: Model,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        jobs: int = 1,
        name: str | None = None,
    ) -> None:
        """`threads` serve each of the `jobs` that call it at once; unasked they share all cores.

        `name` is how the model is called, unasked by its preset. Raises ConfigError when there is no such device.
        """
        self.name, self.process = name or model.config.preset, os.getpid()
        if threads is not None or jobs > 1:
            torch.set_num_threads(threads or max(1, cpu_count() // jobs))
        self.config, self.generator = model.config, model.generator
        self.device = choose_device(device)
        self.low = precision == "bf16"
        self.batch = ON_ACCELERATOR if self.device.type != "cpu" else ON_CPU
        self.most: int | None = None  # windows that the device's memory holds, where it has run out
        self.generator.to(self.device)

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Run windows [B, 1, window], in as many parts as the device's memory asks for; a GPU is not waited for."""
        self._at_home()
        parts: list[torch.Tensor] = []
        while (first := sum(map(len, parts))) < len(noisy):
            here = slice(first, first + (self.most or len(noisy)))
            try:
                parts.append(self._run(noisy[here], None if z is None else z[here]))
            except torch.OutOfMemoryError:
                n_windows = len(noisy[here])
                if n_windows == 1:
                    raise
                self.most = n_windows // 2
        return lambda: np.concatenate([part.cpu().numpy() for part in parts])

    def _at_home(self) -> None:
        """Make the network fit for a process that was forked off, which torch's threads did not come along to."""
        if self.process == os.getpid():
            return
        if self.device.type != "cpu":
            raise ConfigError(
                f"device {self.device}: not to be had in a process that was forked off; make its Enhancer there"
            )
        torch.set_num_threads(1)
        self.process = os.getpid()

    def _run(self, noisy: Array, z: Array | None) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            enhanced: torch.Tensor = self.generator(self._there(noisy), None if z is None else self._there(z))
            return enhanced.float()

    def _there(self, values: Array) -> torch.Tensor:
        """An array on the device; a GPU fetches it by itself from pinned memory."""
        here = torch.from_numpy(values)
        return (here.pin_memory() if self.device.type == "cuda" else here).to(self.device, non_blocking=True)
