"""Evaluation cases: noisy recordings or noise mixes, their clean references, labels, and the signals of systems."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from segan_cli.data.folders import (
    audio_below,
    find_pair_folders,
    is_folder,
    match_names,
    no_folder,
    relative_name,
)
from segan_cli.data.manifest import Row, columns_of, file_in, is_manifest, join_columns, read_rows
from segan_cli.data.names import group_speakers, scope_of
from segan_cli.data.spans import COLUMNS as SPAN_COLUMNS
from segan_cli.data.spans import span_of
from segan_cli.errors import CorpusError
from segan_cli.evaluation.signals import Denoiser, FilePart, NoiseMix, Output, Recorded, SignalSource
from segan_cli.text import composed

NO_LABELS = ("name", "noisy", "clean", *SPAN_COLUMNS)  # columns of a manifest that are not labels
NOISE_LOG = "log_testset.txt"  # of VoiceBank-DEMAND, next to its folders
NOISY = "noisy"  # the unprocessed input, listed first among the systems
PREFERRED_SETS = ("test", "dev", "valid", "")  # substrings of folder names, most preferred first


@dataclass(frozen=True)
class Case:
    """One recording to score."""

    name: str
    noisy: Recorded
    clean: Path | FilePart | None  # None: only measures without a reference
    labels: dict[str, str] = field(default_factory=dict)  # column → value: speaker, noise, SNR, manifest columns
    enhanced: dict[str, SignalSource] = field(default_factory=dict)  # by system

    @property
    def signals(self) -> dict[str, SignalSource]:
        """The signal of every system, that of the noisy input first."""
        return {NOISY: self.noisy, **self.enhanced}


@dataclass(frozen=True)
class Cases:
    """All cases of an evaluation, and a line for each that was skipped."""

    all: tuple[Case, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # for the user


def with_clean(cases: Cases) -> Cases:
    """Skip the cases without a clean recording."""
    skipped = (f"{case.name}: no clean recording is given for it" for case in cases.all if case.clean is None)
    kept = tuple(case for case in cases.all if case.clean is not None)
    return replace(cases, all=kept, skipped=(*cases.skipped, *skipped))


def from_folders(noisy: Path, clean: Path | None) -> Cases:
    """Pair the files of two folders by relative path, or take all noisy files; raises CorpusError if there are none."""
    if clean is None:
        return unique_cases([Case(relative_name(noisy, path), path, None) for path in audio_below(noisy)], (), noisy)
    pairs, skipped = match_names(clean, noisy)
    if not pairs:
        raise CorpusError(f"{noisy}: none of its files matches a name in {clean}; first: {skipped[0]}")
    noise_labels = read_noise_log(noisy.parent)
    speaker_labels = label_speakers(clean, [path for path, _ in pairs])
    cases = [
        Case(relative_name(clean, path), noisy_path, path, labels | noise_labels.get(composed(path.stem), {}))
        for (path, noisy_path), labels in zip(pairs, speaker_labels, strict=True)
    ]
    return unique_cases(cases, skipped, clean)


def unique_cases(cases: Sequence[Case], skipped: Sequence[str], origin: Path, notes: Sequence[str] = ()) -> Cases:
    """Skip cases that share a name, as their scores could not be told apart; raises CorpusError if none remain."""
    counts = Counter(case.name for case in cases)
    repeated = [case for case in cases if counts[case.name] > 1]
    files = [case.clean if isinstance(case.noisy, NoiseMix) else case.noisy for case in repeated]
    names = zip(files, repeated, strict=True)
    unique = tuple(case for case in cases if counts[case.name] == 1)
    skipped = (*skipped, *(f"{file}: several recordings have this name ({case.name})" for file, case in names))
    if not unique:
        raise CorpusError(f"{origin}: none of its recordings can be used; first: {skipped[0]}")
    return Cases(unique, skipped, tuple(notes))


def from_set(root: Path) -> Cases:
    """Find the noisy and clean folders in a folder, preferring a test set, or read a manifest; raises CorpusError."""
    if is_manifest(root):
        return from_manifest(root)
    if not is_folder(root):
        raise CorpusError(no_folder(root, "with noisy and clean files, or a manifest"))
    pairs = find_pair_folders(root)
    for word in PREFERRED_SETS:
        for name, (clean, noisy) in pairs.items():
            if word in name.lower():
                cases, others = from_folders(noisy, clean), sorted(str(other) for _, other in pairs.values())
                others.remove(str(noisy))
                left_out = f"{noisy}: only this set is evaluated; left out: {', '.join(others)}"
                return replace(cases, notes=(*cases.notes, left_out)) if others else cases
    raise CorpusError(f"{root}: no matching folders clean… and noisy… found; use --noisy and --clean")


def from_manifest(path: Path) -> Cases:
    """Read cases from a manifest: `noisy`, perhaps `clean`, a part in seconds, labels; raises CorpusError."""
    cases: list[Case] = []
    skipped = []
    rows = read_rows(path)
    columns = columns_of(rows)
    if "noisy" not in columns:
        raise CorpusError(f"{path}: no column noisy; found {join_columns(columns)}")
    for line, row in rows:
        try:
            cases.append(case_of(path, row, f"{path}, line {line}"))
        except CorpusError as error:
            skipped.append(str(error))
    label_columns = [name for name in columns if name not in NO_LABELS]
    note = f"{path}: --by can group scores by {join_columns(label_columns)}"
    return unique_cases(cases, skipped, path, (note,) if label_columns else ())


def case_of(manifest: Path, row: Row, place: str) -> Case:
    """The case of a row; raises CorpusError, with the row's place, if it cannot be used."""
    if not row.get("noisy"):
        raise CorpusError(f"{place}: no noisy file given")
    noisy = file_in(manifest, row["noisy"], place)
    clean = file_in(manifest, row["clean"], place) if row.get("clean") else None
    name = composed(row.get("name") or Path(row["noisy"]).with_suffix("").as_posix())
    labels = {key: composed(value) for key, value in row.items() if key not in NO_LABELS and value}
    span = span_of(row, place)
    if span is None:
        return Case(name, noisy, clean, labels)
    part = FilePart(clean, span) if clean else None
    return Case(name if row.get("name") else f"{name} {span}", FilePart(noisy, span), part, labels)


