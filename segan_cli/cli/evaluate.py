"""`segan evaluate`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segan_cli.errors import CorpusError, SeganError

if TYPE_CHECKING:
    from segan_cli.evaluation.cases import Cases
    from segan_cli.evaluation.report import Report
    from segan_cli.evaluation.store import Store

PATH = click.Path(path_type=Path)
BROKEN_DOWN = 5  # measures that are shown by column; the reports have all
NAMED = 3  # things left out that are named on the screen; the reports have all


@click.command()
@click.option("--noisy", type=PATH, metavar="FOLDER", help="Noisy recordings.")
@click.option("--clean", type=PATH, metavar="FOLDER", help="Clean recordings of the same names.")
@click.option("--data", type=PATH, metavar="SET", help="Folder that holds both, or a manifest (.csv, .jsonl).")
@click.option("--noise", type=PATH, metavar="FOLDER", help="Noises to mix into the clean recordings.")
@click.option(
    "--snr", "snrs", type=float, multiple=True, metavar="DB", help="Of the mixes; repeatable.  [default: 0 10]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the mixes.")
@click.option("--enhanced", multiple=True, metavar="[NAME=]FOLDER", help="Enhanced recordings; repeatable.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Shipped model or model file; repeatable.")
@click.option("--measure", "measures", multiple=True, metavar="NAME", help="Only these; repeatable.")
@click.option("--dnsmos", is_flag=True, help="Also DNSMOS, which needs no clean recordings (extra dnsmos).")
@click.option("--by", "columns", multiple=True, metavar="COLUMN", help="Break down by this; repeatable.")
@click.option("--align", is_flag=True, help="Take a system's constant delay away first.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@click.option("--csv", "csv_file", type=PATH, metavar="FILE", help="Write a row of scores for each recording.")
@click.option("--markdown", "markdown_file", type=PATH, metavar="FILE", help="Write tables.")
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a page with plots and players.")
@click.option("--compare", nargs=2, type=PATH, metavar="A.json B.json", help="Two reports side by side, nothing else.")
@click.option("--jobs", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
@click.option("--cache", type=PATH, metavar="FILE", help="Where scores are kept.  [default: the user's cache]")
@click.option("--no-cache", is_flag=True, help="Measure everything anew.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no notes.")
def evaluate(
    noisy: Path | None,
    clean: Path | None,
    data: Path | None,
    noise: Path | None,
    snrs: tuple[float, ...],
    seed: int,
    enhanced: tuple[str, ...],
    models: tuple[str, ...],
    measures: tuple[str, ...],
    dnsmos: bool,
    columns: tuple[str, ...],
    align: bool,
    as_json: bool,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    compare: tuple[Path, Path] | None,
    jobs: int | None,
    cache: Path | None,
    no_cache: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Score noisy and enhanced speech against clean speech.

    Recordings are paired by name; systems are folders of enhanced recordings and models that are run. Without clean
    recordings there is DNSMOS alone. What cannot be used is left out and told, and the exit code is then 1.

    \b
    Examples:
      segan evaluate --noisy test/noisy --clean test/clean --model default
      segan evaluate --data VoiceBank-DEMAND --enhanced ours=out/ --model default --html report.html
      segan evaluate --clean speech/ --noise noises/ --snr 0 --snr 10 --model default
      segan evaluate --noisy talks/ --model default --dnsmos
    """
    if compare is not None:
        print_comparison(*compare)
        return
    outputs = {"csv": csv_file, "markdown": markdown_file, "html": html_file}
    check_outputs([path for path in outputs.values() if path is not None], force)
    cases = find_cases(noisy, clean, data, noise, snrs, seed)
    names = choose_measures(measures, dnsmos, all(case.clean is not None for case in cases.all))

    from segan_cli.cli.console import progress_bar
    from segan_cli.evaluation.report import build, to_csv, to_json, to_markdown
    from segan_cli.evaluation.run import Request
    from segan_cli.evaluation.run import evaluate as run

    folders = name_folders(enhanced)
    systems, hashes = load_models(models, folders)
    store = None if no_cache else open_store(cache)
    with progress_bar(not quiet) as bar:
        task = bar.add_task("scoring", total=None, note="")
        request = Request(cases, names, folders, systems, align, jobs, store)
        done = run(request, lambda n, total: bar.update(task, completed=n, total=total))
    report = build(done, provenance(names, hashes), columns or None)
    if as_json:
        click.echo(to_json(report))
    else:
        print_tables(report)
    for kind, path in outputs.items():
        if path is not None and kind == "html":
            from segan_cli.evaluation.page import to_html

            write(path, to_html(report, done, systems))
        elif path is not None:
            write(path, {"csv": to_csv, "markdown": to_markdown}[kind](report))
    tell(report, quiet)


