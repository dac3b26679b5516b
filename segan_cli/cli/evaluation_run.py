"""The work of `segan evaluate`: finding and scoring cases and systems, here or on a cluster, and reporting."""

import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
from platformdirs import user_cache_path

from segan_cli import __version__
from segan_cli.backends.pretrained import find_model, model_files
from segan_cli.cli.console import limit_jobs, print_json, print_table, progress_bar, say
from segan_cli.cli.options import actor_options, raise_first, split_name
from segan_cli.data.folders import audio_below
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import CorpusError, SeganError
from segan_cli.evaluation.cases import NOISE_LOG, Cases, from_folders, from_mixes, from_set, with_clean
from segan_cli.evaluation.compare import compare_reports, load_report
from segan_cli.evaluation.page import to_html
from segan_cli.evaluation.report import (
    Report,
    build_report,
    format_cells,
    input_notes,
    measure_label,
    to_csv,
    to_markdown,
)
from segan_cli.evaluation.run import EvaluationResult, ScoreCases, evaluate
from segan_cli.evaluation.scoring import ScoreCache
from segan_cli.evaluation.signals import FilePart, NoiseMix
from segan_cli.measures.catalog import DNSMOS, FULL_BAND, MEASURES, WITH_REFERENCE, package_versions
from segan_cli.process.stopping import RaiseOnSignal, listening
from segan_cli.storage.atomic import check_place, remove_scratch, write_whole
from segan_cli.storage.remote import as_path, is_remote
from segan_cli.storage.same_file import STREAM, Use, check_uses
from segan_cli.system import cpu_count, require_extra
from segan_cli.text import composed, counted

DEFAULT_SNRS_DB = (0.0, 10.0)
FILES_PER_WORKER = 4  # open files of this process for a worker process
MAX_BREAKDOWN_MEASURES = 5  # in the breakdown tables; the other report formats have all
MAX_LISTED = 3  # skipped files to list; the other report formats have all
REPORT_FORMATS: dict[str, Callable[[Report, EvaluationResult], str]] = {
    "csv": lambda report, result: to_csv(report),
    "markdown": lambda report, result: to_markdown(report),
    "html": to_html,
}


def run(arguments: SimpleNamespace) -> None:
    """Run the evaluation that the options ask for, and print and write its reports."""
    origins = name_systems(arguments)
    cases = find_cases(arguments)
    check_outputs(arguments, cases, origins.values())
    measures = select_measures(arguments, cases)
    if not DNSMOS.keys() >= {*measures}:
        cases = with_clean(cases)
    check_columns(arguments.columns, cases)
    remove_scratch()
    systems = {name: Enhancer(origin) if isinstance(origin, str) else origin for name, origin in origins.items()}
    versions = {"segan-cli": __version__, **package_versions(measures)}
    hashes = {name: system.model_sha256 for name, system in systems.items() if isinstance(system, Enhancer)}
    provenance = {"command": shlex.join(["segan", *sys.argv[1:]]), "versions": versions, "models": hashes}
    with listening(RaiseOnSignal()):
        result = score(arguments, cases, measures, systems)
        report = build_report(result, provenance, arguments.columns)
        for option, path in report_files(arguments).items():
            write_whole(path, REPORT_FORMATS[option](report, result))
        if arguments.as_json:
            print_json(report, indent=1)
        else:
            print_report(report)
        check_skipped(report, arguments.quiet)


def find_cases(arguments: SimpleNamespace) -> Cases:
    """Find the cases that the options select; raises UsageError if the options do not fit together."""
    noisy, clean, data, noise = arguments.noisy, arguments.clean, arguments.data, arguments.noise
    raise_first({
        "--data cannot be combined with --noisy, --clean or --noise.": bool(data and (noisy or clean or noise)),
        "--noise needs --clean, and cannot be combined with --noisy.": bool(noise and (noisy or not clean)),
        "--snr needs --noise.": bool(arguments.snrs and not noise),
        "--seed needs --noise.": bool(arguments.seed and not noise),
        "--cache cannot be combined with --no-cache.": bool(arguments.cache and arguments.no_cache),
        "Nothing to score; use --noisy and --clean, --data, or --clean and --noise.": not (data or noise or noisy),
    })  # fmt: skip
    if data is not None:
        return from_set(data)
    if noise is not None:
        return from_mixes(clean, noise, arguments.snrs or DEFAULT_SNRS_DB, arguments.seed)
    return from_folders(noisy, clean)


def name_systems(arguments: SimpleNamespace) -> dict[str, Path | str]:
    """Return folders and models by the name of the system; raises UsageError if a name is used or reserved."""
    systems: dict[str, Path | str] = {}

    def add(name: str, origin: Path | str, option: str) -> None:
        if name in ("noisy", "clean"):
            raise click.BadParameter(f"{name}: this name is reserved; choose another with NAME=…", param_hint=option)
        if name in systems:
            raise click.BadParameter(f"{name}: two systems have this name; give {option} NAME=…", param_hint=option)
        systems[name] = origin

    for name, place in map(split_name, arguments.enhanced):
        folder = as_path(place)
        add(name or Path(os.path.realpath(str(folder))).name, folder, "--enhanced")
    for name, model in map(split_name, arguments.models):
        add(name or (model if model == "default" else find_model(model).stem), model, "--model")
    return systems


