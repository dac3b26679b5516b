"""Print the reports of `segan evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from segan_cli.cli.console import print_table, say
from segan_cli.errors import CorpusError
from segan_cli.evaluation.compare import compare_reports, load_report
from segan_cli.evaluation.report import Report, format_cells, input_notes, measure_label
from segan_cli.printable import composed

MAX_BREAKDOWN_MEASURES = 5  # in the breakdown tables; the other report formats have all
MAX_LISTED = 3  # skipped files to list; the other report formats have all


def print_report(report: Report) -> None:
    """Print means and differences by measure and system, then the breakdowns of the first measures."""
    systems, names = report["systems"], list(report["measures"])
    title = f"Means over {report['recordings']} recordings (mean ± half-width of the 95 % CI)"
    print_by_measure(report, title, {system: report["summary"][system] for system in systems})
    if report["differences"]:
        gains = {f"{d['system']} - {d['against']}": d["measures"] for d in report["differences"]}
        print_by_measure(report, "Paired differences", gains, "+")
    shown = names[:MAX_BREAKDOWN_MEASURES]
    for column, groups in report["breakdown"].items():
        rows = [
            [group["value"] or "(none)", str(group["recordings"]), system, *format_cells(group["summary"][system])]
            for group in groups
            for system in systems
        ]
        headings = [measure_label(report, name) for name in shown]
        print_table("", [column, "recordings", "system"], headings, [row[: 3 + len(shown)] for row in rows])


def print_by_measure(report: Report, title: str, columns: dict[str, Any], sign: str = "") -> None:
    """Print a table with a row for each measure; `sign` is "+" if the columns are differences."""
    labels = [measure_label(report, name, change=bool(sign)) for name in next(iter(columns.values()))]
    cells = [format_cells(summaries, " ±{half:.3f}", sign) for summaries in columns.values()]
    print_table(title, ["measure"], list(columns), [list(row) for row in zip(labels, *cells, strict=True)])


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
    columns = {
        system: {name: asdict(one) for name, one in summaries.items()} for system, summaries in comparison.items()
    }
    print_by_measure(reports[1], title, columns, "+")
    scores = [{composed(file["name"]): file["scores"]["noisy"] for file in report["files"]} for report in reports]
    common = [name for name in scores[0] if name in scores[1]]
    say(
        f"{len(common)} recordings in both reports, {len(scores[0]) - len(common)} only in {first.name},"
        f" {len(scores[1]) - len(common)} only in {second.name}"
    )
    n_different = sum(scores[0][name] != scores[1][name] for name in common)
    if n_different:
        say(f"warning: {n_different} of them have another noisy input, so the reports are not of the same mixes")
