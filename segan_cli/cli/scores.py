"""Print the reports of `segan evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from segan_cli.cli.console import print_json, print_table, say
from segan_cli.errors import CorpusError
from segan_cli.evaluation.compare import compare_reports, load_report
from segan_cli.evaluation.report import Report, input_notes, measure_label, to_json
from segan_cli.printable import composed

MAX_BREAKDOWN_MEASURES = 5  # in the breakdown tables; the other report formats have all
MAX_LISTED = 3  # skipped files to list; the other report formats have all


def print_report(report: Report, as_json: bool) -> None:
    """Print a report as JSON or as tables."""
    if as_json:
        print_json(to_json(report))
    else:
        print_tables(report)


def print_tables(report: Report) -> None:
    """Print means and differences by measure and system, then the breakdowns of the first measures."""
    systems, differences = report["systems"], report["differences"]
    means = {system: report["summary"][system] for system in systems}
    gains = {f"{d['system']} - {d['against']}": d["measures"] for d in differences}
    title = f"Means over {report['recordings']} recordings (mean ± half-width of the 95 % CI)"
    for heading, columns, sign in ((title, means, ""), ("Paired differences", gains, "+")):
        if columns:
            rows = [
                [
                    measure_label(report, name, change=bool(sign)),
                    *(format_cell(summary[name], sign) for summary in columns.values()),
                ]
                for name in report["measures"]
            ]
            print_table(heading, ["measure"], list(columns), rows)
    measures = list(report["measures"])[:MAX_BREAKDOWN_MEASURES]
    for column, groups in report["breakdown"].items():
        rows = []
        for group in groups:
            for system in systems:
                cells = [format_cell(group["summary"][system][name], interval=False) for name in measures]
                rows.append([group["value"] or "(none)", str(group["recordings"]), system, *cells])
        print_table("", [column, "recordings", "system"], [measure_label(report, name) for name in measures], rows)


def format_cell(summary: dict[str, Any], sign: str = "", interval: bool = True) -> str:
    """A mean ± half-width of its 95 % CI, and the number of undefined scores."""
    if summary["mean"] is None:
        return "undefined"
    half = f" ±{(summary['high'] - summary['low']) / 2:.3f}" if interval and summary["low"] is not None else ""
    undefined = f" ({summary['undefined']} undefined)" if summary["undefined"] else ""
    return f"{summary['mean']:{sign}.3f}{half}{undefined}"


def check_skipped(report: Report, quiet: bool) -> None:
    """Print the notes on inputs; raises CorpusError if files were skipped."""
    if not quiet:
        for line in input_notes(report):
            say(line)
    skipped = report["inputs"]["skipped"]
    if skipped:
        for line in skipped[:MAX_LISTED]:
            say(f"skipped: {line}")
        n_found, n_systems = report["inputs"]["found"], len(report["systems"])
        n_complete = sum(len(file["scores"]) == n_systems for file in report["files"])
        raise CorpusError(f"skipped files of {n_found - n_complete} of {n_found} recordings; --json lists all")


def print_comparison(first: Path, second: Path) -> None:
    """Print the paired differences between two saved reports, second minus first."""
    reports = load_report(first), load_report(second)
    comparison = compare_reports(*reports)
    title = f"{second.name} minus {first.name}, paired differences (mean ± half-width of the 95 % CI)"
    rows = [
        [
            measure_label(reports[1], name, change=True),
            *(format_cell(asdict(found[name]), "+") for found in comparison.values()),
        ]
        for name in next(iter(comparison.values()))
    ]
    print_table(title, ["measure"], list(comparison), rows)
    scores = [{composed(file["name"]): file["scores"]["noisy"] for file in report["files"]} for report in reports]
    common = [name for name in scores[0] if name in scores[1]]
    say(
        f"{len(common)} recordings in both reports, {len(scores[0]) - len(common)} only in {first.name},"
        f" {len(scores[1]) - len(common)} only in {second.name}"
    )
    n_different = sum(scores[0][name] != scores[1][name] for name in common)
    if n_different:
        say(f"warning: {n_different} of them have another noisy input, so the reports are not of the same mixes")
