"""The report files of `segan evaluate`, and their provenance."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segan_cli.same_file import STREAM, Use, check_uses

if TYPE_CHECKING:
    from segan_cli.evaluation.cases import Cases
    from segan_cli.evaluation.report import Report
    from segan_cli.evaluation.run import EvaluationResult, System


def provenance(measures: Sequence[str], models: Mapping[str, str | None]) -> dict[str, Any]:
    """The command, package versions and model hashes behind a report."""
    from segan_cli import __version__
    from segan_cli.measures.catalog import package_versions

    command = shlex.join(["segan", *sys.argv[1:]])
    versions = {"segan-cli": __version__, **package_versions(measures)}
    return {"command": command, "versions": versions, "models": models}


def files_read(cases: "Cases", places: Sequence[Path], models: Sequence[str]) -> Iterator[Use]:
    """Yield all files that the evaluation reads: cases, other recordings and tables of their folders, models."""
    from segan_cli.backends.pretrained import model_files
    from segan_cli.data.folders import audio_below
    from segan_cli.data.spans import Part
    from segan_cli.evaluation.cases import NOISE_LOG, NoiseMix

    for case in cases.all:
        for side in (case.noisy.noise if isinstance(case.noisy, NoiseMix) else case.noisy, case.clean):
            if side is not None:
                yield Use(side.path if isinstance(side, Part) else side, "recording")
    for place in places:
        if place.is_dir():
            yield from (Use(path, "recording") for path in audio_below(place))
            yield from (Use(folder / NOISE_LOG, "table") for folder in (place, place.parent))
        else:
            yield Use(place, "manifest")
    for model in models:
        yield from (Use(path, "model") for path in model_files(model))


def check_outputs(outputs: dict[str, Path | None], read: Iterable[Use], force: bool) -> None:
    """Raise an error for a file, by its option, that exists, cannot be written, or is also read or written twice."""
    from segan_cli.atomic import check_place

    written = [Use(path, f"--{option}", written=True) for option, path in outputs.items() if path is not None]
    for use in written:
        if use.what != "--cache":
            check_place(use.path, force)
    uses = [*read, *written, Use(STREAM, "the report", written=True)]
    check_uses(lambda: uses)


def write_reports(
    outputs: dict[str, Path | None], report: "Report", result: "EvaluationResult", systems: Mapping[str, "System"]
) -> None:
    """Write the CSV, Markdown and HTML files that were requested."""
    from segan_cli.atomic import write_whole
    from segan_cli.evaluation.page import to_html
    from segan_cli.evaluation.report import to_csv, to_markdown

    for name, path in outputs.items():
        if path is None:
            continue
        if name == "html":
            text = to_html(report, result, systems)
        else:
            text = {"csv": to_csv, "markdown": to_markdown}[name](report)
        write_whole(path, text.encode())
