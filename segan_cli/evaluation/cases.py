"""What is compared: noisy recordings, or noises to mix in, beside clean ones, and what is known of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segan_cli.data.groups import speakers
from segan_cli.data.layouts import audio_below, folders_in, match_names
from segan_cli.data.manifest import SUFFIXES, columns_of, is_file, listed, rows_of
from segan_cli.errors import CorpusError

KNOWN = ("name", "noisy", "clean")  # columns of a manifest
TEST_SET = ("test", "dev", "valid", "")  # in the names of sets, the one to evaluate on first


@dataclass(frozen=True)
class Mix:
    """A noise to be mixed into a clean recording; the same seed takes the same part of it."""

    noise: Path
    snr_db: float
    seed: int


@dataclass(frozen=True)
class Case:
    """One recording to be judged."""

    name: str
    noisy: Path | Mix
    clean: Path | None  # none: measures without a reference alone
    about: dict[str, str] = field(default_factory=dict)  # column → value: speaker, noise, SNR, a manifest's own


@dataclass(frozen=True)
class Cases:
    """All that are judged, and a line on what is there and left out."""

    all: tuple[Case, ...]
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the user should know


def from_folders(noisy: Path, clean: Path | None) -> Cases:
    """Files of two folders that have the same path in them, whatever their endings; without `clean`, all of one.

    Raises CorpusError when a folder is missing or empty, or nothing has a mate.
    """
    if clean is None:
        return Cases(tuple(Case(name_in(noisy, path), path, None) for path in audio_below(noisy)))
    paired_noisy, left = match_names(clean, noisy)
    if not paired_noisy:
        raise CorpusError(f"{noisy}: none of its files has one of the same name in {clean}; first: {left[0]}")
    table = noise_log(noisy.parent)
    told = speech_sets(clean, [path for path, _ in paired_noisy])
    cases = (
        Case(name_in(clean, path), mate, path, about | table.get(path.stem, {}))
        for (path, mate), about in zip(paired_noisy, told, strict=True)
    )
    return Cases(tuple(cases), tuple(left))


def from_set(root: Path) -> Cases:
    """The noisy and clean folders in a folder, those of a test set where there are several, or a manifest's rows.

    Raises CorpusError when there are none.
    """
    if root.suffix in SUFFIXES:
        return from_manifest(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; give one that holds noisy and clean files, or a manifest")
    pairs = [
        (noisy, clean)
        for clean in folders_in(root)
        if "clean" in clean.name.lower()
        and (noisy := clean.with_name(clean.name.replace("clean", "noisy").replace("Clean", "Noisy"))).is_dir()
        and noisy != clean
    ]
    for word in TEST_SET:
        for noisy, clean in pairs:
            if word in clean.name.lower():
                return from_folders(noisy, clean)
    raise CorpusError(f"{root}: no folders clean… and noisy… of one name in it; name them by --noisy and --clean")


def from_manifest(path: Path) -> Cases:
    """Rows of a table with `noisy` and, for measures with a reference, `clean`; other columns are kept.

    Raises CorpusError when it cannot be read or no row can be used.
    """
    cases: list[Case] = []
    left = []
    rows = rows_of(path)
    columns = columns_of(rows)
    if "noisy" not in columns:
        raise CorpusError(f"{path}: no column noisy; its columns are {listed(columns)}")
    for line, row in rows:
        noisy, clean = row.get("noisy", ""), row.get("clean", "")
        missing = next((name for name in (noisy, clean) if name and not is_file(path.parent / name)), None)
        if not noisy or missing:
            left.append(f"{path}, line {line}: {f'{missing}: no such file' if missing else 'names no noisy file'}")
            continue
        name = row.get("name") or Path(noisy).with_suffix("").as_posix()
        others = {key: value for key, value in row.items() if key not in KNOWN and value}
        cases.append(Case(name, path.parent / noisy, path.parent / clean if clean else None, others))
    twice = {name for name, n in Counter(case.name for case in cases).items() if n > 1}
    left += [f"{path}: {name}: several rows of this name" for name in sorted(twice)]
    kept = tuple(case for case in cases if case.name not in twice)
    if not kept:
        raise CorpusError(f"{path}: none of its rows can be used; first: {left[0]}")
    others_named = [name for name in columns if name not in KNOWN]
    note = f"{path}: scores can be broken down by its other columns: {listed(others_named)}"
    return Cases(kept, tuple(left), (note,) if others_named else ())


def from_mixes(clean: Path, noise: Path, snrs_db: Sequence[float], seed: int) -> Cases:
    """Every clean file at every SNR, each with a noise that is drawn, the same for the same seed.

    Raises CorpusError when a folder is missing or empty.
    """
    paths, noises = audio_below(clean), audio_below(noise)
    rng = np.random.default_rng(seed)
    cases = []
    for path, about in zip(paths, speech_sets(clean, paths), strict=True):
        for snr_db in snrs_db:
            drawn = noises[int(rng.integers(len(noises)))]
            kind = drawn.relative_to(noise).parts[0]
            name = f"{name_in(clean, path)} at {snr_db:g} dB"
            mix = Mix(drawn, snr_db, int(rng.integers(2**31)))
            cases.append(Case(name, mix, path, about | {"noise": Path(kind).stem, "snr_db": f"{snr_db:g}"}))
    return Cases(tuple(cases))


def speech_sets(root: Path, paths: Sequence[Path]) -> list[dict[str, str]]:
    """The speaker of each file as a column, where paths tell."""
    voices, known = speakers(root, paths)
    told = known and len(paths) > 1
    return [{"speaker": voice.rsplit(":", 1)[-1]} if told else {} for voice in voices]


def noise_log(folder: Path) -> dict[str, dict[str, str]]:
    """Noise and SNR of each file by name, where VoiceBank-DEMAND's log_testset.txt lies in a folder."""
    path = folder / "log_testset.txt"
    if not path.is_file():
        return {}
    fields = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {words[0]: {"noise": words[1], "snr_db": words[2]} for words in fields if len(words) == 3}


def of_system(folder: Path, cases: Sequence[Case]) -> tuple[dict[str, Path], list[str]]:
    """The file of a folder for each case, by the case's name or its noisy file's, and a line on each that has none.

    Raises CorpusError when the folder is missing or empty, or has no file for any case.
    """
    files: dict[str, list[Path]] = {}
    for path in audio_below(folder):
        files.setdefault(name_in(folder, path), []).append(path)
    found, left = {}, []
    for case in cases:
        names = [case.name, case.noisy.stem] if isinstance(case.noisy, Path) else [case.name]
        paths = next((files[name] for name in names if name in files), [])
        if len(paths) == 1:
            found[case.name] = paths[0]
        else:
            left.append(f"{folder}: {'several files' if paths else 'no file'} for {case.name}")
    if not found:
        raise CorpusError(f"{folder}: none of its files has the name of a noisy one; first missing: {cases[0].name}")
    return found, left


def name_in(folder: Path, path: Path) -> str:
    """A file's path in a folder, without its ending."""
    return path.relative_to(folder).with_suffix("").as_posix()
