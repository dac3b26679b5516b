"""Byte streams of samples: WAV of unknown length, and raw samples."""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import soundfile

from segan_cli.arrays import Array
from segan_cli.audio.containers.chunks import RIFF_FORMS, read_chunks
from segan_cli.audio.containers.mpeg import TAG_MAGICS
from segan_cli.audio.files import IntegrityCheck, ambisonic_layout, mask_to_store
from segan_cli.errors import AudioError

BLOCK_S = 10.0  # of the longest block
BLOCK_SAMPLES = 1 << 20  # at most in a block, of all channels together
STREAMING_SIZE = 0xFFFFFFFF  # size field of a stream whose length is not known
SKIP_BYTES = 1 << 16  # read at a time of chunks that are skipped; the longest format chunk
GUID = bytes.fromhex("000000001000800000aa00389b71")  # follows the format tag in WAVE_FORMAT_EXTENSIBLE
PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE  # format tags
SUBTYPES = {  # format tag and bits → libsndfile's subtype
    (PCM, 8): "PCM_U8", (PCM, 16): "PCM_16", (PCM, 24): "PCM_24", (PCM, 32): "PCM_32",
    (FLOAT, 32): "FLOAT", (FLOAT, 64): "DOUBLE", (ALAW, 8): "ALAW", (ULAW, 8): "ULAW",
}  # fmt: skip
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}  # of integers that libsndfile truncates
BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ALAW": 1, "ULAW": 1}


@dataclass(frozen=True)
class Encoding:
    """Encoding of interleaved little-endian samples."""

    rate_hz: int
    channels: int
    subtype: str  # libsndfile's, one of BYTES
    mask: int = 0  # channel mask as in WAV; 0: not specified
    layout: str | None = None  # one that no output keeps

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * BYTES[self.subtype]

    def decode(self, content: bytes) -> Array:
        """Decode whole frames to samples [channels, n]."""
        samples, _ = soundfile.read(
            io.BytesIO(content), dtype="float32", always_2d=True, samplerate=self.rate_hz, channels=self.channels,
            format="RAW", subtype=self.subtype, endian="LITTLE",
        )  # fmt: skip
        return np.asarray(samples, np.float32).T

    def encode(self, samples: Array) -> bytes:
        """Encode samples [channels, n]; integer encodings clip at full scale."""
        content = io.BytesIO()
        soundfile.write(content, rounded(samples, self.subtype).T, self.rate_hz, self.subtype, "LITTLE", "RAW")
        return content.getvalue()


def rounded(samples: Array, subtype: str) -> Array:
    """Round samples to the values of an encoding with integers, which libsndfile would truncate."""
    if subtype not in BITS:
        return samples
    scale = np.float32(2 ** (BITS[subtype] - 1))
    return np.asarray(np.rint(samples * scale) / scale, np.float32)


def read_wav_header(stream: IO[bytes], name: str) -> tuple[Encoding, int | None]:
    """Read the header of a WAV stream up to the first sample.

    Returns the encoding and the size of the samples in bytes, None where the header does not specify it. Raises
    AudioError when it is not a WAV stream or its encoding is not supported.
    """
    view, encoding = StreamView(stream, name), None
    for chunk in read_chunks(view):
        if chunk.is_data:
            if encoding is None:
                raise AudioError(f"{name}: the WAV stream has samples before their format; is the file damaged?")
            known = chunk.size_is_known or chunk.size_format == "<Q"  # of a ds64 chunk
            return encoding, (chunk.size or None) if known else None
        if chunk.name in (b"fmt ", b"ds64") and chunk.size > SKIP_BYTES:
            size = chunk.size
            raise AudioError(f"{name}: the WAV stream's header has a chunk of {size} bytes; is the file damaged?")
        if chunk.name == b"fmt ":
            encoding = read_format(view.at(chunk.start, chunk.size), name)
    raise AudioError(f"{name}: not a WAV stream")


def read_format(content: bytes, name: str) -> Encoding:
    """Parse a format chunk; raises AudioError when it is inconsistent or not supported."""
    if len(content) < 16:
        raise AudioError(f"{name}: the WAV stream's format chunk is truncated")
    tag, channels, rate_hz, _, frame, bits = struct.unpack_from("<HHIIHH", content)
    mask = 0
    if tag == EXTENSIBLE and len(content) >= 26:
        mask, tag = struct.unpack_from("<IH", content, 20)
    subtype = SUBTYPES.get((tag, bits))
    if subtype is None:
        raise AudioError(f"{name}: WAV encoding {tag} with {bits} bits is not supported; convert the file to PCM")
    encoding = Encoding(rate_hz, channels, subtype, mask_to_store(channels, mask), ambisonic_layout(content))
    if not channels or frame != encoding.frame_bytes:
        raise AudioError(f"{name}: the WAV stream's header contradicts itself ({channels} channels, frames of {frame})")
    return encoding


