"""`segan evaluate`."""

from pathlib import Path
from typing import Any

import click

from segan_cli.cli.cluster_options import check_cluster_usage, cluster_section
from segan_cli.cli.evaluate_arguments import (
    Arguments,
    check_columns,
    check_comparison,
    check_outputs,
    find_cases,
    name_systems,
    select_measures,
)
from segan_cli.cli.model_name import MODEL
from segan_cli.cli.numbers import DECIBELS, SEED, WORKERS
from segan_cli.cli.paths import PATH_OR_URL
from segan_cli.cli.sections import SectionedCommand, section
from segan_cli.extras import require_extra

PATH = click.Path(path_type=Path)


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
        help="Measure to compute; repeatable.  [default: all but those below]",
    ),
    click.option("--full-band", is_flag=True, help="Add those of the band above 8 kHz; models get 48 kHz."),
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
def evaluate(**options: Any) -> None:
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
    arguments = Arguments(**options)
    folders, model_names = name_systems(arguments)
    require_extra("evaluate", "segan evaluate")
    if arguments.compare is not None:
        from segan_cli.cli.scores import print_comparison

        check_comparison(arguments)
        print_comparison(*arguments.compare)
        return
    local = {"--jobs": arguments.jobs, "--cache": arguments.cache}
    check_cluster_usage(arguments.ray, arguments.ray_actors, arguments.ray_cpus, arguments.ray_gpus, local)
    cases = find_cases(arguments)
    check_outputs(arguments, cases, folders.values())
    measures = select_measures(arguments, cases)
    check_columns(arguments.columns, cases)

    from segan_cli.atomic import remove_scratch
    from segan_cli.cli.console import print_json
    from segan_cli.cli.evaluation_run import provenance, run, write_reports
    from segan_cli.cli.scores import check_skipped, print_report
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.evaluation.report import build_report
    from segan_cli.plain_json import write_json
    from segan_cli.stopping import RaiseOnSignal, listening

    remove_scratch()
    models = {name: Enhancer(model) for name, model in model_names.items()}
    origin = provenance(measures, models)
    with listening(RaiseOnSignal()):
        result = run(arguments, cases, measures, folders, models)
        report = build_report(result, origin, arguments.columns or None)
        write_reports(arguments.outputs, report, result)
        if arguments.as_json:
            print_json(write_json(report, indent=1))
        else:
            print_report(report)
        check_skipped(report, arguments.quiet)