def open_store(cache: Path | None) -> "Store | None":
    """Where scores are kept; the default place need not be there."""
    from segan_cli.evaluation.store import Store, default_store

    try:
        return Store(cache or default_store())
    except SeganError as error:
        if cache is not None:
            raise
        click.echo(f"scores are not kept: {error}", err=True)
        return None


def find_cases(
    noisy: Path | None, clean: Path | None, data: Path | None, noise: Path | None, snrs: Sequence[float], seed: int
) -> "Cases":
    """The cases that the options name; raises UsageError when they name none or too many."""
    from segan_cli.evaluation.cases import from_folders, from_mixes, from_set

    if data is not None:
        if noisy or clean or noise:
            raise click.UsageError("--data is the whole set; leave out --noisy, --clean and --noise.")
        return from_set(data)
    if noise is not None:
        if clean is None or noisy is not None:
            raise click.UsageError("--noise is mixed into --clean; give that, and no --noisy.")
        return from_mixes(clean, noise, snrs or (0.0, 10.0), seed)
    if snrs:
        raise click.UsageError("--snr is that of mixes; give --noise.")
    if noisy is None:
        raise click.UsageError("What is to be scored? Give --noisy and --clean, --data, or --clean and --noise.")
    return from_folders(noisy, clean)


def choose_measures(chosen: tuple[str, ...], dnsmos: bool, referenced: bool) -> tuple[str, ...]:
    """Names of measures in the order of the catalogue; raises UsageError for one that there is not."""
    from segan_cli.measures.catalog import MEASURES, UNAIDED, WITH_REFERENCE
    from segan_cli.measures.unaided import check_dnsmos

    for name in chosen:
        if name not in MEASURES:
            raise click.BadParameter(f"{name}; choose {', '.join(MEASURES)}", param_hint="--measure")
    wanted = set(chosen or (WITH_REFERENCE if referenced else ())) | (set(UNAIDED) if dnsmos else set())
    if not referenced and wanted - set(UNAIDED):
        raise click.UsageError(f"{min(wanted - set(UNAIDED))} needs --clean.")
    if not wanted:
        raise click.UsageError("Without --clean there is DNSMOS alone; add --dnsmos.")
    if wanted & set(UNAIDED):
        check_dnsmos()
    return tuple(name for name in MEASURES if name in wanted)


def name_folders(entries: Sequence[str]) -> dict[str, Path]:
    """Folders by name: what stands before `=`, or the folder's own."""
    folders: dict[str, Path] = {}
    for entry in entries:
        name, given, place = entry.partition("=")
        path = Path(place if given else entry)
        check_name(name if given else path.resolve().name, folders, "--enhanced")
        folders[name if given else path.resolve().name] = path
    return folders


