"""The program ffmpeg: finding it, running it with the same options and environment, and parsing its log."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from segan_cli.errors import AudioError
from segan_cli.system import install_command

DEMUXERS = (  # demuxers of single files: no playlists, scripts, devices or networks
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,asf_o,ast,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,g722,gsm,iff,"
    "loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,qcp,rm,rso,sbc,shn,sol,sox,spdif,"
    "tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma"
)
FILES_ONLY = ("-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS)  # for every input of a user
FORMATS = {".weba": "webm", ".m4r": "ipod", ".mp1": "mp2", ".awb": "amr"}  # extensions that ffmpeg does not know
PLAYLIST = re.compile(
    rb"\s*(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|\[playlist\]|v=0\r?\n|<(\?xml[^>]*>\s*<)?(MPD|smil|asx)\b)",
    re.IGNORECASE,
)
CONTAINER = re.compile(r"^Input #0, (\S+), from .*$", re.MULTILINE)
DURATION = re.compile(
    r"^  Duration: (?:(\d+:\d\d:\d\d\.\d+)|N/A)(?:, start: (?P<start>-?[\d.]+))?(?:, bitrate: (?P<kbps>\d+) kb/s)?",
    re.M,
)
STREAM = re.compile(
    r" +Stream #0:(\d+)(?:\[0x\w+\])?(?:\(([^)]*)\))?: (Audio|Video|Subtitle|Data|Attachment): (\w+)(.*)"
)
FLAG = re.compile(  # a disposition, at the end of a stream's line
    r" \((default|dub|original|comment|lyrics|karaoke|forced|hearing impaired|visual impaired|clean effects"
    r"|attached pic|timed thumbnails|non-diegetic|captions|descriptions|metadata|dependent|still image|multilayer)\)"
)
SAMPLE = re.compile(r", ((?:u8|s16|s32|flt|dbl)p?)\b")  # format of a stream's samples
LOSSLESS = ("flac", "alac", "wavpack", "tta")
KBPS = re.compile(r"(\d+) kb/s")
ENTRY = re.compile(r" {4,}([^\s:][^:]*?) *:(?: (.*))?$")  # of tags and of side data
CHAPTER = re.compile(r"^ +Chapter #0:\d+: start", re.MULTILINE)
OTHER_SECTION = re.compile(r" +(?:Chapter #|Program |Stream group )")
TIMELINES = ("matroska", "mov")  # containers whose time 0 has a meaning, and is kept
SHORT_S = 0.1
MESSAGE = re.compile(r"^(?:\[[^\]]* @ \w+\] )*\[(\w+)\] (.*)$", re.MULTILINE)  # of a log with levels
ERRORS = ("error", "fatal")
PROBLEMS = ("warning", *ERRORS, "panic")
WRITTEN = re.compile(r"Audio: (\w+).*?, (\d+) Hz, ([^,]+),")
SURROUND_POSITION = re.compile(r"\((side|back)\)")  # of the surround channels, which few containers distinguish
MULTIMEDIA = (*TIMELINES, "avi", "asf", "flv", "mpegts", "mpeg", "mxf", "nut")  # their packets have times


def executable(path: Path) -> str:
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


def start(path: Path, *options: str, **streams: Any) -> subprocess.Popen[bytes]:
    """Start ffmpeg without colours in its log; errors name `path`."""
    command, environment = [executable(path), "-hide_banner", *options], {**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"}
    return subprocess.Popen(command, env=environment, **streams)


def run(path: Path, *options: str) -> tuple[int, bytes]:
    """Run ffmpeg to its end; return its exit code and its log. Errors name `path`."""
    with start(path, "-nostdin", *options, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            log = process.communicate()[1]
        finally:
            process.kill()  # after a signal
    return process.returncode, log


def file_input(path: Path) -> tuple[str, ...]:
    """Return the options that make a file of a user an input."""
    return *FILES_ONLY, "-i", f"file:{path}"


def file_output(path: Path) -> tuple[str, ...]:
    """Return the options that make a file the output, with any of ffmpeg's codecs."""
    format = FORMATS.get(path.suffix.lower())
    return "-strict", "experimental", *(("-f", format) if format else ()), f"file:{path}"


