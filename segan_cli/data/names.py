"""What the names of files and folders tell: speakers, recordings, official sets, and folders of noise or rooms."""

import re
from collections.abc import Sequence
from pathlib import Path

from segan_cli.text import composed

_SET = r"(train|test|dev|valid|val|eval)(?:ing|ation|uation|ate|elop|elopment|el|data|s|sets?)?"  # of an official set
SET = re.compile(rf"(?:^|[\W_]){_SET}(?=$|[^a-z])", re.IGNORECASE)
SET_FOLDER = re.compile(rf"{_SET}[\W_]*\d*", re.IGNORECASE)
SPEAKERS = (  # names of files that contain their speaker, by corpus
    ("vctk", re.compile(r"(p\d{3}|s5)_\d+(?:_mic[12])?$")),
    ("dns", re.compile(r".*reader_(\d+)")),
    ("speech-commands", re.compile(r"([0-9a-f]{8})_nohash_\d+$")),
)
NO_SPEAKER = re.compile(  # names of folders between those of a corpus and of its speakers
    r"(session|part|dis[ck]|cd|vol|volume|day|batch)s?[-_ ]?\d+|(fe)?males?|m[ae]n|women|mix(ed)?", re.IGNORECASE
)
FREESOUND = (  # names of noise clips that contain the number of their recording at freesound.org
    re.compile(r"\d-(\d+)-[A-Z](-\d+)?$"),  # ESC-10, ESC-50: fold, recording, take
    re.compile(r"(\d+)-\d-\d+-\d+$"),  # UrbanSound8K
    re.compile(r".*Freesound_validated_(\d+)_\d+$"),  # DNS
)
MICROPHONE = re.compile(r"(^|[-_ .])(ch|mic)_?\d{1,2}$", re.IGNORECASE)  # channel of a recording with several (DEMAND)
NOISE_WORDS = {"noise", "noises", "background", "backgrounds"}
LITTLE_NOISE = re.compile(r"(no|non)$|low|less|without|reduc|remov|cancel|free|gate|suppress|clean")  # begin a word
WITHOUT = r"(?!.*(reduc|remov|cancel|free|gate|suppress|clean|less|low))"  # words after which there is little noise
NOISY = re.compile(
    rf"((train|test|dev|valid|speech)\w*[-_])?noisy(reverb)?([-_]{WITHOUT}.*)?", re.IGNORECASE
)  # folders of noisy speech
CLEAN = re.compile(r"(clean[-_ ]?)?(speech|fullband)|clean([-_]?(train|test).*)?", re.IGNORECASE)  # of clean speech


def is_evaluation_set(name: str) -> bool:
    """Whether a path names a test or development set: the last matching part of the path decides."""
    words: list[str] = SET.findall(name)
    return bool(words) and words[-1].lower() != "train"


def is_training_set(name: str) -> bool:
    """Whether a path names an official training set."""
    return bool(SET.search(name)) and not is_evaluation_set(name)


def is_noise_folder(name: str) -> bool:
    """Whether the name of a folder says that it contains noise: its first or last word, without those like "no"."""
    words = split_words(name)
    return bool(NOISE_WORDS & {*words[:1], *words[-1:]}) and not any(map(LITTLE_NOISE.match, words))


def is_room_folder(name: str) -> bool:
    """Whether the name of a folder says that it contains room impulse responses."""
    words = [word.removesuffix("s") for word in split_words(name)]
    return "rir" in (*words[:1], *words[-1:]) or {"impulse", "response"} <= {*words}


def split_words(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return [word for word in re.split(r"[\W_]+", name.lower()) if word]


def scope_of(folder: Path) -> str:
    """The folder in which a name is that of one speaker or recording: `folder`, or the one that has all its sets."""
    resolved = folder.resolve()
    while SET_FOLDER.fullmatch(resolved.name):
        resolved = resolved.parent
    return str(resolved)


def group_speakers(root: Path, paths: Sequence[Path], scope: Path | None = None) -> tuple[list[str], bool]:
    """The speaker of each file, and whether the paths identify speakers.

    Speakers are identified by names of files as in VCTK, DNS and Speech Commands. Other files are identified by the
    topmost level with several folders, without those of official sets and such as `session1` or `female`, or by a
    common prefix of their names (`anna_01`, `anna_02`, `ben-01`); otherwise each counts as a speaker of its own. Equal
    names in different scopes (default: `root`) are different speakers.
    """
    prefix = scope_of(scope or root)
    names = [Path(composed(str(path.relative_to(root)))) for path in paths]
    named = {name: f"{corpus}:{match[1]}" for name in names for corpus, pattern in SPEAKERS
             if (match := pattern.match(name.stem))}  # fmt: skip
    found, known = group_by_folder(names)
    return [named.get(name) or f"{prefix}:{found[name]}" for name in names], known or len(named) == len(names)


def group_by_folder(names: Sequence[Path]) -> tuple[dict[Path, str], bool]:
    """The folder or prefix that identifies the speaker of each file, and whether there are any."""
    folders = [speaker_folders(name) for name in names]
    for depth in range(1, max(map(len, folders), default=0) + 1):
        level = ["/".join(inner[:depth]) for inner in folders]
        if len(set(level)) > 1:
            return dict(zip(names, level, strict=True)), True
    first_words = [re.split(r"[-_ ]", name.stem)[0] for name in names]
    if 2 <= len(set(first_words)) <= len(first_words) / 2:
        return dict(zip(names, first_words, strict=True)), True
    return {name: str(name) for name in names}, len(names) == 1


def speaker_folders(name: Path) -> list[str]:
    """The folders of a file that may be those of speakers."""
    return [part for part in name.parent.parts if not (NO_SPEAKER.fullmatch(part) or SET_FOLDER.fullmatch(part))]


def group_noise(path: Path) -> str:
    """The recording that a noise file belongs to: its number at freesound.org, or its folder and a common name."""
    for pattern in FREESOUND:
        if match := pattern.match(path.stem):
            return f"freesound:{match[1]}"
    return f"{scope_of(path.parent)}:{composed(MICROPHONE.sub('', path.stem))}"
