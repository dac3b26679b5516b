"""Choosing a torch device by name."""

import torch

from segan_cli.errors import ConfigError


def choose_device(name: str, number: int = 0) -> torch.device:
    """Return the device of a name, for "auto" the fastest; process `number` of several gets the GPU of that number.

    Raises ConfigError when there is no such device.
    """
    available = ["cpu"] + ["mps"] * torch.backends.mps.is_available() + ["cuda"] * torch.cuda.is_available()
    if name == "auto":
        name = available[-1]
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name}: unknown; use auto, {', '.join(available)}") from error
    if device.type not in available:
        raise ConfigError(f"device {name}: not available; use auto, {', '.join(available)}")
    if device.type != "cuda":
        return device
    index = number if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise ConfigError(f"device {name}: process {number} needs a GPU of its own, and there are too few")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
