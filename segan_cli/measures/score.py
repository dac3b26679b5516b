"""Scores: a number, or Undefined with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]
RATE_HZ = 16_000  # of the signals of all measures but those of the high band


@dataclass(frozen=True)
class Undefined:
    """A measure has no value for a pair."""

    reason: str


Score = float | Undefined


def defined(scores: Sequence[Score]) -> list[float]:
    """The scores that are numbers."""
    return [score for score in scores if not isinstance(score, Undefined)]


def mean(scores: Sequence[Score]) -> float | None:
    """Mean of the defined scores, None if there are none."""
    values = defined(scores)
    return sum(values) / len(values) if values else None