def is_playlist(path: Path) -> bool:
    """Whether a file is a playlist, which only names other files."""
    with path.open("rb") as file:
        return PLAYLIST.match(file.read(1024)) is not None


@dataclass(frozen=True)
class Stream:
    """A stream of a file."""

    index: int
    kind: str  # Audio, Video, Subtitle, Data or Attachment
    codec: str
    details: str  # the rest of ffmpeg's line
    language: str
    flags: tuple[str, ...]  # dispositions in ffmpeg's words, such as "default" and "visual impaired"
    tags: dict[str, str] = field(default_factory=dict)  # by names in lowercase
    side_data: dict[str, str] = field(default_factory=dict)  # such as the rotation of pictures

    @property
    def is_cover(self) -> bool:
        """Whether it is a still picture that belongs to the whole file."""
        return "attached pic" in self.flags

    @property
    def is_lossless(self) -> bool:
        """Whether its codec keeps every sample."""
        return self.codec in LOSSLESS or self.codec.startswith("pcm_")

    @property
    def sample_format(self) -> str | None:
        """Return ffmpeg's name for the format of its samples, such as s16p."""
        found = SAMPLE.search(self.details)
        return found[1] if found else None

    @property
    def subtype(self) -> str:
        """libsndfile's encoding with the depth of the audio; 24 bits for lossy codecs, whose samples have no depth."""
        depth = self.sample_format if self.is_lossless else None
        if depth is None:
            return "PCM_24"
        if depth.startswith("s32"):
            return "PCM_24" if "(24 bit)" in self.details else "PCM_32"
        return "FLOAT" if depth.startswith(("flt", "dbl")) else "PCM_16"


@dataclass(frozen=True)
class MediaInfo:
    """ffmpeg's description of a file."""

    containers: tuple[str, ...]  # names of its format
    duration_s: float | None
    start_s: float  # time of its first picture or sample
    kbps: int  # of the audio; 0: not known
    tags: dict[str, str]  # by names in lowercase
    n_chapters: int
    streams: tuple[Stream, ...]

    def of(self, kind: str) -> list[Stream]:
        """Return the streams of a kind."""
        return [stream for stream in self.streams if stream.kind == kind]

    @property
    def on_timeline(self) -> bool:
        """Whether its times count from a meaningful zero."""
        return not set(TIMELINES).isdisjoint(self.containers)

    @property
    def offset_s(self) -> float:
        """Time of its first picture or sample on its timeline; 0 for the short delay of an encoder."""
        return self.start_s if self.on_timeline and self.start_s > SHORT_S else 0.0

    @property
    def is_multimedia(self) -> bool:
        """Whether it is in a container of several streams, whose packets have times."""
        return self.has_video or not set(MULTIMEDIA).isdisjoint(self.containers)

    @property
    def has_video(self) -> bool:
        """Whether it has moving pictures."""
        return any(not stream.is_cover for stream in self.of("Video"))

    def common_start(self, index: int) -> tuple[str, ...]:
        """Return the options that make timestamps relative to the first packet of all streams, including unused ones.

        Without them, ffmpeg takes the first stream in use as the start of a transport or program stream.
        """
        if not self.has_video or self.on_timeline:
            return ()
        return "-map", f"{index}:V", "-map", f"{index}:a", "-c", "copy", "-f", "null", "-"


def probe_media(path: Path) -> MediaInfo:
    """Run ffmpeg to describe a file; one that it cannot read has no container and no streams."""
    return parse_media(description(path))


def description(path: Path) -> str:
    """Return what ffmpeg logs about a file."""
    return without_name(run(path, *file_input(path))[1], path)


