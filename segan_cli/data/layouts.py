"""What a user names becomes a list of utterances: the layouts of the known corpora, and plain folders.

Nothing is decoded here. Every utterance gets a group, its speaker or the recording that a noise was cut from, which
the split keeps on one side. The same speaker has the same group in every corpus that shares them (VCTK and
VoiceBank-DEMAND; LibriSpeech and LibriTTS).
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from segan_cli.audio.files import MEDIA, count_others
from segan_cli.data.groups import VCTK, recording, speakers
from segan_cli.errors import CorpusError

LJSPEECH = re.compile(r"LJ\d{3}-\d+$")
DNS_PAIR = re.compile(r"fileid_(\d+)$")
OTHER_KINDS = re.compile(r"^(noises?|rirs?|(room_)?impulse_responses?)$", re.IGNORECASE)  # folders beside speech
LIBRI = re.compile(r"(\d+)[-_](\d+)[-_]\d+([-_]\d+)?$")  # reader, chapter
MOSTLY = 0.9  # of the files, named as a corpus names them
HELD_BACK = re.compile(r"(^|[\W_])(test|dev|valid)")  # in the names of official test and development sets


@dataclass(frozen=True)
class Utterance:
    """A file of clean speech, of noise or of a room response, or a noisy/clean pair."""

    path: Path
    group: str  # speaker, or recording of a noise
    noisy: Path | None = None  # the noisy side of a pair


@dataclass(frozen=True)
class Corpus:
    """What one entry of the user's holds."""

    place: str  # as the user named it
    layout: str
    utterances: tuple[Utterance, ...]
    left: tuple[str, ...] = ()  # what is there and not used, one line each
    speakers_known: bool = True
    notes: tuple[str, ...] = ()  # what the user should know of it, one line each


def recognise_speech(place: str) -> Corpus:
    """The speech of a folder in any of the known layouts.

    Raises CorpusError when there is no such folder or nothing in it.
    """
    root = find_root(place)
    for layout in (_pairs, _vctk, _ljspeech, _common_voice, _libri):
        corpus = layout(place, root)
        if corpus is not None:
            return corpus
    other = next((path for path in folders_in(root) if OTHER_KINDS.match(path.name)), None)
    if other is not None:
        raise CorpusError(f"{place}: holds {other.name} beside speech; name the folder of speech, and noise by --noise")
    paths = audio_below(root)
    used = paths if root.name.endswith("_mic2") else [path for path in paths if not second_microphone(path)]
    groups, known = speakers(root, used)
    utterances = (Utterance(path, group) for path, group in zip(used, groups, strict=True))
    left = (*left_microphones(root, paths, used), *others_below(root))
    return Corpus(place, "folder of speech", tuple(utterances), left, known)


def recognise_noise(place: str) -> Corpus:
    """The files of a folder of noises or room responses; those cut from one recording share a group.

    Raises CorpusError when there is no such folder or nothing in it.
    """
    root = find_root(place)
    utterances = (Utterance(path, recording(path)) for path in audio_below(root))
    return Corpus(place, "folder of recordings", tuple(utterances), others_below(root))


def find_root(place: str) -> Path:
    """The folder, or the one in it that holds everything; raises CorpusError when it is none."""
    root = Path(place)
    if not root.is_dir():
        kind = "is a file" if root.exists() else "no such folder"
        raise CorpusError(f"{place}: {kind}; give a folder of audio files, or a manifest that ends in .csv or .jsonl")
    while len(inside := folders_in(root)) == 1 and not any(map(is_audio, root.iterdir())):
        if HELD_BACK.search(inside[0].name) or inside[0].name in ("wav48", "wav48_silence_trimmed", "wavs", "clips"):
            break
        root = inside[0]
    return root


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def is_audio(path: PurePath) -> bool:
    """Whether a name is one of a sound file; hidden ones are not."""
    return path.suffix.lower() in MEDIA and not path.name.startswith(".")


def second_microphone(path: Path) -> bool:
    """Whether a file is VCTK 0.92's second recording of an utterance."""
    return path.stem.endswith("_mic2") and VCTK.match(path.stem) is not None


