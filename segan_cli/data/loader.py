"""Segments for every step of a training, rendered ahead in worker processes.

A segment depends only on the seed, the step, the round within the step and its index in the batch. Any step can
therefore be drawn again, a resumed training gets the segments that it would have got, and processes divide a batch by
index.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segan_cli.data.mixing import Source, Spec
from segan_cli.workers import init_worker

AHEAD = 4  # batches that each worker keeps ready

Key = tuple[int, int, int]  # step, round within the step, index in the batch


@dataclass(frozen=True)
class SamplingPlan:
    """Which segments a process gets at every step."""

    seed: int
    length: int  # samples of a segment
    rounds: int  # batches in a step …
    start: int  # … from this step on; one before
    indices: range  # this process' part of a batch


class MixtureDataset(Dataset[tuple[Tensor, Tensor, Key]]):
    """Every possible segment by its key."""

    def __init__(self, source: Source, plan: SamplingPlan) -> None:
        self.source, self.plan = source, plan

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, Key]:
        """noisy [1, length], clean [1, length] and the key."""
        noisy, clean = (torch.from_numpy(side)[None] for side in self.source.render(self.spec(key)))
        return noisy, clean, key

    def spec(self, key: Key) -> Spec:
        """What is drawn for a segment."""
        return self.source.draw(segment_rng(self.plan.seed, key), self.plan.length)


def segment_rng(seed: int, key: Key, *purpose: int) -> np.random.Generator:
    """The random generator of one segment; each `purpose` has one of its own."""
    return np.random.default_rng((seed, *key, *purpose))


def batches(
    source: Source, plan: SamplingPlan, first_step: int, workers: int, pin: bool = False
) -> Iterator[tuple[Tensor, Tensor, list[Key]]]:
    """noisy [B, 1, length], clean [B, 1, length] and their keys, from a step on, without end."""
    return iter(
        DataLoader(
            MixtureDataset(source, plan),
            batch_sampler=_Keys(plan, first_step),
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=_begin,
            prefetch_factor=AHEAD if workers else None,
            pin_memory=pin,
        )
    )


def _begin(worker: int) -> None:
    del worker
    init_worker()


class _Keys:
    """The keys of every batch from a step on."""

    def __init__(self, plan: SamplingPlan, first_step: int) -> None:
        self.plan, self.first_step = plan, first_step

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first_step
        while True:
            for round in range(self.plan.rounds if step >= self.plan.start else 1):
                yield [(step, round, index) for index in self.plan.indices]
            step += 1


def collate(items: list[tuple[Tensor, Tensor, Key]]) -> tuple[Tensor, Tensor, list[Key]]:
    """Segments as a batch."""
    noisy, clean, keys = zip(*items, strict=True)
    return torch.stack(noisy), torch.stack(clean), list(keys)


def draw_extra(source: Source, plan: SamplingPlan, n: int) -> tuple[Tensor, Tensor, list[Key]]:
    """n segments that belong to no step: noisy [n, 1, length], clean [n, 1, length] and their keys."""
    dataset = MixtureDataset(source, plan)
    return collate([dataset[0, plan.rounds, index] for index in range(n)])
