"""Writing other containers and video through ffmpeg."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import IO

from segan_cli.audio.containers.wav import Encoding
from segan_cli.audio.ffmpeg.log import LOSSLESS, MediaInfo, changes, first_error, probe_media, read_log
from segan_cli.audio.ffmpeg.program import environment, file_input, program
from segan_cli.audio.ffmpeg.remux import (
    APPLE_TAGS,
    MATROSKA,
    MP4,
    WEBM,
    Track,
    attach_covers,
    choose_tracks,
    track_options,
    warn_of_losses,
)
from segan_cli.audio.layouts import mask_for_ffmpeg, nearest_standard
from segan_cli.audio.levels import TargetOptions, Warn
from segan_cli.audio.tags import GAIN, GAINS_LEFT_OUT, copy_tags
from segan_cli.errors import OutputError

LOG_OPTIONS = ("-hide_banner", "-nostats", "-v", "level+info")
ENCODERS = {  # codec → encoder, where the names differ
    "opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame", "speex": "libspeex", "gsm": "libgsm", "dts": "dca",
    "amr_nb": "libopencore_amrnb", "amr_wb": "libvo_amrwbenc",
}  # fmt: skip
MUTAGEN_EXTENSIONS = (".m4a", ".m4b", ".m4v", ".mp4", ".mov", ".wma", ".wmv", ".asf", ".wv", ".ape", ".tta")


@lru_cache(maxsize=1)
def encoders(ffmpeg: str) -> frozenset[str]:
    """Return the names of the audio encoders of an ffmpeg."""
    listing = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, check=False).stdout.decode()
    return frozenset(re.findall(r"^ A\S+ (\S+)", listing, re.MULTILINE))


@contextmanager
def open_encoder(
    target: Path, encoding: Encoding, original: Path | None, how: TargetOptions, chapters: bool = True
) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a stream of samples that become the audio of `target`; its other streams and tags are those of `original`.

    Returns it, and whether samples are stored as floats. Codec, bit rate and depth are those of the original if the
    container can hold them. Raises OutputError, with ffmpeg's message,
    when it fails; `target` is then incomplete.
    """
    ffmpeg, mask, warn = program(target), mask_for_ffmpeg(encoding.channels, encoding.mask), how.warn
    media = probe_media(original) if original is not None else None
    options, tracks = ["-map", "0:a"], list[Track]()
    with tempfile.TemporaryDirectory() as folder:
        if original is not None and media is not None and media.of("Audio"):
            tracks, keeps_codec = plan_tracks(target, original, media, warn)
            options = [*file_input(original), *track_options(target, tracks, media)]
            options += timeline_options(target, media)
            options += codec_options(target, media, keeps_codec, warn)
            options += attach_covers(target, original, media, len(tracks), Path(folder))
            if how.releveled and (gains := gain_tags(media)):
                warn(GAINS_LEFT_OUT)
                options += [
                    word for name in gains for kind in ("", ":s:a:0") for word in (f"-metadata{kind}", f"{name}=")
                ]
                media = replace(media, tags={name: text for name, text in media.tags.items() if name not in gains})
        options += [] if chapters else ["-map_chapters", "-1"]
        if "libopus" in options or target.suffix.lower() == ".webm":
            mask = nearest_standard(encoding.channels, mask)
        layout = ["-channel_layout", hex(mask)] if mask else []
        samples = ["-f", "f32le", "-ar", str(encoding.rate_hz), "-ac", str(encoding.channels), *layout, "-i", "pipe:0"]
        with run_encoder([ffmpeg, *LOG_OPTIONS, "-y", *samples, *options], target, warn) as stream:
            yield stream, stores_floats(target, options)
    if original is not None and target.suffix.lower() in MUTAGEN_EXTENSIONS and APPLE_TAGS[0] not in options:
        copy_tags(original, target, warn, chapters)
    if media is not None and media.is_multimedia:
        warn_of_losses(target, tracks, media, warn)


@contextmanager
def run_encoder(command: list[str], target: Path, warn: Warn) -> Iterator[IO[bytes]]:
    """Run ffmpeg with a stream of samples as its first input; raises OutputError, with its message, when it fails."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, f"file:{target}"], stdin=subprocess.PIPE, stderr=log, env=environment())
        assert process.stdin is not None
        try:
            try:
                yield process.stdin
                process.stdin.close()
            except BrokenPipeError:
                pass  # the exit code and the log give the reason
            failed = process.wait()
            text = read_log(log)
            if failed:
                advice = "" if "Output #0" in text else "; choose another --format or --rate"  # nothing was written yet
                raise OutputError(f"{target}: cannot be written ({first_error(text)}{advice})")
            for change in changes(text):
                warn(change)
        finally:
            process.kill()
            process.wait()


def gain_tags(media: MediaInfo) -> list[str]:
    """Return the names of the tags of a file and its sound that tell players by how much to change the level."""
    return [name for name in (*media.tags, *media.of("Audio")[0].tags) if GAIN.fullmatch(name)]


def timeline_options(target: Path, media: MediaInfo) -> list[str]:
    """Return ffmpeg's options that keep the times of an original, where both containers have some."""
    if not media.on_timeline or target.suffix.lower() not in (*MATROSKA, *MP4, *WEBM):
        return []
    late = ["-filter:a:0", f"asetpts=PTS+{media.offset_s}/TB"] if media.offset_s else []
    return ["-copyts", *late]


def plan_tracks(target: Path, original: Path, media: MediaInfo, warn: Warn) -> tuple[list[Track], bool]:
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
        warn(f"only its first sound track is enhanced; {n_other} more {'are' if n_other > 1 else 'is'} kept as before")
    return tracks, keeps_codec


def codec_options(target: Path, media: MediaInfo, keeps_codec: bool, warn: Warn) -> list[str]:
    """Return ffmpeg's options for the codec, bit rate and depth of the audio of an original."""
    audio = media.of("Audio")[0]
    codec, kbps = audio.codec, media.kbps
    rate = ["-b:a:0", f"{kbps}k"] if kbps and not audio.is_lossless else []
    if not keeps_codec:
        return rate
    encoder = ENCODERS.get(codec, codec)
    if encoder not in encoders(program(target)):
        warn(f"ffmpeg cannot encode {codec}; the audio is written in the default codec of {target.suffix} files")
        return rate
    depth = audio.sample_format if codec in LOSSLESS else None
    return ["-c:a:0", encoder, "-strict", "experimental", *(["-sample_fmt:a:0", depth] if depth else rate)]


def stores_floats(target: Path, options: list[str]) -> bool:
    """Whether ffmpeg stores samples above full scale: as float PCM, or in WavPack, which takes floats by default."""
    default = ["-sample_fmt:a:0", "flt"] if target.suffix.lower() == ".wv" else []
    given = dict(pairwise([*default, *options]))
    return given.get("-c:a:0", "").startswith("pcm_f") or given.get("-sample_fmt:a:0", "").startswith(("flt", "dbl"))
