"""`segan evaluate`."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segan_cli.cli.numbers import DECIBELS, SEED, WORKERS
from segan_cli.errors import CorpusError, SeganError

if TYPE_CHECKING:
    from segan_cli.evaluation.cases import Cases
    from segan_cli.evaluation.report import Report
    from segan_cli.evaluation.run import Run, System
    from segan_cli.evaluation.store import Store

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--noisy", type=PATH, metavar="FOLDER", help="Noisy recordings.")
@click.option("--clean", type=PATH, metavar="FOLDER", help="Clean recordings of the same names.")
@click.option("--data", type=PATH, metavar="SET", help="Folder that holds both, or a manifest (.csv, .jsonl).")
@click.option("--noise", type=PATH, metavar="FOLDER", help="Noises to mix into the clean recordings.")
@click.option(
    "--snr", "snrs", type=DECIBELS, multiple=True, metavar="DB", help="SNR of the mixes; repeatable.  [default: 0 10]"
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the mixes.")
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
@click.option("--jobs", type=WORKERS, help="Worker processes.  [default: one a core]")
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
        from segan_cli.cli.scores import print_comparison

        print_comparison(*compare)
        return
    outputs = {"csv": csv_file, "markdown": markdown_file, "html": html_file}
    check_outputs([path for path in outputs.values() if path is not None], force)
    cases = find_cases(noisy, clean, data, noise, snrs, seed)
    names = choose_measures(measures, dnsmos, all(case.clean is not None for case in cases.all))
    check_columns(columns, cases)

    from segan_cli.cli.console import print_json, progress_bar, say
    from segan_cli.cli.scores import print_tables, tell
    from segan_cli.evaluation.report import build, to_json
    from segan_cli.evaluation.run import Request
    from segan_cli.evaluation.run import evaluate as run
    from segan_cli.stopping import Leave, listening

    folders = name_folders(enhanced)
    systems, hashes = load_models(models, folders)
    store = None if no_cache else open_store(cache, () if quiet else (say,))
    if not quiet:
        for note in cases.notes:
            say(f"note: {note}")
    with listening(Leave()):
        with progress_bar(not quiet) as bar:
            task = bar.add_task("scoring", total=None, note="")
            request = Request(cases, names, folders, systems, align, jobs, store)
            done = run(request, lambda n, total: bar.update(task, completed=n, total=total))
        report = build(done, provenance(names, hashes), columns or None)
        write_reports(outputs, report, done, systems)
        if as_json:
            print_json(to_json(report))
        else:
            print_tables(report)
        tell(report, quiet)


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


def check_columns(columns: Sequence[str], cases: "Cases") -> None:
    """Raise UsageError for a column to break down by that no case has."""
    known = list(dict.fromkeys(name for case in cases.all for name in case.about))
    for column in columns:
        if column not in known:
            there = f"choose {', '.join(known)}" if known else "nothing but names is known of these recordings"
            raise click.BadParameter(f"{column}: no such column; {there}", param_hint="--by")


def open_store(cache: Path | None, told: Sequence[Callable[[str], None]]) -> "Store | None":
    """Scores measured before; where no place was named and the usual one cannot be used, none.

    Raises SeganError when the place that was named cannot be used.
    """
    from segan_cli.evaluation.store import Store, default_store

    try:
        store = Store(cache or default_store(), own=cache is None)
        notes = list(store.notes)
    except SeganError as error:
        if cache is not None:
            raise
        store, notes = None, [f"{error}; scores are not kept"]
    for say in told:
        for note in notes:
            say(f"note: {note}")
    return store


def choose_measures(chosen: tuple[str, ...], dnsmos: bool, referenced: bool) -> tuple[str, ...]:
    """Names of measures in the order of the catalogue; raises UsageError for one that there is not."""
    from segan_cli.measures.catalog import MEASURES, NON_INTRUSIVE, WITH_REFERENCE
    from segan_cli.measures.non_intrusive import check_dnsmos

    for name in chosen:
        if name not in MEASURES:
            raise click.BadParameter(f"{name}; choose {', '.join(MEASURES)}", param_hint="--measure")
    wanted = set(chosen or (WITH_REFERENCE if referenced else ())) | (set(NON_INTRUSIVE) if dnsmos else set())
    if not referenced and wanted - set(NON_INTRUSIVE):
        raise click.UsageError(f"{min(wanted - set(NON_INTRUSIVE))} needs --clean.")
    if not wanted:
        raise click.UsageError("Without --clean there is DNSMOS alone; add --dnsmos.")
    if wanted & set(NON_INTRUSIVE):
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

        from segan_cli.backends.pretrained import find_model
        from segan_cli.enhancement.enhancer import Enhancer

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
    from segan_cli.atomic import check_place

    for path in paths:
        if path.exists() and not force:
            raise CorpusError(f"{path}: exists already; add --force to overwrite it")
        check_place(path, force=True)


def write_reports(outputs: dict[str, Path | None], report: "Report", done: "Run", systems: dict[str, "System"]) -> None:
    """Write the reports that were asked for, before anything is printed."""
    from segan_cli.evaluation.page import to_html
    from segan_cli.evaluation.report import to_csv, to_markdown

    for kind, path in outputs.items():
        if path is not None and kind == "html":
            write(path, to_html(report, done, systems))
        elif path is not None:
            write(path, {"csv": to_csv, "markdown": to_markdown}[kind](report))


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    from segan_cli.atomic import write_whole

    write_whole(path, text.encode())
