"""The training data of a metric discriminator: measured quality of segments, and examples of earlier steps."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segan_cli.arrays import Array
from segan_cli.measures.score import Undefined
from segan_cli.measures.standard import pesq_wb

QualityMetric = Callable[[Sequence[Array], Sequence[Array]], Tensor]  # clean and degraded waveforms [T] → quality [B]


class Examples(NamedTuple):
    """What the discriminator is trained on: candidates, their condition, and their measured quality."""

    clean: Tensor  # [B, 1, T]
    enhanced: Tensor  # [B, 1, T]
    noisy: Tensor  # [B, 1, T]
    quality: Tensor | None = None  # [B, 2] of enhanced and of noisy, for a metric objective


def pesq_quality(pool: Executor) -> QualityMetric:
    """Wide-band PESQ, as (PESQ + 0.5) / 5 (arXiv 1905.04874), 0.30 … 1.03; NaN if undefined."""

    def quality(clean: Sequence[Array], degraded: Sequence[Array]) -> Tensor:
        scores = pool.map(pesq_wb, clean, degraded)
        return torch.tensor([math.nan if isinstance(score, Undefined) else (score + 0.5) / 5 for score in scores])

    return quality


class ReplayBuffer:
    """Examples of earlier steps for a metric discriminator (arXiv 2104.03538); new ones overwrite others at random."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.examples: list[Tensor] = []  # the fields of `Examples`, on the CPU

    def __len__(self) -> int:
        return len(self.examples[0]) if self.examples else 0

    def add(self, examples: Sequence[Tensor], rng: np.random.Generator) -> None:
        """Add examples, the fields of `Examples`, no more than the size."""
        new = [tensor[: self.size].detach().cpu() for tensor in examples]
        n_free = self.size - len(self)
        slots = torch.from_numpy(rng.choice(len(self), max(0, len(new[0]) - n_free), replace=False))
        if n_free:
            old = self.examples or [tensor[:0] for tensor in new]
            self.examples = [torch.cat((kept, tensor[:n_free])) for kept, tensor in zip(old, new, strict=True)]
        for kept, tensor in zip(self.examples, new, strict=True):
            kept[slots] = tensor[n_free:]

    def extended(self, examples: Examples, n: int, rng: np.random.Generator) -> Examples:
        """The examples and up to n of the buffer, drawn without replacement."""
        n = min(n, len(self))
        if n == 0:
            return examples
        drawn = torch.from_numpy(rng.choice(len(self), n, replace=False))
        both = zip(examples, self.examples, strict=True)
        return Examples(*(torch.cat((new, old[drawn].to(new.device))) for new, old in both if new is not None))

    def state_dict(self) -> dict[str, list[Tensor]]:
        """The kept examples."""
        return {"kept": self.examples}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Restore kept examples, as many as the size allows."""
        self.examples = [tensor[: self.size].cpu() for tensor in state["kept"]] if self.size else []
