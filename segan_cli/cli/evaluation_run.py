"""Run the evaluation that the arguments of `segan evaluate` ask for, and write its reports."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from segan_cli import __version__
from segan_cli.atomic import write_whole
from segan_cli.cli.cluster_options import actor_options, cluster_runner
from segan_cli.cli.console import limit_jobs, progress_bar, say
from segan_cli.cli.evaluate_arguments import Arguments
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import SeganError
from segan_cli.evaluation.cases import Cases
from segan_cli.evaluation.page import to_html
from segan_cli.evaluation.report import Report, to_csv, to_markdown
from segan_cli.evaluation.result import EvaluationResult
from segan_cli.evaluation.run import evaluate
from segan_cli.evaluation.store import ScoreStore
from segan_cli.measures.catalog import package_versions
from segan_cli.system import cpu_count

FILES_PER_WORKER = 4  # open files of this process for a worker process


def run(
    arguments: Arguments, cases: Cases, measures: tuple[str, ...], folders: Mapping[str, Path],
    models: Mapping[str, Enhancer],
) -> EvaluationResult:  # fmt: skip
    """Run the evaluation here or on a cluster, with a progress bar."""
    quiet, ray = arguments.quiet, arguments.ray
    store = None if arguments.no_cache or ray else open_store(arguments.cache, quiet)
    jobs = limit_jobs(arguments.jobs or cpu_count(), FILES_PER_WORKER, quiet)
    actors = partial(actor_options, arguments.ray_actors, arguments.ray_cpus, arguments.ray_gpus)
    for note in () if quiet else cases.notes:
        say(f"note: {note}")
    with cluster_runner(ray, actors, models) as runner, progress_bar(not quiet) as bar:
        task = bar.add_task("scoring", total=None, note="")
        return evaluate(
            cases, measures, {**folders, **models}, align=arguments.align, jobs=jobs, store=store, runner=runner,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip


def open_store(path: Path | None, quiet: bool) -> ScoreStore | None:
    """Open the score cache; None if the default one cannot be used.

    Raises SeganError if the file given by the user cannot be used.
    """
    try:
        store = ScoreStore(path or user_cache_path("segan") / "scores.sqlite", own=path is None)
        notes = list(store.notes)
    except SeganError as error:
        if path is not None:
            raise
        store, notes = None, [f"{error}; scores are not cached"]
    for note in () if quiet else notes:
        say(f"note: {note}")
    return store


def provenance(measures: Sequence[str], models: Mapping[str, Enhancer]) -> dict[str, Any]:
    """The command, package versions and model hashes behind a report."""
    command = shlex.join(["segan", *sys.argv[1:]])
    versions = {"segan-cli": __version__, **package_versions(measures)}
    return {"command": command, "versions": versions, "models": {name: m.model_sha256 for name, m in models.items()}}


def write_reports(outputs: Mapping[str, Path], report: Report, result: EvaluationResult) -> None:
    """Write the CSV, Markdown and HTML files that were requested."""
    formats = {"csv": to_csv, "markdown": to_markdown}
    for option, path in outputs.items():
        text = to_html(report, result) if option == "html" else formats[option](report)
        write_whole(path, text.encode())
