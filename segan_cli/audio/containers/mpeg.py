"""MPEG audio (MP3): counts the frames of a file and finds the recordings that were joined in it."""

import io
import re
import struct
from dataclasses import dataclass, field
from functools import cache

from segan_cli.audio.containers.chunks import FileView, Part, Piece

SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]|ID3|TAG|APETAGEX", re.DOTALL)  # a possible frame or tag
BLOCK = 1 << 20  # bytes read at a time
ID3 = b"ID3"
TAG_MAGICS = (b"TAG", ID3, b"APE")
LARGEST_FRAME = 2881  # bytes
BEYOND_END = 1 << 40  # a position past the end of any file
HAS_FRAMES, HAS_BYTES = 1, 2  # flags of a Xing header


@dataclass(frozen=True)
class Frame:
    """The header of a frame."""

    size: int  # bytes
    samples: int
    kind: tuple[float, int, int, bool]  # version, layer, rate, mono: the same throughout a recording
    side_info: int  # bytes between the frame header and a Xing header


@cache
def frame_header(head: bytes) -> Frame | None:
    """Parse a frame header of four bytes; None if it is none, or of a free bit rate."""
    from mutagen.mp3 import MONO, HeaderNotFoundError, MPEGFrame

    try:
        frame = MPEGFrame(io.BytesIO(head))
    except HeaderNotFoundError:
        return None
    mpeg_1, mono, layer = frame.version == 1, frame.mode == MONO, frame.layer
    samples = {1: 384, 2: 1152, 3: 1152 if mpeg_1 else 576}[layer]
    slot = 4 if layer == 1 else 1  # bytes
    size = (samples // 8 * frame.bitrate // slot // frame.sample_rate + frame.padding) * slot
    side_info = ((17 if mono else 32) if mpeg_1 else (9 if mono else 17)) if layer == 3 else 0
    return Frame(size, samples, (frame.version, layer, frame.sample_rate, mono), side_info)


@dataclass
class MpegRecording:
    """One recording of a file."""

    first: Frame
    stated_frames: int | None = None  # by its Xing or VBRI header; 0 if that does not state it
    header: bytes = b""  # the frame that holds that header
    ranges: list[range] = field(default_factory=list)
    frames: int = 0
    gaps: int = 0  # places with other data between frames
    cut: bool = False  # within a frame

    def append(self, start: int, stop: int) -> None:
        """Add a frame by its range of bytes."""
        if self.ranges and self.ranges[-1].stop == start:
            self.ranges[-1] = range(self.ranges[-1].start, stop)
        else:
            self.ranges.append(range(start, stop))
        self.frames += 1


class FrameWalk:
    """Walks a file from frame to frame."""

    def __init__(self, view: FileView) -> None:
        self.view, self.recordings = view, list[MpegRecording]()
        self.block, self.base = b"", 0
        self.tagged = False  # whether an ID3 tag, which begins a recording, came since the last frame

    def at(self, position: int, n: int) -> bytes:
        """Read n bytes at a position, from a cached block."""
        offset = position - self.base
        if not 0 <= offset <= len(self.block) - n:
            self.block, self.base, offset = self.view.at(position, BLOCK), position, 0
        return self.block[offset : offset + n]

    def run(self) -> list[MpegRecording]:
        """Find all recordings."""
        position, end, after_gap = self.view.start, self.view.end, True
        while position + 4 <= end:
            frame = frame_header(self.at(position, 4))
            same = bool(self.recordings) and frame is not None and frame.kind == self.recordings[-1].first.kind
            if frame is None or ((after_gap or not same) and not self.is_followed(position, frame)):
                position, after_gap = self.skip(position), True
            elif position + frame.size > end:
                self.recordings[-1].cut = True
                break
            else:
                self.add(position, frame, same, after_gap)
                position, after_gap = position + frame.size, False
        return self.recordings

    def add(self, position: int, frame: Frame, same: bool, after_gap: bool) -> None:
        """Add a frame to the current recording, or begin another with it."""
        content = self.at(position, frame.size)
        if frame.kind[1] == 3 and (stated := stated_frames(content, frame)) is not None:
            self.recordings.append(MpegRecording(frame, stated, content))
            self.tagged = False
            return
        if not same or (self.tagged and self.recordings[-1].frames):
            self.recordings.append(MpegRecording(frame))
        self.tagged = False
        self.recordings[-1].gaps += after_gap and self.recordings[-1].frames > 0
        self.recordings[-1].append(position, position + frame.size)

    def is_followed(self, position: int, frame: Frame) -> bool:
        """Whether a frame is followed by another of its kind, a tag or the end of the file."""
        stop = position + frame.size
        after = self.at(stop, 4)
        following = frame_header(after)
        return (
            stop == self.view.end or after[:3] in TAG_MAGICS or (following is not None and following.kind == frame.kind)
        )

    def skip(self, position: int) -> int:
        """Return the end of the tag at a position, or the next position where a frame may begin."""
        head = self.at(position, 32)
        if head[:3] == ID3:
            self.tagged = True
            return skip_id3(head, position)
        if head[:3] == b"TAG":
            return position + 128
        if head[:8] == b"APETAGEX" and len(head) == 32:
            return position + 32 + (int(struct.unpack_from("<I", head, 12)[0]) if head[23] & 32 else 0)
        found = SYNC.search(self.block, position - self.base + 1)
        return self.base + found.start() if found else max(position + 1, self.base + len(self.block) - 2)


def skip_id3(head: bytes, position: int) -> int:
    """Return the end of the ID3 tag at a position whose first ten bytes are `head`."""
    size = sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
    return position + 10 + size + (10 if len(head) > 5 and head[5] & 16 else 0)


def stated_frames(content: bytes, frame: Frame) -> int | None:
    """Return the number of frames that a Xing or VBRI header states, 0 if it does not; None for other frames."""
    offset = 4 + frame.side_info
    if content[offset : offset + 4] in (b"Xing", b"Info") and len(content) >= offset + 12:
        flags, stated = struct.unpack_from(">II", content, offset + 4)
        return stated if flags & HAS_FRAMES else 0
    if content[36:40] == b"VBRI" and len(content) >= 54:
        return int(struct.unpack_from(">I", content, 50)[0])
    return None


def scan_mpeg(view: FileView, begins: bool = True) -> list[Part]:
    """Find the recordings of an MP3 file; none for a single one whose header is right, or if there are no frames.

    `begins` says whether a frame follows the tags in front, without which libsndfile does not know the format.
    """
    recordings = [recording for recording in FrameWalk(view).run() if recording.frames]
    header_is_right = len(recordings) == 1 and recordings[0].stated_frames == recordings[0].frames
    if begins and header_is_right and not recordings[0].gaps:
        return []
    return [make_part(recording) for recording in recordings]


def make_part(recording: MpegRecording) -> Part:
    """Return a recording as a file of its own whose header is right, and how it disagreed."""
    stated, n = recording.stated_frames, recording.frames
    missing = note = None
    if stated and (n < stated - 1 or (n < stated and recording.cut)):  # some writers count the header frame
        missing = f"its header specifies {stated} frames, but the file has {n}"
    elif recording.cut and not stated:
        missing = "it ends within a frame"
    elif stated and n > stated:
        note = f"its header specifies {stated} frames, but {n} are read"
    elif recording.gaps:
        note = f"there is other data between its frames in {recording.gaps} places"
    has_xing = recording.header[4 + recording.first.side_info :][:4] in (b"Xing", b"Info") and bool(stated)
    pieces: tuple[Piece, ...] = (correct_header(recording), *recording.ranges) if has_xing else padded(recording)
    return Part(pieces, None if has_xing else n * recording.first.samples, missing, note)


def correct_header(recording: MpegRecording) -> bytes:
    """Return the Xing header of a recording with the real number of frames."""
    content, offset = bytearray(recording.header), 4 + recording.first.side_info
    if recording.stated_frames != recording.frames:
        struct.pack_into(">I", content, offset + 8, recording.frames)
        if content[offset + 7] & HAS_BYTES:
            struct.pack_into(">I", content, offset + 12, len(content) + sum(map(len, recording.ranges)))
        if content[offset + 7] & 15 == 15 and len(content) >= offset + 144:  # LAME's padding of the last frame: none
            content[offset + 142 : offset + 144] = bytes((content[offset + 142] & 0xF0, 0))
    return bytes(content)


def padded(recording: MpegRecording) -> tuple[Piece, ...]:
    """Return the frames of a recording in a file that seems long enough.

    Without a Xing header libmpg123 estimates the length from the file size and would stop too early. It reads the last
    128 bytes first.
    """
    return *recording.ranges, range(BEYOND_END, BEYOND_END + recording.frames * LARGEST_FRAME), bytes(128)
