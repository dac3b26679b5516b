"""Vorbis in Ogg: how much sound precedes time 0, as after cutting a file without encoding it again."""

from collections.abc import Iterator
from itertools import islice

from segan_cli.audio.containers.chunks import FileView

MAGIC = b"OggS"  # at the start of a page
PAGE_HEADER = 27  # bytes before the segment table
LAST_PAGE = 4  # flag
BLOCK_SIZES = 28  # position in the identification packet
MODE_BITS, COUNT_BITS = 41, 6  # of each mode of the setup packet, and of their number before them
MAX_MODES = 64
PACKET_TYPE_BITS = 1


def lead_in(view: FileView, start: int, serial: int) -> int:
    """Return how many samples the first page of sound has before time 0, by its packets and its time."""
    packets = read_packets(view, start, serial)
    headers = [packet for packet, _, _ in islice(packets, 3)]
    if len(headers) < 3 or len(headers[0]) <= BLOCK_SIZES:
        return 0
    exponents = headers[0][BLOCK_SIZES]
    sizes, flags = (1 << (exponents & 15), 1 << (exponents >> 4)), long_modes(headers[2])
    if not flags:
        return 0
    n_samples, before, mode_bits = 0, 0, (len(flags) - 1).bit_length()
    for packet, time, is_last_page in packets:
        mode = packet[0] >> PACKET_TYPE_BITS & (1 << mode_bits) - 1 if packet else len(flags)
        if mode >= len(flags):
            return 0
        size = sizes[flags[mode]]
        n_samples, before = n_samples + (before + size) // 4 * bool(before), size
        if time is not None:
            lead = n_samples - time
            return lead if lead > sizes[1] * is_last_page else 0  # the last block may be cut to the length
    return 0


def read_packets(view: FileView, position: int, serial: int) -> Iterator[tuple[bytes, int | None, bool]]:
    """Yield the packets of a stream, each with the time of its page, if it is the last there, and the end of stream."""
    packet = bytearray()
    while len(head := view.at(position, PAGE_HEADER + 255)) > PAGE_HEADER and head[:4] == MAGIC:
        n_segments = head[PAGE_HEADER - 1]
        lacing, place = head[PAGE_HEADER : PAGE_HEADER + n_segments], position + PAGE_HEADER + n_segments
        content, start = view.at(place, sum(lacing)), 0
        position = place + sum(lacing)
        if int.from_bytes(head[14:18], "little") != serial:
            continue
        last_end = max((index for index, size in enumerate(lacing) if size < 255), default=-1)
        for index, size in enumerate(lacing):
            packet += content[start : start + size]
            start += size
            if size < 255:
                time = int.from_bytes(head[6:14], "little", signed=True) if index == last_end else None
                yield bytes(packet), time, bool(head[5] & LAST_PAGE)
                packet.clear()


def long_modes(setup: bytes) -> list[bool]:
    """Return which modes of a setup packet have long blocks; none if it is damaged.

    The modes are at its end, behind code books that only a decoder can skip, so they are read backwards. Their number,
    before them, may also be found by chance within a mode, so the longest list counts.
    """
    bits = int.from_bytes(setup, "little")
    end = bits.bit_length() - 1  # before the framing bit
    modes: list[bool] = []
    found: list[bool] = []
    while len(modes) < MAX_MODES and end >= MODE_BITS + COUNT_BITS:
        end -= MODE_BITS
        mode = bits >> end & (1 << MODE_BITS) - 1
        if mode >> 1 & (1 << 32) - 1 or mode >> 33 >= MAX_MODES:  # window and transform type, mapping
            break
        modes.insert(0, bool(mode & 1))
        if bits >> end - COUNT_BITS & (1 << COUNT_BITS) - 1 == len(modes) - 1:
            found = list(modes)
    return found
