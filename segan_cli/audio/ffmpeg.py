"""Reading what libsndfile cannot, any other container and video, through an ffmpeg on the PATH."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from segan_cli.audio.files import VIDEO
from segan_cli.audio.streams import Encoding, read_wav_header
from segan_cli.errors import AudioError

QUIET = ("-nostdin", "-hide_banner", "-v", "error")
BARE = ("-map_metadata", "-1", "-fflags", "+bitexact")  # a header of nothing but the format
IN_TIME = ("-af", "aresample=async=1:first_pts=0")  # silence where the sound begins after the pictures, or is missing


def program(path: Path) -> str:
    """Where ffmpeg is; raises AudioError, naming the file that needs it, when it is nowhere."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise AudioError(f"{path}: only ffmpeg knows this format, and there is none on the PATH; install ffmpeg")
    return found


@contextmanager
def decoding(path: Path) -> Iterator[tuple[Encoding, IO[bytes]]]:
    """The first sound track of a file as samples, decoded as they are read.

    Raises AudioError, in ffmpeg's words, when there is none or when it ends in an error.
    """
    timing = IN_TIME if path.suffix.lower() in VIDEO else ()
    samples = ("-map", "0:a:0", *timing, *BARE, "-f", "wav", "-c:a", "pcm_f32le", "-")
    command = [program(path), *QUIET, "-i", f"file:{path}", *samples]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints)
        assert process.stdout is not None
        try:
            try:
                encoding, _ = read_wav_header(process.stdout, str(path))
            except AudioError as error:
                process.kill()
                process.wait()
                raise AudioError(f"{path}: not a readable audio file ({said(complaints) or error})") from error
            yield encoding, process.stdout
            if process.wait():
                raise AudioError(f"{path}: damaged ({said(complaints)})")
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def said(complaints: IO[bytes]) -> str:
    """The last line that ffmpeg wrote."""
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else ""
