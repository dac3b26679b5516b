"""Reading other containers and video through ffmpeg."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from segan_cli.arrays import Array
from segan_cli.audio.ffmpeg import program
from segan_cli.audio.ffmpeg.integrity import compare, is_late
from segan_cli.audio.files import NO_HEADER, AudioInfo, IntegrityCheck, check_shape
from segan_cli.audio.wav import Encoding, block_length, read_samples, read_wav_header
from segan_cli.errors import AudioError

CHANGED = re.compile(r"audio parameters changed to ([^,]+, [^,]+),")
LOG_OPTIONS = ("-nostdin", "-nostats", "-v", "level+verbose")
CHECKSUMS = ("-err_detect", "crccheck")
WITHOUT_CHECKSUMS = ("ac3", "eac3")  # whose frames would be replaced without an error
NO_METADATA = ("-map_metadata", "-1", "-fflags", "+bitexact")
OGG_SUBTYPES = {"vorbis": "VORBIS", "opus": "OPUS"}  # codec → subtype of the files that libsndfile writes
GAP_OPTION = ":min_hard_comp=0.015"  # seconds from which a gap is filled, for times that are exact; 0.1 for others


@contextmanager
def decoding(path: Path, check: IntegrityCheck) -> Iterator[tuple[AudioInfo, Iterator[Array]]]:
    """Decode the first audio stream of a file while it is read, from the start of the file, as blocks [channels, n].

    Raises AudioError, with ffmpeg's message, when there is none. After the last block, `check` reports missing content.
    """
    media = program.probe_media(path)
    absolute = ("-copyts",) if media.on_timeline and not media.offset_s else ()
    silence: tuple[str, ...] = ()  # where a recording has no sound, so that it stays in sync
    if media.has_video or media.on_timeline:
        first, fine = ":first_pts=0" * media.has_video, GAP_OPTION * media.on_timeline
        silence = ("-af", f"aresample=async=1{first}{fine}")
    samples = ("-map", "0:a:0", *silence, *NO_METADATA, "-f", "wav", "-c:a", "pcm_f32le", "-")
    checks = () if any(audio.codec in WITHOUT_CHECKSUMS for audio in media.of("Audio")[:1]) else CHECKSUMS
    options = (*LOG_OPTIONS, *checks, *absolute, *program.file_input(path), *samples, *media.common_start(0))
    with tempfile.TemporaryFile() as log:

        def blocks(stream: IO[bytes], encoding: Encoding) -> Iterator[Array]:
            n = 0
            largest = block_length(encoding.rate_hz, encoding.channels)
            for block in read_samples(stream.read, encoding, str(path), largest):
                n += block.shape[1]
                yield block
            if process.wait():
                raise AudioError(f"{path}: damaged ({program.first_error(program.read_log(log))})")
            seconds, text = n / encoding.rate_hz, program.read_log(log, path)
            if changed := CHANGED.search(text):
                report_change(path, changed[1], encoding, is_late(media, text, seconds), check)
            check.report(*compare(path, media, text, seconds, encoding.rate_hz))

        process = program.start(path, *options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            try:
                encoding, _ = read_wav_header(process.stdout, str(path))
            except AudioError as error:
                process.kill()
                process.wait()
                message = program.unreadable(program.read_log(log))
                raise AudioError(f"{path}: {NO_HEADER.get(path.suffix.lower(), message)}") from error
            check_shape(str(path), encoding.rate_hz, encoding.channels)
            audio, extension = media.of("Audio")[0], path.suffix[1:].upper()
            layout = "ambisonic" if ", ambisonic " in audio.details else None
            subtype = OGG_SUBTYPES.get(audio.codec) if "ogg" in media.containers else None
            info = AudioInfo(
                encoding.rate_hz, encoding.channels, None, extension, subtype or audio.subtype, mask=encoding.mask,
                lossy=not audio.is_lossless,
            )  # fmt: skip
            yield check.without_layout(info, layout), blocks(process.stdout, encoding)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def report_change(path: Path, now: str, encoding: Encoding, is_late: bool, check: IntegrityCheck) -> None:
    """Warn of sound whose format changes midway; raises AudioError if it would not be in sync."""
    if is_late:
        raise AudioError(
            f"{path}: its audio changes to {now} midway; convert it first: ffmpeg -i FILE -c:v copy -ac"
            f" {encoding.channels} -ar {encoding.rate_hz} NEW"
        )
    check.warn(f"its audio changes to {now} midway; all of it is converted to the first format")
