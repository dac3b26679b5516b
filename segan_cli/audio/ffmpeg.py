"""Reading what libsndfile cannot, any other container and video, through an ffmpeg on the PATH."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from segan_cli.audio.files import VIDEO
from segan_cli.audio.streams import Encoding, read_wav_header
from segan_cli.errors import AudioError

TELLING = ("-nostdin", "-hide_banner", "-nostats", "-v", "level+verbose")
FORMATS = (  # demuxers that read the file they are given and no other: no playlists, scripts, devices or networks
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,asf_o,ast,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,g722,gsm,iff,"
    "loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,rso,sbc,shn,sol,sox,spdif,"
    "tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma"
)
FILES_ONLY = ("-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS)  # before every input that users give
BARE = ("-map_metadata", "-1", "-fflags", "+bitexact")  # a header of nothing but the format
IN_TIME = ("-af", "aresample=async=1:first_pts=0")  # silence where the sound begins after the pictures, or is missing
TRACK = re.compile(r"Stream #0:(\d+) -> #0:0 ")
DURATION = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d\.\d+), ", re.MULTILINE)
DECODED = re.compile(r"Input stream #0:\d+ \(audio\): .*\((\d+) samples\)")
GUESSED = "Estimating duration from bitrate"
PICTURES = ": Video: "
TOLERANCE_S, TOLERANCE = 0.2, 0.001  # by which sound may be shorter than its container: frames, rounding
LOST = re.compile(  # a line by which ffmpeg says that something is missing, and of which stream where it tells
    r"^.*(?:partial file|File ended prematurely|Error submitting packet to decoder|Error during demuxing"
    r"|Error reading from|corrupt input packet in stream (?P<stream>\d+)|Packet corrupt \(stream = (?P<other>\d+)).*$",
    re.MULTILINE,
)
PLAYLIST = re.compile(
    rb"\s*(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|\[playlist\]|v=0\r?\n|<(\?xml[^>]*>\s*<)?(MPD|smil|asx)\b)",
    re.IGNORECASE,
)
SAYS = re.compile(r"^(?:\[[^\]\n]*\] ?)+")  # who says a line, and how important it is


def program(path: Path) -> str:
    """Where ffmpeg is; raises AudioError, naming the file that needs it, when it is nowhere."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise AudioError(f"{path}: only ffmpeg knows this format, and there is none on the PATH; install ffmpeg")
    return found


@dataclass(frozen=True)
class Decoding:
    """A sound track that ffmpeg decodes."""

    path: Path
    encoding: Encoding
    stream: IO[bytes]
    process: subprocess.Popen[bytes]
    complaints: IO[bytes]

    def verdict(self, seconds: float) -> tuple[str | None, str | None]:
        """After its last sample: what is missing of it, and what is worth a note.

        Raises AudioError, in ffmpeg's words, when it ended in an error.
        """
        if self.process.wait():
            raise AudioError(f"{self.path}: damaged ({last_stderr_line(self.complaints)})")
        self.complaints.seek(0)
        words = self.complaints.read().decode("utf-8", "replace")
        track = TRACK.search(words)
        for found in LOST.finditer(words):
            stream = found["stream"] or found["other"]
            if stream is None or track is None or stream == track[1]:
                return f"ffmpeg says: {SAYS.sub('', found[0]).rstrip('.')}", None
        if decoded := DECODED.search(words):
            n_placed = round(seconds * self.encoding.rate_hz)
            if int(decoded[1]) - n_placed > TOLERANCE_S * self.encoding.rate_hz:
                return f"{decoded[1]} samples are decoded, and their times have a place for {n_placed}", None
        told = DURATION.search(words)
        if told is None or GUESSED in words:
            return None, None
        duration = 3600 * int(told[1]) + 60 * int(told[2]) + float(told[3])
        if seconds > duration - max(TOLERANCE_S, TOLERANCE * duration):
            return None, None
        what = f"its container tells of {duration:.2f} s, and its sound lasts {seconds:.2f} s"
        return (None, what) if PICTURES in words else (what, None)


@contextmanager
def decoding(path: Path) -> Iterator[Decoding]:
    """The first sound track of a file as samples, decoded as they are read.

    Raises AudioError, in ffmpeg's words, when there is none.
    """
    timing = IN_TIME if path.suffix.lower() in VIDEO else ()
    samples = ("-map", "0:a:0", *timing, *BARE, "-f", "wav", "-c:a", "pcm_f32le", "-")
    command = [program(path), *TELLING, *FILES_ONLY, "-i", f"file:{path}", *samples]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints)
        assert process.stdout is not None
        try:
            try:
                encoding, _ = read_wav_header(process.stdout, str(path))
            except AudioError as error:
                process.kill()
                process.wait()
                raise AudioError(f"{path}: {refusal(complaints) or error}") from error
            yield Decoding(path, encoding, process.stdout, process, complaints)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def playlist(path: Path) -> bool:
    """Whether a file only names others, which are not followed."""
    with path.open("rb") as file:
        return PLAYLIST.match(file.read(1024)) is not None


def refusal(complaints: IO[bytes]) -> str:
    """Why ffmpeg does not read a file, in plain words where it is known."""
    complaints.seek(0)
    words = complaints.read().decode("utf-8", "replace")
    if "Format not on whitelist" in words:
        return "its format is not read: it may name other files, or its end cannot be checked; convert it to WAV first"
    if "matches no streams" in words:
        return "no sound track"
    return f"not a readable audio file ({last_stderr_line(complaints)})"


def last_stderr_line(complaints: IO[bytes]) -> str:
    """The last line that ffmpeg wrote."""
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    worst = [line for line in lines if "[error]" in line or "[fatal]" in line] or lines
    return SAYS.sub("", worst[-1].strip()).rstrip(".") if worst else ""
