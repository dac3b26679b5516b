"""Channel layouts: masks as in WAV, and how each container stores them."""

from pathlib import Path

import soundfile

from segan_cli.audio.containers.chunks import wav_format

STANDARD = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}  # of FLAC, Vorbis and Opus
XIPH = {  # by channels: index in WAV order of each channel of Vorbis and Opus
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
FIXED = ("FLAC", "OGG")  # formats whose layout follows from the number of channels
SIDE, BACK = 0x600, 0x30
LIBSNDFILE = (2, 3, 4, 11, 9, 10, 12, 13, 8, 14, 15, 16, 17, 19, 18, 20, 22, 21)  # its position for each bit of a mask
AMBISONIC_WAV = bytes.fromhex("2107d3118644c8c1ca000000")  # end of the format GUID of B-format
AMBISONIC_OPUS, SPEAKERS_OPUS = (2, 3), (0, 1)  # channel mapping families; the others have no layout
HEAD_BYTES = 4096
GET_MAP, SET_MAP = 0x1100, 0x1101  # sf_command numbers that soundfile does not name


def read_mask(file: soundfile.SoundFile) -> int:
    """Return the mask of an open file; 0 if it has none, or its channels are not in WAV order."""
    if file.format in FIXED:
        return STANDARD.get(file.channels, 0) if file.channels > 2 else 0
    places = soundfile._ffi.new(f"int[{file.channels}]")
    if not soundfile._snd.sf_command(file._file, GET_MAP, places, soundfile._ffi.sizeof(places)):
        return 0
    bits = [LIBSNDFILE.index(place) if place in LIBSNDFILE else -1 for place in places]
    known = -1 not in bits and bits == sorted(set(bits))
    return nontrivial(file.channels, sum(1 << bit for bit in bits)) if known else 0


def unkept_layout(path: Path) -> str | None:
    """Describe a layout that is no set of loudspeakers, as libsndfile does not tell of it; None for others."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    opus = head.find(b"OpusHead")
    if head[:4] == b"OggS" and 0 <= opus < len(head) - 18 and head[opus + 18] not in SPEAKERS_OPUS:
        family = head[opus + 18]
        kind = "ambisonic" if family in AMBISONIC_OPUS else "without positions"
        return f"{kind} (Opus channel mapping family {family})"
    return "ambisonic (B-format)" if AMBISONIC_WAV in wav_format(path) else None


def write_mask(file: soundfile.SoundFile, mask: int) -> bool:
    """Write the mask to a file open for writing; False if its format cannot store it."""
    if file.format in FIXED:
        return mask == STANDARD.get(file.channels)
    places = soundfile._ffi.new("int[]", [place for bit, place in enumerate(LIBSNDFILE) if mask >> bit & 1])
    return bool(soundfile._snd.sf_command(file._file, SET_MAP, places, soundfile._ffi.sizeof(places)))


def nontrivial(channels: int, mask: int) -> int:
    """Return a mask, but 0 for plain mono and stereo, and for one that does not fit the number of channels."""
    usual = channels <= 2 and mask == STANDARD.get(channels)
    return 0 if usual or mask.bit_count() != channels else mask


def mask_for_ffmpeg(channels: int, mask: int) -> int:
    """Return the mask to pass to ffmpeg; without one it would take three channels for 2.1 and four for 4.0."""
    return mask or (STANDARD[channels] if channels in (3, 4) else 0)


def nearest_standard(channels: int, mask: int) -> int:
    """Return the standard layout that differs only in side for back channels, for codecs that have no others."""
    moved = mask & ~SIDE | BACK if mask & SIDE == SIDE and not mask & BACK else mask
    return moved if moved == STANDARD.get(channels) else mask


def channel_order(channels: int, before: str, after: str) -> tuple[int, ...] | None:
    """Return the order of the channels of format `before` in a file of format `after`; None if it is the same.

    libsndfile leaves the channels of Vorbis and Opus in the order of these codecs.
    """
    xiph = XIPH.get(channels)
    if xiph is None or (before == "OGG") == (after == "OGG"):
        return None
    return xiph if after == "OGG" else tuple(xiph.index(i) for i in range(channels))
