"""The report of an evaluation as plain data, and its JSON, CSV and Markdown forms."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import combinations
from typing import Any

from segan_cli.evaluation.run import CaseScores, EvaluationResult, scores_of
from segan_cli.evaluation.signals import NoiseMix
from segan_cli.evaluation.statistics import differences, summarise
from segan_cli.measures.catalog import MEASURES, rate_for
from segan_cli.measures.score import Score, Undefined, defined
from segan_cli.text import counted, printable, utf8

FORMAT = 2  # version of the report
FORMULA_PREFIXES = tuple("=+-@\t\r\n＝＋－＠")  # a spreadsheet evaluates cells that start with one of these
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MARKDOWN_SPECIALS = re.compile(r"([\\`*_<>|#]|\](?=[(\[]))")
LIMIT_TOLERANCE = 5e-4  # within which a score is at the end of its range
BOUNDS, SIGNED_BOUNDS = " [{low:.3f}, {high:.3f}]", " [{low:+.3f}, {high:+.3f}]"
MAX_GROUPS = 12  # values of a label for which scores are broken down by default

Report = dict[str, Any]


def build_report(result: EvaluationResult, provenance: Mapping[str, Any], columns: Sequence[str] = ()) -> Report:
    """Collect an evaluation as JSON data, with scores by label; without `columns`, those of few values."""
    cases, systems, measures = result.cases, result.systems, result.measures
    return {
        "format": FORMAT,
        **provenance,
        "measures": {name: describe_measure(name) for name in measures},
        "systems": list(systems),
        "recordings": len(cases),
        "inputs": result.inputs,
        "summary": summarise_systems(result, cases),
        "differences": compare_systems(result),
        "breakdown": {
            column: [
                {"value": value, "recordings": len(group), "summary": summarise_systems(result, group)}
                for value, group in group_by(cases, column)
            ]
            for column in (columns or default_columns(cases))
        },
        "files": [describe_case(case) for case in cases],
    }


def describe_measure(name: str) -> dict[str, Any]:
    """Label, unit, range and source of a measure."""
    measure = MEASURES[name]
    return {
        "label": measure.label,
        "unit": "dB" if name.endswith("_db") else "",
        "range": [bound if math.isfinite(bound) else None for bound in measure.range],
        "higher_is_better": measure.higher_is_better,
        "source": measure.source,
    }


def describe_case(scored: CaseScores) -> dict[str, Any]:
    """Name, labels, files and scores of a case."""
    case = scored.case
    noisy = None if isinstance(case.noisy, NoiseMix) else str(case.noisy)
    return {
        "name": case.name,
        "labels": case.labels,
        "paths": {"noisy": noisy, "clean": str(case.clean) if case.clean else None},
        "scores": {
            system: {name: {"undefined": s.reason} if isinstance(s, Undefined) else s for name, s in scores.items()}
            for system, scores in scored.scores.items()
        },
    }


def summarise_systems(result: EvaluationResult, cases: Sequence[CaseScores]) -> dict[str, dict[str, dict[str, Any]]]:
    """Statistics of some cases by system and measure."""
    return {system: summarise_system(cases, system, result.measures) for system in result.systems}


def summarise_system(cases: Sequence[CaseScores], system: str, measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Statistics of one system by measure."""
    own = [scored for scored in cases if system in scored.results]
    all_copies = bool(own) and all(scored.results[system].is_copy for scored in own)
    return {
        name: asdict(summarise(scores_of(cases, system, name)))
        | {"why": explain(scores_of(own or cases, system, name), MEASURES[name].range, all_copies)}
        for name in measures
    }


def explain(scores: Sequence[Score], bounds: tuple[float, float], all_copies: bool) -> str | None:
    """Why a measure is not informative for a system: it is undefined, or at one end of its range, in all recordings."""
    values, copies = defined(scores), ", as for any copy of the clean recordings" * all_copies
    if not values:
        reasons = sorted({score.reason for score in scores if isinstance(score, Undefined)})
        return f"{', '.join(reasons)}{copies * (reasons == ['no distortion'])}"
    for bound, side in zip(bounds, ("lowest", "highest"), strict=True):
        if all(abs(value - bound) <= LIMIT_TOLERANCE for value in values):
            return f"the {side} possible value{copies}"
    return None


def compare_systems(result: EvaluationResult) -> list[dict[str, Any]]:
    """Paired differences of each system against the noisy signals, then of each pair of systems."""

    def difference(first: str, second: str, measure: str) -> dict[str, Any]:
        baseline, scores = (scores_of(result.cases, system, measure) for system in (first, second))
        return asdict(summarise(differences(scores, baseline, MEASURES[measure].higher_is_better)))

    return [
        {
            "system": second,
            "against": first,
            "measures": {name: difference(first, second, name) for name in result.measures},
        }
        for first, second in combinations(result.systems, 2)  # the first system is the noisy input
    ]


def default_columns(cases: Sequence[CaseScores]) -> list[str]:
    """Labels with at least two distinct values, but not many."""
    columns = list(dict.fromkeys(column for scored in cases for column in scored.case.labels))
    return [column for column in columns if 2 <= len(group_by(cases, column)) <= MAX_GROUPS]


def group_by(cases: Sequence[CaseScores], column: str) -> list[tuple[str, list[CaseScores]]]:
    """Cases grouped by the value of a label; numbers in ascending order, then text."""
    groups: dict[str, list[CaseScores]] = {}
    for scored in cases:
        groups.setdefault(scored.case.labels.get(column, ""), []).append(scored)

    def order(value: str) -> tuple[int, float, str]:
        with suppress(ValueError):
            if math.isfinite(float(value)):
                return 0, float(value), ""
        return 1, 0.0, value

    return [(value, groups[value]) for value in sorted(groups, key=order)]


