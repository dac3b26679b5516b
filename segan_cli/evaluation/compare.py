"""Compare two saved reports on the same recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segan_cli.errors import CorpusError
from segan_cli.evaluation.report import FORMAT, Report
from segan_cli.evaluation.statistics import Summary, differences, summarise
from segan_cli.measures.score import Score, Undefined
from segan_cli.text import composed, read_json

MAX_SCORE = 1e6  # larger values are corrupt


def load_report(path: Path) -> Report:
    """Load a report written by `segan evaluate --json`; raises CorpusError if the file is not one."""
    try:
        report = read_json(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CorpusError(f"{path}: not JSON ({error})") from error
    if not isinstance(report, dict) or type(report.get("format")) is not int or report["format"] != FORMAT:
        raise CorpusError(f"{path}: not a report of segan evaluate --json, or one of another version")
    for key, is_valid in VALIDATORS.items():
        try:
            valid = is_valid(report[key])
        except (LookupError, TypeError, AttributeError):  # of data of another shape
            valid = False
        if not valid:
            raise CorpusError(f"{path}: invalid {key}; run segan evaluate --json again")
    return report


def is_score(value: Any) -> bool:
    """Whether a value is a score in its JSON form."""
    if isinstance(value, dict):
        return isinstance(value.get("undefined"), str)
    return value is None or (type(value) in (int, float) and abs(value) < MAX_SCORE)


VALIDATORS: dict[str, Callable[[Any], bool]] = {
    "systems": lambda names: isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
    "measures": lambda measures: all(
        isinstance(each["label"], str)
        and isinstance(each["unit"], str)
        and isinstance(each["higher_is_better"], bool | None)
        for each in measures.values()
    ),
    "files": lambda files: (
        isinstance(files, list)
        and all(
            isinstance(file["name"], str)
            and "noisy" in file["scores"]
            and all(is_score(score) for scores in file["scores"].values() for score in scores.values())
            for file in files
        )
    ),
}


def compare_reports(first: Report, second: Report) -> dict[str, dict[str, Summary]]:
    """Paired differences, second minus first, by system and measure over the recordings in both.

    Systems are matched by name; if each report has exactly one besides the noisy input, these two are compared whatever
    their names. Raises CorpusError if the reports have nothing in common.
    """
    pairs = [(system, system) for system in second["systems"] if system in first["systems"]]
    after, before = (report["systems"][1:] for report in (second, first))  # without the noisy input
    if len(after) == len(before) == 1 and after != before:
        pairs.append((after[0], before[0]))
    first_files, second_files = (
        {composed(file["name"]): file["scores"] for file in report["files"]} for report in (first, second)
    )
    names = [name for name in first_files if name in second_files]
    measures = [name for name in second["measures"] if name in first["measures"]]
    if not names or not measures or not pairs:
        raise CorpusError("the two reports have no recordings, measures or systems in common")

    def difference(new: str, old: str, measure: str) -> Summary:
        new_scores = [score_from_json(second_files[name], new, measure) for name in names]
        old_scores = [score_from_json(first_files[name], old, measure) for name in names]
        return summarise(differences(new_scores, old_scores, second["measures"][measure]["higher_is_better"]))

    return {
        new if new == old else f"{new} - {old}": {measure: difference(new, old, measure) for measure in measures}
        for new, old in pairs
    }


def score_from_json(scores: dict[str, Any], system: str, measure: str) -> Score:
    """One score of a file, back from its JSON form."""
    score = scores.get(system, {}).get(measure)
    if score is None:
        return Undefined("skipped")
    return Undefined(score["undefined"]) if isinstance(score, dict) else float(score)
