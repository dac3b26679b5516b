"""Ogg files: the recordings that are chained in a file, and whether each is complete."""

import struct
from dataclasses import dataclass

from segan_cli.audio.containers.parts import FileView, Part

MAGIC = b"OggS"
PAGE_HEADER = 27  # bytes before the segment table
FIRST_PAGE, LAST_PAGE = 2, 4  # flags
AUDIO_MAGICS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")  # of the first packet of an audio stream


@dataclass
class Link:
    """One recording of a chain."""

    start: int
    stop: int = 0  # end of its last complete page
    serial: int | None = None  # serial number of its audio stream
    page: int = -1  # number of the last page of that stream
    missing_pages: int = 0
    ended: bool = False
    only_headers: bool = True  # whether all pages so far are first pages


def scan_ogg(view: FileView) -> list[Part] | None:
    """Find the recordings of an Ogg file; None for a single complete one."""
    links: list[Link] = []
    position, cut = view.start, False
    while len(head := view.at(position, PAGE_HEADER + 255)) >= PAGE_HEADER:
        n_segments = head[PAGE_HEADER - 1]
        if head[:4] != MAGIC:
            position = view.find(MAGIC, position)
            if position < 0:
                break
            continue
        content = position + PAGE_HEADER + n_segments
        stop = content + sum(head[PAGE_HEADER : PAGE_HEADER + n_segments])
        if stop > view.end or len(head) < PAGE_HEADER + n_segments:
            cut = True
            break
        if view.at(stop, 4) not in (MAGIC, b"") and 0 < (following := view.find(MAGIC, position + 4)) < stop:
            position = following  # this page is cut: another begins within it
            if links:
                links[-1].missing_pages += 1
            continue
        if head[5] & FIRST_PAGE and (not links or not links[-1].only_headers):
            links.append(Link(position))
        if links:
            add_page(links[-1], view, head, content, stop)
        position = stop
    if not links or any(link.serial is None for link in links):
        return None
    parts = [make_part(link, cut and link is links[-1]) for link in links]
    return None if len(parts) == 1 and parts[0].missing is None else parts


def add_page(link: Link, view: FileView, head: bytes, content: int, stop: int) -> None:
    """Add a page with its header, the position of its content and its end to a recording."""
    flags, serial, page = head[5], *struct.unpack_from("<II", head, 14)
    if flags & FIRST_PAGE:
        if link.serial is None and view.at(content, 8).startswith(AUDIO_MAGICS):
            link.serial, link.page = serial, page
    else:
        link.only_headers = False
        if serial == link.serial:
            link.missing_pages += max(0, page - link.page - 1)
            link.page = page
    link.ended = link.ended or (serial == link.serial and bool(flags & LAST_PAGE))
    link.stop = stop


def make_part(link: Link, cut: bool) -> Part:
    """Return a recording of a chain as a file of its own, and what is missing."""
    pieces = (range(link.start, link.stop),)
    if cut or not link.ended:
        return Part(pieces, missing="its Ogg stream has no end")
    missing = f"{link.missing_pages} pages of its Ogg stream are missing" if link.missing_pages else None
    return Part(pieces, missing=missing)
