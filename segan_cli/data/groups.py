"""Whose voice a file holds, or which recording a noise was cut from, as far as its path tells."""

import re
from collections.abc import Sequence
from pathlib import Path

VCTK = re.compile(r"(p\d{3}|s5)_\d+(_mic[12])?$")
DNS_READER = re.compile(r"reader_(\d+)")
CUTS = (  # noises whose name tells which recording they were cut from
    re.compile(r"\d-(\d+)-[A-Z](-\d+)?$"),  # ESC-10, ESC-50: fold, clip, take
    re.compile(r"(\d+)-\d+-\d+-\d+$"),  # UrbanSound8K
    re.compile(r".*Freesound_validated_(\d+)_\d+$"),  # DNS
)
MICROPHONE = re.compile(r"[-_ ]?(ch|mic)_?\d{1,2}$", re.IGNORECASE)  # one of several of a recording, as in DEMAND


def speakers(root: Path, paths: Sequence[Path], home: Path | None = None) -> tuple[list[str], bool]:
    """The speaker of each file as far as paths tell, and whether they do; speakers are told apart within `home`.

    That is what the names of VCTK and of DNS say, the topmost folder of several, or what names in one folder begin with
    (`anna_01`, `anna_02`, `ben-01`). Where nothing tells, every file counts as a speaker of its own.
    """
    place = str((home or root).resolve())
    names = [path.relative_to(root) for path in paths]
    for pattern, corpus in ((VCTK, "vctk"), (DNS_READER, "dns")):
        matches = [pattern.search(name.stem) for name in names]
        if all(matches):
            return [f"{corpus}:{match[1]}" for match in matches if match], True
    for depth in range(1, max(len(name.parts) for name in names)):
        folders = ["/".join(name.parent.parts[:depth]) for name in names]
        if len(set(folders)) > 1:
            return [f"{place}:{folder}" for folder in folders], True
    starts = [re.split(r"[-_ ]", name.stem)[0] for name in names]
    if 2 <= len(set(starts)) <= len(starts) / 2:
        return [f"{place}:{start}" for start in starts], True
    return [f"{place}:{name}" for name in names], len(names) == 1


def recording(path: Path) -> str:
    """The group of a noise: its folder and what the names of all files from one recording have in common."""
    for pattern in CUTS:
        if match := pattern.match(path.stem):
            return f"{path.parent.resolve()}:{match[1]}"
    return f"{path.parent.resolve()}:{MICROPHONE.sub('', path.stem)}"
