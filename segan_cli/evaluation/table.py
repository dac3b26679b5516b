"""The table of an evaluation: a row for each case, with the signal of every system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.data.folders import audio_below, relative_name
from segan_cli.data.spans import Part
from segan_cli.errors import CorpusError
from segan_cli.evaluation.cases import Case
from segan_cli.evaluation.signals import Model, NoiseMix, Output, Source
from segan_cli.printable import composed

NOISY = "noisy"  # the unprocessed input, listed first among the systems


@dataclass(frozen=True)
class Row:
    """A case, and the signal of every system that has one for it."""

    case: Case
    signals: Mapping[str, Source]  # by system, in their order


def build_table(cases: Sequence[Case], systems: Mapping[str, Path | Model]) -> tuple[list[Row], list[str]]:
    """The rows of all cases, and a line for each signal that is missing.

    A system is a model or a folder of enhanced files. Raises CorpusError if a folder has no file for any case.
    """
    signals: dict[str, dict[str, Source]] = {case.name: {NOISY: case.noisy} for case in cases}
    skipped: list[str] = []
    for system, origin in systems.items():
        if isinstance(origin, Model):
            for case in cases:
                signals[case.name][system] = Output(case.name, system, case.noisy)
        else:
            files, missing = match_enhanced(origin, cases)
            skipped += missing
            for name, file in files.items():
                signals[name][system] = file
    return [Row(case, signals[case.name]) for case in cases], skipped


def match_enhanced(folder: Path, cases: Sequence[Case]) -> tuple[dict[str, Path | Part], list[str]]:
    """Find a system's enhanced file for each case, by the name of the case or of its noisy file.

    If the case is a part of its noisy file, the same part of a file with the name of the noisy file is used. Returns
    files by case name, and a line for each case without exactly one file. Raises CorpusError if the folder is missing
    or empty, or has no file for any case.
    """
    files: dict[str, list[Path]] = {}
    for path in audio_below(folder):
        files.setdefault(relative_name(folder, path), []).append(path)
    matched: dict[str, Path | Part] = {}
    skipped = []
    for case in cases:
        span = case.noisy.span if isinstance(case.noisy, Part) else None
        noisy = case.noisy.path if isinstance(case.noisy, Part) else case.noisy
        stem = case.name if isinstance(noisy, NoiseMix) else composed(noisy.stem)
        name = case.name if case.name in files else stem
        paths = files.get(name, [])
        if len(paths) == 1:
            matched[case.name] = Part(paths[0], span) if span is not None and name == stem else paths[0]
        else:
            skipped.append(f"{folder}: {'several files' if paths else 'no file'} for {case.name}")
    if not matched:
        raise CorpusError(f"{folder}: no file matches the name of a noisy file; first missing: {cases[0].name}")
    return matched, skipped
