"""The report files of `segan evaluate`, and their provenance."""

import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segan_cli.cli.evaluate_arguments import Arguments, split_name
from segan_cli.remote import is_remote
from segan_cli.same_file import STREAM, Use, check_uses

if TYPE_CHECKING:
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.evaluation.cases import Cases
    from segan_cli.evaluation.report import Report
    from segan_cli.evaluation.result import EvaluationResult


def provenance(measures: Sequence[str], models: "Mapping[str, Enhancer]") -> dict[str, Any]:
    """The command, package versions and model hashes behind a report."""
    from segan_cli import __version__
    from segan_cli.measures.catalog import package_versions

    command = shlex.join(["segan", *sys.argv[1:]])
    versions = {"segan-cli": __version__, **package_versions(measures)}
    hashes = {name: model.model_sha256 for name, model in models.items()}
    return {"command": command, "versions": versions, "models": hashes}


def check_outputs(arguments: Arguments, cases: "Cases", folders: Collection[Path]) -> None:
    """Raise an error for a file, by its option, that exists, cannot be written, or is also read or written twice."""
    from segan_cli.atomic import check_place

    written = [Use(path, f"--{option}", written=True) for option, path in arguments.outputs.items()]
    for use in written:
        check_place(use.path, arguments.force)
    if arguments.cache is not None:
        written.append(Use(arguments.cache, "--cache", written=True))
    uses = [*files_read(arguments, cases, folders), *written, Use(STREAM, "the report", written=True)]
    check_uses(lambda: uses)


def files_read(arguments: Arguments, cases: "Cases", folders: Collection[Path]) -> Iterator[Use]:
    """Yield all files that the evaluation reads: cases, other recordings and tables of their folders, models.

    Remote folders are only listed if a report is remote too.
    """
    from segan_cli.backends.pretrained import model_files
    from segan_cli.data.folders import audio_below
    from segan_cli.data.spans import Part
    from segan_cli.evaluation.cases import NOISE_LOG
    from segan_cli.evaluation.signals import NoiseMix

    for case in cases.all:
        for side in (case.noisy.noise if isinstance(case.noisy, NoiseMix) else case.noisy, case.clean):
            if side is not None:
                yield Use(side.path if isinstance(side, Part) else side, "recording")
    remote = any(map(is_remote, arguments.outputs.values()))
    for place in (arguments.noisy, arguments.clean, arguments.data, arguments.noise, *folders):
        if place is None or is_remote(place) > remote:
            continue
        if place.is_dir():
            yield from (Use(path, "recording") for path in audio_below(place))
            yield from (Use(folder / NOISE_LOG, "table") for folder in (place, place.parent))
        else:
            yield Use(place, "manifest")
    for entry in arguments.models:
        yield from (Use(path, "model") for path in model_files(split_name(entry)[1]))


def write_reports(outputs: Mapping[str, Path], report: "Report", result: "EvaluationResult") -> None:
    """Write the CSV, Markdown and HTML files that were requested."""
    from segan_cli.atomic import write_whole
    from segan_cli.evaluation.page import to_html
    from segan_cli.evaluation.report import to_csv, to_markdown

    for option, path in outputs.items():
        if option == "html":
            text = to_html(report, result)
        else:
            text = {"csv": to_csv, "markdown": to_markdown}[option](report)
        write_whole(path, text.encode())
