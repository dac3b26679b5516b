"""Windows for every step of a training, rendered ahead in worker processes.

What a window holds depends on nothing but the seed, the step, the turn in it and the window's number in the batch. So
any step can be drawn again, a resumed training sees what it would have seen, and processes share a batch by number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segan_cli.data.mixing import Source, Spec
from segan_cli.workers import belong

AHEAD = 4  # batches that each worker keeps ready

Key = tuple[int, int, int]  # step, turn, number of the window in the batch


@dataclass(frozen=True)
class Windows:
    """Which windows a process gets at every step."""

    seed: int
    length: int  # samples of a window
    turns: int  # batches a step …
    start: int  # … from this step on, one before
    numbers: range  # this process' part of a batch


class Drawn(Dataset[tuple[Tensor, Tensor, Key]]):
    """Every window there could be, by key."""

    def __init__(self, source: Source, windows: Windows) -> None:
        self.source, self.windows = source, windows

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, Key]:
        """noisy [1, length], clean [1, length] and the key."""
        noisy, clean = (torch.from_numpy(side)[None] for side in self.source.render(self.spec(key)))
        return noisy, clean, key

    def spec(self, key: Key) -> Spec:
        """What is drawn for a window."""
        return self.source.draw(window_rng(self.windows.seed, key), self.windows.length)


def window_rng(seed: int, key: Key, *purpose: int) -> np.random.Generator:
    """The random draws of one window; a `purpose` gives others."""
    return np.random.default_rng((seed, *key, *purpose))


def batches(
    source: Source, windows: Windows, first_step: int, workers: int, pin: bool = False
) -> Iterator[tuple[Tensor, Tensor, list[Key]]]:
    """noisy [B, 1, length], clean [B, 1, length] and their keys, turn by turn from a step on, without end."""
    return iter(
        DataLoader(
            Drawn(source, windows),
            batch_sampler=_Turns(windows, first_step),
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=_begin,
            prefetch_factor=AHEAD if workers else None,
            pin_memory=pin,
        )
    )


def _begin(worker: int) -> None:
    del worker
    belong()


class _Turns:
    """The keys of every batch from a step on."""

    def __init__(self, windows: Windows, first_step: int) -> None:
        self.windows, self.first_step = windows, first_step

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first_step
        while True:
            for turn in range(self.windows.turns if step >= self.windows.start else 1):
                yield [(step, turn, number) for number in self.windows.numbers]
            step += 1


def collate(items: list[tuple[Tensor, Tensor, Key]]) -> tuple[Tensor, Tensor, list[Key]]:
    """Windows as a batch."""
    noisy, clean, keys = zip(*items, strict=True)
    return torch.stack(noisy), torch.stack(clean), list(keys)


def drawn_apart(source: Source, windows: Windows, n: int) -> tuple[Tensor, Tensor, list[Key]]:
    """n windows that belong to no step: noisy [n, 1, length], clean [n, 1, length] and their keys."""
    drawn = Drawn(source, windows)
    return collate([drawn[0, windows.turns, number] for number in range(n)])
