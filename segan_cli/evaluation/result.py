"""What came out of an evaluation: the scores of all cases, and what their signals had in common."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segan_cli.evaluation.cases import NOISY, Case
from segan_cli.evaluation.scoring import ScoringResult
from segan_cli.evaluation.signals import Model, Output
from segan_cli.measures.score import Score, Undefined

Outcomes = dict[str, ScoringResult | str]  # system → result, or the reason why there is none

DELAY_AGREEMENT = 0.8  # fraction of a system's files that must share a delay
DELAY_TOLERANCE = 1  # samples by which shared delays may differ


@dataclass(frozen=True)
class CaseScores:
    """A case, and the result of every system that could be scored for it."""

    case: Case
    results: Mapping[str, ScoringResult]

    @property
    def scores(self) -> dict[str, dict[str, Score]]:
        """Scores by system and measure."""
        return {system: result.scores for system, result in self.results.items()}


@dataclass(frozen=True)
class InputSummary:
    """Properties of the scored files, and a line for each file that was skipped."""

    found: int  # recordings, with those that were skipped
    skipped: list[str]
    rates_hz: dict[str, int]  # sample rate → files
    channels: dict[str, int]  # number of channels → files
    truncated: int  # pairs of unequal length
    delays: dict[str, int]  # system → constant delay in samples at 16 kHz
    aligned: bool  # whether the delays were compensated before scoring


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of all cases."""

    cases: tuple[CaseScores, ...]
    systems: tuple[str, ...]
    measures: tuple[str, ...]
    inputs: InputSummary
    models: Mapping[str, Model]  # those of the systems that are models


def collect(cases: Sequence[Case], outcomes: Mapping[str, Outcomes]) -> tuple[list[CaseScores], list[str]]:
    """The cases whose noisy signal could be scored, and a line for each signal that could not.

    If a noisy signal fails, the outputs of models for it are not listed too.
    """
    scored, skipped = [], []
    for case in cases:
        results = {name: r for name, r in outcomes[case.name].items() if isinstance(r, ScoringResult)}
        failed = {name: r for name, r in outcomes[case.name].items() if isinstance(r, str)}
        if NOISY in results:
            scored.append(CaseScores(case, results))
        else:
            failed = {name: reason for name, reason in failed.items() if not isinstance(case.signals[name], Output)}
        skipped += sorted(set(failed.values()))
    return scored, skipped


def summarise_inputs(
    scored: Sequence[CaseScores], found: int, skipped: list[str], delays: dict[str, int], aligned: bool
) -> InputSummary:
    """Count sample rates, channels and truncated pairs; each file counts once, a clean one with its noisy one."""
    results = [(system, result) for row in scored for system, result in row.results.items()]
    formats = [
        file for system, result in results for file in result.formats[0 if system == NOISY else 1 :] if file is not None
    ]
    counts = (Counter(column) for column in zip(*formats, strict=True)) if formats else ({}, {})
    rates_hz, channels = ({str(key): n for key, n in sorted(count.items())} for count in counts)
    truncated = sum(result.truncated for _, result in results)
    return InputSummary(found, skipped, rates_hz, channels, truncated, delays, aligned)


def constant_delays(outcomes: Mapping[str, Outcomes], systems: Sequence[str]) -> dict[str, int]:
    """The delay that nearly all signals of a system share, by system; none for a system without such a delay."""
    delays = {}
    for system in systems:
        results = [by_system.get(system) for by_system in outcomes.values()]
        known = [r.delay for r in results if isinstance(r, ScoringResult) and r.delay is not None]
        median = int(np.median(known)) if known else 0
        agreement = np.mean([abs(delay - median) <= DELAY_TOLERANCE for delay in known]) if known else 0.0
        if abs(median) > DELAY_TOLERANCE and agreement >= DELAY_AGREEMENT:
            delays[system] = median
    return delays


def scores_of(cases: Sequence[CaseScores], system: str, measure: str) -> list[Score]:
    """One measure of one system over all cases; undefined where the system has no file."""
    return [case.results[system].scores[measure] if system in case.results else Undefined("no file") for case in cases]
