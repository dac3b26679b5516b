"""Reading files with libsndfile in blocks of samples, without libmpg123's messages, which cannot be turned off."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import IO, cast

import numpy as np
import soundfile

from segan_cli.arrays import Array
from segan_cli.audio.containers.chunks import Part, PiecewiseFile, wav_format
from segan_cli.audio.files import CHECKED, NO_HEADER, NO_SAMPLES, check_shape, suggestion
from segan_cli.errors import AudioError

MPEG = "MPEG_LAYER"  # in libsndfile's subtypes that libmpg123 decodes
FORMAT_TAGS = (b"\x50\0", b"\x55\0")  # of WAV files
MESSAGES = re.compile(
    rb"(?:(?:\A|(?<=\n))\n)?\[src/libmpg123/[^\n]*\n|Warning: Xing stream size off [^\n]*\n"
    rb"|Note: (Illegal Audio-MPEG-Header 0x|Trying to resync|Skipped \d|Junk at the beginning|Looks like a RIFF"
    rb"|Could be a BMP|Hit end of \(available\) data|Input data end)[^\n]*\n|Illegal bit allocation value\.\n"
)
LOCK = Lock()
FRAME_FORMAT = re.compile(r"Block Align\s*: (\d+).*?Bit Width\s*: (\d+)", re.DOTALL)  # in libsndfile's log


class StderrFilter(AbstractContextManager[None]):
    """Redirects standard error into a file while anyone decodes MPEG audio, and passes on what others write."""

    def __init__(self) -> None:
        self.users = self.n_passed = 0  # n_passed: bytes of the file that were passed on
        self.stderr, self.buffer = -1, cast(IO[bytes], None)  # the descriptor of the real one, and the file

    def __enter__(self) -> None:
        with LOCK:
            if not self.users:
                self.stderr, self.buffer, self.n_passed = os.dup(2), tempfile.TemporaryFile(), 0  # closed by the last
                os.dup2(self.buffer.fileno(), 2)
            self.users += 1

    def __exit__(self, *error: object) -> None:
        with LOCK:
            self.users -= 1
            self.pass_on()
            if not self.users:  # the last one restores standard error
                os.dup2(self.stderr, 2)
                self.pass_on()  # what was written since
                os.close(self.stderr)
                self.buffer.close()

    def pass_on(self) -> None:
        """Write the file without libmpg123's messages to standard error; while in use, up to the last line end."""
        if sys.platform == "win32":  # never redirected
            return
        size = os.fstat(self.buffer.fileno()).st_size
        content = os.pread(self.buffer.fileno(), size - self.n_passed, self.n_passed)
        content = content[: content.rfind(b"\n") + 1] if self.users else content
        self.n_passed += len(content)
        content = MESSAGES.sub(b"", content)
        while content:
            content = content[os.write(self.stderr, content) :]


FILTER = StderrFilter()


def quiet_mpg123(needed: bool) -> AbstractContextManager[None]:
    """Remove libmpg123's messages from standard error while the block runs; other output follows at its end."""
    return FILTER if needed and sys.__stderr__ is not None and sys.platform != "win32" else nullcontext()


def is_mpeg(path: Path) -> bool:
    """Whether a file may be MPEG audio, or a WAV file that holds some, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(3)
    return start == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0") or wav_format(path)[:2] in FORMAT_TAGS


@contextmanager
def open_audio(path: Path, part: Part | None = None) -> Iterator[soundfile.SoundFile]:
    """Open a file, or a part of it, for reading; raises AudioError when it is missing, empty or not audio."""
    if path.is_dir():
        raise AudioError(f"{path}: is a folder; give an audio file")
    if not path.exists():
        raise AudioError(f"{path}: no such file; {suggestion(path)}")
    if not path.is_file():
        raise AudioError(f"{path}: is a device or socket; give an audio file, or pipe it in")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")
    with ExitStack() as stack:
        try:
            file = _open(path, part, stack)
        except (soundfile.LibsndfileError, OSError) as error:
            reason = getattr(error, "error_string", None) or str(error)
            message = f"not a readable audio file ({reason.strip().rstrip('.')})"
            raise AudioError(f"{path}: {NO_HEADER.get(path.suffix.lower(), message)}") from error
        if file.frames == 0:
            raise AudioError(f"{path}: {NO_SAMPLES}")
        if file.format not in CHECKED:
            raise AudioError(f"{path}: {file.format} files cannot be checked for missing audio; convert it to WAV")
        check_shape(str(path), file.samplerate, file.channels)
        frame_bytes, bits = map(int, found.groups()) if (found := FRAME_FORMAT.search(file.extra_info)) else (0, 0)
        if frame_bytes == 4 * file.channels and 16 < bits <= 24:
            raise AudioError(
                f"{path}: has {bits} bits in 4 bytes, which may mean two encodings; export it with 32 bits"
            )
        yield file


def _open(path: Path, part: Part | None, stack: ExitStack) -> soundfile.SoundFile:
    """Open a file, or a part of it, until `stack` closes.

    Files are opened by descriptor: given a name, libsndfile takes a `._name` that macOS left next to an MP3 for its
    resource fork, and refuses the file.
    """
    source: PiecewiseFile | Path | int = path
    if part is not None:
        source = stack.enter_context(PiecewiseFile(path, part.pieces))
    elif os.name != "nt":
        source = stack.enter_context(path.open("rb")).fileno()
    with quiet_mpg123(is_mpeg(path)):
        return stack.enter_context(soundfile.SoundFile(source, closefd=False))


def is_native(path: Path, part: Part | None = None) -> bool:
    """Whether libsndfile reads a file, or a part of it, and its length can be checked."""
    try:
        with ExitStack() as stack:
            return _open(path, part, stack).format in CHECKED
    except (soundfile.LibsndfileError, OSError):
        return False


def read_blocks(file: soundfile.SoundFile, path: Path, block: int, first: int = 0) -> Iterator[Array]:
    """Yield the samples from `first` on as blocks [channels, n], n at most `block`; raises AudioError."""
    library, done = soundfile._snd, first
    if first:
        with quiet_mpg123(MPEG in file.subtype):
            if library.sf_seek(file._file, first, os.SEEK_SET) != first:
                raise AudioError(f"{path}: sample {first} cannot be found; is the file damaged?")
    while True:
        samples = np.empty((block, file.channels), np.float32)
        with quiet_mpg123(MPEG in file.subtype):
            n = library.sf_readf_float(file._file, soundfile._ffi.from_buffer("float[]", samples), block)
        done += n
        if n:
            yield samples[:n].T
        if error := library.sf_error(file._file):
            reason = soundfile.LibsndfileError(error).error_string.strip(" .").removeprefix("Error : ")
            raise AudioError(f"{path}: damaged after sample {done} ({reason})")
        if n == 0:
            return