def from_mixes(clean: Path, noise: Path, snrs_db: Sequence[float], seed: int) -> Cases:
    """Mix every clean file with noise drawn by seed, name and SNR, whatever the other mixes; raises CorpusError."""
    paths, noises = audio_below(clean), audio_below(noise)
    cases = []
    for path, labels in zip(paths, label_speakers(clean, paths), strict=True):
        for snr_db in dict.fromkeys(snrs_db):
            snr = f"{snr_db + 0.0:.15g}"  # not -0
            name = f"{relative_name(clean, path)} at {snr} dB"
            digest = hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()
            rng = np.random.default_rng(int.from_bytes(digest))
            drawn = noises[int(rng.integers(len(noises)))]
            folder, *rest = drawn.relative_to(noise).parts
            kind = composed(folder if rest else drawn.stem)
            mix = NoiseMix(path, drawn, snr_db, int(rng.integers(2**31)))
            cases.append(Case(name, mix, path, labels | {"noise": kind, "snr_db": snr}))
    return unique_cases(cases, (), clean)


def label_speakers(root: Path, paths: Sequence[Path]) -> list[dict[str, str]]:
    """Label each file with its speaker if the paths identify speakers."""
    speakers, known = group_speakers(root, paths)
    if not known or len(paths) < 2:
        return [{} for _ in paths]
    folder = f"{scope_of(root)}:"  # before the speaker, or else the name of a corpus
    names = (name.removeprefix(folder) if name.startswith(folder) else name.partition(":")[2] for name in speakers)
    return [{"speaker": name} for name in names]


def read_noise_log(folder: Path) -> dict[str, dict[str, str]]:
    """Noise and SNR labels by file name from VoiceBank-DEMAND's log_testset.txt; empty if the folder has none."""
    path = folder / NOISE_LOG
    if not path.is_file():
        return {}
    fields = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {composed(words[0]): {"noise": words[1], "snr_db": words[2]} for words in fields if len(words) == 3}


def add_systems(cases: Sequence[Case], systems: Mapping[str, Path | Denoiser]) -> tuple[list[Case], list[str]]:
    """Add the signals of systems to cases, with a line for each that is missing; raises CorpusError if all are."""
    skipped: list[str] = []
    found: dict[str, Mapping[str, SignalSource]] = {}
    for system, origin in systems.items():
        if isinstance(origin, Denoiser):
            found[system] = {case.name: Output(case.name, system, case.noisy) for case in cases}
        else:
            found[system], missing = match_enhanced(origin, cases)
            skipped += missing
    added = [
        {system: by_case[case.name] for system, by_case in found.items() if case.name in by_case} for case in cases
    ]
    return [replace(case, enhanced=enhanced) for case, enhanced in zip(cases, added, strict=True)], skipped


def match_enhanced(folder: Path, cases: Sequence[Case]) -> tuple[dict[str, Path | FilePart], list[str]]:
    """Find a system's enhanced file for each case, by the name of the case or of its noisy file.

    If the case is a part of its noisy file, the same part of a file with the name of the noisy file is used. Returns
    files by case name, and a line for each case without exactly one file. Raises CorpusError if the folder is missing
    or empty, or has no file for any case.
    """
    files: dict[str, list[Path]] = {}
    for path in audio_below(folder):
        files.setdefault(relative_name(folder, path), []).append(path)
    noisy_paths = [case.noisy.path if isinstance(case.noisy, FilePart) else case.noisy for case in cases]
    n_recordings = Counter(name for path in set(noisy_paths) for name in names_of(path))
    matched: dict[str, Path | FilePart] = {}
    skipped = []
    for case, noisy in zip(cases, noisy_paths, strict=True):
        span = case.noisy.span if isinstance(case.noisy, FilePart) else None
        own = names_of(noisy)
        name = next((name for name in (case.name, *own) if name in files), case.name)
        paths = files.get(name, [])
        if paths and name != case.name and n_recordings[name] > 1:
            skipped.append(f"{paths[0]}: matches several noisy files, such as that of {case.name}")
        elif len(paths) == 1:
            matched[case.name] = FilePart(paths[0], span) if span is not None and name in own else paths[0]
        else:
            skipped.append(f"{folder}: {'several files' if paths else 'no file'} for {case.name}")
    if not matched:
        raise CorpusError(f"{folder}: no file matches the name of a noisy file; first missing: {cases[0].name}")
    return matched, skipped


def names_of(noisy: Path | NoiseMix) -> list[str]:
    """Return the names that an enhanced file may have: those of its recording in any of its folders, longest first."""
    if isinstance(noisy, NoiseMix):
        return []
    parts = [*str(noisy.parent).replace(os.sep, "/").split("/"), noisy.stem]
    return [composed("/".join(parts[i:])) for i in range(len(parts))]
