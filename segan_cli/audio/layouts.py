"""Which loudspeaker each channel is for: masks as WAV has them, and what each container makes of them."""

import soundfile

STANDARD = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}  # FLAC's, Vorbis's and Opus's
XIPH = {  # by channels: which one of WAV's order each of Vorbis's and Opus's is
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
FIXED = ("FLAC", "OGG")  # formats in which the number of channels tells the layout
SIDE, BACK = 0x600, 0x30
LIBSNDFILE = (2, 3, 4, 11, 9, 10, 12, 13, 8, 14, 15, 16, 17, 19, 18, 20, 22, 21)  # its number of each bit of a mask
GET_MAP, SET_MAP = 0x1100, 0x1101  # commands that soundfile has no names for


def read_mask(file: soundfile.SoundFile) -> int:
    """The mask of an open file; 0 where it tells none, or one whose channels are not in a WAV file's order."""
    if file.format in FIXED:
        return STANDARD.get(file.channels, 0) if file.channels > 2 else 0
    places = soundfile._ffi.new(f"int[{file.channels}]")
    if not soundfile._snd.sf_command(file._file, GET_MAP, places, soundfile._ffi.sizeof(places)):
        return 0
    bits = [LIBSNDFILE.index(place) if place in LIBSNDFILE else -1 for place in places]
    known = -1 not in bits and bits == sorted(set(bits))
    return told(file.channels, sum(1 << bit for bit in bits)) if known else 0


def write_mask(file: soundfile.SoundFile, mask: int) -> bool:
    """Tell the layout in a file that is being written; false where its format cannot."""
    if file.format in FIXED:
        return mask == STANDARD.get(file.channels)
    places = soundfile._ffi.new("int[]", [place for bit, place in enumerate(LIBSNDFILE) if mask >> bit & 1])
    return bool(soundfile._snd.sf_command(file._file, SET_MAP, places, soundfile._ffi.sizeof(places)))


def told(channels: int, mask: int) -> int:
    """A mask, or 0 where it says nothing: that of plain mono and stereo, or one for another number of channels."""
    usual = channels <= 2 and mask == STANDARD.get(channels)
    return 0 if usual or mask.bit_count() != channels else mask


def supposed(channels: int, mask: int) -> int:
    """The mask that ffmpeg is told: where a recording tells none and ffmpeg would guess 2.1 or 4.0, 3.0 or quad."""
    return mask or (STANDARD[channels] if channels in (3, 4) else 0)


def nearest(channels: int, mask: int) -> int:
    """The layout of a codec that knows but the standard ones: loudspeakers at the side count as those at the back."""
    moved = mask & ~SIDE | BACK if mask & SIDE == SIDE and not mask & BACK else mask
    return moved if moved == STANDARD.get(channels) else mask


def order(channels: int, before: str, after: str) -> tuple[int, ...] | None:
    """Which of a recording's channels each one of a file of format `after` is; none where all stay in their places.

    libsndfile leaves Vorbis's and Opus's channels in their own order.
    """
    there = XIPH.get(channels)
    if there is None or (before == "OGG") == (after == "OGG"):
        return None
    return there if after == "OGG" else tuple(there.index(i) for i in range(channels))
