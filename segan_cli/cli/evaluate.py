"""`segan evaluate`."""

from types import SimpleNamespace
from typing import Any

import click
from click.core import ParameterSource

from segan_cli.cli.options import (
    DECIBELS,
    MODEL,
    NAME,
    PATH,
    PATH_OR_URL,
    SEED,
    WORKERS,
    SectionedCommand,
    check_cluster_usage,
    cluster_section,
    flag,
    option,
    section,
    split_name,
)
from segan_cli.system import require_extra


@click.command(cls=SectionedCommand)
@section(
    "Recordings",
    option("--noisy FOLDER", "Noisy recordings.", PATH_OR_URL),
    option("--clean FOLDER", "Clean recordings with the same file names.", PATH_OR_URL),
    option("--data PATH", "Folder with clean and noisy folders, or a manifest.", PATH_OR_URL),
    option("--noise FOLDER", "Noise to mix into the clean recordings.", PATH_OR_URL),
    option("--snr DB", "SNR of the mixes; repeatable.  [default: 0, 10]", DECIBELS, name="snrs", multiple=True),
    option("--seed N", "Random seed of the mixes.  [default: 0]", SEED, default=0),
)
@section(
    "Systems",
    option("-m --model [NAME=]MODEL", "Shipped model or file; repeatable.", MODEL, name="models", multiple=True),
    option("--enhanced [NAME=]FOLDER", "Enhanced recordings; repeatable.", NAME, multiple=True),
    flag("--align", "Compensate the constant delay of each system."),
)
@section(
    "Measures",
    option(
        "--measure NAME",
        "Measure to compute; repeatable.  [default: all but those below]",
        name="measures",
        multiple=True,
    ),
    flag("--full-band", "Add measures above 8 kHz; models run at 48 kHz."),
    flag("--dnsmos", "Add DNSMOS, which needs no clean recordings."),
    option("--by COLUMN", "Group by snr_db, noise, speaker …; repeatable.", name="columns", multiple=True),
)
@section(
    "Reports",
    option("--html FILE", "Write a page with tables, plots and players.", PATH_OR_URL),
    option("--csv FILE", "Write the scores of each recording.", PATH_OR_URL),
    option("--markdown FILE", "Write the tables.", PATH_OR_URL),
    flag("--json", "Print the full report as JSON.", name="as_json"),
    option("--compare A.json B.json", "Compare two JSON reports and exit.", PATH, nargs=2),
    flag("-y --force", "Overwrite existing files."),
    flag("-q --quiet", "Hide the progress bar and notes."),
)
@section(
    "Performance",
    option("-j --jobs N", "Worker processes.  [default: one per core]", WORKERS),
    option("--cache FILE", "Score cache.  [default: in the user's cache folder]", PATH),
    flag("--no-cache", "Do not use the score cache."),
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
    arguments = SimpleNamespace(**options)
    from segan_cli.backends.pretrained import check_model

    for _, model in map(split_name, arguments.models):
        check_model(model)
    require_extra("evaluate", "segan evaluate")

    from segan_cli.cli.evaluation_run import print_comparison, run

    if arguments.compare is None:
        check_cluster_usage(arguments, {"--jobs": arguments.jobs, "--cache": arguments.cache})
        run(arguments)
        return
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    if given - {"compare", "quiet", "debug"}:
        raise click.UsageError("--compare takes two reports and no other options.")
    print_comparison(*arguments.compare)
