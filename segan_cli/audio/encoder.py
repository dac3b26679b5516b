"""Writing other containers and video through ffmpeg."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from segan_cli.audio.ffmpeg import FILES_ONLY, program
from segan_cli.audio.files import FFMPEG_EXTENSIONS, VIDEO
from segan_cli.audio.layouts import mask_for_ffmpeg, nearest_standard
from segan_cli.audio.streams import Encoding
from segan_cli.errors import OutputError

STREAM = re.compile(r"^  Stream #0:\d+.*?: (Audio|Video|Subtitle|Data|Attachment): (\w+)(.*)$", re.MULTILINE)
WRITTEN = re.compile(r"Audio: (\w+).*?, (\d+) Hz, ([^,]+),")
ERROR = re.compile(r"\[(?:error|fatal)\] (.*)")
KBPS = re.compile(r"(\d+) kb/s")
SAMPLE = re.compile(r", ((?:u8|s16|s32|flt|dbl)p?)\b")
REGENERATED = re.compile(r"\((?:text|tmcd) /")  # data streams that ffmpeg writes itself: chapters, time code
ENCODERS = {  # codec → encoder, where the names differ
    "opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame", "speex": "libspeex", "gsm": "libgsm", "dts": "dca",
    "amr_nb": "libopencore_amrnb", "amr_wb": "libvo_amrwbenc",
}  # fmt: skip
LOSSLESS = ("flac", "alac", "wavpack", "tta")
XIPH = ("opus", "vorbis")  # codecs of webm; their layout follows from the number of channels
CONTAINERS = {  # extension → ffmpeg's name of the container, where they differ
    ".mkv": "matroska", ".mka": "matroska", ".ts": "mpegts", ".mts": "mpegts", ".mpg": "mpeg", ".mpeg": "mpeg",
    ".wmv": "asf", ".wma": "asf", ".m4b": "mov", ".m4v": "mov",
}  # fmt: skip


@dataclass(frozen=True)
class MediaInfo:
    """ffmpeg's description of a file."""

    containers: tuple[str, ...]  # names of its format
    streams: tuple[tuple[str, str, str], ...]  # kind, codec and details of each
    kbps: int  # of the audio; 0: not known

    def of(self, kind: str) -> list[tuple[str, str, str]]:
        """Return the streams of a kind."""
        return [stream for stream in self.streams if stream[0] == kind]


def probe_media(path: Path) -> MediaInfo:
    """Run ffmpeg to describe a file."""
    command = [program(path), "-nostdin", "-hide_banner", *FILES_ONLY, "-i", f"file:{path}"]
    log = subprocess.run(command, capture_output=True, check=False).stderr.decode("utf-8", "replace")
    form = re.search(r"^Input #0, (\S+), from", log, re.MULTILINE)
    streams = tuple((found[1], found[2], found[3]) for found in STREAM.finditer(log))
    audio = next((details for kind, _, details in streams if kind == "Audio"), "")
    total = re.search(r"^  Duration: .*bitrate: (\d+) kb/s", log, re.MULTILINE)
    kbps = KBPS.search(audio) or (total if len(streams) == 1 else None)
    return MediaInfo(tuple(form[1].split(",")) if form else (), streams, int(kbps[1]) if kbps else 0)


@lru_cache(maxsize=1)
def encoders(ffmpeg: str) -> frozenset[str]:
    """Return the names of the audio encoders of an ffmpeg."""
    listing = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, check=False).stdout.decode()
    return frozenset(re.findall(r"^ A\S+ (\S+)", listing, re.MULTILINE))