def load_models(names: Sequence[str], folders: dict[str, Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """Enhancers by name, and the hash of each model's file."""
    enhancers: dict[str, Any] = {}
    hashes: dict[str, str] = {}
    if names:
        import hashlib

        from segan_cli.enhance import Enhancer
        from segan_cli.pretrained import find_model

        for name in names:
            path = find_model(name)
            short = path.stem if name != "default" else name
            check_name(short, {**folders, **enhancers}, "--model")
            enhancers[short] = Enhancer(name)
            hashes[short] = hashlib.sha256(path.read_bytes()).hexdigest()
    return enhancers, hashes


def check_name(name: str, taken: dict[str, Any], option: str) -> None:
    """Raise UsageError when two systems would have one name."""
    if name in taken or name in ("noisy", "clean"):
        raise click.BadParameter(
            f"{name}: something else has this name; give --enhanced NAME=FOLDER", param_hint=option
        )


def provenance(measures: Sequence[str], models: dict[str, str]) -> dict[str, Any]:
    """The command, versions and models behind a report."""
    from segan_cli import __version__
    from segan_cli.measures.catalog import packages

    command = shlex.join(["segan", *sys.argv[1:]])
    return {"command": command, "versions": {"segan-cli": __version__, **packages(measures)}, "models": models}


def check_outputs(paths: Sequence[Path], force: bool) -> None:
    """Raise an error for a file that exists or cannot be, before anything is measured."""
    from segan_cli.audio.files import check_place

    for path in paths:
        if path.exists() and not force:
            raise CorpusError(f"{path}: exists already; add --force to overwrite it")
        check_place(path, force=True)


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    from segan_cli.audio.files import atomically

    with atomically(path) as beside:
        beside.write_text(text, encoding="utf-8")


def print_tables(report: "Report") -> None:
    """Print means by measure and system with the differences, and the first measures by column."""
    from segan_cli.cli.console import result_table, results
    from segan_cli.evaluation.report import label

    systems, differences = report["systems"], report["differences"]
    means = {system: report["summary"][system] for system in systems}
    gains = {f"{d['system']} - {d['against']}": d["measures"] for d in differences}
    title = f"Means over {report['pairs']} recordings ± half their 95 % interval"
    for heading, columns, sign in ((title, means, ""), ("Differences, recording by recording", gains, "+")):
        if columns:
            table = result_table(["measure"], list(columns))
            for name in report["measures"]:
                table.add_row(label(report, name), *(cell(summary[name], sign) for summary in columns.values()))
            results.print(heading)
            results.print(table)
    shown = list(report["measures"])[:BROKEN_DOWN]
    for column, groups in report["breakdown"].items():
        table = result_table([column, "recordings", "system"], [label(report, name) for name in shown])
        for group in groups:
            for system in systems:
                cells = [cell(group["summary"][system][name], interval=False) for name in shown]
                table.add_row(group["value"] or "(none)", str(group["pairs"]), system, *cells)
        results.print(table)


def cell(summary: dict[str, Any], sign: str = "", interval: bool = True) -> str:
    """A mean with half its interval, and how many scores were undefined."""
    if summary["mean"] is None:
        return "undefined"
    half = f" ±{(summary['high'] - summary['low']) / 2:.3f}" if interval and summary["low"] is not None else ""
    undefined = f" ({summary['undefined']} undefined)" if summary["undefined"] else ""
    return f"{summary['mean']:{sign}.3f}{half}{undefined}"


def tell(report: "Report", quiet: bool) -> None:
    """Say what was used otherwise than it lies there; raises CorpusError when something was left out."""
    from segan_cli.evaluation.report import account

    if not quiet:
        for line in account(report):
            click.echo(line, err=True)
    left = report["account"]["left"]
    if left:
        for line in left[:NAMED]:
            click.echo(f"left out: {line}", err=True)
        raise CorpusError(f"{len(left)} left out of {report['pairs'] + len(left)}; --json names all")


def print_comparison(first: Path, second: Path) -> None:
    """Print what the second report has more than the first, file by file."""
    from dataclasses import asdict

    from segan_cli.cli.console import result_table, results
    from segan_cli.evaluation.compare import compare, load_report
    from segan_cli.evaluation.report import label

    reports = load_report(first), load_report(second)
    found = compare(*reports)
    title = f"{second.name} less {first.name}, recording by recording ± half the 95 % interval"
    table = result_table(["measure"], list(found))
    for name in next(iter(found.values())):
        table.add_row(label(reports[1], name), *(cell(asdict(summaries[name]), "+") for summaries in found.values()))
    results.print(title)
    results.print(table)
