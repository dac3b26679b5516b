"""Where a training runs: the device, and the processes that share it when `torchrun` started them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from segan_cli.device import choose_device
from segan_cli.errors import TrainingError

PATIENCE = timedelta(days=1)  # of the others while the first process reads data or validates


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # a constant

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """Numbers of the windows of a batch that are this process'; raises TrainingError when it cannot be shared."""
        if batch_size % self.size:
            raise TrainingError(
                f"batch_size {batch_size} cannot be shared by {self.size} processes; set training.batch_size to a"
                f" multiple of {self.size}"
            )
        n = batch_size // self.size
        return range(self.rank * n, (self.rank + 1) * n)

    def joined(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are averaged over all processes on the way back."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of values [n] over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def open_processes(device: str) -> Iterator[Processes]:
    """The processes that `torchrun` started, or this one alone, each on its device (`auto`, `cpu`, `mps`, `cuda` …).

    Raises ConfigError when there is no such device.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if size == 1:
        yield Processes(device=chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(rank, size, chosen)
    finally:
        distributed.destroy_process_group()
