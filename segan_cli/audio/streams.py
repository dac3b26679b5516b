"""Samples in streams of bytes: WAV without an end, and raw samples."""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.audio.layouts import told
from segan_cli.errors import AudioError

Array = NDArray[np.float32]

ENDLESS = 0xFFFFFFFF  # size that a writer gives which cannot know
UNKNOWN = 0x7FFFF000  # sizes from here on mean that, by whatever writer
SKIPPED = 1 << 16  # bytes of other chunks at a time; the longest chunk that is read
GUID = bytes.fromhex("000000001000800000aa00389b71")  # what follows the tag in a mask's format chunk
PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE  # format tags
SUBTYPES = {  # format tag and bits → libsndfile's encoding
    (PCM, 8): "PCM_U8",
    (PCM, 16): "PCM_16",
    (PCM, 24): "PCM_24",
    (PCM, 32): "PCM_32",
    (FLOAT, 32): "FLOAT",
    (FLOAT, 64): "DOUBLE",
    (ALAW, 8): "ALAW",
    (ULAW, 8): "ULAW",
}
BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ALAW": 1, "ULAW": 1}


@dataclass(frozen=True)
class Encoding:
    """How samples lie in bytes, channels interleaved, the lowest byte first."""

    rate_hz: int
    channels: int
    subtype: str  # libsndfile's encoding, one of BYTES
    mask: int = 0  # of the channels' loudspeakers, as WAV has it; 0: not told

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * BYTES[self.subtype]

    def decode(self, content: bytes) -> Array:
        """Whole frames as [n, channels]."""
        samples, _ = soundfile.read(
            io.BytesIO(content), dtype="float32", always_2d=True, samplerate=self.rate_hz, channels=self.channels,
            format="RAW", subtype=self.subtype, endian="LITTLE",
        )  # fmt: skip
        return np.asarray(samples, np.float32)

    def encode(self, samples: Array) -> bytes:
        """[n, channels] as whole frames; what integers cannot hold is clipped."""
        content = io.BytesIO()
        soundfile.write(content, samples, self.rate_hz, self.subtype, "LITTLE", "RAW")
        return content.getvalue()


def read_wav_header(stream: IO[bytes], name: str) -> tuple[Encoding, int | None]:
    """What a WAV stream says before its samples: their encoding, and their bytes where it tells.

    `stream` is left at the first sample. Raises AudioError when it is none, or of an encoding that is not known.
    """
    kind, _, form = struct.unpack("<4sI4s", exactly(stream, 12, name))
    if kind not in (b"RIFF", b"RF64", b"BW64") or form != b"WAVE":
        raise AudioError(f"{name}: not a WAV stream")
    encoding, long_size = None, None
    while True:
        chunk, size = struct.unpack("<4sI", exactly(stream, 8, name))
        if chunk == b"data":
            break
        if chunk not in (b"fmt ", b"ds64"):
            for left in range(size + size % 2, 0, -SKIPPED):
                exactly(stream, min(left, SKIPPED), name)
            continue
        if size > SKIPPED:
            raise AudioError(f"{name}: the WAV stream's header says that it has {size} bytes")
        content = exactly(stream, size + size % 2, name)
        if chunk == b"ds64" and size >= 16:
            (long_size,) = struct.unpack_from("<Q", content, 8)
        elif chunk == b"fmt ":
            encoding = read_format(content, name)
    if encoding is None:
        raise AudioError(f"{name}: the WAV stream says nothing of its samples before they begin")
    if size == ENDLESS and long_size:
        return encoding, long_size
    return encoding, None if size == 0 or size >= UNKNOWN else size


def read_format(content: bytes, name: str) -> Encoding:
    """The encoding that a format chunk tells; raises AudioError when it is not known or cannot be."""
    if len(content) < 16:
        raise AudioError(f"{name}: the WAV stream's format chunk is cut short")
    tag, channels, rate_hz, _, frame, bits = struct.unpack_from("<HHIIHH", content)
    mask = 0
    if tag == EXTENSIBLE and len(content) >= 26:
        mask, tag = struct.unpack_from("<IH", content, 20)
    subtype = SUBTYPES.get((tag, bits))
    if subtype is None:
        raise AudioError(f"{name}: WAV samples of kind {tag} and {bits} bits are not known; convert them to PCM")
    encoding = Encoding(rate_hz, channels, subtype, told(channels, mask))
    if not channels or frame != encoding.frame_bytes:
        raise AudioError(f"{name}: the WAV stream's header contradicts itself ({channels} channels, frames of {frame})")
    return encoding


def wav_header(encoding: Encoding, n_bytes: int | None = None) -> bytes:
    """The beginning of a WAV stream of so many bytes of samples, or without an end."""
    tag, bits = next(key for key, subtype in SUBTYPES.items() if subtype == encoding.subtype)
    per_second = encoding.rate_hz * encoding.frame_bytes
    form = EXTENSIBLE if encoding.mask else tag
    fmt = struct.pack("<HHIIHH", form, encoding.channels, encoding.rate_hz, per_second, encoding.frame_bytes, bits)
    if encoding.mask:
        fmt += struct.pack("<HHIH", 22, bits, encoding.mask, tag) + GUID
    whole, samples = ENDLESS, ENDLESS
    if n_bytes is not None:
        whole, samples = 20 + len(fmt) + n_bytes + n_bytes % 2, n_bytes
    start = struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(fmt))
    return start + fmt + struct.pack("<4sI", b"data", samples)


def exactly(stream: IO[bytes], n: int, name: str) -> bytes:
    """The next n bytes of a stream; raises AudioError when it ends before."""
    content = stream.read(n)
    if len(content) < n:
        raise AudioError(f"{name}: the stream ends before its first sample")
    return content


def read_samples(
    read: Callable[[int], bytes], encoding: Encoding, largest: int, n_bytes: int | None = None
) -> Iterator[Array]:
    """Blocks [n, channels] of at most `largest` samples, up to the end or `n_bytes`; each of what `read` gives at once.

    A frame that is cut off by the end is left out.
    """
    rest, left = b"", n_bytes
    while left is None or left > 0:
        wanted = largest * encoding.frame_bytes - len(rest)
        content = read(wanted if left is None else min(wanted, left))
        if not content:
            return
        left = None if left is None else left - len(content)
        content = rest + content
        whole = len(content) - len(content) % encoding.frame_bytes
        rest = content[whole:]
        if whole:
            yield encoding.decode(content[:whole])
