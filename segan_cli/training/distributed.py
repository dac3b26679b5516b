"""The device and the processes of a training run: one, or several started by `torchrun`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from segan_cli.backends.pytorch import choose_device
from segan_cli.errors import TrainingError

TIMEOUT = timedelta(days=1)  # of the other processes while the first reads data or validates


@dataclass(frozen=True)
class Processes:
    """This process and its rank among those that train together."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # a constant

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and prints."""
        return self.rank == 0

    def local_indices(self, batch_size: int) -> range:
        """Indices of this process's segments in a batch; raises TrainingError if the batch cannot be divided evenly."""
        if batch_size % self.world_size:
            raise TrainingError(
                f"batch_size {batch_size} cannot be divided among {self.world_size} processes; set"
                f" training.batch_size to a multiple of {self.world_size}"
            )
        n = batch_size // self.world_size
        return range(self.rank * n, (self.rank + 1) * n)

    def wrap_ddp(self, module: nn.Module) -> nn.Module:
        """The module wrapped in DistributedDataParallel, or itself if there is one process."""
        if self.world_size == 1:
            return module
        return DistributedDataParallel(module)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of values over all processes, in place if there are several."""
        if self.world_size > 1:
            distributed.all_reduce(values)
            values /= self.world_size
        return values

    def all_reduce_metrics(self, metrics: dict[str, float], stop: bool) -> tuple[dict[str, float], bool]:
        """The mean of each metric over all processes, and whether any of them received a signal to stop."""
        if self.world_size == 1:
            return metrics, stop
        values = torch.tensor([*metrics.values(), float(stop)], dtype=torch.float32, device=self.device)
        *means, stopping = self.mean(values).tolist()
        return dict(zip(metrics, means, strict=True)), stopping > 0

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Values [n, …] of all processes in the order of their ranks, [world_size · n, …]."""
        if self.world_size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world_size)]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            distributed.barrier()


@contextmanager
def open_processes(device: str) -> Iterator[Processes]:
    """The processes of `torchrun`, or this one alone, each on its device; raises ConfigError if it is not available."""
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if size == 1:
        yield Processes(device=chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(rank, size, chosen)
    finally:
        distributed.destroy_process_group()