def left_microphones(root: Path, paths: Sequence[Path], used: Sequence[Path]) -> tuple[str, ...]:
    """A line on the files of the second microphone, where there are any."""
    lost = len(paths) - len(used)
    return (f"{root}: {lost} files of the second microphone",) if lost else ()


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, links followed, each folder once, hidden files left out."""
    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in files if not name.startswith("."))


def others_below(folder: Path) -> tuple[str, ...]:
    """A line on the files below a folder that are no audio files, where there are any."""
    others = Counter(path.suffix.lower() for path in walk(folder) if not is_audio(path))
    return (f"{folder}: {count_others(others)}",) if others else ()


def audio_below(folder: Path) -> list[Path]:
    """All audio files below a folder, sorted; raises CorpusError when there is none."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; give a folder of audio files")
    paths = sorted(filter(is_audio, walk(folder)))
    if not paths:
        raise CorpusError(f"{folder}: no audio files in it; expected {', '.join(sorted(MEDIA))}")
    return paths


def _official(names: Sequence[str]) -> set[str]:
    """Those of several sets that are for training: no official test or development set, if there is another."""
    return {name for name in names if not HELD_BACK.search(name)} or set(names)


def _pairs(place: str, root: Path) -> Corpus | None:
    """`clean` and `noisy`, or `clean_NAME` and `noisy_NAME` as VoiceBank-DEMAND has them, here or one level down."""
    sets = {}
    for folder in (root, *folders_in(root)):
        for clean in (path for path in folders_in(folder) if "clean" in path.name.lower()):
            for word, other in (("clean", "noisy"), ("Clean", "Noisy")):
                noisy = folder / clean.name.replace(word, other, 1)
                if noisy != clean and noisy.is_dir():
                    sets[clean.relative_to(root).as_posix()] = (clean, noisy)
    if not sets:
        return None
    used = _official(list(sets))
    utterances: list[Utterance] = []
    left = [f"{name}: an official test or development set, not trained on" for name in sets if name not in used]
    known = True
    for name in sorted(used):
        clean, noisy = (find_root(str(side)) for side in sets[name])
        paired_noisy, problems = match_names(clean, noisy)
        left += problems
        if paired_noisy:
            groups, told = speakers(clean, [path for path, _ in paired_noisy], root)
            utterances += [
                Utterance(path, group, mate) for (path, mate), group in zip(paired_noisy, groups, strict=True)
            ]
            known = known and told
    if not utterances:
        raise CorpusError(f"{place}: no noisy file has a clean one of the same name; first problem: {left[-1]}")
    layout = "VoiceBank-DEMAND" if any("set" in name and "_wav" in name for name in sets) else "noisy/clean pairs"
    return Corpus(place, layout, tuple(utterances), tuple(left), known)


