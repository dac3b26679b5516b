"""Reading files by libsndfile, in blocks of samples."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.audio.containers.parts import Part, PiecewiseFile
from segan_cli.audio.files import CHECKED, check_shape, suggestion
from segan_cli.audio.libsndfile.mpg123 import MPEG, is_mpeg, quiet_mpg123
from segan_cli.errors import AudioError

Array = NDArray[np.float32]


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
        raise AudioError(f"{path}: the file is empty; nothing was recorded in it")
    with ExitStack() as stack:
        try:
            file = _open(path, part, stack)
        except (soundfile.LibsndfileError, OSError) as error:
            if path.suffix.lower() == ".raw":
                raise AudioError(f"{path}: raw samples have no header; pipe them in with --raw --rate HZ") from error
            reason = getattr(error, "error_string", None) or str(error)
            raise AudioError(f"{path}: not a readable audio file ({reason.strip().rstrip('.')})") from error
        if file.frames == 0:
            raise AudioError(f"{path}: the file holds no samples; nothing was recorded in it")
        if file.format not in CHECKED:
            raise AudioError(f"{path}: {file.format} files cannot be checked for missing sound; convert it")
        check_shape(str(path), file.samplerate, file.channels)
        yield file


def _open(path: Path, part: Part | None, stack: ExitStack) -> soundfile.SoundFile:
    """Open a file, or a part of it, until `stack` closes.

    Files are opened by descriptor: given a name, libsndfile takes a `._name` that macOS left beside an MP3 for its
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
    """Yield the samples of an open file from sample `first` on as blocks [channels, n], n at most `block`.

    Raises AudioError where the file is damaged.
    """
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
