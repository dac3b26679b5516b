"""Means, medians and confidence intervals of scores and of paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import sem, t

from segan_cli.measures.score import Score, Undefined, defined

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Statistics of one measure; None where no score is defined."""

    mean: float | None
    median: float | None
    low: float | None  # of Student's interval of the mean; None for fewer than two scores
    high: float | None
    defined: int
    undefined: int


def summarise(scores: Sequence[Score]) -> Summary:
    """Statistics of the defined scores; independent of their order."""
    values = np.sort(defined(scores))
    if not len(values):
        return Summary(None, None, None, None, 0, len(scores))
    low = high = None
    if len(values) > 1:
        half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * sem(values)
        low, high = float(np.mean(values) - half), float(np.mean(values) + half)
    undefined = len(scores) - len(values)
    return Summary(float(np.mean(values)), float(np.median(values)), low, high, len(values), undefined)


def differences(
    scores: Sequence[Score], baseline: Sequence[Score], higher_is_better: bool | None = True
) -> list[Score]:
    """Paired differences, scores minus baseline; undefined where either score is.

    If `higher_is_better` is None, 0 is best, and they are the differences of absolute values.
    """
    size = abs if higher_is_better is None else float
    return [
        a if isinstance(a, Undefined) else b if isinstance(b, Undefined) else size(a) - size(b)
        for a, b in zip(scores, baseline, strict=True)
    ]