def to_csv(report: Report) -> str:
    """Format a report as CSV: a row per recording with its labels and scores; undefined scores are empty."""
    columns = list(dict.fromkeys(column for file in report["files"] for column in file["labels"]))
    scores = [(system, measure) for system in report["systems"] for measure in report["measures"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    of_scores = [f"{system} {measure}" for system, measure in scores]
    of_labels = [f"label {column}" if column in of_scores else column for column in columns]
    writer.writerow([csv_text(heading) for heading in ("name", *of_labels, *of_scores)])
    for file in report["files"]:
        values = [file["scores"].get(system, {}).get(measure) for system, measure in scores]
        cells = [repr(score) if isinstance(score, float) and math.isfinite(score) else "" for score in values]
        labels = [file["name"], *(file["labels"].get(column, "") for column in columns)]
        writer.writerow([*map(csv_text, labels), *cells])
    return text.getvalue()


def csv_text(cell: str) -> str:
    """Encode a text cell as UTF-8, with an apostrophe in front of anything a spreadsheet would evaluate."""
    formula = cell.startswith(FORMULA_PREFIXES) and not NUMBER.fullmatch(cell)
    return f"'{utf8(cell)}" if formula else utf8(cell)


def to_markdown(report: Report) -> str:
    """Format a report as Markdown tables: means, differences and breakdowns."""
    headings = [measure_label(report, name) for name in report["measures"]]
    parts = [
        f"Means over {counted(report['recordings'], 'recording')}, with 95 % confidence intervals.",
        markdown_table(
            ["system", *headings], [[s, *format_cells(report["summary"][s], BOUNDS)] for s in report["systems"]]
        ),
    ]
    if report["differences"]:
        rows = [
            [f"{d['system']} - {d['against']}", *format_cells(d["measures"], SIGNED_BOUNDS, "+")]
            for d in report["differences"]
        ]
        changes = [measure_label(report, name, change=True) for name in report["measures"]]
        parts += ["Paired differences.", markdown_table(["systems", *changes], rows)]
    for column, groups in report["breakdown"].items():
        rows = [
            [f"{group['value'] or '(none)'} ({group['recordings']})", s, *format_cells(group["summary"][s])]
            for group in groups
            for s in report["systems"]
        ]
        heading = [f"{column} (recordings)", "system", *headings]
        parts += [f"By {escape_markdown(column)}.", markdown_table(heading, rows)]
    skipped = [f"skipped: {line}" for line in report["inputs"]["skipped"]]
    parts += ["\n".join(f"- {escape_markdown(line)}" for line in input_notes(report) + skipped)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its cells escaped."""
    lines = [[escape_markdown(cell) for cell in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it literally."""
    return MARKDOWN_SPECIALS.sub(r"\\\1", printable(text))


def measure_label(report: Report, name: str, change: bool = False) -> str:
    """Label and unit of a measure, with an arrow if lower values, or those nearer to 0, are better.

    `change`: of its differences, which are those of the absolute value if 0 is best.
    """
    measure = report["measures"][name]
    label, up = str(measure["label"]), measure["higher_is_better"]
    if up is None and change:
        label, up = f"|{label}|", False
    return label + (f" ({measure['unit']})" if measure["unit"] else "") + {True: "", False: " ↓", None: " → 0"}[up]


def format_cells(summaries: Mapping[str, Any], interval: str = "", sign: str = "") -> list[str]:
    """Table cells with the mean, interval and number of undefined scores of each measure.

    `interval` is a format of `low`, `high` and `half`, the half-width; `sign` is "+" to show that of the mean.
    """
    cells = []
    for summary in summaries.values():
        mean, low, high = summary["mean"], summary["low"], summary["high"]
        between = "" if low is None else interval.format(low=low, high=high, half=(high - low) / 2)
        undefined = f" ({summary['undefined']} undefined)" if summary["undefined"] else ""
        cells.append("undefined" if mean is None else f"{mean:{sign}.3f}{between}{undefined}")
    return cells


def input_notes(report: Report) -> list[str]:
    """Lines on inputs that were resampled, downmixed, truncated or delayed, and on measures that say nothing."""
    inputs = report["inputs"]
    lines = []
    rate_hz = rate_for(report["measures"])
    rates = {rate: n for rate, n in inputs["rates_hz"].items() if rate != str(rate_hz)}
    if rates:
        counts = ", ".join(f"{counted(n, 'file')} at {rate} Hz" for rate, n in rates.items())
        lines.append(f"resampled to {rate_hz // 1000} kHz: {counts}")
    multichannel = sum(n for channels, n in inputs["channels"].items() if channels != "1")
    if multichannel:
        lines.append(f"downmixed to mono: {counted(multichannel, 'file')}")
    if inputs["truncated"]:
        lines.append(f"truncated to the shorter signal: {counted(inputs['truncated'], 'pair')}")
    for system, delay in inputs["delays"].items():
        direction = "late" if delay > 0 else "early"
        action = "compensated before scoring" if inputs["aligned"] else "not compensated; use --align"
        lines.append(f"{system} is {counted(abs(delay), 'sample')} ({abs(delay) / 16:.2f} ms) {direction}: {action}")
    for system, summaries in report["summary"].items():
        labels: dict[str, list[str]] = {}
        for name, summary in summaries.items():
            if summary["why"]:
                label = report["measures"][name]["label"]
                labels.setdefault(summary["why"], []).append(label + " undefined" * (summary["mean"] is None))
        lines += [f"{system}, in all recordings: {', '.join(found)}: {why}" for why, found in labels.items()]
    return lines
