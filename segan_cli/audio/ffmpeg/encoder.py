"""Writing other containers and video through ffmpeg: the enhanced sound, other streams and tags."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import IO

from segan_cli.audio.ffmpeg import program
from segan_cli.audio.files import BACK, SIDE, STANDARD, VIDEO
from segan_cli.audio.levels import TargetOptions, Warn
from segan_cli.audio.tags import GAIN, GAINS_LEFT_OUT, copy_tags
from segan_cli.audio.wav import Encoding
from segan_cli.errors import OutputError
from segan_cli.text import counted

MATROSKA = (".mkv", ".mka")
MP4 = (".mp4", ".m4v", ".mov", ".m4a", ".m4b")
WEBM = (".webm", ".weba")
REGENERATED = ("text", "tmcd")  # tags of data streams that ffmpeg writes itself: chapters, time code
SUBTITLES = ("subrip", "ass", "ssa", "mov_text", "webvtt", "text")  # codecs of text
SUBTITLE_ENCODER = dict.fromkeys(MATROSKA, "srt") | dict.fromkeys(MP4, "mov_text") | dict.fromkeys(WEBM, "webvtt")
STALE = ("BPS", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_TAGS")  # mkvmerge's figures about the old sound
COVERS = {"mjpeg": "jpeg", "png": "png"}  # codec → MIME type
APPLE_TAGS = ("-movflags", "use_metadata_tags")  # tags by names such as com.apple.quicktime.make, not by iTunes' names
BRANDS = ("major_brand", "minor_version", "compatible_brands")
OWN = {  # names of tags that describe the file itself
    "encoder", "duration", "handler_name", "vendor_id", "creation_time", "mimetype", "filename", "software", "itunsmpb",
    *BRANDS,
}  # fmt: skip
OWN_DATA = ("cpb", "cpb properties")
LOG_OPTIONS = ("-nostats", "-v", "level+info")
ALL_TIMES = ("-fflags", "+genpts")  # of packets without one, as in MPEG program streams, which Matroska needs
ENCODERS = {  # codec → encoder, where the names differ
    "opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame", "speex": "libspeex", "gsm": "libgsm", "dts": "dca",
    "amr_nb": "libopencore_amrnb", "amr_wb": "libvo_amrwbenc",
}  # fmt: skip
MUTAGEN_EXTENSIONS = (".m4a", ".m4b", ".m4v", ".mp4", ".mov", ".wma", ".wmv", ".asf", ".wv", ".ape", ".tta")


@dataclass(frozen=True)
class Track:
    """A stream of the output: a stream of the original and how it is encoded."""

    stream: program.Stream
    codec: str = "copy"


def choose_tracks(target: Path, original: Path, media: program.MediaInfo) -> list[Track]:
    """Choose the streams that the container of `target` can hold, in their order, by letting ffmpeg try.

    The first audio stream is among them if its codec can be kept. Raises OutputError if moving pictures do not fit.
    """
    tracks = [Track(stream) for stream in media.streams if is_wanted(target, stream)]
    if fits(target, original, tracks):
        return tracks
    kept: list[Track] = []
    for track in tracks:
        stream, codecs = track.stream, ["copy"]
        if stream.kind == "Subtitle" and stream.codec in SUBTITLES and target.suffix.lower() in SUBTITLE_ENCODER:
            codecs.append(SUBTITLE_ENCODER[target.suffix.lower()])
        for codec in codecs:
            if fits(target, original, [*kept, Track(stream, codec)]):
                kept.append(Track(stream, codec))
                break
        else:
            if stream.kind == "Video" and not stream.is_cover:
                suffix = target.suffix
                raise OutputError(f"{target}: {suffix} files cannot hold {stream.codec} video; name an .mkv file")
    return kept


def is_wanted(target: Path, stream: program.Stream) -> bool:
    """Whether a stream belongs in a file of the kind of `target`, if its container can hold it."""
    extension = target.suffix.lower()
    if stream.is_cover:
        return extension in MP4  # to others they are attachments
    if stream.kind == "Data" and any(f"({tag} /" in stream.details for tag in REGENERATED):
        return False
    return extension in VIDEO or stream.kind in ("Audio", "Attachment")


def fits(target: Path, original: Path, tracks: list[Track]) -> bool:
    """Whether ffmpeg can begin a file with these streams; it is written to `target`, and overwritten later."""
    options: list[str] = []
    for index, track in enumerate(tracks):
        options += ["-map", f"0:{track.stream.index}", f"-c:{index}", track.codec]
    options += ["-strict", "experimental", "-fs", "1", f"file:{target}"]
    return not tracks or not program.run(target, "-y", *program.file_input(original), *options)[0]


def track_options(target: Path, tracks: list[Track], media: program.MediaInfo) -> list[str]:
    """Return ffmpeg's options that put these streams of input 1, the first sound from input 0, into a file."""
    enhanced, options = media.of("Audio")[0], []
    for index, track in enumerate(tracks):
        if track.stream is enhanced:
            flags = "+".join(flag.replace(" ", "_") for flag in enhanced.flags)
            options += ["-map", "0:a", f"-disposition:{index}", flags or "0"]
            options += [option for name in STALE for option in (f"-metadata:s:{index}", f"{name}=")]
        else:
            options += ["-map", f"1:{track.stream.index}", f"-c:{index}", track.codec]
        options += [f"-map_metadata:s:{index}", f"1:s:{track.stream.index}"]
        if (title := track.stream.tags.get("name")) is not None:  # of MP4
            options += [f"-metadata:s:{index}", f"title={title}"]
    options += ["-map_metadata", "1:s:a:0" if "ogg" in media.containers else "1", "-map_chapters", "1"]
    if target.suffix.lower() in MP4 and any(name.startswith("com.") for name in media.tags):
        options += [option for name in BRANDS for option in ("-metadata", f"{name}=")]
        options += APPLE_TAGS
        if "creation_time" in media.tags:  # an earlier output of ffmpeg has it twice
            options += ["-metadata", f"creation_time={media.tags['creation_time'].partition(';')[0]}"]
    return options


