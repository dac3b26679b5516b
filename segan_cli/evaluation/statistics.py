"""Means, medians and bootstrap intervals, of scores and of differences between systems."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from segan_cli.measures.score import Score, Undefined, defined

CONFIDENCE = 0.95
RESAMPLES = 9_999


@dataclass(frozen=True)
class Summary:
    """What is known of the mean of a measure; none where nothing was defined."""

    mean: float | None
    median: float | None
    low: float | None  # bounds of the interval of the mean (bootstrap, percentiles); none below two scores
    high: float | None
    defined: int
    undefined: int


def summarise(scores: Sequence[Score]) -> Summary:
    """Over the defined scores; the same for the same scores in any order."""
    values = np.sort(defined(scores))
    if not len(values):
        return Summary(None, None, None, None, 0, len(scores))
    low = high = None
    if len(values) > 1:
        interval = bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=0
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    undefined = len(scores) - len(values)
    return Summary(float(np.mean(values)), float(np.median(values)), low, high, len(values), undefined)


def differences(ours: Sequence[Score], theirs: Sequence[Score]) -> list[Score]:
    """Ours less theirs, file by file; undefined where either is."""
    return [
        a if isinstance(a, Undefined) else b if isinstance(b, Undefined) else a - b
        for a, b in zip(ours, theirs, strict=True)
    ]
