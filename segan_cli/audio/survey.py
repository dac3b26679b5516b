"""What a file holds, whatever its headers say: one recording or several joined, whole or cut short."""

from dataclasses import replace
from pathlib import Path

from segan_cli.audio.chunks import BEGINNINGS, chunked, find_samples
from segan_cli.audio.mpeg import ID3, behind_id3, frame_of, joined
from segan_cli.audio.ogg import MAGIC, chained
from segan_cli.audio.pieces import Part, Window
from segan_cli.audio.sphere import spheres

FLAC = b"fLaC\0\0\0\x22"  # begins a FLAC file: its magic and the size of its first block
MP3 = b"\x55\0"  # the format tag of a WAV file that holds MP3


def survey(path: Path) -> list[Part] | None:
    """The recordings in a file by what lies in it; None where libsndfile may believe its headers."""
    with path.open("rb") as file:
        window = Window(file, 0, path.stat().st_size)
        place = 0
        while (start := window.at(place, 10))[:3] == ID3:
            place = behind_id3(start, place)
        if start[:4] in BEGINNINGS:
            return packed(window) or chunked(window)
        if start[:4] == MAGIC:
            return chained(window)
        if start.startswith(b"NIST"):
            return spheres(window)
        if start.startswith(FLAC[:4]):
            return flacs(window)
        if place or frame_of(start[:4]) is not None:
            return joined(window)
    return None


def flacs(window: Window) -> list[Part] | None:
    """The recordings of a FLAC file; None where it is one."""
    starts = [window.start]
    while (place := window.find(FLAC, starts[-1] + 1)) >= 0:
        starts.append(place)
    if len(starts) == 1:
        return None
    return [Part((range(start, stop),)) for start, stop in zip(starts, [*starts[1:], window.end], strict=True)]


def packed(window: Window) -> list[Part] | None:
    """The MP3 that lies in a WAV file; None where it holds none."""
    samples = find_samples(window, window.start)
    place = window.find(b"fmt ", window.start)
    if samples is None or place < 0 or place > samples.start or window.at(place + 8, 2) != MP3:
        return None
    end = min(window.end, samples.start + samples.told)
    inside = Window(window.file, samples.start, end)
    lost = f"its header tells of {samples.told} bytes of samples, and {end - samples.start} are there"
    parts = joined(inside) or [Part((range(samples.start, end),))]
    return parts if samples.start + samples.told <= window.end else [*parts[:-1], replace(parts[-1], missing=lost)]
