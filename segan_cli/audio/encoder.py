"""Writing what libsndfile cannot, video too, through ffmpeg."""

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
from segan_cli.audio.files import FFMPEG_ENDINGS, VIDEO
from segan_cli.audio.layouts import nearest, supposed
from segan_cli.audio.streams import Encoding
from segan_cli.errors import OutputError

STREAM = re.compile(r"^  Stream #0:\d+.*?: (Audio|Video|Subtitle|Data|Attachment): (\w+)(.*)$", re.MULTILINE)
WRITTEN = re.compile(r"Audio: (\w+).*?, (\d+) Hz, ([^,]+),")
COMPLAINT = re.compile(r"\[(?:error|fatal)\] (.*)")
KBPS = re.compile(r"(\d+) kb/s")
SAMPLE = re.compile(r", ((?:u8|s16|s32|flt|dbl)p?)\b")
REMADE = re.compile(r"\((?:text|tmcd) /")  # data that ffmpeg makes anew: chapters, time code
ENCODERS = {  # of codecs that are not called the same
    "opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame", "speex": "libspeex", "gsm": "libgsm", "dts": "dca",
    "amr_nb": "libopencore_amrnb", "amr_wb": "libvo_amrwbenc",
}  # fmt: skip
LOSSLESS = ("flac", "alac", "wavpack", "tta")
XIPH = ("opus", "vorbis")  # codecs that webm takes, and tell the layout by the number of channels
CONTAINERS = {  # what ffmpeg calls the container of an ending that it is not called by
    ".mkv": "matroska", ".mka": "matroska", ".ts": "mpegts", ".mts": "mpegts", ".mpg": "mpeg", ".mpeg": "mpeg",
    ".wmv": "asf", ".wma": "asf", ".m4b": "mov", ".m4v": "mov",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What ffmpeg says of a file."""

    containers: tuple[str, ...]  # names of its format
    streams: tuple[tuple[str, str, str], ...]  # kind, codec and the rest of the line, of each
    kbps: int  # of its sound, 0 where that is not known

    def of(self, kind: str) -> list[tuple[str, str, str]]:
        """The streams of a kind."""
        return [stream for stream in self.streams if stream[0] == kind]


def facts(path: Path) -> Facts:
    """Ask ffmpeg about a file."""
    command = [program(path), "-nostdin", "-hide_banner", *FILES_ONLY, "-i", f"file:{path}"]
    told = subprocess.run(command, capture_output=True, check=False).stderr.decode("utf-8", "replace")
    form = re.search(r"^Input #0, (\S+), from", told, re.MULTILINE)
    streams = tuple((found[1], found[2], found[3]) for found in STREAM.finditer(told))
    sound = next((rest for kind, _, rest in streams if kind == "Audio"), "")
    whole = re.search(r"^  Duration: .*bitrate: (\d+) kb/s", told, re.MULTILINE)
    kbps = KBPS.search(sound) or (whole if len(streams) == 1 else None)
    return Facts(tuple(form[1].split(",")) if form else (), streams, int(kbps[1]) if kbps else 0)


@lru_cache(maxsize=1)
def encoders(ffmpeg: str) -> frozenset[str]:
    """The sound encoders that an ffmpeg has."""
    told = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, check=False).stdout.decode()
    return frozenset(re.findall(r"^ A\S+ (\S+)", told, re.MULTILINE))


@contextmanager
def encoding_into(
    target: Path, encoding: Encoding, original: Path | None, warn: Callable[[str], None]
) -> Iterator[IO[bytes]]:
    """A place for samples that become the sound of `target`, with the tags of `original` and, in a video, its pictures.

    Codec, bit rate and depth are those of the original's sound where the container is the same; what cannot be kept is
    told by `warn`. Raises OutputError, in ffmpeg's words, when it cannot write that; `target` is then half-written.
    """
    ffmpeg, mask = program(target), supposed(encoding.channels, encoding.mask)
    about = facts(original) if original is not None else None
    rest = ["-map", "0:a"] if original is None or about is None else kept(target, original, about, warn)
    if "libopus" in rest or target.suffix.lower() == ".webm":
        mask = nearest(encoding.channels, mask)
    layout = ["-channel_layout", hex(mask)] if mask else []
    samples = ["-f", "f32le", "-ar", str(encoding.rate_hz), "-ac", str(encoding.channels), *layout, "-i", "pipe:0"]
    command = [ffmpeg, "-hide_banner", "-nostats", "-v", "level+info", "-y", *samples, *rest]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen([*command, f"file:{target}"], stdin=subprocess.PIPE, stderr=told)
        assert process.stdin is not None
        try:
            try:
                yield process.stdin
                process.stdin.close()
            except BrokenPipeError:
                pass  # its exit code and words say why
            failed = process.wait()
            told.seek(0)
            words = told.read().decode("utf-8", "replace")
            if failed:
                raise OutputError(f"{target}: cannot be written ({complaint(words)})")
            tell_changes(words, warn)
        finally:
            process.kill()
            process.wait()


def kept(target: Path, original: Path, about: Facts, warn: Callable[[str], None]) -> list[str]:
    """ffmpeg's options for what of an original stays: pictures, subtitles, chapters, tags, codec, bit rate."""
    ending = target.suffix.lower()
    before = original.suffix.lower()
    same = before == ending or (
        before not in FFMPEG_ENDINGS and CONTAINERS.get(ending, ending.removeprefix(".")) in about.containers
    )
    matroska = same and "matroska" in about.containers
    options = [*FILES_ONLY, "-i", f"file:{original}"]
    if ending in VIDEO or matroska:
        options += ["-map", "1:v?", "-c:v", "copy"]
    options += ["-map", "0:a"]
    if same and ending in VIDEO:
        options += ["-map", "1:s?", "-c:s", "copy"]
    if matroska and ending != ".webm":
        options += ["-map", "1:t?", "-c:t", "copy"]
    tags = "1:s:a:0" if "ogg" in about.containers else "1"  # where Ogg files have them
    options += ["-map_metadata", tags, "-map_metadata:s:a:0", "1:s:a:0", "-map_chapters", "1"]
    left = [("sound track", len(about.of("Audio")) - 1)]
    if ending in VIDEO:
        left += [
            ("subtitle track", 0 if same else len(about.of("Subtitle"))),
            ("data track", sum(1 for _, _, rest in about.of("Data") if not REMADE.search(rest))),
        ]
    for name, n in left:
        if n > 0:
            warn(f"left out: {n} {'more ' * (name == 'sound track')}{name}{'s' * (n > 1)}")
    return [*options, *coded(target, about, same, warn)]


def coded(target: Path, about: Facts, same: bool, warn: Callable[[str], None]) -> list[str]:
    """ffmpeg's options for the codec, bit rate and depth of an original's sound."""
    sound = about.of("Audio")
    if not sound:
        return []
    _, codec, rest = sound[0]
    lossless = codec in LOSSLESS or codec.startswith("pcm_")
    rate = ["-b:a", f"{about.kbps}k"] if about.kbps and not lossless else []
    if not same or (target.suffix.lower() == ".webm" and codec not in XIPH):
        return rate
    encoder = ENCODERS.get(codec, codec)
    if encoder not in encoders(program(target)):
        warn(f"ffmpeg cannot encode {codec}; the sound is written in the usual codec of {target.suffix} files")
        return rate
    depth = SAMPLE.search(rest) if codec in LOSSLESS else None
    return ["-c:a", encoder, "-strict", "experimental", *(["-sample_fmt", depth[1]] if depth else rate)]


def tell_changes(words: str, warn: Callable[[str], None]) -> None:
    """Say what ffmpeg's log tells of a rate or a layout that the codec made another one."""
    came, _, went = words.partition("Output #0")
    before, after = WRITTEN.search(came), WRITTEN.search(went)
    if before is None or after is None:
        return
    if before[2] != after[2]:
        warn(f"the rate became {after[2]} Hz, as {after[1]} does not take {before[2]} Hz")
    if before[3] != after[3]:
        warn(f"the channels became {after[3]}, as {after[1]} does not take {before[3]}")


def complaint(words: str) -> str:
    """The first error in ffmpeg's log, which the others follow from."""
    found = COMPLAINT.search(words)
    return found[1].strip().rstrip(".") if found else "ffmpeg gives no reason"
