"""What libsndfile cannot: any other container, and video, through an ffmpeg on the PATH."""

import re
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
CODEC = re.compile(r"Stream #\d+:\d+.*: Audio: (\w+)")
ENCODERS = {"opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame"}  # of codecs that are not called the same


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


@contextmanager
def encoding_into(target: Path, encoding: Encoding, original: Path | None) -> Iterator[IO[bytes]]:
    """A place for samples that become the sound of `target`, with the tags of `original` and, in a video, its pictures.

    The codec is that of the original's sound where the container is the same. Raises AudioError, in ffmpeg's words,
    when it cannot write that; `target` is then half-written or missing.
    """
    ending = target.suffix.lower()
    samples = ("-f", "f32le", "-ar", str(encoding.rate_hz), "-ac", str(encoding.channels), "-i", "pipe:0")
    rest = ["-map", "0:a"]
    if original is not None:
        same = original.suffix.lower() == ending
        pictures = ["-map", "1:v?", "-c:v", "copy"] if ending in VIDEO else []
        titles = ["-map", "1:s?", "-c:s", "copy"] if same and ending in VIDEO else []
        codec = ["-c:a", sound_codec(original)] if same else []
        tags = ["-map_metadata", "1", "-map_metadata:s:a:0", "1:s:a:0"]
        rest = ["-i", f"file:{original}", *pictures, "-map", "0:a", *titles, *tags, *codec]
    command = [program(target), "-hide_banner", "-v", "error", "-y", *samples, *rest]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen([*command, f"file:{target}"], stdin=subprocess.PIPE, stderr=complaints)
        assert process.stdin is not None
        try:
            try:
                yield process.stdin
                process.stdin.close()
            except BrokenPipeError:
                pass  # its exit code and words say why
            if process.wait():
                raise AudioError(f"{target}: cannot be written ({said(complaints)})")
        finally:
            process.kill()
            process.wait()


def sound_codec(path: Path) -> str:
    """ffmpeg's encoder for the codec of a file's first sound track."""
    told = subprocess.run(
        [program(path), "-hide_banner", "-i", f"file:{path}"], capture_output=True, check=False
    ).stderr
    found = CODEC.search(told.decode("utf-8", "replace"))
    codec = found[1] if found else "copy"
    return ENCODERS.get(codec, codec)


def said(complaints: IO[bytes]) -> str:
    """The last line that ffmpeg wrote."""
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else ""