def match_names(clean: Path, noisy: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """The files of two folders that have the same name, whatever their format, and a line on each other one.

    Where all names end in `fileid_7` as those of DNS do, that alone has to be the same.
    """
    sides: list[dict[str, list[Path]]] = [{}, {}]
    files = [audio_below(folder) for folder in (clean, noisy)]
    numbered = all(DNS_PAIR.search(path.stem) for path in (*files[0], *files[1]))
    for side, folder, paths in zip(sides, (clean, noisy), files, strict=True):
        for path in paths:
            number = DNS_PAIR.search(path.stem) if numbered else None
            name = number[1] if number else path.relative_to(folder).with_suffix("").as_posix()
            side.setdefault(name, []).append(path)
    paired_noisy, problems = [], []
    for name in sorted({*sides[0], *sides[1]}):
        ours, theirs = sides[0].get(name, []), sides[1].get(name, [])
        if len(ours) == len(theirs) == 1:
            paired_noisy.append((ours[0], theirs[0]))
        elif ours and theirs:
            problems.append(f"{(ours + theirs)[0]}: several files of this name; keep one on each side")
        else:
            problems.append(f"{(ours + theirs)[0]}: no {'noisy' if ours else 'clean'} file of this name")
    return paired_noisy, problems


def _vctk(place: str, root: Path) -> Corpus | None:
    """VCTK 0.92 (`wav48_silence_trimmed`, two microphones of which the first is used) or 0.80 (`wav48`)."""
    for name, layout in (("wav48_silence_trimmed", "VCTK 0.92"), ("wav48", "VCTK 0.80")):
        folder = root if root.name == name else root / name
        if folder.is_dir():
            paths = audio_below(folder)
            used = [path for path in paths if not path.stem.endswith("_mic2")]
            utterances = (Utterance(path, f"vctk:{path.relative_to(folder).parts[0]}") for path in used)
            return Corpus(place, layout, tuple(utterances), left_microphones(folder, paths, used))
    return None


def _libri(place: str, root: Path) -> Corpus | None:
    """LibriSpeech and LibriTTS: `subset/reader/chapter/reader-chapter-utterance.flac`, or any part of that tree."""
    paths = audio_below(root)
    found = [(path, match) for path in paths if (match := LIBRI.match(path.stem)) and path.parent.name == match[2]]
    if len(found) < MOSTLY * len(paths):
        return None
    subsets = {path: "/".join(path.relative_to(root.parent).parts[:-3]) for path, _ in found}
    used = _official(sorted(set(subsets.values())))
    ours = [(path, match) for path, match in found if subsets[path] in used]
    left = [
        f"{subset}: {n} files of an official test or development set, not trained on"
        for subset, n in sorted(Counter(subsets.values()).items())
        if subset not in used
    ]
    left += [f"{path}: not named as its corpus names files" for path in sorted(set(paths) - subsets.keys())]
    utterances = tuple(
        Utterance(path, f"librivox:{match[1]}") for path, match in sorted(ours, key=lambda both: both[0])
    )
    layout = "LibriTTS" if any(match[3] for _, match in ours) else "LibriSpeech"
    return Corpus(place, layout, utterances, tuple(left))


def _ljspeech(place: str, root: Path) -> Corpus | None:
    """LJSpeech: `metadata.csv` and `wavs/LJ001-0001.wav`, one speaker."""
    if not ((root / "metadata.csv").is_file() and (root / "wavs").is_dir()):
        return None
    paths = audio_below(root / "wavs")
    used = [path for path in paths if LJSPEECH.match(path.stem)]
    if len(used) < MOSTLY * len(paths):
        return None
    left = tuple(f"{path}: not named as its corpus names files" for path in sorted(set(paths) - set(used)))
    return Corpus(place, "LJSpeech", tuple(Utterance(path, "ljspeech:reader") for path in used), left)


def _common_voice(place: str, root: Path) -> Corpus | None:
    """Common Voice: `clips/` and `train.tsv` or, where there is none, `validated.tsv`, with `client_id` and `path`."""
    tables = [path for name in ("train", "validated") if (path := root / f"{name}.tsv").is_file()]
    if not tables or not (root / "clips").is_dir():
        return None
    try:
        with tables[0].open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{tables[0]}: not a table of text ({error})") from error
    if not rows or not {"client_id", "path"} <= set(rows[0]):
        raise CorpusError(f"{tables[0]}: no columns client_id and path in it; is it a table of Common Voice?")
    there = {path.name: path for path in audio_below(root / "clips")}
    utterances, left = [], []
    for row in rows:
        name = row["path"] or ""
        name = name if name.endswith(".mp3") or name in there else f"{name}.mp3"
        if name in there:
            utterances.append(Utterance(there.pop(name), f"common-voice:{row['client_id']}"))
        else:
            left.append(f"{root / 'clips' / name}: named in {tables[0].name}, but not there")
    if not utterances:
        raise CorpusError(f"{tables[0]}: none of its files is in {root / 'clips'}")
    left += [f"{root / 'clips'}: {len(there)} files that {tables[0].name} does not name"] * bool(there)
    return Corpus(place, "Common Voice", tuple(utterances), tuple(left))
