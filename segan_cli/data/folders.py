"""Folders of audio files: their contents, and pairs of files in two folders."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath

from segan_cli.audio.files import MEDIA, count_others
from segan_cli.data.names import is_evaluation_set
from segan_cli.errors import CorpusError
from segan_cli.storage.remote import find_files, find_folders, is_remote
from segan_cli.text import composed

DNS_PAIR = re.compile(r"fileid_(\d+)$")
AUDIO_FOLDERS = ("wav48", "wav48_silence_trimmed", "wavs", "clips")  # by which a corpus is recognised


def corpus_root(path: str) -> Path:
    """The folder, or the only folder in it if it has no audio files itself; raises CorpusError if not a folder."""
    root = Path(path)
    if not is_folder(root):
        raise CorpusError(no_folder(root, "of audio files, or a manifest (.csv or .jsonl)"))
    while len(inner := folders_in(root)) == 1 and not any(map(is_audio, root.iterdir())):
        if is_evaluation_set(inner[0].name) or inner[0].name in AUDIO_FOLDERS:
            break
        root = inner[0]
    return root


def no_folder(path: Path, expected: str) -> str:
    """The message that a path is not that of a folder."""
    problem = "is a file" if os.path.exists(path) else "no such folder"
    return f"{path}: {problem}; give a folder {expected}"


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, at a URL too."""
    return path.is_dir() if is_remote(path) else os.path.isdir(path)


def folders_in(folder: Path) -> list[Path]:
    """The folders directly inside a folder, sorted, without hidden ones and those that macOS adds to archives."""
    if is_remote(folder):
        return find_folders(folder)
    with os.scandir(folder) as entries:
        kept = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
        return sorted(Path(entry.path) for entry in kept if entry.is_dir())


def is_audio(path: PurePath) -> bool:
    """Whether a file name has an audio extension and is not hidden."""
    return path.suffix.lower() in MEDIA and not path.name.startswith(".")


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder except hidden ones; follows links, and visits each folder once. Raises CorpusError."""

    def refuse(error: OSError) -> None:
        raise CorpusError(f"{error.filename}: cannot be searched ({error.strerror})") from error

    visited = set()
    for current, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(current)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(current, name) for name in files if not name.startswith("."))


def other_files(folder: Path) -> tuple[str, ...]:
    """A line on the files below a folder that are not audio, if there are any."""
    others = Counter(path.suffix.lower() for path in walk(folder) if not is_audio(path))
    return (f"{folder}: {count_others(others)}",) if others else ()


def audio_below(folder: Path) -> list[Path]:
    """All audio files below a folder, sorted; raises CorpusError if there are none."""
    if is_remote(folder):
        paths = [folder / name for name in find_files(folder) if is_audio(PurePosixPath(name))]
    elif is_folder(folder):
        paths = sorted(filter(is_audio, walk(folder)))
    else:
        raise CorpusError(no_folder(folder, "of audio files"))
    if not paths:
        raise CorpusError(f"{folder}: no audio files found, such as .wav, .flac, .mp3 or .opus")
    return paths


def find_pair_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """Folders `clean` and `noisy`, or `clean_NAME` and `noisy_NAME`, at most one level down, by the clean path."""
    sets = {}
    for folder in (root, *folders_in(root)):
        inner = folders_in(folder)
        for clean in (path for path in inner if "clean" in path.name.lower()):
            wanted = clean.name.lower().replace("clean", "noisy", 1)
            found = [path for path in inner if path.name.lower() == wanted]
            if found:
                is_upper = clean.name[0].isupper()
                noisy = min(found, key=lambda path: path.name[0].isupper() != is_upper)
                sets[clean.relative_to(root).as_posix()] = (clean, noisy)
    return sets


def relative_name(folder: Path, path: Path) -> str:
    """The path of a file relative to a folder, without extension and with composed characters."""
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def match_names(clean: Path, noisy: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pair the files of two folders by relative path without extension.

    If all names end in `fileid_N`, as in DNS, only N has to match. Returns (clean, noisy) pairs, and a line on each
    file without exactly one counterpart.
    """
    by_name: list[dict[str, list[Path]]] = [{}, {}]
    files = [audio_below(folder) for folder in (clean, noisy)]
    is_dns = all(DNS_PAIR.search(path.stem) for path in (*files[0], *files[1]))
    for side, folder, paths in zip(by_name, (clean, noisy), files, strict=True):
        for path in paths:
            number = DNS_PAIR.search(path.stem) if is_dns else None
            name = number[1] if number else relative_name(folder, path)
            side.setdefault(name, []).append(path)
    pairs, problems = [], []
    for name in sorted({*by_name[0], *by_name[1]}):
        clean_files, noisy_files = by_name[0].get(name, []), by_name[1].get(name, [])
        first = (clean_files + noisy_files)[0]
        if len(clean_files) == len(noisy_files) == 1:
            pairs.append((clean_files[0], noisy_files[0]))
        elif clean_files and noisy_files:
            problems.append(f"{first}: several files have this name; keep one on each side")
        else:
            problems.append(f"{first}: no {'noisy' if clean_files else 'clean'} file has this name")
    if not pairs and (inner := (innermost(clean), innermost(noisy))) != (clean, noisy):
        return match_names(*inner)  # an archive may contain its folder in a folder of the same name
    return pairs, problems


def innermost(folder: Path) -> Path:
    """The folder, or the only folder in it, and so on, if it has no audio files itself."""
    while not is_remote(folder) and len(inner := folders_in(folder)) == 1:
        if any(map(is_audio, folder.iterdir())):
            break
        folder = inner[0]
    return folder