def attach_covers(target: Path, original: Path, media: program.MediaInfo, n_tracks: int, folder: Path) -> list[str]:
    """Save the covers of an original in a folder; return ffmpeg's options that attach them to a Matroska file."""
    options: list[str] = []
    covers = [stream for stream in media.streams if stream.is_cover and stream.codec in COVERS]
    for index, stream in enumerate(covers if target.suffix.lower() in MATROSKA else (), n_tracks):
        kind, picture = COVERS[stream.codec], folder / str(index)
        copied = ("-map", f"0:{stream.index}", "-c", "copy", "-f", "image2pipe", f"file:{picture}")
        if program.run(target, *program.file_input(original), *copied)[0] == 0:
            name = stream.tags.get("filename", f"cover.{'jpg' if kind == 'jpeg' else kind}")
            tags = (f"-metadata:s:{index}", f"mimetype=image/{kind}", f"-metadata:s:{index}", f"filename={name}")
            options += ["-attach", f"{picture}", *tags]
    return options


def warn_of_losses(target: Path, tracks: list[Track], before: program.MediaInfo, warn: Callable[[str], None]) -> None:
    """Compare what ffmpeg says of both files, and warn in one line about what the target does not have."""
    after = program.probe_media(target)
    kept = [track.stream for track in tracks]
    wanted = [stream for stream in before.streams if is_wanted(target, stream) and not stream.is_cover]
    lost = [describe(stream) for stream in wanted if stream not in kept]
    n_covers = [sum(stream.is_cover for stream in media.streams) for media in (before, after)]
    if n_covers[0] > n_covers[1]:
        lost.append("cover")
    pairs = zip(*([s for s in streams if not s.is_cover] for streams in (kept, after.streams)), strict=False)
    for stream, written in pairs:  # chapters and time codes have further streams of their own
        lost += [f"{what} of {describe(stream)}" for what in differences(stream, written, target)]
    if before.n_chapters > after.n_chapters:
        lost.append("chapters")
    tags = sorted(before.tags.keys() - after.tags.keys() - OWN)
    lost += [f"tags ({', '.join(tags)})"] if tags else []
    if lost:
        warn(f"left out, because {target.suffix} files cannot hold it: {'; '.join(lost)}")