@contextmanager
def open_encoder(
    target: Path, encoding: Encoding, original: Path | None, warn: Callable[[str], None], chapters: bool = True
) -> Iterator[IO[bytes]]:
    """Open a stream of samples that become the audio of `target`, with tags, chapters and the video of `original`.

    Codec, bit rate and depth are those of the original if the container is the same; `warn` gets a message about what
    cannot be kept. Raises OutputError, with ffmpeg's message, when it fails; `target` is then incomplete.
    """
    ffmpeg, mask = program(target), mask_for_ffmpeg(encoding.channels, encoding.mask)
    info = probe_media(original) if original is not None else None
    options = ["-map", "0:a"] if original is None or info is None else stream_options(target, original, info, warn)
    options += [] if chapters else ["-map_chapters", "-1"]
    if "libopus" in options or target.suffix.lower() == ".webm":
        mask = nearest_standard(encoding.channels, mask)
    layout = ["-channel_layout", hex(mask)] if mask else []
    samples = ["-f", "f32le", "-ar", str(encoding.rate_hz), "-ac", str(encoding.channels), *layout, "-i", "pipe:0"]
    command = [ffmpeg, "-hide_banner", "-nostats", "-v", "level+info", "-y", *samples, *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, f"file:{target}"], stdin=subprocess.PIPE, stderr=log)
        assert process.stdin is not None
        try:
            try:
                yield process.stdin
                process.stdin.close()
            except BrokenPipeError:
                pass  # the exit code and the log give the reason
            failed = process.wait()
            log.seek(0)
            text = log.read().decode("utf-8", "replace")
            if failed:
                raise OutputError(f"{target}: cannot be written ({first_error(text)})")
            warn_of_changes(text, warn)
        finally:
            process.kill()
            process.wait()


def stream_options(target: Path, original: Path, info: MediaInfo, warn: Callable[[str], None]) -> list[str]:
    """Return ffmpeg's options that keep the video, subtitles, chapters, tags, codec and bit rate of an original."""
    extension = target.suffix.lower()
    before = original.suffix.lower()
    same = before == extension or (
        before not in FFMPEG_EXTENSIONS and CONTAINERS.get(extension, extension.removeprefix(".")) in info.containers
    )
    matroska = same and "matroska" in info.containers
    options = [*FILES_ONLY, "-i", f"file:{original}"]
    if extension in VIDEO or matroska:
        options += ["-map", "1:v?", "-c:v", "copy"]
    options += ["-map", "0:a"]
    if same and extension in VIDEO:
        options += ["-map", "1:s?", "-c:s", "copy"]
    if matroska and extension != ".webm":
        options += ["-map", "1:t?", "-c:t", "copy"]
    tags = "1:s:a:0" if "ogg" in info.containers else "1"  # where Ogg files have them
    options += ["-map_metadata", tags, "-map_metadata:s:a:0", "1:s:a:0", "-map_chapters", "1"]
    left = [("sound track", len(info.of("Audio")) - 1)]
    if extension in VIDEO:
        left += [
            ("subtitle track", 0 if same else len(info.of("Subtitle"))),
            ("data track", sum(1 for _, _, details in info.of("Data") if not REGENERATED.search(details))),
        ]
    for name, n in left:
        if n > 0:
            warn(f"left out: {n} {'more ' * (name == 'sound track')}{name}{'s' * (n > 1)}")
    return [*options, *codec_options(target, info, same, warn)]


def codec_options(target: Path, info: MediaInfo, same: bool, warn: Callable[[str], None]) -> list[str]:
    """Return ffmpeg's options for the codec, bit rate and depth of the audio of an original."""
    audio = info.of("Audio")
    if not audio:
        return []
    _, codec, details = audio[0]
    lossless = codec in LOSSLESS or codec.startswith("pcm_")
    rate = ["-b:a", f"{info.kbps}k"] if info.kbps and not lossless else []
    if not same or (target.suffix.lower() == ".webm" and codec not in XIPH):
        return rate
    encoder = ENCODERS.get(codec, codec)
    if encoder not in encoders(program(target)):
        warn(f"ffmpeg cannot encode {codec}; the audio is written in the default codec of {target.suffix} files")
        return rate
    depth = SAMPLE.search(details) if codec in LOSSLESS else None
    return ["-c:a", encoder, "-strict", "experimental", *(["-sample_fmt", depth[1]] if depth else rate)]


def warn_of_changes(log: str, warn: Callable[[str], None]) -> None:
    """Warn about a sampling rate or a channel layout that the codec changed, by ffmpeg's log."""
    inputs, _, outputs = log.partition("Output #0")
    before, after = WRITTEN.search(inputs), WRITTEN.search(outputs)
    if before is None or after is None:
        return
    if before[2] != after[2]:
        warn(f"the rate became {after[2]} Hz, as {after[1]} does not support {before[2]} Hz")
    if before[3] != after[3]:
        warn(f"the channels became {after[3]}, as {after[1]} does not support {before[3]}")


def first_error(log: str) -> str:
    """Return the first error in ffmpeg's log, which causes the others."""
    found = ERROR.search(log)
    return found[1].strip().rstrip(".") if found else "ffmpeg gives no reason"
