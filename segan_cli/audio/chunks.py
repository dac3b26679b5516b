"""Containers of chunks (WAV, RF64, W64, AIFF, CAF, 8SVX) and AU: where their samples begin and where they end."""

import struct
from dataclasses import dataclass

from segan_cli.audio.pieces import Part, Window
from segan_cli.audio.streams import UNKNOWN

MOST_CHUNKS = 10_000  # that are walked
TAGS = (b"ID3", b"TAG", b"APE")  # begin what is no chunk and no sound


@dataclass(frozen=True)
class Grammar:
    """How the chunks of a container are written."""

    first: int  # where its first chunk begins
    name: int  # bytes of a chunk's name
    size: str  # format of its size
    data: tuple[bytes, ...]  # names of the chunk of samples
    align: int = 2
    counted: bool = False  # whether the size counts name and size too

    @property
    def head(self) -> int:
        """Bytes before a chunk's content."""
        return self.name + struct.calcsize(self.size)


GRAMMARS = {  # first bytes of a file → its grammar
    b"RIFF": Grammar(12, 4, "<I", (b"data",)),
    b"RIFX": Grammar(12, 4, ">I", (b"data",)),
    b"RF64": Grammar(12, 4, "<I", (b"data",)),
    b"BW64": Grammar(12, 4, "<I", (b"data",)),
    b"FORM": Grammar(12, 4, ">I", (b"SSND", b"BODY")),
    b"riff": Grammar(40, 16, "<Q", (b"data",), 8, counted=True),
    b"caff": Grammar(8, 4, ">Q", (b"data",), 1),
}
AU = {b".snd": ">I", b"dns.": "<I"}
BEGINNINGS = {*GRAMMARS, *AU}
FORMS = (b"WAVE", b"AIFF", b"AIFC", b"8SVX", b"16SV")


@dataclass(frozen=True)
class Samples:
    """Where a recording's bytes of samples lie, and what tells their number."""

    start: int
    told: int  # bytes
    field: int  # place of the number in the file
    form: str  # its format
    extra: int = 0  # by which the number is larger


def chunked(window: Window) -> list[Part] | None:
    """The recordings of a file of chunks, joined ones apart; None where it is none, or as its header says."""
    parts: list[Part] = []
    start, plain = window.start, True
    while (samples := find_samples(window, start)) is not None and samples.start <= window.end:
        real, follows = real_end(window, samples, start)
        part = judged(window, samples, start, real, follows)
        plain = plain and part.missing is None and part.note is None
        parts.append(part)
        if follows is None:
            break
        start = follows
    return parts if parts and not (plain and len(parts) == 1) else None


def find_samples(window: Window, start: int) -> Samples | None:
    """The samples of the recording that begins at `start`."""
    magic = window.at(start, 4)
    if magic in AU:
        head = window.at(start, 24)
        if len(head) < 24:
            return None
        offset, told = struct.unpack_from(AU[magic] + AU[magic][1], head, 4)
        return Samples(start + offset, told, start + 8, AU[magic])
    grammar = GRAMMARS.get(magic)
    if grammar is None or (grammar.first == 12 and window.at(start + 8, 4) not in FORMS):
        return None
    place, long_size = start + grammar.first, None
    for _ in range(MOST_CHUNKS):
        head = window.at(place, grammar.head)
        if len(head) < grammar.head:
            break
        (size,) = struct.unpack_from(grammar.size, head, grammar.name)
        name, content = head[:4], place + grammar.head
        extra = grammar.head if grammar.counted else 0
        if name in grammar.data:
            if long_size is not None and size == 0xFFFFFFFF:
                return Samples(content, long_size[1], long_size[0], "<Q")
            return Samples(content, size - extra, place + grammar.name, grammar.size, extra)
        if name == b"ds64" and len(told := window.at(content + 8, 8)) == 8:
            long_size = content + 8, struct.unpack("<Q", told)[0]
        if size < extra:
            break
        place = aligned(content + size - extra - start, grammar.align) + start
    return None


def real_end(window: Window, samples: Samples, start: int) -> tuple[int, int | None]:
    """Where the samples end, and where another recording follows them."""
    magic = window.at(start, 4)
    unknown = UNKNOWN if struct.calcsize(samples.form) == 4 else 1 << 62
    if samples.told >= unknown or samples.told < 0:
        return window.end, None
    end = samples.start + samples.told
    if end > window.end:
        return window.end, None
    if magic in AU:
        if window.at(end, 4) in BEGINNINGS:
            return end, end
        return end if samples.told and window.blank(end) else window.end, None
    grammar = GRAMMARS[magic]
    place = aligned(end - start, grammar.align) + start
    for behind in (place, end):  # not every writer fills up to an even number
        if (follows := trailing(window, behind, grammar, samples.told == 0)) is not False:
            return end, follows
    follows = window.find(window.at(start, 8 if magic == b"caff" else 4), end)
    if follows >= 0 and find_samples(window, follows) is not None:
        return end, follows
    return window.end, None


def trailing(window: Window, place: int, grammar: Grammar, untold: bool) -> int | bool | None:
    """Where another recording begins behind chunks; None where the file ends after them; False where they are none."""
    for _ in range(MOST_CHUNKS):
        head = window.at(place, grammar.head)
        if len(head) < grammar.head:
            break
        if not head.strip(b"\0"):
            return False if untold or not window.blank(place) else None
        if head[:4] in BEGINNINGS and find_samples(window, place) is not None:
            return place
        if head[:3] in TAGS:
            return None
        (size,) = struct.unpack_from(grammar.size, head, grammar.name)
        size -= grammar.head if grammar.counted else 0
        if not all(32 <= letter < 127 for letter in head[:4]) or not 0 <= size <= window.end - place:
            return False
        place = aligned(place + grammar.head + size - window.start, grammar.align) + window.start
    return None


def judged(window: Window, samples: Samples, start: int, real: int, follows: int | None) -> Part:
    """A recording as a file of its own whose header tells what there is, and what it told before."""
    stop = window.end if follows is None else follows
    n = real - samples.start
    if n == samples.told:
        return Part((range(start, stop),))
    number = min(n + samples.extra, 256 ** struct.calcsize(samples.form) - 1)
    behind = samples.field + struct.calcsize(samples.form)
    pieces = (range(start, samples.field), struct.pack(samples.form, number), range(behind, stop))
    known = 0 < samples.told < (UNKNOWN if struct.calcsize(samples.form) == 4 else 1 << 62)
    if known and n < samples.told:
        return Part(pieces, missing=f"its header tells of {samples.told} bytes of samples, and {n} are there")
    if not known:
        return Part(pieces, note="its header was never finished; it is read to its end")
    return Part(pieces, note=f"its header tells of {samples.told} bytes of samples, and {n} are read")


def aligned(n: int, to: int) -> int:
    """n or the next number that can be divided."""
    return -(-n // to) * to
