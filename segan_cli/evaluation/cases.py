"""Evaluation cases: noisy recordings or noise mixes, their clean references, and labels such as speaker and SNR."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segan_cli.data.groups import group_speakers
from segan_cli.data.layouts import audio_below, find_pair_folders, match_names
from segan_cli.data.manifest import SUFFIXES, columns_of, is_file, join_columns, path_in, read_rows
from segan_cli.errors import CorpusError

PATH_COLUMNS = ("name", "noisy", "clean")  # columns of a manifest that are not labels
NOISE_LOG = "log_testset.txt"  # of VoiceBank-DEMAND, beside its folders
PREFERRED_SETS = ("test", "dev", "valid", "")  # substrings of folder names, most preferred first


@dataclass(frozen=True)
class NoiseMix:
    """A noise to mix into a clean recording; the seed selects the excerpt."""

    noise: Path
    snr_db: float
    seed: int


@dataclass(frozen=True)
class Case:
    """One recording to score."""

    name: str
    noisy: Path | NoiseMix
    clean: Path | None  # None: only measures without a reference
    labels: dict[str, str] = field(default_factory=dict)  # column → value: speaker, noise, SNR, manifest columns


@dataclass(frozen=True)
class Cases:
    """All cases of an evaluation, and a line for each file that was skipped."""

    all: tuple[Case, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # for the user


def from_folders(noisy: Path, clean: Path | None) -> Cases:
    """Pair the files of two folders by relative path without extension; without `clean`, take all noisy files.

    Raises CorpusError if a folder is missing or empty, or no file has a counterpart.
    """
    if clean is None:
        return unique_cases([Case(relative_name(noisy, path), path, None) for path in audio_below(noisy)], (), noisy)
    pairs, skipped = match_names(clean, noisy)
    if not pairs:
        raise CorpusError(f"{noisy}: none of its files matches a name in {clean}; first: {skipped[0]}")
    noise_labels = read_noise_log(noisy.parent)
    speaker_labels = label_speakers(clean, [path for path, _ in pairs])
    cases = [
        Case(relative_name(clean, clean_path), noisy_path, clean_path, labels | noise_labels.get(clean_path.stem, {}))
        for (clean_path, noisy_path), labels in zip(pairs, speaker_labels, strict=True)
    ]
    return unique_cases(cases, skipped, clean)


def unique_cases(cases: Sequence[Case], skipped: Sequence[str], origin: Path, notes: Sequence[str] = ()) -> Cases:
    """Skip cases that share a name, as their scores could not be told apart; raises CorpusError if none remain."""
    counts = Counter(case.name for case in cases)
    repeated = [f"{origin}: {name}: several recordings have this name" for name, n in sorted(counts.items()) if n > 1]
    unique = tuple(case for case in cases if counts[case.name] == 1)
    skipped = (*skipped, *repeated)
    if not unique:
        raise CorpusError(f"{origin}: none of its recordings can be used; first: {skipped[0]}")
    return Cases(unique, skipped, tuple(notes))


def from_set(root: Path) -> Cases:
    """Find the noisy and clean folders inside a folder, preferring a test set, or read a manifest.

    Raises CorpusError if there are none.
    """
    if root.suffix in SUFFIXES:
        return from_manifest(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; give a folder with noisy and clean files, or a manifest")
    pairs = find_pair_folders(root)
    for word in PREFERRED_SETS:
        for name, (clean, noisy) in pairs.items():
            if word in name.lower():
                return from_folders(noisy, clean)
    raise CorpusError(f"{root}: no matching folders clean… and noisy… found; use --noisy and --clean")


def from_manifest(path: Path) -> Cases:
    """Read cases from a manifest with the columns `noisy` and, for measures with a reference, `clean`.

    All other columns become labels. Raises CorpusError if the manifest cannot be read or has no usable row.
    """
    cases: list[Case] = []
    skipped = []
    rows = read_rows(path)
    columns = columns_of(rows)
    if "noisy" not in columns:
        raise CorpusError(f"{path}: no column noisy; found {join_columns(columns)}")
    for line, row in rows:
        noisy, clean = row.get("noisy", ""), row.get("clean", "")
        missing = next((name for name in (noisy, clean) if name and not is_file(path_in(path, name))), None)
        if not noisy or missing:
            skipped.append(f"{path}, line {line}: {f'{missing}: no such file' if missing else 'no noisy file given'}")
            continue
        name = row.get("name") or Path(noisy).with_suffix("").as_posix()
        labels = {key: value for key, value in row.items() if key not in PATH_COLUMNS and value}
        cases.append(Case(name, path_in(path, noisy), path_in(path, clean) if clean else None, labels))
    label_columns = [name for name in columns if name not in PATH_COLUMNS]
    note = f"{path}: --by can group scores by {join_columns(label_columns)}"
    return unique_cases(cases, skipped, path, (note,) if label_columns else ())


def from_mixes(clean: Path, noise: Path, snrs_db: Sequence[float], seed: int) -> Cases:
    """Mix every clean file with a randomly drawn noise at every SNR; the same seed gives the same mixes.

    Raises CorpusError if a folder is missing or empty.
    """
    paths, noises = audio_below(clean), audio_below(noise)
    rng = np.random.default_rng(seed)
    cases = []
    for path, labels in zip(paths, label_speakers(clean, paths), strict=True):
        for snr_db in dict.fromkeys(snrs_db):
            drawn = noises[int(rng.integers(len(noises)))]
            kind = drawn.relative_to(noise).parts[0]
            name = f"{relative_name(clean, path)} at {snr_db:g} dB"
            mix = NoiseMix(drawn, snr_db, int(rng.integers(2**31)))
            cases.append(Case(name, mix, path, labels | {"noise": Path(kind).stem, "snr_db": f"{snr_db:g}"}))
    return unique_cases(cases, (), clean)


def label_speakers(root: Path, paths: Sequence[Path]) -> list[dict[str, str]]:
    """Label each file with its speaker if the paths identify speakers."""
    speakers, known = group_speakers(root, paths)
    labelled = known and len(paths) > 1
    return [{"speaker": speaker.rsplit(":", 1)[-1]} if labelled else {} for speaker in speakers]


def read_noise_log(folder: Path) -> dict[str, dict[str, str]]:
    """Noise and SNR labels by file name from VoiceBank-DEMAND's log_testset.txt; empty if the folder has none."""
    path = folder / NOISE_LOG
    if not path.is_file():
        return {}
    fields = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {words[0]: {"noise": words[1], "snr_db": words[2]} for words in fields if len(words) == 3}


def match_enhanced(folder: Path, cases: Sequence[Case]) -> tuple[dict[str, Path], list[str]]:
    """Find a system's enhanced file for each case, by the name of the case or of its noisy file.

    Returns files by case name, and a line for each case without exactly one file. Raises CorpusError if the folder is
    missing or empty, or has no file for any case.
    """
    files: dict[str, list[Path]] = {}
    for path in audio_below(folder):
        files.setdefault(relative_name(folder, path), []).append(path)
    matched, skipped = {}, []
    for case in cases:
        names = [case.name] if isinstance(case.noisy, NoiseMix) else [case.name, case.noisy.stem]
        paths = next((files[name] for name in names if name in files), [])
        if len(paths) == 1:
            matched[case.name] = paths[0]
        else:
            skipped.append(f"{folder}: {'several files' if paths else 'no file'} for {case.name}")
    if not matched:
        raise CorpusError(f"{folder}: no file matches the name of a noisy file; first missing: {cases[0].name}")
    return matched, skipped


def relative_name(folder: Path, path: Path) -> str:
    """The path of a file relative to a folder, without extension."""
    return path.relative_to(folder).with_suffix("").as_posix()
