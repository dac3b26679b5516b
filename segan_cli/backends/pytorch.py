"""A generator in torch, on any device."""

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.backends.network import Precision
from segan_cli.checkpoint import Model
from segan_cli.device import choose_device

Array = NDArray[np.float32]


class TorchNetwork:
    """A model's generator as a function on arrays."""

    def __init__(
        self, model: Model, device: str = "auto", precision: Precision = "fp32", threads: int | None = None
    ) -> None:
        """`threads` are all of the process's; raises ConfigError when there is no such device."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.config, self.generator = model.config, model.generator
        self.device = choose_device(device)
        self.low = precision == "bf16"
        self.generator.to(self.device)

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """noisy [B, 1, window] → enhanced, same shape."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            latent = None if z is None else torch.from_numpy(z).to(self.device)
            enhanced: Array = self.generator(torch.from_numpy(noisy).to(self.device), latent).float().cpu().numpy()
        return enhanced
