"""Where samples go: files, whole or not at all, and standard output."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.audio.ffmpeg import encoding_into
from segan_cli.audio.files import (
    FOREIGN,
    SIZE_FIELD,
    AudioInfo,
    atomically,
    native,
    open_audio,
    output_format,
    read_blocks,
)
from segan_cli.audio.streams import BYTES, Encoding, wav_header
from segan_cli.errors import AudioError, StoppedError

PACKED = ("FLAC", "OGG", "MP3")  # formats that are finished when they are closed, as is Apple Lossless
RF64_AUTO_DOWNGRADE = 0x1210  # libsndfile's command, which soundfile has no name for

Array = NDArray[np.float32]
Write = Callable[[Array], object]  # takes the next samples [n, channels]


@contextmanager
def open_target(
    path: Path, info: AudioInfo, original: Path | None = None, subtype: str | None = None
) -> Iterator[Write]:
    """A file that appears under its name when the block ends without an error, of the format that its ending names.

    `info` has its rate and channels, and the encoding to keep where the format has it and no `subtype` is asked for;
    tags are kept where it can. What libsndfile does not know goes through ffmpeg, with the pictures of `original`.
    Raises AudioError when it cannot be written; what was there before then stays.
    """
    with atomically(path) as beside:
        if path.suffix.lower() in FOREIGN:
            encoding = Encoding(info.rate_hz, info.channels, "FLOAT")
            try:
                with encoding_into(beside, encoding, original) as stream:
                    yield lambda samples: stream.write(encoding.encode(samples))
            except AudioError as error:
                raise AudioError(str(error).replace(str(beside), str(path))) from error
            return
        format, subtype = output_format(path, info, subtype)
        if format == "WAV" and (
            info.n_samples is None or info.n_samples * info.channels * BYTES.get(subtype, 1) > SIZE_FIELD
        ):
            format = "RF64"  # a WAV file all the same, with longer sizes …
        with soundfile.SoundFile(native(beside), "w", info.rate_hz, info.channels, subtype, format=format) as file:
            if format == "RF64" and info.n_samples is None:  # … where it turns out to need them
                soundfile._snd.sf_command(file._file, RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
            for tag, text in info.tags.items():
                with suppress(soundfile.LibsndfileError):  # not every format has every tag
                    setattr(file, tag, text)
            n_written = 0

            def write(samples: Array) -> None:
                nonlocal n_written
                file.write(samples)
                n_written += len(samples)

            yield write
        silent = format in PACKED or subtype.startswith("ALAC")  # when what they write at their end fails
        if silent and decodable(beside) < n_written:
            raise AudioError(f"{path}: cannot be written whole; is the disk full?")


@contextmanager
def open_output(stream: IO[bytes], encoding: Encoding, raw: bool) -> Iterator[Write]:
    """Standard output: raw samples, or WAV without an end; every block is passed on at once."""

    def pass_on(content: bytes) -> None:
        try:
            stream.write(content)
            stream.flush()
        except BrokenPipeError as error:
            raise StoppedError("nobody reads standard output any more", signal.SIGPIPE) from error

    if not raw:
        pass_on(wav_header(encoding))
    yield lambda samples: pass_on(encoding.encode(samples))


@contextmanager
def normalising(channels: int, peak_db: float, write: Write) -> Iterator[Write]:
    """Samples that reach `write` when the block ends, with their peak at `peak_db` relative to full scale.

    Until then they wait in a temporary file.
    """
    with tempfile.TemporaryFile() as waiting:
        peak = 0.0

        def keep(samples: Array) -> None:
            nonlocal peak
            peak = max(peak, float(np.abs(samples).max(initial=0.0)))
            waiting.write(samples.astype(np.float32).tobytes())

        yield keep
        gain = np.float32(10 ** (peak_db / 20) / peak if peak else 1.0)
        waiting.seek(0)
        while content := waiting.read(channels << 20):
            write(gain * np.frombuffer(content, np.float32).reshape(-1, channels))


def decodable(path: Path) -> int:
    """Samples of each channel that a file gives; none where it is damaged."""
    try:
        with open_audio(path) as file:
            return sum(map(len, read_blocks(file, path, 1 << 18)))
    except AudioError:
        return 0
