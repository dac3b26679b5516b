"""What `segan evaluate` prints of a report."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from segan_cli.cli.console import print_table, say
from segan_cli.errors import CorpusError
from segan_cli.evaluation.compare import compare, load_report
from segan_cli.evaluation.report import Report, account, label

BROKEN_DOWN = 5  # measures that are shown by column; the reports have all
NAMED = 3  # things left out that are named on the screen; the reports have all


def print_tables(report: Report) -> None:
    """Print means by measure and system with the differences, and the first measures by column."""
    systems, differences = report["systems"], report["differences"]
    means = {system: report["summary"][system] for system in systems}
    gains = {f"{d['system']} - {d['against']}": d["measures"] for d in differences}
    title = f"Means over {report['pairs']} recordings ± half their 95 % interval"
    for heading, columns, sign in ((title, means, ""), ("Differences, recording by recording", gains, "+")):
        if columns:
            rows = [
                [label(report, name), *(cell(summary[name], sign) for summary in columns.values())]
                for name in report["measures"]
            ]
            print_table(heading, ["measure"], list(columns), rows)
    shown = list(report["measures"])[:BROKEN_DOWN]
    for column, groups in report["breakdown"].items():
        rows = []
        for group in groups:
            for system in systems:
                cells = [cell(group["summary"][system][name], interval=False) for name in shown]
                rows.append([group["value"] or "(none)", str(group["pairs"]), system, *cells])
        print_table("", [column, "recordings", "system"], [label(report, name) for name in shown], rows)


def cell(summary: dict[str, Any], sign: str = "", interval: bool = True) -> str:
    """A mean with half its interval, and how many scores were undefined."""
    if summary["mean"] is None:
        return "undefined"
    half = f" ±{(summary['high'] - summary['low']) / 2:.3f}" if interval and summary["low"] is not None else ""
    undefined = f" ({summary['undefined']} undefined)" if summary["undefined"] else ""
    return f"{summary['mean']:{sign}.3f}{half}{undefined}"


def tell(report: Report, quiet: bool) -> None:
    """Say what was used otherwise than it lies there; raises CorpusError when something was left out."""
    if not quiet:
        for line in account(report):
            say(line)
    left = report["account"]["left"]
    if left:
        for line in left[:NAMED]:
            say(f"left out: {line}")
        raise CorpusError(f"{len(left)} left out of {report['pairs'] + len(left)}; --json names all")


def print_comparison(first: Path, second: Path) -> None:
    """Print what the second report has more than the first, file by file."""
    reports = load_report(first), load_report(second)
    found = compare(*reports)
    title = f"{second.name} less {first.name}, recording by recording ± half the 95 % interval"
    rows = [
        [label(reports[1], name), *(cell(asdict(summaries[name]), "+") for summaries in found.values())]
        for name in next(iter(found.values()))
    ]
    print_table(title, ["measure"], list(found), rows)
