"""Streams of an output: which ones its container can hold, how ffmpeg copies them, and what is lost."""

from dataclasses import dataclass
from pathlib import Path

from segan_cli.audio.ffmpeg import program
from segan_cli.audio.files import VIDEO
from segan_cli.audio.levels import Warn
from segan_cli.errors import OutputError

MATROSKA = (".mkv", ".mka")
MP4 = (".mp4", ".m4v", ".mov", ".m4a", ".m4b")
WEBM = (".webm", ".weba")
PROGRAM_STREAMS = (".mpg", ".mpeg", ".vob")
START_BYTES = 300_000  # written to try whether streams fit into a container
REGENERATED = ("text", "tmcd")  # tags of data streams that ffmpeg writes itself: chapters, time code
SUBTITLES = ("subrip", "ass", "ssa", "mov_text", "webvtt", "text")  # codecs of text
SUBTITLE_ENCODER = dict.fromkeys(MATROSKA, "srt") | dict.fromkeys(MP4, "mov_text") | dict.fromkeys(WEBM, "webvtt")
STALE_TAGS = ("BPS", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_TAGS")  # mkvmerge's, about the old sound
COVERS = {"mjpeg": "jpeg", "png": "png"}  # codec → MIME type
APPLE_TAGS = ("-movflags", "use_metadata_tags")  # tags by names such as com.apple.quicktime.make, not by iTunes' names
BRANDS = ("major_brand", "minor_version", "compatible_brands")
FILE_TAGS = {  # names of tags that describe the file itself
    "encoder", "duration", "handler_name", "vendor_id", "creation_time", "mimetype", "filename", "software", "itunsmpb",
    *BRANDS,
}  # fmt: skip
FILE_SIDE_DATA = ("cpb", "cpb properties")
ALL_TIMES = ("-fflags", "+genpts")  # of packets without one, as in MPEG program streams, which Matroska needs


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
                if target.suffix.lower() == ".mkv":
                    raise OutputError(
                        f"{target}: ffmpeg cannot copy the video; to enhance only the audio, add --format wav"
                    )
                suffix = target.suffix
                raise OutputError(f"{target}: {suffix} files cannot contain {stream.codec} video; give an .mkv file")
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
    """Whether ffmpeg can write and read these streams; their start is written to `target`, and overwritten later."""
    options: list[str] = []
    for index, track in enumerate(tracks):
        options += ["-map", f"0:{track.stream.index}", *copy_options(target, index, track)]
    options += ["-fs", str(START_BYTES), *program.file_output(target)]
    if program.run(target, "-y", *ALL_TIMES, *program.file_input(original), *options)[0]:
        return False
    after, is_program_stream = program.probe_media(target), target.suffix.lower() in PROGRAM_STREAMS
    wanted, found = (
        sorted((s.kind, s.codec) for s in streams if s.kind in ("Audio", "Video") and not s.is_cover)
        for streams in ([track.stream for track in tracks], after.streams)
    )
    subtitles = [track for track in tracks if track.stream.kind == "Subtitle"]
    if is_program_stream:  # which does not list its streams
        return wanted == found and all(track.stream.codec == "dvd_subtitle" for track in subtitles)
    return wanted == found and len(subtitles) == len(after.of("Subtitle"))


def copy_options(target: Path, index: int, track: Track) -> list[str]:
    """Return ffmpeg's options for the codec of a stream that is not enhanced."""
    options = [f"-c:{index}", track.codec]
    if track.stream.codec in ("h264", "hevc") and target.suffix.lower() in (*PROGRAM_STREAMS, ".avi"):
        options += [f"-bsf:{index}", f"{track.stream.codec}_mp4toannexb"]
    return options


def track_options(target: Path, tracks: list[Track], media: program.MediaInfo) -> list[str]:
    """Return ffmpeg's options that put these streams of input 1, the first sound from input 0, into a file."""
    enhanced, options = media.of("Audio")[0], []
    for index, track in enumerate(tracks):
        if track.stream is enhanced:
            flags = "+".join(flag.replace(" ", "_") for flag in enhanced.flags)
            options += ["-map", "0:a", f"-disposition:{index}", flags or "0"]
            options += [option for name in STALE_TAGS for option in (f"-metadata:s:{index}", f"{name}=")]
        else:
            options += ["-map", f"1:{track.stream.index}", *copy_options(target, index, track)]
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


def warn_of_losses(target: Path, tracks: list[Track], before: program.MediaInfo, warn: Warn) -> None:
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
    tags = sorted(before.tags.keys() - after.tags.keys() - FILE_TAGS)
    lost += [f"tags ({', '.join(tags)})"] if tags else []
    if lost:
        warn(f"omitted, because {target.suffix} files cannot contain it: {'; '.join(lost)}")


def describe(stream: program.Stream) -> str:
    """Describe a stream to a user."""
    name = stream.tags.get("title") or stream.tags.get("filename") or stream.codec
    return f"{stream.kind.lower()} track {stream.index} ({name})"


def differences(before: program.Stream, after: program.Stream, target: Path) -> list[str]:
    """Return what a stream has lost."""
    own = {*FILE_TAGS, *(name.lower() for name in STALE_TAGS), "name"}
    if target.suffix.lower() in MP4:
        own.add("title")  # written, though not every ffmpeg reads it
    lost = sorted(before.tags.keys() - after.tags.keys() - own)
    if before.language not in ("", "und", after.language):
        lost.append("language")
    lost += sorted(set(before.flags) - set(after.flags) - {"default"})
    lost_data = before.side_data.keys() - after.side_data.keys() - set(FILE_SIDE_DATA)
    return lost + sorted("rotation" if "matrix" in name else name for name in lost_data)