def select_measures(arguments: SimpleNamespace, cases: Cases) -> tuple[str, ...]:
    """Names of the measures to compute; raises UsageError if one is unknown or needs a missing reference."""
    for name in arguments.measures:
        if name not in MEASURES:
            raise click.BadParameter(f"{name}; choose from {', '.join(MEASURES)}", param_hint="--measure")
    with_reference = any(case.clean is not None for case in cases.all)
    selected = set(arguments.measures or (WITH_REFERENCE if with_reference else ()))
    selected |= {*(FULL_BAND if arguments.full_band else ()), *(DNSMOS if arguments.dnsmos else ())}
    if not with_reference and selected - DNSMOS.keys():
        where = "a clean recording, but none is given" if arguments.data else "--clean"
        raise click.UsageError(f"{min(selected - DNSMOS.keys())} needs {where}.")
    if not selected:
        raise click.UsageError("Without --clean only DNSMOS is available; add --dnsmos.")
    if selected & DNSMOS.keys():
        require_extra("dnsmos", "DNSMOS")
    return tuple(name for name in MEASURES if name in selected)


def check_columns(columns: Sequence[str], cases: Cases) -> None:
    """Raise UsageError for a column that no case has."""
    available = list(dict.fromkeys(name for case in cases.all for name in case.labels))
    for column in columns:
        if column not in available:
            hint = f"choose from {', '.join(available)}" if available else "these recordings have no columns"
            raise click.BadParameter(f"{column}: no such column; {hint}", param_hint="--by")


def check_outputs(arguments: SimpleNamespace, cases: Cases, origins: Collection[Path | str]) -> None:
    """Check that each report can be written, and is neither an input nor another report."""
    written = [Use(path, f"--{option}", written=True) for option, path in report_files(arguments).items()]
    for use in written:
        check_place(use.path, arguments.force)
    if not (arguments.no_cache or arguments.ray):
        written.append(Use(arguments.cache or default_cache(), "--cache", written=True))
    uses = [*files_read(arguments, cases, origins), *written, Use(STREAM, "the report", written=True)]
    check_uses(lambda: uses)


def files_read(arguments: SimpleNamespace, cases: Cases, origins: Collection[Path | str]) -> Iterator[Use]:
    """Yield all files that the evaluation reads; remote folders are only listed if a report is remote too."""
    for case in cases.all:
        for side in (case.noisy.noise if isinstance(case.noisy, NoiseMix) else case.noisy, case.clean):
            if side is not None:
                yield Use(side.path if isinstance(side, FilePart) else side, "recording")
    remote = any(map(is_remote, report_files(arguments).values()))
    for place in (arguments.noisy, arguments.clean, arguments.data, arguments.noise, *origins):
        if isinstance(place, str):
            yield from (Use(path, "model") for path in model_files(place))
        elif place is None or (is_remote(place) and not remote):
            continue
        elif place.is_dir():
            yield from (Use(path, "recording") for path in audio_below(place))
            yield from (Use(folder / NOISE_LOG, "table") for folder in (place, place.parent))
        else:
            yield Use(place, "manifest")


def report_files(arguments: SimpleNamespace) -> dict[str, Path]:
    """Return the report files by option."""
    return {option: path for option in REPORT_FORMATS if (path := getattr(arguments, option)) is not None}


def score(
    arguments: SimpleNamespace, cases: Cases, measures: tuple[str, ...], systems: Mapping[str, Path | Enhancer]
) -> EvaluationResult:
    """Run the evaluation here or on a cluster, with a progress bar."""
    quiet = arguments.quiet
    cache = None if arguments.no_cache or arguments.ray else open_cache(arguments.cache, quiet)
    jobs = limit_jobs(arguments.jobs or cpu_count(), FILES_PER_WORKER, quiet)
    for note in () if quiet else cases.notes:
        say(f"note: {note}")
    with cluster_runner(arguments, systems) as runner, progress_bar(not quiet) as bar:
        task = bar.add_task("scoring", total=None, note="")
        return evaluate(
            cases, measures, systems, align=arguments.align, jobs=jobs, cache=cache, runner=runner,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip


def default_cache() -> Path:
    """Return the file of the score cache in the user's cache folder."""
    return user_cache_path("segan") / "scores.sqlite"


def open_cache(path: Path | None, quiet: bool) -> ScoreCache | None:
    """Open the score cache; None if the default one cannot be used. Raises SeganError if the user's cannot."""
    try:
        cache = ScoreCache(path or default_cache(), own=path is None)
        notes = list(cache.notes)
    except SeganError as error:
        if path is not None:
            raise
        cache, notes = None, [f"{error}; scores are not cached"]
    for note in () if quiet else notes:
        say(f"note: {note}")
    return cache


@contextmanager
def cluster_runner(arguments: SimpleNamespace, systems: Mapping[str, Path | Enhancer]) -> Iterator[ScoreCases | None]:
    """Connect to a cluster and yield what runs an evaluation on it; None for no address."""
    if arguments.ray is None:
        yield None
        return
    from segan_cli.cluster.evaluate import ClusterRunner
    from segan_cli.cluster.pipeline import connected

    with connected(arguments.ray):
        actors = actor_options(arguments)
        yield ClusterRunner({name: s.model for name, s in systems.items() if isinstance(s, Enhancer)}, actors)


def print_report(report: Report) -> None:
    """Print means and differences by measure and system, then the breakdowns of the first measures."""
    systems, names = report["systems"], list(report["measures"])
    title = f"Means over {counted(report['recordings'], 'recording')} (mean ± half-width of the 95 % CI)"
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
        raise CorpusError(f"{n_found - n_complete} of {n_found} recordings had skipped files; --json lists all")


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
        f"{counted(len(common), 'recording')} in both reports, {len(scores[0]) - len(common)} only in {first.name},"
        f" {len(scores[1]) - len(common)} only in {second.name}"
    )
    measures = set(reports[0]["measures"]) & set(reports[1]["measures"])
    n_different = sum(any(scores[0][name][m] != scores[1][name][m] for m in measures) for name in common)
    if n_different:
        say(
            f"warning: {n_different} recordings have different noisy inputs in the two reports, so their scores are"
            " not comparable"
        )
