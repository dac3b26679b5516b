"""Experience replay for a metric discriminator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """What the discriminator is trained on: candidates, their condition, and their measured quality."""

    clean: Tensor  # [B, 1, T]
    enhanced: Tensor  # [B, 1, T]
    noisy: Tensor  # [B, 1, T]
    quality: Tensor | None = None  # [2 B] of enhanced and of noisy, for a metric objective

    def tensors(self) -> list[Tensor]:
        """The tensors with examples along the first dimension: [B, …] each, quality as [B, 2]."""
        assert self.quality is not None
        return [self.clean, self.enhanced, self.noisy, self.quality.view(2, -1).T]

    @classmethod
    def from_tensors(cls, tensors: list[Tensor]) -> "Examples":
        """The inverse of `tensors`."""
        clean, enhanced, noisy, quality = tensors
        return cls(clean, enhanced, noisy, quality.T.flatten())


class ReplayBuffer:
    """Examples of earlier steps, which keep a metric discriminator from forgetting them (arXiv 2104.03538).

    Each step adds examples; in a full buffer they overwrite others at random.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[Tensor] = []  # `Examples.tensors`, on the CPU

    def __len__(self) -> int:
        return len(self.kept[0]) if self.kept else 0

    def add(self, examples: Examples, rng: np.random.Generator) -> None:
        """Add examples, no more than the size."""
        new = [tensor[: self.size].detach().cpu() for tensor in examples.tensors()]
        n_free = self.size - len(self)
        slots = torch.from_numpy(rng.choice(len(self), max(0, len(new[0]) - n_free), replace=False))
        if n_free:
            old = self.kept or [tensor[:0] for tensor in new]
            self.kept = [torch.cat((kept, tensor[:n_free])) for kept, tensor in zip(old, new, strict=True)]
        for kept, tensor in zip(self.kept, new, strict=True):
            kept[slots] = tensor[n_free:]

    def extended(self, examples: Examples, n: int, rng: np.random.Generator) -> Examples:
        """The examples and up to n of the buffer, drawn without replacement."""
        n = min(n, len(self))
        if n == 0:
            return examples
        drawn = torch.from_numpy(rng.choice(len(self), n, replace=False))
        tensors = zip(examples.tensors(), self.kept, strict=True)
        return Examples.from_tensors([torch.cat((new, old[drawn].to(new.device))) for new, old in tensors])

    def state_dict(self) -> dict[str, Any]:
        """The kept examples."""
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore kept examples, as many as the size allows."""
        self.kept = [tensor[: self.size].cpu() for tensor in state["kept"]] if self.size else []
