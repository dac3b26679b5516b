"""`segan evaluate`."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segan_cli.cli.cluster_options import actor_options, check_cluster_usage, cluster_runner, cluster_section
from segan_cli.cli.model_name import MODEL
from segan_cli.cli.numbers import DECIBELS, SEED, WORKERS
from segan_cli.cli.paths import PATH_OR_URL
from segan_cli.cli.report_files import check_outputs, files_read, provenance, write_reports
from segan_cli.cli.sections import SectionedCommand, section
from segan_cli.errors import SeganError
from segan_cli.extras import require_extra
from segan_cli.remote import as_path, is_remote, is_url
from segan_cli.system import cpu_count

if TYPE_CHECKING:
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.evaluation.cases import Cases
    from segan_cli.evaluation.run import EvaluationOptions, EvaluationResult, Runner
    from segan_cli.evaluation.store import ScoreStore

PATH = click.Path(path_type=Path)
FILES_PER_WORKER = 4  # open files of this process for a worker process
DEFAULT_SNRS_DB = (0.0, 10.0)


@click.command(cls=SectionedCommand)
@section(
    "Recordings",
    click.option("--noisy", type=PATH_OR_URL, metavar="FOLDER", help="Noisy recordings."),
    click.option("--clean", type=PATH_OR_URL, metavar="FOLDER", help="Clean recordings with the same file names."),
    click.option(
        "--data", type=PATH_OR_URL, metavar="PATH", help="Folder with clean and noisy folders, or a manifest."
    ),
    click.option("--noise", type=PATH_OR_URL, metavar="FOLDER", help="Noise to mix into the clean recordings."),
    click.option(
        "--snr",
        "snrs",
        type=DECIBELS,
        multiple=True,
        metavar="DB",
        help="SNR of the mixes; repeatable.  [default: 0, 10]",
    ),
    click.option("--seed", type=SEED, default=0, metavar="N", help="Random seed of the mixes.  [default: 0]"),
)
@section(
    "Systems",
    click.option(
        "-m",
        "--model",
        "models",
        type=MODEL,
        multiple=True,
        metavar="[NAME=]MODEL",
        help="Shipped model or file; repeatable.",
    ),
    click.option("--enhanced", multiple=True, metavar="[NAME=]FOLDER", help="Enhanced recordings; repeatable."),
    click.option("--align", is_flag=True, help="Compensate the constant delay of each system."),
)
@section(
    "Measures",
    click.option(
        "--measure",
        "measures",
        multiple=True,
        metavar="NAME",
        help="Measure to compute; repeatable.  [default: all but DNSMOS]",
    ),
    click.option("--dnsmos", is_flag=True, help="Add DNSMOS, which needs no clean recordings."),
    click.option(
        "--by", "columns", multiple=True, metavar="COLUMN", help="Group by snr_db, noise, speaker …; repeatable."
    ),
)
@section(
    "Reports",
    click.option(
        "--html", "html_file", type=PATH_OR_URL, metavar="FILE", help="Write a page with tables, plots and players."
    ),
    click.option("--csv", "csv_file", type=PATH_OR_URL, metavar="FILE", help="Write the scores of each recording."),
    click.option("--markdown", "markdown_file", type=PATH_OR_URL, metavar="FILE", help="Write the tables."),
    click.option("--json", "as_json", is_flag=True, help="Print the full report as JSON."),
    click.option("--compare", nargs=2, type=PATH, metavar="A.json B.json", help="Compare two JSON reports and exit."),
    click.option("-y", "--force", is_flag=True, help="Overwrite existing files."),
    click.option("-q", "--quiet", is_flag=True, help="Show no progress bar and no notes."),
)
@section(
    "Performance",
    click.option("-j", "--jobs", type=WORKERS, metavar="N", help="Worker processes.  [default: one per core]"),
    click.option("--cache", type=PATH, metavar="FILE", help="Score cache.  [default: in the user's cache folder]"),
    click.option("--no-cache", is_flag=True, help="Do not use the score cache."),
)
@cluster_section
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
    ray: str | None,
    ray_actors: tuple[int, int] | None,
    ray_cpus: int | None,
    ray_gpus: float,
    force: bool,
    quiet: bool,
) -> None:
    """Score noisy and enhanced speech against clean speech.

    Recordings are paired by file name. The systems to score are folders of enhanced recordings (--enhanced) and models
    (--model). Without clean recordings only DNSMOS is available. Files that cannot be used are skipped and listed, and
    the exit code is 1.

    \b
    Examples:
      segan evaluate --noisy test/noisy --clean test/clean --model default
      segan evaluate --data VoiceBank-DEMAND --model default --html report.html
      segan evaluate --clean speech/ --noise noises/ --snr 5 --model default
      segan evaluate --noisy talks/ --model default --dnsmos
    """
    from segan_cli.backends.pretrained import check_model

    model_names = [split_name(entry)[1] for entry in models]
    for name in model_names:
        check_model(name)
    require_extra("evaluate", "segan evaluate")
    if compare is not None:
        others = (noisy, clean, data, noise, enhanced, models, as_json, csv_file, markdown_file, html_file)
        if any(others):
            raise click.UsageError("--compare takes two reports and no other options.")
        from segan_cli.cli.scores import print_comparison

        print_comparison(*compare)
        return
    check_cluster_usage(ray, ray_actors, ray_cpus, ray_gpus, {"--jobs": jobs, "--cache": cache})
    outputs = {"csv": csv_file, "markdown": markdown_file, "html": html_file}
    cases = find_cases(noisy, clean, data, noise, snrs, seed)
    folders = parse_folders(enhanced)
    remote = any(path is not None and is_remote(path) for path in outputs.values())  # or no remote file is written over
    places = [place for place in (noisy, clean, data, noise, *folders.values()) if place and remote >= is_remote(place)]
    check_outputs({**outputs, "cache": cache}, files_read(cases, places, model_names), force)
    selected = select_measures(measures, dnsmos, all(case.clean is not None for case in cases.all))
    check_columns(columns, cases)

    from segan_cli.atomic import remove_scratch
    from segan_cli.cli.console import limit_jobs, print_json
    from segan_cli.cli.scores import check_skipped, print_tables
    from segan_cli.evaluation.report import build_report, to_json
    from segan_cli.evaluation.run import EvaluationOptions
    from segan_cli.stopping import Leave, listening

    remove_scratch()
    systems = load_models(models, folders)
    hashes = {name: system.model_sha256 for name, system in systems.items()}
    store = None if no_cache or ray else open_store(cache, quiet)
    jobs = limit_jobs(jobs or cpu_count(), FILES_PER_WORKER, quiet)
    options = EvaluationOptions(cases, selected, folders, systems, align, jobs, store)
    with listening(Leave()):
        with cluster_runner(ray, partial(actor_options, ray_actors, ray_cpus, ray_gpus), systems) as runner:
            result = run(options, quiet, runner)
        report = build_report(result, provenance(selected, hashes), columns or None)
        write_reports(outputs, report, result, systems)
        if as_json:
            print_json(to_json(report))
        else:
            print_tables(report)
        check_skipped(report, quiet)


def find_cases(
    noisy: Path | None, clean: Path | None, data: Path | None, noise: Path | None, snrs: Sequence[float], seed: int
) -> "Cases":
    """Find the cases that the options select; raises UsageError if the options do not fit together."""
    from segan_cli.evaluation.cases import from_folders, from_mixes, from_set

    if data is not None:
        if noisy or clean or noise:
            raise click.UsageError("--data cannot be combined with --noisy, --clean or --noise.")
        return from_set(data)
    if noise is not None:
        if clean is None or noisy is not None:
            raise click.UsageError("--noise needs --clean, and cannot be combined with --noisy.")
        return from_mixes(clean, noise, snrs or DEFAULT_SNRS_DB, seed)
    if snrs:
        raise click.UsageError("--snr needs --noise.")
    if noisy is None:
        raise click.UsageError("Nothing to score; use --noisy and --clean, --data, or --clean and --noise.")
    return from_folders(noisy, clean)


def check_columns(columns: Sequence[str], cases: "Cases") -> None:
    """Raise UsageError for a column that no case has."""
    available = list(dict.fromkeys(name for case in cases.all for name in case.labels))
    for column in columns:
        if column not in available:
            hint = f"choose from {', '.join(available)}" if available else "these recordings have no columns"
            raise click.BadParameter(f"{column}: no such column; {hint}", param_hint="--by")


def open_store(path: Path | None, quiet: bool) -> "ScoreStore | None":
    """Open the score cache; None if the default one cannot be used.

    Raises SeganError if the file given by the user cannot be used.
    """
    from segan_cli.cli.console import say
    from segan_cli.evaluation.store import ScoreStore, default_store_path

    try:
        store = ScoreStore(path or default_store_path(), own=path is None)
        notes = list(store.notes)
    except SeganError as error:
        if path is not None:
            raise
        store, notes = None, [f"{error}; scores are not cached"]
    for note in () if quiet else notes:
        say(f"note: {note}")
    return store


def select_measures(chosen: tuple[str, ...], dnsmos: bool, with_reference: bool) -> tuple[str, ...]:
    """Names of the measures to compute; raises UsageError if one is unknown or needs a missing reference."""
    from segan_cli.measures.catalog import MEASURES, NON_INTRUSIVE, WITH_REFERENCE

    for name in chosen:
        if name not in MEASURES:
            raise click.BadParameter(f"{name}; choose from {', '.join(MEASURES)}", param_hint="--measure")
    selected = set(chosen or (WITH_REFERENCE if with_reference else ())) | (set(NON_INTRUSIVE) if dnsmos else set())
    if not with_reference and selected - set(NON_INTRUSIVE):
        raise click.UsageError(f"{min(selected - set(NON_INTRUSIVE))} needs --clean.")
    if not selected:
        raise click.UsageError("Without --clean only DNSMOS is available; add --dnsmos.")
    if selected & set(NON_INTRUSIVE):
        require_extra("dnsmos", "DNSMOS")
    return tuple(name for name in MEASURES if name in selected)


def split_name(entry: str) -> tuple[str | None, str]:
    """Split NAME=PLACE; the name is None for a URL, or a file or folder that exists, whose own name may contain =."""
    name, _, place = entry.partition("=")
    whole = is_url(entry) or os.path.exists(entry)  # noqa: PTH110  # Path.exists raises for overlong names
    return (None, entry) if whole or not (name and place) else (name, place)


def parse_folders(entries: Sequence[str]) -> dict[str, Path]:
    """Parse [NAME=]FOLDER entries; without a name, the name of the folder."""
    folders: dict[str, Path] = {}
    for entry in entries:
        name, place = split_name(entry)
        path = as_path(place)
        if name is None:
            name = path.name if is_remote(path) else path.resolve().name
        check_name(name, folders, "--enhanced")
        folders[name] = path
    return folders


def load_models(entries: Sequence[str], folders: Mapping[str, Path]) -> "dict[str, Enhancer]":
    """Load the models of [NAME=]MODEL entries; without a name, the stem of the file, or default."""
    from segan_cli.backends.pretrained import find_model
    from segan_cli.enhancement.enhancer import Enhancer

    models: dict[str, Enhancer] = {}
    for entry in entries:
        name, model = split_name(entry)
        if name is None:
            name = model if model == "default" else find_model(model).stem
        check_name(name, {**folders, **models}, "--model")
        models[name] = Enhancer(model)
    return models


def check_name(name: str, used: Mapping[str, Any], option: str) -> None:
    """Raise UsageError if the name of a system is already used or reserved."""
    if name in ("noisy", "clean"):
        raise click.BadParameter(f"{name}: this name is reserved; choose another by NAME=…", param_hint=option)
    if name in used:
        raise click.BadParameter(f"{name}: two systems have this name; give {option} NAME=…", param_hint=option)


def run(options: "EvaluationOptions", quiet: bool, runner: "Runner | None") -> "EvaluationResult":
    """Run the evaluation with a progress bar."""
    from segan_cli.cli.console import progress_bar, say
    from segan_cli.evaluation.run import evaluate

    for note in () if quiet else options.cases.notes:
        say(f"note: {note}")
    with progress_bar(not quiet) as bar:
        task = bar.add_task("scoring", total=None, note="")
        return evaluate(options, lambda n, total: bar.update(task, completed=n, total=total), runner)