def parse_media(log: str) -> MediaInfo:
    """Parse the description that `ffmpeg -i` logs."""
    container, duration = CONTAINER.search(log), DURATION.search(log)
    tags, streams, side_data = dict[str, str](), dict[int, Stream](), dict[str, str]()
    section = entries = tags  # whose tags follow, and where the next entries belong
    for line in log[container.end() :].splitlines() if container else ():
        if found := STREAM.match(line):
            index, language, kind, codec, details = found.groups()
            flags = tuple(FLAG.findall(details))
            stream = streams[int(index)] = Stream(int(index), kind, codec, details, language or "", flags)
            section, entries, side_data = stream.tags, {}, stream.side_data
        elif OTHER_SECTION.match(line):
            section, entries = {}, {}
        elif line.endswith(" Metadata:"):
            entries = section
        elif line.lower().endswith(" side data:"):
            entries = side_data
        elif found := ENTRY.match(line):
            entries.setdefault(found[1].lower(), found[2] or "")
    ordered = tuple(streams[index] for index in sorted(streams))
    kbps = KBPS.search(next((stream.details for stream in ordered if stream.kind == "Audio"), ""))
    rate = kbps[1] if kbps else duration["kbps"] if duration and len(ordered) == 1 else None
    clock = duration[1] if duration else None
    return MediaInfo(
        containers=tuple(container[1].split(",")) if container else (),
        duration_s=sum(60**i * float(part) for i, part in enumerate(reversed(clock.split(":")))) if clock else None,
        start_s=float(duration["start"] or 0) if duration else 0.0,
        kbps=int(rate or 0),
        tags=tags,
        n_chapters=len(CHAPTER.findall(log)),
        streams=ordered,
    )


def without_name(log: bytes, path: Path) -> str:
    """Decode a log without the name of a file, which may have lines that look like ffmpeg's."""
    name = bytes(b if b >= 32 or 8 <= b <= 13 else ord("?") for b in os.fsencode(path))  # as ffmpeg prints it
    return log.replace(b"file:" + name, b"").decode("utf-8", "replace")


def read_log(file: IO[bytes], path: Path | None = None) -> str:
    """Return the log in a temporary file, without the name of a file if one is given."""
    file.seek(0)
    return file.read().decode("utf-8", "replace") if path is None else without_name(file.read(), path)


def messages(log: str, levels: tuple[str, ...]) -> list[str]:
    """Return the messages of some levels in a log, without their full stop."""
    return [found[2].strip().rstrip(".") for found in MESSAGE.finditer(log) if found[1] in levels]


def first_error(log: str) -> str:
    """Return the first error in a log, which is the cause of others."""
    return (messages(log, ERRORS) or ["ffmpeg gives no reason"])[0]


def unreadable(log: str) -> str:
    """Explain why ffmpeg does not read a file."""
    if "Format not on whitelist" in log:
        return "not a recording in a format that segan reads; if it is one, convert it to WAV"
    if "matches no streams" in log:
        return "no audio track"
    if "Invalid data found" in log:
        return "not a readable audio file (not audio, or damaged)"
    return f"not a readable audio file ({first_error(log)})"


def stored_layout(target: Path, log: str) -> list[str]:
    """Say how the layout that is read from a file differs from that in the log of its writing."""
    written = WRITTEN.search(log.partition("Output #0")[2])
    stored = WRITTEN.search(description(target))
    if (
        written is None
        or stored is None
        or SURROUND_POSITION.sub("", written[3]) == SURROUND_POSITION.sub("", stored[3])
    ):
        return []
    return [f"the channels became {stored[3]}, because {stored[1]} in {target.suffix} files cannot store {written[3]}"]


def changes(log: str) -> list[str]:
    """Say how the codec of an output changed the sampling rate or the channel layout."""
    inputs, _, outputs = log.partition("Output #0")
    before, after = WRITTEN.search(inputs), WRITTEN.search(outputs)
    if before is None or after is None:
        return []
    kinds = {"rate": (f"{before[2]} Hz", f"{after[2]} Hz"), "channels": (before[3], after[3])}
    return [
        f"the {kind} became {new}, because {after[1]} does not support {old}"
        for kind, (old, new) in kinds.items()
        if old != new
    ]
