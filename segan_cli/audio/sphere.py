"""NIST SPHERE files: libsndfile ignores their number of samples, so it is checked here."""

import re

from segan_cli.audio.pieces import FileView, Part

MAGIC = b"NIST_1A\n"
LARGEST_HEADER = 1 << 16  # bytes
FIELD = re.compile(rb"^(channel_count|sample_count|sample_n_bytes) -i (\d{1,18})\s*$", re.MULTILINE)


def scan_sphere(view: FileView) -> list[Part] | None:
    """Find the recordings of a SPHERE file; None for a single one whose header is right or has no sample count."""
    parts: list[Part] = []
    start = view.start
    while (data := find_samples(view, start)) is not None:
        first, size = data
        end = first + size
        if end > view.end:
            missing = f"its header specifies {size} bytes of samples, the file has {max(0, view.end - first)}"
            return [*parts, Part((range(start, view.end),), missing=missing)]
        if view.at(end, len(MAGIC)) != MAGIC and not view.blank(end):
            note = f"its header specifies {size} bytes of samples, {view.end - first} are read"
            return [*parts, Part((range(start, view.end),), note=note)]
        parts.append(Part((range(start, end),)))
        start = end
    return None if len(parts) == 1 and start == view.end else parts or None


def find_samples(view: FileView, start: int) -> tuple[int, int] | None:
    """Return position and size in bytes of the samples of the recording at `start`; None if not specified."""
    head = view.at(start, 16)
    if not head.startswith(MAGIC) or not head[8:].strip().isdigit():
        return None
    length = min(int(head[8:]), LARGEST_HEADER)
    header = view.at(start, length).partition(b"end_head")[0]
    fields = {name: int(value) for name, value in FIELD.findall(header)}
    if b"shorten" in header or b"sample_count" not in fields:
        return None
    frame_bytes = fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 1)
    return start + length, fields[b"sample_count"] * frame_bytes