def wav_header(encoding: Encoding, n_bytes: int | None = None) -> bytes:
    """Return a WAV header for `n_bytes` of samples, or for a stream of unknown length."""
    tag, bits = next(key for key, subtype in SUBTYPES.items() if subtype == encoding.subtype)
    per_second = encoding.rate_hz * encoding.frame_bytes
    form = EXTENSIBLE if encoding.mask else tag
    fmt = struct.pack("<HHIIHH", form, encoding.channels, encoding.rate_hz, per_second, encoding.frame_bytes, bits)
    if encoding.mask:
        fmt += struct.pack("<HHIH", 22, bits, encoding.mask, tag) + GUID
    whole, samples = STREAMING_SIZE, STREAMING_SIZE
    if n_bytes is not None:
        whole, samples = 20 + len(fmt) + n_bytes + n_bytes % 2, n_bytes
    start = struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(fmt))
    return start + fmt + struct.pack("<4sI", b"data", samples)


class StreamView:
    """The bytes of a stream by their position, which may only grow."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.stream, self.name, self.position = stream, name, 0

    def at(self, position: int, n: int) -> bytes:
        """Read n bytes at a position; raises AudioError when the stream ends before."""
        while (skipped := position - self.position) > 0:
            self._read(min(skipped, SKIP_BYTES))
        return self._read(n)

    def _read(self, n: int) -> bytes:
        content = self.stream.read(n)
        self.position += n
        if len(content) < n:
            raise AudioError(f"{self.name}: the stream ends before its first sample")
        return content


def read_samples(
    read: Callable[[int], bytes], encoding: Encoding, name: str, largest: int, n_bytes: int | None = None
) -> Iterator[Array]:
    """Yield blocks [channels, n] of at most `largest` samples, one for each call of `read`.

    Stops at the end of the stream or after `n_bytes`; raises AudioError after an incomplete last sample.
    """
    partial, remaining, n_read = b"", n_bytes, 0
    while remaining is None or remaining > 0:
        wanted = largest * encoding.frame_bytes - len(partial)
        content = read(wanted if remaining is None else min(wanted, remaining))
        if not content:
            is_padding = partial == b"\0" and n_read % 2 == 0  # of WAV, after an odd number of bytes
            if partial and not is_padding:
                raise AudioError(f"{name}: its last sample is incomplete")
            return
        remaining, n_read = None if remaining is None else remaining - len(content), n_read + len(content)
        content = partial + content
        whole = len(content) - len(content) % encoding.frame_bytes
        partial = content[whole:]
        if whole:
            yield encoding.decode(content[:whole])


def skip_trailing_chunks(stream: IO[bytes], padding: int) -> bytes:
    """Skip chunks, tags and zeros after the samples of a WAV stream; return the first bytes of other data, if any."""
    stream.read(padding)
    while len(head := stream.read(8)) == 8 and head.strip(b"\0") and not head.startswith((*RIFF_FORMS, *TAG_MAGICS)):
        if not all(32 <= letter < 127 for letter in head[:4]):
            return head
        remaining = int.from_bytes(head[4:], "little")
        remaining += remaining % 2
        while remaining and (content := stream.read(min(remaining, SKIP_BYTES))):
            remaining -= len(content)
        if remaining > 1:
            return head  # not a chunk, which would not reach beyond the end
    while head and not head.strip(b"\0"):
        head = stream.read(SKIP_BYTES)
    head = head.lstrip(b"\0")
    head += stream.read(max(0, 8 - len(head)))
    return b"" if len(head) < 8 or head.startswith(TAG_MAGICS) else head


class PrependedStream(io.RawIOBase):
    """A stream with bytes put back before it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self.head, self.rest = head, rest

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is available without waiting for more."""
        content = self.head[: len(buffer)] or self.rest.read1(len(buffer))  # type: ignore[attr-defined]  # buffered
        self.head = self.head[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)


def read_stream(stream: IO[bytes], encoding: Encoding, n_bytes: int | None, check: IntegrityCheck) -> Iterator[Array]:
    """Yield the blocks of a stream, and those of WAV streams that follow it."""
    largest = block_length(encoding.rate_hz, encoding.channels)
    while True:
        read = stream.read1  # type: ignore[attr-defined]  # buffered
        blocks = read_samples(read, encoding, check.name, largest, n_bytes)
        n_samples = None if n_bytes is None else n_bytes // encoding.frame_bytes
        yield from check.check_length(blocks, n_samples, encoding.rate_hz)
        if n_bytes is None or not (head := skip_trailing_chunks(stream, n_bytes % 2)):
            return
        if not head.startswith(RIFF_FORMS):
            return check.on_missing(f"its header specifies {n_bytes} bytes of samples, but other data follows them")
        stream = io.BufferedReader(PrependedStream(head, stream))
        following, n_bytes = read_wav_header(stream, check.name)
        if following != encoding:
            raise AudioError(f"{check.name}: a second recording of another encoding follows; pipe in one at a time")
        check.warn("contains several recordings, read one after the other")


def block_length(rate_hz: int, channels: int) -> int:
    """Return the largest number of samples per channel that are read at a time."""
    return max(1, min(round(BLOCK_S * rate_hz), BLOCK_SAMPLES // channels))
