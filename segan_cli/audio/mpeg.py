"""MPEG audio (MP3): its frames, counted, and the recordings that were joined in a file."""

import re
import struct
from dataclasses import dataclass, field
from functools import cache

from segan_cli.audio.pieces import Part, Piece, Window

RATES_HZ = (44_100, 48_000, 32_000)  # of version 1; halved for version 2 and again for 2.5
KBPS = {  # bit rates by whether it is version 1, and the layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
LARGEST = 14  # index of the highest bit rate
HEAD = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]|ID3|TAG|APETAGEX", re.DOTALL)  # may begin a frame or a tag
BLOCK = 1 << 20  # bytes that are looked at at once
ID3 = b"ID3"
TAGS = (b"TAG", ID3, b"APE")  # begin what lies between recordings or after them
LARGEST_FRAME = 2881  # bytes
BEYOND = 1 << 40  # where no file has bytes
FRAMES, BYTES = 1, 2  # flags of a Xing header: it tells the number of its frames, of its bytes


@dataclass(frozen=True)
class Frame:
    """What a frame's four first bytes say."""

    size: int  # bytes
    samples: int
    kind: tuple[int, int, int, bool]  # version, layer, rate, whether mono: the same in all of a recording
    side: int  # bytes between its head and a Xing header


@cache
def frame_of(head: bytes) -> Frame | None:
    """The frame that begins with these four bytes; None where they begin none, or one of a free bit rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate_index, speed = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 4 or rate_index == 3 or not 1 <= speed <= LARGEST:
        return None
    first, mono = version == 3, head[3] >> 6 == 3
    rate_hz = RATES_HZ[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    bits = 1000 * KBPS[first, layer][speed - 1]
    padding = head[2] >> 1 & 1
    samples = {1: 384, 2: 1152, 3: 1152 if first else 576}[layer]
    size = (12 * bits // rate_hz + padding) * 4 if layer == 1 else samples // 8 * bits // rate_hz + padding
    side = ((17 if mono else 32) if first else (9 if mono else 17)) if layer == 3 else 0
    return Frame(size, samples, (version, layer, rate_hz, mono), side)


@dataclass
class Link:
    """One of the recordings that were joined, as far as it was walked."""

    first: Frame
    told: int | None = None  # frames, by a header of its own; 0 where that leaves it out
    header: bytes = b""  # the frame that holds it
    ranges: list[range] = field(default_factory=list)
    frames: int = 0
    gaps: int = 0  # places where something else lies between frames
    cut: bool = False  # within a frame

    def take(self, start: int, stop: int) -> None:
        """A frame's bytes."""
        if self.ranges and self.ranges[-1].stop == start:
            self.ranges[-1] = range(self.ranges[-1].start, stop)
        else:
            self.ranges.append(range(start, stop))
        self.frames += 1


class Walk:
    """From frame to frame through a file."""

    def __init__(self, window: Window) -> None:
        self.window, self.links = window, list[Link]()
        self.block, self.base = b"", 0
        self.tagged = False  # whether an ID3 tag was passed since the last frame, as before another recording

    def at(self, place: int, n: int) -> bytes:
        """As a window's, from a block that was read before."""
        offset = place - self.base
        if not 0 <= offset <= len(self.block) - n:
            self.block, self.base, offset = self.window.at(place, BLOCK), place, 0
        return self.block[offset : offset + n]

    def go(self) -> list[Link]:
        """All links."""
        place, end, apart = self.window.start, self.window.end, True
        while place + 4 <= end:
            frame = frame_of(self.at(place, 4))
            same = bool(self.links) and frame is not None and frame.kind == self.links[-1].first.kind
            if frame is None or ((apart or not same) and not self.followed(place, frame)):
                place, apart = self.skipped(place), True
            elif place + frame.size > end:
                self.links[-1].cut = True
                break
            else:
                self.add(place, frame, same, apart)
                place, apart = place + frame.size, False
        return self.links

    def add(self, place: int, frame: Frame, same: bool, apart: bool) -> None:
        """A frame, of the link before or the first of a new one."""
        content = self.at(place, frame.size)
        if frame.kind[1] == 3 and (told := told_frames(content, frame)) is not None:
            self.links.append(Link(frame, told, content))
            self.tagged = False
            return
        if not same or (self.tagged and self.links[-1].frames):
            self.links.append(Link(frame))
        self.tagged = False
        self.links[-1].gaps += apart and self.links[-1].frames > 0
        self.links[-1].take(place, place + frame.size)

    def followed(self, place: int, frame: Frame) -> bool:
        """Whether another frame of its kind, a tag or the end comes after a frame."""
        stop = place + frame.size
        after = self.at(stop, 4)
        following = frame_of(after)
        return stop == self.window.end or after[:3] in TAGS or (following is not None and following.kind == frame.kind)

    def skipped(self, place: int) -> int:
        """The end of the tag at a place, or the next place that may begin a frame."""
        head = self.at(place, 32)
        if head[:3] == ID3:
            self.tagged = True
            return behind_id3(head, place)
        if head[:3] == b"TAG":
            return place + 128
        if head[:8] == b"APETAGEX" and len(head) == 32:
            return place + 32 + (int(struct.unpack_from("<I", head, 12)[0]) if head[23] & 32 else 0)
        found = HEAD.search(self.block, place - self.base + 1)
        return self.base + found.start() if found else max(place + 1, self.base + len(self.block) - 2)