def describe(stream: program.Stream) -> str:
    """Describe a stream to a user."""
    name = stream.tags.get("title") or stream.tags.get("filename") or stream.codec
    return f"{stream.kind.lower()} track {stream.index} ({name})"


def differences(before: program.Stream, after: program.Stream, target: Path) -> list[str]:
    """Return what a stream has lost."""
    own = {*OWN, *(name.lower() for name in STALE), "name"}
    if target.suffix.lower() in MP4:
        own.add("title")  # written, though not every ffmpeg reads it
    lost = sorted(before.tags.keys() - after.tags.keys() - own)
    if before.language not in ("", "und", after.language):
        lost.append("language")
    lost += sorted(set(before.flags) - set(after.flags) - {"default"})
    lost_data = before.side_data.keys() - after.side_data.keys() - set(OWN_DATA)
    return lost + sorted("rotation" if "matrix" in name else name for name in lost_data)


@lru_cache(maxsize=1)
def encoders(ffmpeg: str) -> frozenset[str]:
    """Return the names of the audio encoders of an ffmpeg."""
    listing = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, check=False).stdout.decode()
    return frozenset(re.findall(r"^ A\S+ (\S+)", listing, re.MULTILINE))


@contextmanager
def open_encoder(
    target: Path, encoding: Encoding, original: Path | None, how: TargetOptions, chapters: bool
) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a stream of samples that become the audio of `target`; its other streams and tags are those of `original`.

    Returns it, and whether samples are stored as floats. Codec, bit rate and depth are those of the original if the
    container can hold them. Raises OutputError, with ffmpeg's message, when it fails; `target` is then incomplete.
    """
    program.executable(target)  # raises an error that names it
    n_channels, warn = encoding.channels, how.warn
    mask = encoding.mask or (STANDARD[n_channels] if n_channels in (3, 4) else 0)  # which ffmpeg would misread
    media = program.probe_media(original) if original is not None else None
    options, tracks, common_start = ["-map", "0:a"], list[Track](), tuple[str, ...]()
    with tempfile.TemporaryDirectory() as folder:
        if original is not None and media is not None and media.of("Audio"):
            tracks, keeps_codec = plan_tracks(target, original, media, warn)
            options = [*ALL_TIMES, *program.file_input(original), *track_options(target, tracks, media)]
            common_start = media.common_start(1)
            if media.on_timeline and target.suffix.lower() in (*MATROSKA, *MP4, *WEBM):  # their times are kept
                options += ["-copyts", *(["-filter:a:0", f"asetpts=PTS+{media.offset_s}/TB"] if media.offset_s else [])]
            options += codec_options(target, media, keeps_codec, warn)
            options += attach_covers(target, original, media, len(tracks), Path(folder))
            gains = [name for name in (*media.tags, *media.of("Audio")[0].tags) if GAIN.fullmatch(name)]
            if how.releveled and gains:
                warn(GAINS_LEFT_OUT)
                options += [
                    word for name in gains for kind in ("", ":s:a:0") for word in (f"-metadata{kind}", f"{name}=")
                ]
                media = replace(media, tags={name: text for name, text in media.tags.items() if name not in gains})
        options += [] if chapters else ["-map_chapters", "-1"]
        if "libopus" in options or target.suffix.lower() == ".webm":
            moved = mask & ~SIDE | BACK if mask & SIDE == SIDE and not mask & BACK else mask
            mask = moved if moved == STANDARD.get(n_channels) else mask  # for codecs that have no others
        layout = ["-channel_layout", hex(mask)] if mask else []
        samples = ["-f", "f32le", "-ar", str(encoding.rate_hz), "-ac", str(n_channels), *layout, "-i", "pipe:0"]
        options = [*LOG_OPTIONS, "-y", *samples, *options, f"file:{target}", *common_start]
        with run_encoder(options, target, warn) as stream:
            yield stream, stores_floats(target, options)
    if original is not None and target.suffix.lower() in MUTAGEN_EXTENSIONS and APPLE_TAGS[0] not in options:
        copy_tags(original, target, warn, chapters)
    if media is not None and media.is_multimedia:
        warn_of_losses(target, tracks, media, warn)


@contextmanager
def run_encoder(options: list[str], target: Path, warn: Warn) -> Iterator[IO[bytes]]:
    """Run ffmpeg with a stream of samples as its first input; raises OutputError, with its message, when it fails."""
    with tempfile.TemporaryFile() as log:
        process = program.start(target, *options, stdin=subprocess.PIPE, stderr=log)
        assert process.stdin is not None
        failed = 0
        try:
            try:
                yield process.stdin
                process.stdin.close()
            except BrokenPipeError:
                failed = 1  # the log gives the reason
            failed |= process.wait()
            text = program.read_log(log)
            if failed:
                first = (program.messages(text, program.ERRORS) or ["ffmpeg gives no reason"])[0]  # the cause
                advice = "" if "Output #0" in text else "; choose another --format or --rate"  # nothing was written yet
                raise OutputError(f"{target}: cannot be written ({first}{advice})")
            for change in program.changes(text):
                warn(change)
        finally:
            process.kill()
            process.wait()


def plan_tracks(target: Path, original: Path, media: program.MediaInfo, warn: Warn) -> tuple[list[Track], bool]:
    """Return the streams of the output in their order, and whether the codec of the sound is kept."""
    enhanced = media.of("Audio")[0]
    if not media.is_multimedia:  # its extension says which codec it has
        extension = target.suffix.lower()
        return [Track(enhanced)], original.suffix.lower() == extension or extension[1:] in media.containers
    tracks = choose_tracks(target, original, media)
    keeps_codec = any(track.stream is enhanced for track in tracks)
    if not keeps_codec:
        warn(f"{target.suffix} files cannot hold {enhanced.codec} sound; it is written in their default codec")
        tracks = sorted([*tracks, Track(enhanced)], key=lambda track: track.stream.index)
    n_other = sum(track.stream.kind == "Audio" for track in tracks) - 1
    if n_other:
        warn(f"only its first audio track is enhanced; {counted(n_other, 'other')} kept unchanged")
    return tracks, keeps_codec


def codec_options(target: Path, media: program.MediaInfo, keeps_codec: bool, warn: Warn) -> list[str]:
    """Return ffmpeg's options for the codec, bit rate and depth of the audio of an original."""
    audio = media.of("Audio")[0]
    codec, kbps = audio.codec, media.kbps
    rate = ["-b:a:0", f"{kbps}k"] if kbps and not audio.is_lossless else []
    if not keeps_codec:
        return rate
    encoder = ENCODERS.get(codec, codec)
    if encoder not in encoders(program.executable(target)):
        warn(f"ffmpeg cannot encode {codec}; the audio is written in the default codec of {target.suffix} files")
        return rate
    depth = audio.sample_format if codec in program.LOSSLESS else None
    return ["-c:a:0", encoder, "-strict", "experimental", *(["-sample_fmt:a:0", depth] if depth else rate)]


def stores_floats(target: Path, options: list[str]) -> bool:
    """Whether ffmpeg stores samples above full scale: as float PCM, or in WavPack, which takes floats by default."""
    default = ["-sample_fmt:a:0", "flt"] if target.suffix.lower() == ".wv" else []
    given = dict(pairwise([*default, *options]))
    return given.get("-c:a:0", "").startswith("pcm_f") or given.get("-sample_fmt:a:0", "").startswith(("flt", "dbl"))
