"""Two reports of the same recordings side by side."""

import json
from pathlib import Path
from typing import Any

from segan_cli.errors import CorpusError
from segan_cli.evaluation.report import FORMAT, Report
from segan_cli.evaluation.statistics import Summary, differences, summarise
from segan_cli.measures.score import Score, Undefined


def load_report(path: Path) -> Report:
    """A report that `segan evaluate --json` printed; raises CorpusError when it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CorpusError(f"{path}: not JSON ({error})") from error
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise CorpusError(f"{path}: no report of segan evaluate --json, or one of another version")
    return report


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
