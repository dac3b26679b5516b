"""The device of a name."""

import torch

from segan_cli.errors import ConfigError


def choose_device(name: str, number: int = 0) -> torch.device:
    """The device of a name, `auto` being the fastest there is; `number` tells processes with a GPU each apart.

    Raises ConfigError when there is no such device.
    """
    there = ["cpu"] + ["mps"] * torch.backends.mps.is_available() + ["cuda"] * torch.cuda.is_available()
    if name == "auto":
        name = there[-1]
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name}: no such kind; use auto, {', '.join(there)}") from error
    if device.type not in there:
        raise ConfigError(f"device {name}: not available here; use auto, {', '.join(there)}")
    if device.type != "cuda":
        return device
    index = number if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise ConfigError(f"device {name}: process {number} needs a GPU of its own, and there are too few")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
