"""Pairs of recordings to rows of scores."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segan_cli.audio.sources import read_mono
from segan_cli.data.layouts import audio_below
from segan_cli.errors import CorpusError
from segan_cli.metrics import MEASURES, RATE_HZ, Array, Score, Undefined, mean, measure_all, worker_pool

if TYPE_CHECKING:
    from segan_cli.enhance import Enhancer

Progress = Callable[[int], None]  # one more score is done, of so many in all


@dataclass(frozen=True)
class Row:
    """The scores of one pair."""

    name: str
    noisy: dict[str, Score]
    enhanced: dict[str, Score] | None


def pair_files(first: Path, second: Path) -> dict[str, tuple[Path, Path]]:
    """Files of two folders matched by their path below the folder, without the extension.

    Raises CorpusError when a file on either side has no partner, or two files share a name.
    """
    ours, theirs = by_name(first), by_name(second)
    for here, there, where in ((ours, theirs, second), (theirs, ours, first)):
        alone = sorted(here.keys() - there.keys())
        if alone:
            raise CorpusError(f"{where}: has no partner for {here[alone[0]]} ({len(alone)} such files)")
    return {name: (ours[name], theirs[name]) for name in sorted(ours)}


def by_name(folder: Path) -> dict[str, Path]:
    """The audio files below a folder by their path in it, without the extension; raises CorpusError on a name twice."""
    paths = audio_below(folder)
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    if len(files) < len(paths):
        raise CorpusError(f"{folder}: holds files that differ only in their extension; keep one of each name")
    return files


def equal_length(clean: Path, degraded: Path) -> tuple[Array, Array]:
    """Both files at 16 kHz, [n] each; raises CorpusError when their lengths differ."""
    reference, signal = read_mono(clean, RATE_HZ), read_mono(degraded, RATE_HZ)
    if len(reference) != len(signal):
        raise CorpusError(
            f"{degraded}: {len(signal)} samples at 16 kHz but {len(reference)} in {clean}; cut them to equal length"
        )
    return reference, signal


def score_files(clean: Path, degraded: Path) -> dict[str, Score]:
    """Every measure of one pair of files at 16 kHz; raises CorpusError when their lengths differ."""
    return measure_all(*equal_length(clean, degraded))


def evaluate(
    noisy: Path,
    clean: Path,
    enhanced: Path | None = None,
    enhancer: "Enhancer | None" = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Score noisy files, and enhanced ones from a folder or an enhancer, against the clean ones of the same name.

    Files are taken as the mean of their channels at 16 kHz. The measures run in worker processes; `progress` hears of
    every score. Raises CorpusError when files have no partner or another length than it.
    """
    pairs = pair_files(noisy, clean)
    finished = {name: path for name, (path, _) in pair_files(enhanced, clean).items()} if enhanced else {}
    with worker_pool() as pool:
        expected = len(pairs) * (2 if finished or enhancer else 1)

        def submit(measure: Callable[..., dict[str, Score]], clean: Any, degraded: Any) -> Future[dict[str, Score]]:
            job = pool.submit(measure, clean, degraded)
            if progress is not None:
                job.add_done_callback(lambda _: progress(expected))
            return job

        before = {name: submit(score_files, clean_path, path) for name, (path, clean_path) in pairs.items()}
        after = {name: submit(score_files, pairs[name][1], path) for name, path in finished.items()}
        if enhancer:
            for name, (path, clean_path) in pairs.items():
                reference, degraded = equal_length(clean_path, path)
                after[name] = submit(measure_all, reference, enhancer.enhance(degraded, RATE_HZ))
        return [Row(name, before[name].result(), after[name].result() if name in after else None) for name in pairs]


def summarise(rows: list[Row]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Per system and measure: the mean of the defined scores, and how many were undefined."""
    systems = {"noisy": [row.noisy for row in rows], "enhanced": [row.enhanced for row in rows if row.enhanced]}
    return {
        system: {
            name: {
                "mean": mean([scores[name] for scores in every]),
                "undefined": sum(isinstance(scores[name], Undefined) for scores in every),
            }
            for name in MEASURES
        }
        for system, every in systems.items()
        if every
    }


def to_json(rows: list[Row], about: dict[str, Any]) -> str:
    """The summary and every row; an undefined score is {"undefined": reason}."""

    def plain(scores: dict[str, Score] | None) -> Any:
        if scores is None:
            return None
        return {name: {"undefined": s.reason} if isinstance(s, Undefined) else s for name, s in scores.items()}

    files = [{"name": row.name, "noisy": plain(row.noisy), "enhanced": plain(row.enhanced)} for row in rows]
    return json.dumps(
        {**about, "pairs": len(rows), "summary": summarise(rows), "files": files}, indent=2, allow_nan=False
    )
