"""NIST SPHERE: the recordings of a file and whether their samples are all there; libsndfile ignores their number."""

import re

from segan_cli.audio.pieces import Part, Window

MAGIC = b"NIST_1A\n"
LARGEST_HEADER = 1 << 16  # bytes
FIELD = re.compile(rb"^(channel_count|sample_count|sample_n_bytes) -i (\d{1,18})\s*$", re.MULTILINE)


def spheres(window: Window) -> list[Part] | None:
    """The recordings of a SPHERE file; None where it is one and as its header says, or where no number is given."""
    parts: list[Part] = []
    start = window.start
    while (samples := find_samples(window, start)) is not None:
        first, size = samples
        end = first + size
        if end > window.end:
            lost = f"its header promises {size} bytes of samples, and {max(0, window.end - first)} are there"
            return [*parts, Part((range(start, window.end),), missing=lost)]
        if window.at(end, len(MAGIC)) != MAGIC and not window.blank(end):
            note = f"its header promises {size} bytes of samples, and {window.end - first} are read"
            return [*parts, Part((range(start, window.end),), note=note)]
        parts.append(Part((range(start, end),)))
        start = end
    return None if len(parts) == 1 and start == window.end else parts or None


def find_samples(window: Window, start: int) -> tuple[int, int] | None:
    """Where the samples of the recording at `start` begin, and their bytes; None where its header does not say."""
    head = window.at(start, 16)
    if not head.startswith(MAGIC) or not head[8:].strip().isdigit():
        return None
    length = min(int(head[8:]), LARGEST_HEADER)
    header = window.at(start, length).partition(b"end_head")[0]
    fields = {name: int(value) for name, value in FIELD.findall(header)}
    if b"shorten" in header or b"sample_count" not in fields:
        return None
    frame = fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 1)
    return start + length, fields[b"sample_count"] * frame
