"""Speakers of files, and the recordings that noise clips were cut from, as far as paths identify them."""

import re
from collections.abc import Sequence
from pathlib import Path

from segan_cli.printable import composed

VCTK = re.compile(r"(p\d{3}|s5)_\d+(_mic[12])?$")
DNS_READER = re.compile(r"reader_(\d+)")
NOISE_CLIPS = (  # names that contain the identifier of the recording a clip was cut from
    re.compile(r"\d-(\d+)-[A-Z](-\d+)?$"),  # ESC-10, ESC-50: fold, clip, take
    re.compile(r"(\d+)-\d+-\d+-\d+$"),  # UrbanSound8K
    re.compile(r".*Freesound_validated_(\d+)_\d+$"),  # DNS
)
MICROPHONE = re.compile(r"[-_ ]?(ch|mic)_?\d{1,2}$", re.IGNORECASE)  # channel of a multi-microphone recording (DEMAND)


def group_speakers(root: Path, paths: Sequence[Path], scope: Path | None = None) -> tuple[list[str], bool]:
    """The speaker of each file, and whether the paths identify speakers.

    Speakers are identified by VCTK or DNS file names, by the topmost level with several folders, or by a common prefix
    of file names (`anna_01`, `anna_02`, `ben-01`). Otherwise each file counts as a speaker of its own. Equal names in
    different scopes (default: `root`) are different speakers.
    """
    prefix = str((scope or root).resolve())
    names = [Path(composed(str(path.relative_to(root)))) for path in paths]
    for pattern, corpus in ((VCTK, "vctk"), (DNS_READER, "dns")):
        matches = [pattern.search(name.stem) for name in names]
        if all(matches):
            return [f"{corpus}:{match[1]}" for match in matches if match], True
    for depth in range(1, max(len(name.parts) for name in names)):
        folders = ["/".join(name.parent.parts[:depth]) for name in names]
        if len(set(folders)) > 1:
            return [f"{prefix}:{folder}" for folder in folders], True
    first_words = [re.split(r"[-_ ]", name.stem)[0] for name in names]
    if 2 <= len(set(first_words)) <= len(first_words) / 2:
        return [f"{prefix}:{word}" for word in first_words], True
    return [f"{prefix}:{name}" for name in names], len(names) == 1


def group_noise(path: Path) -> str:
    """The recording that a noise file belongs to: its folder and the part of its name that all clips share."""
    for pattern in NOISE_CLIPS:
        if match := pattern.match(path.stem):
            return f"{path.parent.resolve()}:{match[1]}"
    return f"{path.parent.resolve()}:{composed(MICROPHONE.sub('', path.stem))}"
