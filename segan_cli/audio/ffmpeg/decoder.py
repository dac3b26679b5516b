"""Reading other containers and video through ffmpeg."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from segan_cli.audio.containers.wav import Encoding, read_wav_header
from segan_cli.audio.ffmpeg.media import MediaInfo, probe_media
from segan_cli.audio.ffmpeg.program import FILES_ONLY, environment, last_stderr_line, problems, program, without_name
from segan_cli.errors import AudioError

LOG_OPTIONS = ("-nostdin", "-hide_banner", "-nostats", "-v", "level+verbose")
NO_METADATA = ("-map_metadata", "-1", "-fflags", "+bitexact")
FINE = ":min_hard_comp=0.015"  # seconds from which a gap is filled, for times that are exact; 0.1 for others
DECODED = re.compile(r"Input stream #0:\d+ \(audio\): .*\((\d+) samples\)")
ESTIMATED = "Estimating duration from bitrate"
TOLERANCE_S, TOLERANCE = 0.2, 0.001  # of the duration: codec frames, rounding
MISSING = re.compile(  # messages about missing content, and the stream if given
    r"partial file|File ended prematurely|Error submitting packet to decoder|Error during demuxing"
    r"|Error reading from|corrupt input packet in stream (?P<stream>\d+)|Packet corrupt \(stream = (?P<other>\d+)"
)


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
            raise AudioError(f"{self.path}: damaged ({last_stderr_line(self.log)})")
        self.log.seek(0)
        text = without_name(self.log.read(), self.path)
        track = self.media.of("Audio")[0].index
        messages = problems(text)
        for message in messages:
            if found := MISSING.search(message):
                stream = found["stream"] or found["other"]
                if stream is None or int(stream) == track:
                    return f"ffmpeg reports: {message.rstrip('.')}", None
        if decoded := DECODED.search(text):
            n_read = round(seconds * self.encoding.rate_hz)
            if int(decoded[1]) - n_read > TOLERANCE_S * self.encoding.rate_hz:
                return f"{decoded[1]} samples are decoded, their timestamps leave {n_read}", None
        if self.media.duration_s is None or any(ESTIMATED in message for message in messages):
            return None, None
        end = seconds + self.media.offset_s
        if end > self.media.duration_s - max(TOLERANCE_S, TOLERANCE * self.media.duration_s):
            return None, None
        message = f"its container specifies {self.media.duration_s:.2f} s, its sound lasts {seconds:.2f} s"
        return (None, message) if self.media.has_pictures else (message, None)


@contextmanager
def decoding(path: Path) -> Iterator[Decoding]:
    """Decode the first audio stream of a file while it is read, from the start of the file.

    Raises AudioError, with ffmpeg's message, when there is none.
    """
    media = probe_media(path)
    absolute = ("-copyts",) if media.on_timeline and not media.offset_s else ()
    samples = ("-map", "0:a:0", *timing_options(media), *NO_METADATA, "-f", "wav", "-c:a", "pcm_f32le", "-")
    command = [program(path), *LOG_OPTIONS, *absolute, *FILES_ONLY, "-i", f"file:{path}", *samples]
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
                raise AudioError(f"{path}: {error_message(log) or error}") from error
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


def error_message(log: IO[bytes]) -> str:
    """Explain why ffmpeg does not read a file."""
    log.seek(0)
    text = log.read().decode("utf-8", "replace")
    if "Format not on whitelist" in text:
        return "this format is not supported, as it may name other files or hide missing sound; convert it to WAV"
    if "matches no streams" in text:
        return "no sound track"
    if "Invalid data found" in text:
        return "not a readable audio file (not audio, or damaged)"
    return f"not a readable audio file ({last_stderr_line(log)})"
