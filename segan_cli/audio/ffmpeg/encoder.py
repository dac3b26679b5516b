"""Writing other containers and video through ffmpeg: the enhanced sound, other streams and tags."""

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

from segan_cli.audio.ffmpeg import program
from segan_cli.audio.ffmpeg.tracks import (
    ALL_TIMES,
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
from segan_cli.audio.files import BACK, SIDE, STANDARD_MASKS
from segan_cli.audio.levels import TargetOptions, Warn
from segan_cli.audio.tags import GAIN, GAINS_LEFT_OUT, copy_tags
from segan_cli.audio.wav import Encoding
from segan_cli.errors import OutputError
from segan_cli.text import counted

LOG_OPTIONS = ("-nostats", "-v", "level+info")
ENCODERS = {  # codec → encoder, where the names differ
    "opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame", "speex": "libspeex", "gsm": "libgsm", "dts": "dca",
    "amr_nb": "libopencore_amrnb", "amr_wb": "libvo_amrwbenc",
}  # fmt: skip
DEFAULT_ENCODERS = dict.fromkeys((".amr", ".awb", ".3gp", ".3g2"), "libopencore_amrnb") | {".gsm": "libgsm"}
FIXED_RATES = {"libopencore_amrnb": 8_000, "libvo_amrwbenc": 16_000, "libgsm": 8_000}  # they take others for these
MPEG_KBPS = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)  # bit rates that all encoders allow
MUTAGEN_EXTENSIONS = (".m4a", ".m4b", ".m4v", ".mp4", ".mov", ".wma", ".wmv", ".asf", ".wv", ".ape", ".tta")


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
    mask = encoding.mask or (STANDARD_MASKS[n_channels] if n_channels in (3, 4) else 0)  # which ffmpeg would misread
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
            back_mask = mask & ~SIDE | BACK if mask & SIDE == SIDE and not mask & BACK else mask
            mask = back_mask if back_mask == STANDARD_MASKS.get(n_channels) else mask  # for codecs that have no others
            if n_channels > 2:  # without it, ffmpeg 9 confuses the channels of 5.0 and 6.1
                options += ["-mapping_family:a:0", "1"]
        encoder = dict(pairwise(options)).get("-c:a:0", DEFAULT_ENCODERS.get(target.suffix.lower()))
        options += ["-ar:a:0", str(FIXED_RATES[encoder])] if encoder in FIXED_RATES else []
        layout = ["-channel_layout", hex(mask)] if mask else []
        samples = ["-f", "f32le", "-ar", str(encoding.rate_hz), "-ac", str(n_channels), *layout, "-i", "pipe:0"]
        options = [*LOG_OPTIONS, "-y", *samples, *options, *program.file_output(target), *common_start]
        with run_encoder(options, target, bool(mask), warn) as stream:
            yield stream, stores_floats(target, options)
    if original is not None and target.suffix.lower() in MUTAGEN_EXTENSIONS and APPLE_TAGS[0] not in options:
        copy_tags(original, target, warn, chapters)
    if media is not None and media.is_multimedia:
        warn_of_losses(target, tracks, media, warn)


@contextmanager
def run_encoder(options: list[str], target: Path, has_layout: bool, warn: Warn) -> Iterator[IO[bytes]]:
    """Run ffmpeg with a stream of samples as its first input; raises OutputError, with its message, when it fails.

    Warns about what the output does not have, also of a channel layout if there is one.
    """
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
                advice = "" if "Output #0" in text else "; choose another --format or --rate"  # nothing was written yet
                raise OutputError(f"{target}: cannot be written ({program.first_error(text)}{advice})")
            for change in program.changes(text) + (program.stored_layout(target, text) if has_layout else []):
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
        warn(f"{target.suffix} files cannot contain {enhanced.codec} audio; it is written in their default codec")
        tracks = sorted([*tracks, Track(enhanced)], key=lambda track: track.stream.index)
    n_other = sum(track.stream.kind == "Audio" for track in tracks) - 1
    if n_other:
        warn(f"only its first audio track is enhanced; {counted(n_other, 'other')} copied unchanged")
    return tracks, keeps_codec


def codec_options(target: Path, media: program.MediaInfo, keeps_codec: bool, warn: Warn) -> list[str]:
    """Return ffmpeg's options for the codec, bit rate and depth of the audio of an original."""
    audio = media.of("Audio")[0]
    codec, kbps = audio.codec, media.kbps
    if not keeps_codec and kbps:
        kbps = min(MPEG_KBPS, key=lambda allowed: abs(allowed - kbps))
    rate = ["-b:a:0", f"{kbps}k"] if kbps and not audio.is_lossless else []
    if not keeps_codec:
        return rate
    encoder = ENCODERS.get(codec, codec)
    if encoder not in encoders(program.executable(target)):
        warn(f"ffmpeg cannot encode {codec}; the audio is written in the default codec of {target.suffix} files")
        return rate
    depth = audio.sample_format if codec in program.LOSSLESS else None
    return ["-c:a:0", encoder, *(["-sample_fmt:a:0", depth] if depth else rate)]


def stores_floats(target: Path, options: list[str]) -> bool:
    """Whether ffmpeg stores samples above full scale: as float PCM, or in WavPack, which takes floats by default."""
    default = ["-sample_fmt:a:0", "flt"] if target.suffix.lower() == ".wv" else []
    given = dict(pairwise([*default, *options]))
    return given.get("-c:a:0", "").startswith("pcm_f") or given.get("-sample_fmt:a:0", "").startswith(("flt", "dbl"))
