"""A run as a report: plain data, and from it JSON, CSV and Markdown."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from segan_cli.evaluation.cases import Mix
from segan_cli.evaluation.run import NOISY, Row, Run, scores_of
from segan_cli.evaluation.statistics import differences, summarise
from segan_cli.measures.catalog import MEASURES
from segan_cli.measures.score import Score, Undefined
from segan_cli.plain_json import write_json
from segan_cli.printable import printable, utf8

FORMAT = 1  # of the report
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a cell that is one begins with
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MARKS = re.compile(r"([\\`*_<>|#]|\](?=[(\[]))")  # of Markdown
MOST_VALUES = 12  # of a column by which scores are broken down unasked

Report = dict[str, Any]


def build(run: Run, about: Mapping[str, Any], columns: Sequence[str] | None = None) -> Report:
    """Everything there is to say of a run, as JSON has it.

    `about` says where it comes from (command, versions, models); `columns` are those to break scores down by, unasked
    all that have few values. Undefined scores are {"undefined": reason}.
    """
    rows, systems, measures = run.rows, run.systems, run.measures
    pairs = [(ours, NOISY) for ours in systems if ours != NOISY]
    others = [system for system in systems if system != NOISY]
    pairs += [(ours, theirs) for i, theirs in enumerate(others) for ours in others[i + 1 :]]
    return {
        "format": FORMAT,
        **about,
        "measures": {
            name: {
                "label": MEASURES[name].label,
                "unit": MEASURES[name].unit,
                "range": [bound if math.isfinite(bound) else None for bound in MEASURES[name].range],
                "higher_is_better": MEASURES[name].higher_is_better,
                "source": MEASURES[name].source,
            }
            for name in measures
        },
        "systems": list(systems),
        "pairs": len(rows),
        "account": {
            "left": run.account.left,
            "rates_hz": {str(rate): n for rate, n in sorted(run.account.rates_hz.items())},
            "channels": {str(channels): n for channels, n in sorted(run.account.channels.items())},
            "cut": run.account.cut,
            "delays": run.account.delays,
            "aligned": run.account.aligned,
        },
        "summary": {system: summary(rows, system, measures) for system in systems},
        "differences": [
            {
                "system": ours,
                "against": theirs,
                "measures": {
                    name: asdict(summarise(differences(scores_of(rows, ours, name), scores_of(rows, theirs, name))))
                    for name in measures
                },
            }
            for ours, theirs in pairs
        ],
        "breakdown": {
            column: [
                {"value": value, "pairs": len(some), "summary": {s: summary(some, s, measures) for s in systems}}
                for value, some in grouped(rows, column)
            ]
            for column in (columns if columns is not None else telling(rows))
        },
        "files": [
            {
                "name": row.case.name,
                "about": row.case.about,
                "paths": {
                    "noisy": None if isinstance(row.case.noisy, Mix) else str(row.case.noisy),
                    "clean": str(row.case.clean) if row.case.clean else None,
                },
                "scores": {
                    system: {name: plain(score) for name, score in scores.items()}
                    for system, scores in row.scores.items()
                },
            }
            for row in rows
        ],
    }


def summary(rows: Sequence[Row], system: str, measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Statistics of a system by measure."""
    return {name: asdict(summarise(scores_of(rows, system, name))) for name in measures}


def plain(score: Score) -> Any:
    """A score as JSON has it."""
    return {"undefined": score.reason} if isinstance(score, Undefined) else score


def telling(rows: Sequence[Row]) -> list[str]:
    """Columns with several values, and few of them."""
    columns = list(dict.fromkeys(column for row in rows for column in row.case.about))
    return [column for column in columns if 2 <= len(values(rows, column)) <= MOST_VALUES]


def values(rows: Sequence[Row], column: str) -> list[str]:
    """Values of a column: numbers by size, then words."""
    found = {row.case.about.get(column, "") for row in rows}
    return sorted(found, key=lambda value: (0, float(value), "") if is_number(value) else (1, 0.0, value))


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def grouped(rows: Sequence[Row], column: str) -> list[tuple[str, list[Row]]]:
    """Rows by their value in a column."""
    return [(value, [row for row in rows if row.case.about.get(column, "") == value]) for value in values(rows, column)]


