"""Ogg: the pages of a file, the recordings that are chained in it, and whether each has its end."""

import struct
from dataclasses import dataclass, field

from segan_cli.audio.pieces import Part, Window

MAGIC = b"OggS"
HEAD = 27  # bytes of a page before the sizes of its segments
BEGINS, ENDS = 2, 4  # flags of a stream's first and last page
SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")  # begin the first packet of a stream


@dataclass
class Link:
    """One of the recordings of a chain, as far as it was walked."""

    start: int
    stop: int = 0  # behind its last whole page
    serial: int | None = None  # of its sound
    number: int = -1  # of the last page of it
    lost: int = 0  # pages
    ended: bool = False
    headers: bool = field(default=True)  # whether all pages so far were first ones


def chained(window: Window) -> list[Part] | None:
    """The recordings of an Ogg file; None where it is one and whole."""
    links: list[Link] = []
    place, cut = window.start, False
    while len(head := window.at(place, HEAD + 255)) >= HEAD:
        n = head[HEAD - 1]
        if head[:4] != MAGIC:
            place = window.find(MAGIC, place)
            if place < 0:
                break
            continue
        stop = place + HEAD + n + sum(head[HEAD : HEAD + n])
        if stop > window.end or len(head) < HEAD + n:
            cut = True
            break
        if window.at(stop, 4) not in (MAGIC, b"") and 0 < (following := window.find(MAGIC, place + 4)) < stop:
            place = following  # another page begins within this one
            if links:
                links[-1].lost += 1
            continue
        begins = bool(head[5] & BEGINS)
        if begins and (not links or not links[-1].headers):
            links.append(Link(place))
        if links:
            turn(links[-1], window, head, place + HEAD + n, stop)
        place = stop
    if not links or any(link.serial is None for link in links):
        return None
    whole = [judged(link, cut and link is links[-1]) for link in links]
    return None if len(whole) == 1 and whole[0].missing is None else whole


def turn(link: Link, window: Window, head: bytes, content: int, stop: int) -> None:
    """Take in a page of a link."""
    flags, serial, number = head[5], *struct.unpack_from("<II", head, 14)
    if flags & BEGINS:
        if link.serial is None and window.at(content, 8).startswith(SOUND):
            link.serial, link.number = serial, number
    else:
        link.headers = False
        if serial == link.serial:
            link.lost += max(0, number - link.number - 1)
            link.number = number
    link.ended = link.ended or (serial == link.serial and bool(flags & ENDS))
    link.stop = stop


def judged(link: Link, cut: bool) -> Part:
    """A link as a file of its own, and what it lacks."""
    pieces = (range(link.start, link.stop),)
    if cut or not link.ended:
        return Part(pieces, missing="it breaks off before the end of its Ogg stream")
    lost = f"{link.lost} pages of its Ogg stream are not there" if link.lost else None
    return Part(pieces, missing=lost)
