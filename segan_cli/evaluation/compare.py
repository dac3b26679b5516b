"""Two reports of the same recordings side by side."""

from pathlib import Path
from typing import Any

from segan_cli.errors import CorpusError
from segan_cli.evaluation.report import FORMAT, Report
from segan_cli.evaluation.statistics import Summary, differences, summarise
from segan_cli.evaluation.store import LARGEST
from segan_cli.measures.score import Score, Undefined
from segan_cli.plain_json import read_json


def load_report(path: Path) -> Report:
    """A report that `segan evaluate --json` printed; raises CorpusError when it is none."""
    try:
        report = read_json(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CorpusError(f"{path}: not JSON ({error})") from error
    if not isinstance(report, dict) or type(report.get("format")) is not int or report["format"] != FORMAT:
        raise CorpusError(f"{path}: no report of segan evaluate --json, or one of another version")
    lacks = next((part for part, good in PARTS.items() if not good(report.get(part))), None)
    if lacks:
        raise CorpusError(f"{path}: its {lacks} are not as segan evaluate --json writes them; write the report anew")
    return report


def is_systems(value: Any) -> bool:
    """Whether a part of a report names systems."""
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def is_measures(value: Any) -> bool:
    """Whether a part of a report describes measures."""
    return isinstance(value, dict) and all(
        isinstance(one, dict)
        and isinstance(one.get("label"), str)
        and isinstance(one.get("unit"), str | None)
        and isinstance(one.get("higher_is_better"), bool)
        for one in value.values()
    )


def is_files(value: Any) -> bool:
    """Whether a part of a report has files, each with scores by system and measure."""
    return isinstance(value, list) and all(
        isinstance(file, dict)
        and isinstance(file.get("name"), str)
        and isinstance(file.get("scores"), dict)
        and all(isinstance(scores, dict) and all(map(is_score, scores.values())) for scores in file["scores"].values())
        for file in value
    )


def is_score(value: Any) -> bool:
    """Whether a value is a score as a report has it."""
    if isinstance(value, dict):
        return isinstance(value.get("undefined"), str)
    return value is None or (type(value) in (int, float) and abs(value) < LARGEST)


PARTS = {"systems": is_systems, "measures": is_measures, "files": is_files}


def compare(first: Report, second: Report) -> dict[str, dict[str, Summary]]:
    """Second less first, by system and measure, over the files that both have.

    Where each has one system beside the noisy ones, these two are compared though their names differ. Raises
    CorpusError when there is nothing in common.
    """
    ours, theirs = (other_systems(report) for report in (second, first))
    pairs = [(system, system) for system in second["systems"] if system in first["systems"]]
    if len(ours) == len(theirs) == 1 and ours != theirs:
        pairs.append((ours[0], theirs[0]))
    files = [{file["name"]: file["scores"] for file in report["files"]} for report in (first, second)]
    names = [name for name in files[0] if name in files[1]]
    measures = [name for name in second["measures"] if name in first["measures"]]
    if not names or not measures or not pairs:
        raise CorpusError("the two reports have no recordings, measures or systems in common")
    found: dict[str, dict[str, Summary]] = {}
    for here, there in pairs:
        found[here if here == there else f"{here} - {there}"] = {
            measure: summarise(
                differences(*([value(side[name], system, measure) for name in names]
                              for side, system in ((files[1], here), (files[0], there))))
            )
            for measure in measures
        }  # fmt: skip
    return found


def other_systems(report: Report) -> list[str]:
    """Those beside the first, which is what is there before any."""
    return list(report["systems"][1:])


def value(scores: dict[str, Any], system: str, measure: str) -> Score:
    """A score as it was before it became JSON."""
    score = scores.get(system, {}).get(measure)
    if score is None:
        return Undefined("no file")
    return Undefined(score["undefined"]) if isinstance(score, dict) else float(score)