def to_json(report: Report) -> str:
    """As JSON."""
    return write_json(report, indent=1)


def to_csv(report: Report) -> str:
    """A row a file: its columns, then every score; an undefined one is empty.

    What a spreadsheet would take for a formula is text, behind an apostrophe.
    """
    columns = list(dict.fromkeys(column for file in report["files"] for column in file["about"]))
    scores = [(system, measure) for system in report["systems"] for measure in report["measures"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    headings = ["name", *columns, *(f"{system} {measure}" for system, measure in scores)]
    writer.writerow([as_text(heading) for heading in headings])
    for file in report["files"]:
        found = [file["scores"].get(system, {}).get(measure) for system, measure in scores]
        cells = [repr(score) if isinstance(score, float) and math.isfinite(score) else "" for score in found]
        about = [file["name"], *(file["about"].get(column, "") for column in columns)]
        writer.writerow([*map(as_text, about), *cells])
    return text.getvalue()


def as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, in characters that UTF-8 has; numbers stay numbers."""
    formula = cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)
    return f"'{utf8(cell)}" if formula else utf8(cell)


def to_markdown(report: Report) -> str:
    """Tables of means, of differences and by column."""
    headings = [label(report, name) for name in report["measures"]]
    parts = [
        f"Means over {report['pairs']} recordings, with 95 % bootstrap intervals.",
        table(["system", *headings], [[s, *cells(report["summary"][s])] for s in report["systems"]]),
    ]
    if report["differences"]:
        rows = [[f"{d['system']} - {d['against']}", *cells(d["measures"], sign=True)] for d in report["differences"]]
        parts += ["Paired differences.", table(["systems", *headings], rows)]
    for column, groups in report["breakdown"].items():
        rows = [
            [f"{group['value'] or '(none)'} ({group['pairs']})", s, *cells(group["summary"][s], interval=False)]
            for group in groups
            for s in report["systems"]
        ]
        parts += [f"By {as_marked(column)}.", table([f"{column} (recordings)", "system", *headings], rows)]
    parts += ["\n".join(f"- {as_marked(line)}" for line in account(report) + report["account"]["left"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [[as_marked(cell) for cell in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_marked(text: str) -> str:
    """A text that Markdown shows as it is."""
    return MARKS.sub(r"\\\1", printable(text))


def label(report: Report, name: str) -> str:
    """A measure with its unit, and an arrow to where better is."""
    measure = report["measures"][name]
    unit = f" ({measure['unit']})" if measure["unit"] else ""
    return f"{measure['label']}{unit}" + ("" if measure["higher_is_better"] else " ↓")


def cells(summaries: Mapping[str, Any], interval: bool = True, sign: bool = False) -> list[str]:
    """Each measure's mean, interval and number of undefined scores, for a table."""
    texts = []
    for one in summaries.values():
        if one["mean"] is None:
            texts.append("undefined")
            continue
        digits = ("+" if sign else "") + ".3f"
        text = format(one["mean"], digits)
        if interval and one["low"] is not None:
            text += f" [{one['low']:{digits}}, {one['high']:{digits}}]"
        texts.append(text + (f" ({one['undefined']} undefined)" if one["undefined"] else ""))
    return texts


def account(report: Report) -> list[str]:
    """What was used otherwise than as it lies there, a line each."""
    facts = report["account"]
    lines = []
    rates = {rate: n for rate, n in facts["rates_hz"].items() if rate != "16000"}
    if rates:
        lines.append("resampled to 16 kHz: " + ", ".join(f"{n} files of {rate} Hz" for rate, n in rates.items()))
    several = sum(n for channels, n in facts["channels"].items() if channels != "1")
    if several:
        lines.append(f"taken as the mean of their channels: {several} files")
    if facts["cut"]:
        lines.append(f"of unequal length, the longer cut at its end: {facts['cut']} pairs")
    for system, late in facts["delays"].items():
        side = "late" if late > 0 else "early"
        done = "taken away before scoring" if facts["aligned"] else "--align takes it away before scoring"
        lines.append(f"{system} comes {abs(late)} samples ({abs(late) / 16:.2f} ms) {side}: {done}")
    return lines
