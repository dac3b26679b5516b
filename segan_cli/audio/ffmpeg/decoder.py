"""Reading other containers and video through ffmpeg."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from segan_cli.audio.containers.wav import Encoding, read_wav_header
from segan_cli.audio.ffmpeg.log import MediaInfo, compare, last_error, probe_media, read_log, unreadable, without_name
from segan_cli.audio.ffmpeg.program import environment, file_input, program
from segan_cli.errors import AudioError

LOG_OPTIONS = ("-nostdin", "-hide_banner", "-nostats", "-v", "level+verbose")
NO_METADATA = ("-map_metadata", "-1", "-fflags", "+bitexact")
FINE = ":min_hard_comp=0.015"  # seconds from which a gap is filled, for times that are exact; 0.1 for others


@dataclass(frozen=True)
class Decoding:
    """An audio stream that ffmpeg is decoding."""

    path: Path
    media: MediaInfo
    encoding: Encoding
    stream: IO[bytes]
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def check(self, seconds: float) -> tuple[str | None, str | None]:
        """Check after the last sample for missing content; return what is missing, and a note on what disagrees.

        Raises AudioError, with ffmpeg's message, when it failed.
        """
        if self.process.wait():
            raise AudioError(f"{self.path}: damaged ({last_error(read_log(self.log))})")
        self.log.seek(0)
        text = without_name(self.log.read(), self.path)
        return compare(self.media, text, seconds, self.encoding.rate_hz)


@contextmanager
def decoding(path: Path) -> Iterator[Decoding]:
    """Decode the first audio stream of a file while it is read, from the start of the file.

    Raises AudioError, with ffmpeg's message, when there is none.
    """
    media = probe_media(path)
    absolute = ("-copyts",) if media.on_timeline and not media.offset_s else ()
    samples = ("-map", "0:a:0", *timing_options(media), *NO_METADATA, "-f", "wav", "-c:a", "pcm_f32le", "-")
    command = [program(path), *LOG_OPTIONS, *absolute, *file_input(path), *samples]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment()
        )
        assert process.stdout is not None
        try:
            try:
                encoding, _ = read_wav_header(process.stdout, str(path))
            except AudioError as error:
                process.kill()
                process.wait()
                raise AudioError(f"{path}: {unreadable(read_log(log))}") from error
            yield Decoding(path, media, encoding, process.stdout, process, log)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def timing_options(media: MediaInfo) -> tuple[str, ...]:
    """Return ffmpeg's options that put silence where a recording has no sound, so that it stays in sync."""
    if not (media.has_pictures or media.on_timeline):
        return ()
    first, fine = ":first_pts=0" * media.has_pictures, FINE * media.on_timeline
    return "-af", f"aresample=async=1{first}{fine}"
