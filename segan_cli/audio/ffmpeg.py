"""Reading other containers and video through ffmpeg."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from segan_cli.audio.files import VIDEO
from segan_cli.audio.streams import Encoding, read_wav_header
from segan_cli.errors import AudioError
from segan_cli.extras import install_command

LOG_OPTIONS = ("-nostdin", "-hide_banner", "-nostats", "-v", "level+verbose")
FORMATS = (  # demuxers of single files: no playlists, scripts, devices or networks
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,asf_o,ast,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,g722,gsm,iff,"
    "loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,rso,sbc,shn,sol,sox,spdif,"
    "tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma"
)
FILES_ONLY = ("-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS)  # for every input of a user
NO_METADATA = ("-map_metadata", "-1", "-fflags", "+bitexact")
IN_TIME = ("-af", "aresample=async=1:first_pts=0")  # silence where a video has no sound, so that it stays in sync
TRACK = re.compile(r"Stream #0:(\d+) -> #0:0 ")
DURATION = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d\.\d+), ", re.MULTILINE)
DECODED = re.compile(r"Input stream #0:\d+ \(audio\): .*\((\d+) samples\)")
ESTIMATED = "Estimating duration from bitrate"
PICTURES = ": Video: "
TOLERANCE_S, TOLERANCE = 0.2, 0.001  # of the duration: codec frames, rounding
MISSING = re.compile(  # messages about missing content, and the stream if given
    r"^.*(?:partial file|File ended prematurely|Error submitting packet to decoder|Error during demuxing"
    r"|Error reading from|corrupt input packet in stream (?P<stream>\d+)|Packet corrupt \(stream = (?P<other>\d+)).*$",
    re.MULTILINE,
)
PLAYLIST = re.compile(
    rb"\s*(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|\[playlist\]|v=0\r?\n|<(\?xml[^>]*>\s*<)?(MPD|smil|asx)\b)",
    re.IGNORECASE,
)
PREFIX = re.compile(r"^(?:\[[^\]\n]*\] ?)+")  # of a message: its source and level


def program(path: Path) -> str:
    """Find ffmpeg; raises AudioError, naming the file that needs it, if it is not installed."""
    found = find_ffmpeg()
    if found is None:
        raise AudioError(f"{path}: this format needs ffmpeg; install it, or run: {install_command('ffmpeg')}")
    return found


def find_ffmpeg() -> str | None:
    """Return the ffmpeg on the PATH, or that of the package imageio-ffmpeg; None if there is neither."""
    found = shutil.which("ffmpeg")
    if found is None and find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    return found


@dataclass(frozen=True)
class Decoding:
    """An audio stream that ffmpeg is decoding."""

    path: Path
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
        text = self.log.read().decode("utf-8", "replace")
        track = TRACK.search(text)
        for found in MISSING.finditer(text):
            stream = found["stream"] or found["other"]
            if stream is None or track is None or stream == track[1]:
                return f"ffmpeg reports: {PREFIX.sub('', found[0]).rstrip('.')}", None
        if decoded := DECODED.search(text):
            n_read = round(seconds * self.encoding.rate_hz)
            if int(decoded[1]) - n_read > TOLERANCE_S * self.encoding.rate_hz:
                return f"{decoded[1]} samples are decoded, their timestamps leave {n_read}", None
        stated = DURATION.search(text)
        if stated is None or ESTIMATED in text:
            return None, None
        duration = 3600 * int(stated[1]) + 60 * int(stated[2]) + float(stated[3])
        if seconds > duration - max(TOLERANCE_S, TOLERANCE * duration):
            return None, None
        message = f"its container specifies {duration:.2f} s, its sound lasts {seconds:.2f} s"
        return (None, message) if PICTURES in text else (message, None)


@contextmanager
def decoding(path: Path) -> Iterator[Decoding]:
    """Decode the first audio stream of a file while it is read.

    Raises AudioError, with ffmpeg's message, when there is none.
    """
    timing = IN_TIME if path.suffix.lower() in VIDEO else ()
    samples = ("-map", "0:a:0", *timing, *NO_METADATA, "-f", "wav", "-c:a", "pcm_f32le", "-")
    command = [program(path), *LOG_OPTIONS, *FILES_ONLY, "-i", f"file:{path}", *samples]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            try:
                encoding, _ = read_wav_header(process.stdout, str(path))
            except AudioError as error:
                process.kill()
                process.wait()
                raise AudioError(f"{path}: {error_message(log) or error}") from error
            yield Decoding(path, encoding, process.stdout, process, log)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def is_playlist(path: Path) -> bool:
    """Whether a file is a playlist, which only names other files."""
    with path.open("rb") as file:
        return PLAYLIST.match(file.read(1024)) is not None


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


def last_stderr_line(log: IO[bytes]) -> str:
    """Return the last error that ffmpeg logged, or its last line."""
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    worst = [line for line in lines if "[error]" in line or "[fatal]" in line] or lines
    return PREFIX.sub("", worst[-1].strip()).rstrip(".") if worst else ""
