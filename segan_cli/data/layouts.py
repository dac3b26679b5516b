"""Scan folders for utterances: layouts of known corpora, and plain folders. No audio is decoded.

Every utterance has a group, which the split keeps on one side: its speaker, or the recording that a noise clip was cut
from. Corpora that share speakers share groups (VCTK and VoiceBank-DEMAND; LibriSpeech and LibriTTS).
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.data.folders import audio_below, corpus_root, find_pair_folders, match_names, other_files
from segan_cli.data.names import (
    CLEAN,
    NOISE_WORDS,
    NOISY,
    group_noise,
    group_speakers,
    is_evaluation_set,
    is_noise_folder,
    is_room_folder,
    is_training_set,
    split_words,
)
from segan_cli.data.spans import Span
from segan_cli.errors import CorpusError
from segan_cli.text import counted

SECOND_MICROPHONE = re.compile(r"(p\d{3}|s5)_\d+_mic2$")  # of VCTK
LJSPEECH = re.compile(r"LJ\d{3}-\d+$")
LIBRI = re.compile(r"(\d+)[-_](\d+)[-_]\d+([-_]\d+)?$")  # speaker, chapter
MIN_MATCHING = 0.9  # fraction of files that must follow the naming scheme of a corpus


@dataclass(frozen=True)
class Utterance:
    """A file of clean speech, noise or a room impulse response, or a noisy/clean pair."""

    path: Path
    group: str  # speaker, or source recording of a noise clip
    noisy: Path | None = None  # for a pair
    span: Span | None = None  # the part that is used, of both files of a pair; None: all

    @property
    def files(self) -> tuple[Path, ...]:
        """Clean, then noisy if it is a pair."""
        return (self.path,) if self.noisy is None else (self.path, self.noisy)

    def label(self, path: Path) -> str:
        """One of the files and the part that is used, as text."""
        return str(path) if self.span is None else f"{path} {self.span}"


@dataclass(frozen=True)
class Corpus:
    """Utterances of one folder or manifest, and a line for each that cannot be used."""

    path: str  # as given by the user
    layout: str
    utterances: tuple[Utterance, ...]
    skipped: tuple[str, ...] = ()
    speakers_known: bool = True
    notes: tuple[str, ...] = ()  # for the user, such as on sets of files that are left out

    @property
    def unit(self) -> str:
        """What an utterance is: a file, a pair, or a row of a manifest."""
        if self.layout == "manifest":
            return "row"
        return "file" if self.utterances[0].noisy is None else "pair"


def scan_speech(path: str) -> Corpus:
    """Scan a folder of speech in any known layout; raises CorpusError if it is missing or has no audio files."""
    root = corpus_root(path)
    for layout in (_pairs, _vctk, _ljspeech, _common_voice, _libri):
        corpus = layout(path, root)
        if corpus is not None:
            return corpus
    files = audio_below(root)
    refuse_corpora(path, root, files)
    for folder in folders_between(root, files):
        if is_noise_folder(folder.name) or is_room_folder(folder.name):
            option = "--rir" if is_room_folder(folder.name) else "--noise"
            raise CorpusError(f"{path}: contains {folder} besides speech; give the speech folder, and use {option}")
        if NOISY.fullmatch(folder.name):
            raise CorpusError(
                f"{path}: contains {folder}; give its clean folder, or the folder that has both side by side"
            )
    trained, evaluation = split_off_evaluation(root, files)
    second = {file for file in trained if SECOND_MICROPHONE.match(file.stem)}
    used = trained if root.name.endswith("_mic2") else [file for file in trained if file not in second] or trained
    groups, known = group_speakers(root, used)
    utterances = (Utterance(file, group) for file, group in zip(used, groups, strict=True))
    notes = (*evaluation, *note_microphones(root, trained, used), *other_files(root))
    return Corpus(path, "folder of speech", tuple(utterances), (), known, notes)


def scan_noise(path: str) -> Corpus:
    """Scan noise; clips of one recording share a group. Raises CorpusError if there is none, or speech or rooms too."""
    root = corpus_root(path)
    files = audio_below(root)
    folders = folders_between(root, files)
    has_noise = any(is_noise_folder(folder.name) for folder in folders)
    for folder in folders:
        if is_room_folder(folder.name) or (has_noise and CLEAN.fullmatch(folder.name)):
            raise CorpusError(f"{path}: contains {folder} besides noise; give the noise folder in it")
    utterances = (Utterance(file, group_noise(file)) for file in files)
    return Corpus(path, "folder of recordings", tuple(utterances), notes=other_files(root))


def scan_rirs(path: str) -> Corpus:
    """Scan room impulse responses; raises CorpusError if there are none, or other recordings too."""
    root = corpus_root(path)
    files = audio_below(root)
    for folder in folders_between(root, files):
        if is_noise_folder(folder.name) or CLEAN.fullmatch(folder.name):
            raise CorpusError(f"{path}: contains {folder}; give the folder of impulse responses in it")
    noises = {file for file in files if NOISE_WORDS & {*split_words(file.stem)}}
    if len(noises) == len(files):
        raise CorpusError(f"{path}: contains noise, as {files[0].name} says; give a folder of impulse responses")
    utterances = (Utterance(file, group_noise(file)) for file in files if file not in noises)
    skipped = (f"{file}: noise, as its name says" for file in sorted(noises))
    return Corpus(path, "folder of recordings", tuple(utterances), tuple(skipped), notes=other_files(root))


def refuse_corpora(path: str, root: Path, files: Iterable[Path]) -> None:
    """Raise CorpusError if a folder in `root` is a known corpus of its own."""
    first = {file.relative_to(root).parts[0]: file for file in files}
    for name, file in sorted(first.items()):
        layouts = (_vctk, _ljspeech, _common_voice, *((_libri,) if LIBRI.match(file.stem) else ()))
        if root / name != file and (found := next(filter(None, (one(path, root / name) for one in layouts)), None)):
            raise CorpusError(f"{path}: contains {name} ({found.layout}) and more; give a --data for each corpus")


def folders_between(root: Path, files: Iterable[Path]) -> list[Path]:
    """The folders that contain the files, relative to the root, without the root; sorted."""
    inner = [folder.relative_to(root) for folder in {file.parent for file in files}]
    return sorted({folder for path in inner for folder in (path, *path.parents) if folder.name})


def split_off_evaluation(root: Path, files: list[Path]) -> tuple[list[Path], list[str]]:
    """The files without those of official test and development sets next to a training set, and a line on each set."""
    sets = {file: file.parent.relative_to(root).as_posix() for file in files}
    if not any(map(is_training_set, sets.values())):
        return files, []
    left_out = Counter(name for name in sets.values() if is_evaluation_set(name))
    return [file for file in files if sets[file] not in left_out], note_sets(left_out)


def note_sets(left_out: Counter[str]) -> list[str]:
    """A line on each official set of which files are left out."""
    return [
        f"{name}: {counted(n, 'file')} of an official test or development set, not used for training"
        for name, n in sorted(left_out.items())
    ]


def note_microphones(root: Path, files: Sequence[Path], used: Sequence[Path]) -> tuple[str, ...]:
    """A line on the files of the second microphone, if there are any."""
    n = len(files) - len(used)
    return (f"{root}: {counted(n, 'file')} of the second microphone, not used",) if n else ()


def _training_sets(names: Sequence[str]) -> set[str]:
    """The sets to train on: all but official test and development sets, or all if there are no others."""
    return {name for name in names if not is_evaluation_set(name)} or set(names)


def _pairs(path: str, root: Path) -> Corpus | None:
    """Folders of noisy/clean pairs, such as those of VoiceBank-DEMAND."""
    sets = find_pair_folders(root)
    if not sets:
        return None
    used = _training_sets(list(sets))
    utterances: list[Utterance] = []
    skipped: list[str] = []
    notes = [f"{name}: an official test or development set, not used for training" for name in sets if name not in used]
    all_known = True
    for name in sorted(used):
        clean, noisy = (corpus_root(str(side)) for side in sets[name])
        pairs, problems = match_names(clean, noisy)
        skipped += problems
        if pairs:
            groups, known = group_speakers(clean, [clean_file for clean_file, _ in pairs], root)
            utterances += [
                Utterance(clean_file, group, noisy_file)
                for (clean_file, noisy_file), group in zip(pairs, groups, strict=True)
            ]
            all_known = all_known and known
    if not utterances:
        raise CorpusError(f"{path}: no noisy file has a clean file with the same name; first problem: {skipped[0]}")
    layout = "VoiceBank-DEMAND" if any("set" in name and "_wav" in name for name in sets) else "noisy/clean pairs"
    return Corpus(path, layout, tuple(utterances), tuple(skipped), all_known, tuple(notes))


def _vctk(path: str, root: Path) -> Corpus | None:
    """VCTK 0.92 (`wav48_silence_trimmed`, first of two microphones) or 0.80 (`wav48`)."""
    for name, layout in (("wav48_silence_trimmed", "VCTK 0.92"), ("wav48", "VCTK 0.80")):
        folder = root if root.name == name else root / name
        if folder.is_dir():
            files = audio_below(folder)
            used = [file for file in files if not file.stem.endswith("_mic2")] or files
            groups, known = group_speakers(folder, used)
            utterances = (Utterance(file, group) for file, group in zip(used, groups, strict=True))
            notes = note_microphones(folder, files, used)
            return Corpus(path, layout, tuple(utterances), speakers_known=known, notes=notes)
    return None


def _libri(path: str, root: Path) -> Corpus | None:
    """LibriSpeech or LibriTTS: `subset/speaker/chapter/speaker-chapter-utterance.flac`, or any folder of that tree."""
    files = audio_below(root)
    matches = [(file, match) for file in files if (match := LIBRI.match(file.stem)) and file.parent.name == match[2]]
    if len(matches) < MIN_MATCHING * len(files):
        return None
    subsets = {file: "/".join(file.relative_to(root).parts[:-3]) for file, _ in matches}
    used_subsets = _training_sets(sorted(set(subsets.values())))
    used = [(file, match) for file, match in matches if subsets[file] in used_subsets]
    notes = note_sets(Counter(subset for subset in subsets.values() if subset not in used_subsets))
    utterances = (Utterance(file, f"librivox:{match[1]}") for file, match in sorted(used, key=lambda item: item[0]))
    layout = "LibriTTS" if any(match[3] for _, match in used) else "LibriSpeech"
    return Corpus(path, layout, tuple(utterances), tuple(_unexpected_names(files, subsets)), notes=tuple(notes))


def _ljspeech(path: str, root: Path) -> Corpus | None:
    """LJSpeech: `metadata.csv` and `wavs/LJ001-0001.wav`, one speaker."""
    if not ((root / "metadata.csv").is_file() and (root / "wavs").is_dir()):
        return None
    files = audio_below(root / "wavs")
    used = [file for file in files if LJSPEECH.match(file.stem)]
    if len(used) < MIN_MATCHING * len(files):
        return None
    utterances = (Utterance(file, "ljspeech:reader") for file in used)
    return Corpus(path, "LJSpeech", tuple(utterances), tuple(_unexpected_names(files, used)))


def _unexpected_names(files: Sequence[Path], matching: Iterable[Path]) -> list[str]:
    """A line on each file that does not follow the naming scheme of its corpus."""
    return [f"{file}: does not follow the naming scheme of the corpus" for file in sorted({*files} - {*matching})]


def _common_voice(path: str, root: Path) -> Corpus | None:
    """Common Voice: `clips/`, and `train.tsv` or else `validated.tsv` with the columns `client_id` and `path`."""
    tables = [table for name in ("train", "validated") if (table := root / f"{name}.tsv").is_file()]
    if not tables or not (root / "clips").is_dir():
        return None
    rows: list[dict[str, str]] = []
    for table in tables:  # that of the training set may be empty
        try:
            with table.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
                rows, columns = list(reader), reader.fieldnames or ()
        except (UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{table}: invalid TSV ({error})") from error
        if not {"client_id", "path"} <= set(columns):
            raise CorpusError(f"{table}: no columns client_id and path; not a table of Common Voice")
        if rows:
            break
    else:
        raise CorpusError(f"{table}: no rows")
    clips = {clip.name: clip for clip in audio_below(root / "clips")}
    speakers: dict[str, str] = {}  # by the name of the clip
    skipped = []
    for row in rows:
        name = row["path"]
        name = name if name.endswith(".mp3") or name in clips else f"{name}.mp3"
        if name in speakers:
            skipped.append(f"{root / 'clips' / name}: listed more than once in {table.name}")
        elif name in clips:
            speakers[name] = row["client_id"] or name
        else:
            skipped.append(f"{root / 'clips' / row['path']}: listed in {table.name}, but missing")
    if not speakers:
        raise CorpusError(f"{table}: none of its files is in {root / 'clips'}")
    utterances = (Utterance(clips[name], f"common-voice:{speaker}") for name, speaker in speakers.items())
    n_unused = len(clips) - len(speakers)
    notes = (f"{root / 'clips'}: {counted(n_unused, 'file')} not listed in {table.name}, not used",) if n_unused else ()
    return Corpus(path, "Common Voice", tuple(utterances), tuple(skipped), notes=notes)
