"""Load training segments ahead of time in worker processes.

A segment depends only on the seed, the step, the round within the step and its index in the batch. Any step can
therefore be rendered again, a resumed training sees the segments it would have seen, and processes share a batch by
index.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segan_cli.data.mixing import ExampleSource, ExampleSpec
from segan_cli.data.random_streams import Purpose, random_stream
from segan_cli.process.workers import init_worker

PREFETCH = 4  # batches per worker

Key = tuple[int, int, int]  # step, round within the step, index in the batch


@dataclass(frozen=True)
class SamplingPlan:
    """Which segments a process loads at each step."""

    seed: int
    length: int  # samples per segment
    rounds: int  # batches per step from step `start` on; earlier steps have one
    start: int
    indices: range  # of the batch, for this process


class MixDataset(Dataset[tuple[Tensor, Tensor, Key]]):
    """All possible segments by key."""

    def __init__(self, source: ExampleSource, plan: SamplingPlan) -> None:
        self.source, self.plan = source, plan

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, Key]:
        """noisy [1, length], clean [1, length] and the key."""
        noisy, clean = (torch.from_numpy(side)[None] for side in self.source.render(self.spec(key)))
        return noisy, clean, key

    def spec(self, key: Key) -> ExampleSpec:
        """The random choices for a segment."""
        return self.source.draw(random_stream(self.plan.seed, Purpose.SEGMENT, *key), self.plan.length)


def batches(
    source: ExampleSource, plan: SamplingPlan, first_step: int, workers: int, pin: bool = False
) -> Iterator[tuple[Tensor, Tensor, list[Key]]]:
    """Endless batches from a step on: noisy [B, 1, length], clean [B, 1, length] and their keys."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: the user's choice
        return iter(DataLoader(
            MixDataset(source, plan), batch_sampler=keys_from(plan, first_step), num_workers=workers,
            pin_memory=pin, collate_fn=collate, worker_init_fn=init_worker,
            prefetch_factor=PREFETCH if workers else None,
        ))  # fmt: skip


def keys_from(plan: SamplingPlan, first_step: int) -> Iterator[list[Key]]:
    """The keys of every batch from a step on."""
    for step in count(first_step):
        for round in range(plan.rounds if step >= plan.start else 1):
            yield [(step, round, index) for index in plan.indices]


def collate(items: list[tuple[Tensor, Tensor, Key]]) -> tuple[Tensor, Tensor, list[Key]]:
    """Stack segments into a batch."""
    noisy, clean, keys = zip(*items, strict=True)
    return torch.stack(noisy), torch.stack(clean), list(keys)


def draw_extra(source: ExampleSource, plan: SamplingPlan, n: int) -> tuple[Tensor, Tensor, list[Key]]:
    """n segments that no step uses: noisy [n, 1, length], clean [n, 1, length] and their keys."""
    dataset = MixDataset(source, plan)
    return collate([dataset[0, plan.rounds, index] for index in range(n)])