def behind_id3(head: bytes, place: int) -> int:
    """Where the ID3 tag ends that begins with these ten bytes at a place."""
    size = sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
    return place + 10 + size + (10 if len(head) > 5 and head[5] & 16 else 0)


def told_frames(content: bytes, frame: Frame) -> int | None:
    """The frames that a header in the place of a frame tells of, 0 where it leaves that out; None if it is none."""
    place = 4 + frame.side
    if content[place : place + 4] in (b"Xing", b"Info") and len(content) >= place + 12:
        flags, told = struct.unpack_from(">II", content, place + 4)
        return told if flags & FRAMES else 0
    if content[36:40] == b"VBRI" and len(content) >= 54:
        return int(struct.unpack_from(">I", content, 50)[0])
    return None


def joined(window: Window) -> list[Part] | None:
    """The recordings of an MP3 file; None where it is one and as its header says, or where no frames are found."""
    links = [link for link in Walk(window).go() if link.frames]
    if len(links) == 1 and links[0].told == links[0].frames and not links[0].gaps:
        return None
    return [judged(link) for link in links] or None


def judged(link: Link) -> Part:
    """A link as a file of its own whose header tells what there is, and what it told before."""
    told, n = link.told, link.frames
    missing = note = None
    if told and (n < told - 1 or (n < told and link.cut)):  # some count the header too
        missing = f"its header tells of {told} frames, and {n} are there"
    elif link.cut and not told:
        missing = "it breaks off within a frame"
    elif told and n > told:
        note = f"its header tells of {told} frames, and {n} are read"
    elif link.gaps:
        note = f"something else lies between its frames in {link.gaps} places"
    mended = link.header[4 + link.first.side :][:4] in (b"Xing", b"Info") and bool(told)
    pieces: tuple[Piece, ...] = (amended(link), *link.ranges) if mended else unending(link)
    return Part(pieces, None if mended else n * link.first.samples, missing, note)


def amended(link: Link) -> bytes:
    """A link's own header with the number of frames that are there."""
    content, place = bytearray(link.header), 4 + link.first.side
    if link.told != link.frames:
        struct.pack_into(">I", content, place + 8, link.frames)
        if content[place + 7] & BYTES:
            struct.pack_into(">I", content, place + 12, len(content) + sum(map(len, link.ranges)))
        if content[place + 7] & 15 == 15 and len(content) >= place + 144:  # how much of its last frame is filling: none
            content[place + 142 : place + 144] = bytes((content[place + 142] & 0xF0, 0))
    return bytes(content)


def unending(link: Link) -> tuple[Piece, ...]:
    """A link's frames in a file that seems so long that libmpg123, which guesses, does not stop before their end."""
    return *link.ranges, range(BEYOND, BEYOND + link.frames * LARGEST_FRAME), bytes(128)  # it reads the last 128 first
