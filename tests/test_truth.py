"""All samples of a file are read, whatever its header says; missing ones are an error, contradictions a warning."""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from commands import PATIENCE_S, alone, command, complaint, segan
from conftest import hiss, voice
from mutagen.mp3 import HeaderNotFoundError, MPEGFrame
from mutagen.mp3._util import XingHeader

from segan_cli.audio import sources
from segan_cli.audio.containers import mpeg, scan, vorbis
from segan_cli.audio.containers.chunks import FileView, Part, read_chunks, wav_format
from segan_cli.audio.libsndfile.reader import MESSAGES
from segan_cli.audio.sources import open_file, open_stream
from segan_cli.audio.wav import read_wav_header
from segan_cli.data.cache import Cache, CacheEntry
from segan_cli.data.recordings import Recording, Recordings, map_shard
from segan_cli.errors import AudioError, CorpusError

SECONDS = 2.0
N = 32_000
CONTAINERS = {  # ending → libsndfile's format and encoding
    "wav": ("WAV", "PCM_16"), "adpcm.wav": ("WAV", "IMA_ADPCM"), "rf64": ("RF64", "PCM_24"), "w64": ("W64", "FLOAT"),
    "aiff": ("AIFF", "PCM_16"), "aifc": ("AIFF", "ULAW"), "caf": ("CAF", "PCM_16"), "alac.caf": ("CAF", "ALAC_16"),
    "au": ("AU", "PCM_16"), "snd": ("AU", "FLOAT"), "svx": ("SVX", "PCM_16"), "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ffmpeg(tmp_path_factory):
    """An ffmpeg that runs with arguments, and the folder it lies in."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())

    def run(*arguments):
        program = [folder / "ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
        return subprocess.run(program, check=True, capture_output=True).stdout

    run.path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return run


def whole(ending, seconds=SECONDS):
    """A recording's bytes."""
    format, subtype = CONTAINERS[ending]
    content = io.BytesIO()
    soundfile.write(content, voice(seconds) + hiss(seconds), 16_000, subtype, format=format)
    return content.getvalue()


def read(path, allow_truncated=False):
    """Samples of a file and what was noted."""
    with open_file(path, allow_truncated) as source:
        samples = np.concatenate([np.zeros((source.info.channels, 0), np.float32), *source.blocks], axis=1).T
        assert source.info.n_samples in (None, len(samples)) or allow_truncated
        return samples, source.warnings


@pytest.mark.parametrize("ending", CONTAINERS)
def test_a_complete_file_is_read_without_warning(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole(ending))
    samples, notes = read(path)
    assert (len(samples), notes) == (soundfile.info(path).frames, [])


@pytest.mark.parametrize("ending", CONTAINERS)
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_truncated_file_is_refused_or_read_as_far_as_it_goes(ending, share, tmp_path):
    path = tmp_path / f"a.{ending}"
    content = whole(ending, 8.0)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError, match="truncated"):
        read(path)
    samples, notes = read(path, allow_truncated=True)
    assert notes
    assert 0.3 * share * 4 * N < len(samples) < 1.1 * share * 4 * N


@pytest.mark.parametrize("ending", CONTAINERS)
def test_joined_files_are_read_one_after_the_other(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole(ending))
    once, _ = read(path)
    path.write_bytes(3 * whole(ending))
    samples, notes = read(path)
    assert notes == ["contains 3 recordings, read one after the other; tags are those of the first"]
    np.testing.assert_allclose(samples, np.tile(once, (3, 1)), atol=2e-3)


def test_joined_files_of_different_formats_are_refused(tmp_path):
    other = io.BytesIO()
    soundfile.write(other, voice(1.0, 48_000), 48_000, "VORBIS", format="OGG")
    (tmp_path / "a.ogg").write_bytes(whole("ogg") + other.getvalue())
    with pytest.raises(AudioError, match="part 2 of 2 has 48000 Hz"):
        read(tmp_path / "a.ogg")


@pytest.mark.parametrize(
    ("ending", "chunk", "offset", "numbers"),
    [
        ("wav", b"data", 4, [b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\xf0\xff\x7f"]),
        ("aiff", b"SSND", 4, [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x7f\0\0\x08"]),
        ("au", b".snd", 8, [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"]),
        ("w64", b"data", 16, [b"\0" * 8, b"\xff" * 8]),
        ("caf", b"data", 4, [b"\0" * 8, b"\xff" * 8]),
        ("rf64", b"ds64", 16, [b"\0" * 8, b"\xff" * 8]),
    ],
)
def test_a_file_with_an_unfinished_header_is_read_to_its_end(ending, chunk, offset, numbers, tmp_path):
    path = tmp_path / f"a.{ending}"
    content = whole(ending)
    place = content.index(chunk) + offset
    path.write_bytes(content)
    expected, _ = read(path)
    for number in numbers:
        path.write_bytes(content[:place] + number + content[place + len(number) :])
        samples, notes = read(path)
        assert notes == ["its header was never completed; the file is read to its end"], number
        np.testing.assert_array_equal(samples[:N], expected)


def test_an_au_header_that_points_at_itself_does_not_hang(tmp_path):
    content = bytearray(whole("au"))
    content[4:12] = bytes(8)  # offset and size of the samples
    (tmp_path / "a.au").write_bytes(content)
    with contextlib.suppress(AudioError):
        read(tmp_path / "a.au")


@pytest.mark.parametrize(
    ("format", "subtype"), [("AVR", "PCM_16"), ("PAF", "PCM_24"), ("MAT5", "FLOAT"), ("NIST", "PCM_16")]
)
def test_a_format_that_cannot_be_checked_is_refused(format, subtype, tmp_path):
    soundfile.write(tmp_path / "a.snd", voice(1.0), 16_000, subtype, format=format)
    with pytest.raises(AudioError, match=r"cannot be checked|format that segan reads|not audio"):
        read(tmp_path / "a.snd")


def test_a_format_that_cannot_be_checked_is_named_where_there_is_no_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "find_ffmpeg", lambda: None)
    soundfile.write(tmp_path / "a.snd", voice(1.0), 16_000, "PCM_16", format="AVR")
    with pytest.raises(AudioError, match="AVR files cannot be checked for missing audio; convert it to WAV"):
        read(tmp_path / "a.snd")


def test_a_resource_fork_beside_an_mp3_is_ignored(tmp_path):
    (tmp_path / "a.mp3").write_bytes(whole("mp3"))
    before, _ = read(tmp_path / "a.mp3")
    (tmp_path / "._a.mp3").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(4_000))
    np.testing.assert_array_equal(read(tmp_path / "a.mp3")[0], before)


def test_a_size_field_that_overflowed_loses_no_samples(tmp_path):
    content = bytearray(whole("wav"))
    struct.pack_into("<I", content, content.index(b"data") + 4, 20_000)
    (tmp_path / "a.wav").write_bytes(content)
    samples, notes = read(tmp_path / "a.wav")
    assert len(samples) == N
    assert "20000 bytes of samples, but 64000 are read" in notes[0]


def test_chunks_and_padding_after_the_samples_are_ignored(tmp_path):
    content = whole("wav")
    for behind in (b"LIST\4\0\0\0INFO", bytes(300), b"TAG" + bytes(125), b"id3 \3\0\0\0abc"):
        (tmp_path / "a.wav").write_bytes(content + behind)
        samples, notes = read(tmp_path / "a.wav")
        assert (len(samples), notes) == (N, [])


def test_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    content = bytearray(whole("flac"))
    content[21:26] = bytes((content[21] & 0xF0, 0, 0, 0, 0))
    (tmp_path / "a.flac").write_bytes(content)
    assert len(read(tmp_path / "a.flac")[0]) == N


@pytest.mark.parametrize(
    "options", [("-q:a", 4), ("-q:a", 9, "-ar", 44_100), ("-b:a", "64k"), ("-b:a", "320k", "-ar", 48_000)]
)
@pytest.mark.parametrize("tagged", [0, 3])
def test_mp3_without_a_header_is_read_as_ffmpeg_reads_it(options, tagged, tmp_path, ffmpeg):
    sound = np.concatenate((voice(4.0), np.zeros(3 * N, np.float32), hiss(4.0, level=0.2)))
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    path = tmp_path / "a.mp3"
    ffmpeg("-i", tmp_path / "a.wav", *options, "-write_xing", 0, "-id3v2_version", tagged, path)
    expected = np.frombuffer(ffmpeg("-i", path, "-f", "f32le", "-"), np.float32)
    samples, notes = read(path)
    assert notes == []
    np.testing.assert_allclose(samples[:, 0], expected, atol=2e-3)
    path.write_bytes(2 * path.read_bytes() + b"TAG" + bytes(125))
    assert len(read(path)[0]) == 2 * len(expected)
    content = path.read_bytes()
    path.write_bytes(content[: -128 - 7])
    with pytest.raises(AudioError, match="ends within a frame"):
        read(path)


def test_every_frame_header_of_mpeg_audio_is_read_as_mutagen_reads_it():
    n_frames, n_expected = 0, 3 * 3 * 14 * 3 * 2 * 2 * 4  # versions, layers, bit rates, rates, padding, mono, free bits
    for head in itertools.product([0xFF], range(0xC0, 0x100), range(256), (0x00, 0xC0)):
        try:
            theirs = MPEGFrame(io.BytesIO(bytes(head)))
        except HeaderNotFoundError:
            assert mpeg.frame_header(bytes(head)) is None
            continue
        layer, mono = theirs.layer, theirs.channels == 1
        samples = {1: 384, 2: 1_152, 3: 1_152 if theirs.version == 1 else 576}[layer]
        slot = 4 if layer == 1 else 1  # bytes
        size = (samples // 8 * theirs.bitrate // slot // theirs.sample_rate + theirs.padding) * slot
        side_info = XingHeader.get_offset(theirs) - 4 if layer == 3 else 0
        kind = (theirs.version, layer, theirs.sample_rate, mono)
        assert mpeg.frame_header(bytes(head)) == mpeg.Frame(size, samples, kind, side_info)
        n_frames += 1
    assert n_frames == n_expected


@pytest.mark.parametrize(
    ("stated", "n", "cut", "missing", "note"),
    [
        (10, 10, False, None, None),
        (10, 10, True, None, None),
        (10, 9, False, None, None),  # some writers count the header frame
        (10, 9, True, "its header specifies 10 frames, but the file has 9", None),
        (10, 8, False, "its header specifies 10 frames, but the file has 8", None),
        (10, 11, False, None, "its header specifies 10 frames, but 11 are read"),
        (0, 10, True, "it ends within a frame", None),
        (None, 10, False, None, None),
    ],
)
def test_the_frames_of_an_mp3_are_compared_with_its_header(stated, n, cut, missing, note):
    recording = mpeg.MpegRecording(mpeg.frame_header(b"\xff\xfb\x90\x00"), stated, frames=n, cut=cut)
    part = mpeg.make_part(recording)
    assert (part.missing, part.note) == (missing, note)


ID3_TAG = b"ID3\4\0\0\0\0\0\x14" + bytes(20)


@pytest.mark.parametrize("ending", ["flac", "wav", "aiff", "mp3"])
@pytest.mark.parametrize("n", [1, 2])
def test_a_tag_in_front_changes_nothing(ending, n, tmp_path, monkeypatch):
    """An ID3 tag before a recording or several joined ones, for MP3 with zeros between it and the first frame."""
    monkeypatch.setattr("segan_cli.audio.ffmpeg.program.find_ffmpeg", lambda: None)
    sound = voice(1.0)
    soundfile.write(tmp_path / f"a.{ending}", sound, 16_000)
    content = n * (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"plain.{ending}").write_bytes(content)
    (tmp_path / f"tagged.{ending}").write_bytes(ID3_TAG + bytes(3_000 if ending == "mp3" else 0) + content)
    plain, tagged = (read(tmp_path / f"{name}.{ending}")[0] for name in ("plain", "tagged"))
    np.testing.assert_array_equal(tagged, plain)
    assert len(plain) == n * len(sound)


def test_a_tag_between_two_mp3_of_the_same_kind_separates_them_whatever_it_holds():
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    tag = b"ID3\4\0\0" + bytes([0, 0, len(3 * frame) >> 7, len(3 * frame) & 127]) + 3 * frame
    content = 3 * frame + tag + 2 * frame
    recordings = mpeg.FrameWalk(FileView(io.BytesIO(content), 0, len(content))).run()
    assert [(recording.frames, recording.gaps) for recording in recordings] == [(3, 0), (2, 0)]


def page(flags, serial, number, content):
    """A page of an Ogg file."""
    sizes = bytes([255] * (len(content) // 255) + [len(content) % 255])
    made = struct.pack("<4s2BqI2IB", b"OggS", 0, flags, 0, serial, number, 0, len(sizes)) + sizes + content
    checksum = 0
    for byte in made:  # as RFC 3533 has it
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ 0x04C11DB7 * (checksum >> 31)) & 0xFFFFFFFF
    return made[:22] + struct.pack("<I", checksum) + made[26:]


def test_the_recordings_of_an_ogg_file_are_found_by_their_first_pages():
    """One whose content looks like a page, and one that lacks its second page, beside pages of a picture."""
    first = [page(2, 7, 0, b"OpusHead"), page(0, 7, 1, 300 * b"x"), page(0, 7, 2, b"..OggS.."), page(4, 7, 3, b"end")]
    pictures = [page(2, 9, 0, b"fishead"), page(0, 9, 1, b""), page(4, 9, 5, b"")]
    second = [page(2, 8, 0, b"\x01vorbis"), pictures[0], page(0, 8, 2, b"y"), *pictures[1:], page(4, 8, 3, b"")]
    content, n = b"".join([*first, *second]), len(b"".join(first))
    assert scan.scan_ogg(FileView(io.BytesIO(content), 0, n)) == []
    unended = range(n - len(first[-1]))
    assert scan.scan_ogg(FileView(io.BytesIO(content), 0, unended.stop)) == [
        Part((unended,), missing="its Ogg stream has no end-of-stream page")
    ]
    assert scan.scan_ogg(FileView(io.BytesIO(content), 0, len(content))) == [
        Part((range(n),)), Part((range(n, len(content)),), missing="its Ogg stream lacks 1 page")
    ]  # fmt: skip


def test_an_ogg_page_that_is_cut_counts_once():
    pages = [page(2, 7, 0, b"OpusHead"), *(page(4 * (n == 3), 7, n, 400 * b"x") for n in (1, 2, 3))]
    content = b"".join([*pages[:2], pages[2][:100], pages[3]])
    (part,) = scan.scan_ogg(FileView(io.BytesIO(content), 0, len(content)))
    assert part.missing == "its Ogg stream lacks 1 page"


@pytest.mark.parametrize(
    ("chunks", "found"),
    [
        (b"", b""), (b"data\4\0\0\0\1\0\1\0", b""), (b"fmt \4\0\0\0\1\0\1\0data\0\0\0\0", b"\1\0\1\0"),
        (b"note\2\0\0\0hifmt \4\0\0\0\1\0\2\0", b"\1\0\2\0"),
    ],
)  # fmt: skip
def test_the_format_chunk_of_a_wav_is_the_one_before_its_samples(tmp_path, chunks, found):
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xff\xff\x7fWAVE" + chunks)
    assert wav_format(tmp_path / "a.wav") == found


def test_no_more_than_ten_thousand_chunks_are_read():
    content = b"RIFF\xff\xff\xff\x7fWAVE" + 10_001 * b"note\0\0\0\0"
    assert len(list(read_chunks(FileView(io.BytesIO(content), 0, len(content))))) == 10_000


@pytest.mark.parametrize(
    ("place", "header", "stated"),
    [
        (36, struct.pack(">4s2I", b"Xing", 3, 77), 77), (36, struct.pack(">4s2I", b"Info", 1, 77), 77),
        (36, struct.pack(">4s2I", b"Info", 2, 77), 0), (36, struct.pack(">4s10sI", b"VBRI", b"", 77), 77),
        (36, b"Xing", None), (36, b"VBRI", None), (35, struct.pack(">4s2I", b"Xing", 1, 77), None),
    ],
)  # fmt: skip
def test_the_number_of_frames_is_that_of_a_xing_or_vbri_header(place, header, stated):
    frame = mpeg.frame_header(b"\xff\xfb\x90\x00")
    assert mpeg.stated_frames(bytes(place) + header, frame) == stated


def test_a_wrong_xing_header_gets_the_counts_of_the_file_and_no_padding():
    before = bytearray(b"\xff\xfb\x90\x00" + bytes(range(100, 256)) + bytes(range(157)))
    before[36:52] = struct.pack(">4s3I", b"Xing", 15, 9, 9_999)
    before[178:180] = b"\xab\xcd"
    recording = mpeg.MpegRecording(
        mpeg.frame_header(bytes(before[:4])), 9, bytes(before), [range(1_000, 3_000)], frames=5
    )
    expected = bytearray(before)
    expected[44:52] = struct.pack(">2I", 5, len(before) + 2_000)
    expected[178:180] = b"\xa0\0"
    assert mpeg.correct_header(recording) == bytes(expected)


@pytest.mark.parametrize(
    ("cut", "ended", "missing_pages", "missing"),
    [
        (False, True, 0, None),
        (True, True, 0, "its Ogg stream has no end-of-stream page"),
        (False, False, 0, "its Ogg stream has no end-of-stream page"),
        (False, True, 2, "its Ogg stream lacks 2 pages"),
    ],
)
def test_an_ogg_stream_must_have_an_end_and_all_pages(cut, ended, missing_pages, missing):
    view, link = FileView(io.BytesIO(), 0, 0), scan.OggLink(0, ended=ended, missing_pages=missing_pages)
    assert scan.ogg_part(view, link, cut).missing == missing


def test_mp2_and_mp3_in_wav_are_read_whole(tmp_path, ffmpeg):
    soundfile.write(tmp_path / "a.wav", voice(SECONDS, 44_100), 44_100)
    for path in (tmp_path / "a.mp2", tmp_path / "b.wav"):
        codec = ("-c:a", "libmp3lame", "-q:a", 7) if path.suffix == ".wav" else ()
        ffmpeg("-i", tmp_path / "a.wav", *codec, path)
        expected = len(ffmpeg("-i", path, "-f", "f32le", "-")) // 4
        assert abs(len(read(path)[0]) - expected) <= 1_152


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile(voice(5.0), 12), 16_000)
    with open_file(tmp_path / "a.wav") as source:
        next(source.blocks)
        os.truncate(tmp_path / "a.wav", 44 + 2 * 160_000)
        with pytest.raises(AudioError, match=r"specifies 60.00 s, but the file has 10.00 s"):
            list(source.blocks)


def piped(content, *options):
    arguments = command("enhance", "-", "-o", "-", *options)
    return subprocess.run(arguments, input=content, capture_output=True, check=False, env=alone())


def test_a_pipe_that_ends_before_its_declared_length_fails():
    content = whole("wav")
    result = piped(content[:40_000])
    assert result.returncode == 1
    assert b"standard input: truncated" in result.stderr
    result = piped(content[:40_000], "--allow-truncated")
    assert result.returncode == 0
    assert b"truncated" in result.stderr
    assert len(result.stdout) == 40_000


@pytest.mark.parametrize("behind", [b"", b"LIST\4\0\0\0INFO"])
@pytest.mark.parametrize("formats", [("WAV", "WAV"), ("WAV", "RF64"), ("RF64", "RF64"), ("RF64", "WAV")])
def test_joined_recordings_in_a_pipe_are_read(formats, behind):
    content = b""
    for format in formats:
        file = io.BytesIO()
        soundfile.write(file, voice(SECONDS), 16_000, format=format)
        content += file.getvalue() + behind
    with io.BytesIO(content) as stream, open_stream(io.BufferedReader(stream)) as source:
        assert sum(block.shape[1] for block in source.blocks) == 2 * N
        assert source.warnings == ["contains several recordings, read one after the other"]


@pytest.mark.parametrize(
    "behind", [bytes(40), bytes(200_000), b"a", b"LIST\4\0\0\0INFO", b"TAG" + bytes(125), b"ID3\4\0\0\0\0\0\7abcdefg"]
)
def test_what_follows_the_samples_in_a_pipe_is_left_out_as_in_a_file(behind, tmp_path):
    content = whole("wav") + behind
    (tmp_path / "a.wav").write_bytes(content)
    with open_stream(io.BufferedReader(io.BytesIO(content))) as source:
        np.testing.assert_array_equal(np.concatenate(list(source.blocks), axis=1).T, read(tmp_path / "a.wav")[0])
        assert source.warnings == []
    n = len(read(tmp_path / "a.wav")[0])
    if behind != b"a":  # which makes what follows no recording
        with open_stream(io.BufferedReader(io.BytesIO(content + whole("wav")))) as source:  # not seen behind a tag
            assert sum(block.shape[1] for block in source.blocks) == (2 if behind[:1] in b"\0L" else 1) * n


def test_samples_beyond_the_size_in_the_header_of_a_pipe_are_an_error():
    content = bytearray(whole("wav"))
    place = content.index(b"data") + 4
    (n,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, place, n // 4 * 2)
    content[place + 4 + n // 4 * 2 : place + 8 + n // 4 * 2] = b"\x80\1\2\3"
    message = f"truncated: its header specifies {n // 4 * 2} bytes of samples, but other data follows them"
    result = piped(bytes(content))
    assert result.returncode == 1
    assert result.stderr.startswith(f"segan: standard input: {message}; ".encode())
    result = piped(bytes(content), "--allow-truncated")
    assert result.returncode == 0
    assert message.encode() in result.stderr
    content[place + 4 + n // 4 * 2 : place + 8 + n // 4 * 2] = (
        b"text"  # as if the name of a chunk, of a size beyond the end
    )
    assert piped(bytes(content)).returncode == 1


def test_the_command_reports_missing_and_contradictory_samples(tmp_path):
    (tmp_path / "cut.ogg").write_bytes(whole("ogg")[:-2_000])
    (tmp_path / "two.flac").write_bytes(2 * whole("flac"))
    line = complaint(segan("enhance", tmp_path / "cut.ogg", "-o", tmp_path / "out.wav"))
    assert "cut.ogg: truncated: its Ogg stream has no end-of-stream page" in line
    assert "--allow-truncated" in line
    assert not (tmp_path / "out.wav").exists()
    both = (tmp_path / "cut.ogg", tmp_path / "two.flac")
    result = segan("enhance", *both, "-o", tmp_path / "out", "--allow-truncated", "--json")
    assert result.returncode == 0
    told = {Path(row["source"]).name: row["warnings"] for row in map(json.loads, result.stdout.splitlines())}
    assert "truncated" in told["cut.ogg"][0]
    assert "contains 2 recordings" in told["two.flac"][0]
    assert result.stderr.count("truncated") == result.stderr.count("contains 2 recordings") == 1


def test_training_and_evaluation_skip_truncated_recordings(tmp_path):
    (tmp_path / "cut.mp3").write_bytes(whole("mp3")[:-2_000])
    (tmp_path / "whole.mp3").write_bytes(whole("mp3"))
    cut, good = Cache(tmp_path / "cache", 16_000).read([tmp_path / "cut.mp3", tmp_path / "whole.mp3"])
    assert "truncated" in cut
    assert isinstance(good, CacheEntry)
    result = segan("evaluate", "--noisy", tmp_path, "--clean", tmp_path, "--no-cache", "--json")
    assert result.returncode == 1
    assert "cut.mp3: truncated" in result.stderr


FFMPEG_ENDINGS = {
    "m4a": (),
    "fast.m4a": ("-movflags", "+faststart"),
    "mka": ("-c:a", "flac"),
    "webm": (),
    "tta": (),
    "wv": (),
}


@pytest.mark.parametrize("ending", FFMPEG_ENDINGS)
def test_truncation_of_a_file_read_by_ffmpeg_is_reported(ending, tmp_path, monkeypatch, ffmpeg):
    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "a.wav", voice(8.0) + hiss(8.0), 16_000)
    path = tmp_path / f"a.{ending}"
    ffmpeg("-i", tmp_path / "a.wav", *FFMPEG_ENDINGS[ending], path)
    assert read(path)[1] == []
    content = path.read_bytes()
    for share in (0.5, 0.8):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(AudioError, match=r"truncated|not a readable|damaged"):
            read(path)
    if ending != "m4a":  # its index lies at its end
        samples, notes = read(path, allow_truncated=True)
        assert "truncated" in notes[0]
        assert len(samples) > 3 * N * (path.suffix == ".tta" or 1) // 2


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
    "live": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["x.wav", "x.mp4", "x.m3u8", "concat:x.mp3", "-"])
def test_a_playlist_opens_no_other_file(kind, name, tmp_path, ffmpeg):
    soundfile.write(tmp_path / "private.wav", voice(1.0), 16_000)
    text = PLAYLISTS[kind].format(tmp_path / "private.wav")
    if name == "-":
        result = subprocess.run(
            command("enhance", "-", "-o", tmp_path / "out.wav"), input=text.encode(), capture_output=True, check=False,
            env=alone(PATH=ffmpeg.path), timeout=PATIENCE_S,
        )  # fmt: skip
        assert b"playlist" in result.stderr
        assert result.returncode == 1
    else:
        (tmp_path / name).write_text(text)
        assert "is a playlist" in complaint(
            segan("enhance", tmp_path / name, "-o", tmp_path / "out.wav", PATH=ffmpeg.path)
        )
    assert not (tmp_path / "out.wav").exists()


def test_ffmpeg_refuses_playlists(tmp_path, monkeypatch, ffmpeg):
    monkeypatch.setenv("PATH", ffmpeg.path)
    monkeypatch.setattr(sources, "is_playlist", lambda path: False)
    soundfile.write(tmp_path / "private.wav", voice(1.0), 16_000)
    for name, text in (("a.m3u8", PLAYLISTS["hls"]), ("a.txt", PLAYLISTS["concat"])):
        (tmp_path / name).write_text(text.format(tmp_path / "private.wav"))
        with pytest.raises(AudioError, match="format that segan reads"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "start", [b"RIFF\0\0\0\0WAVE", b"riff" + bytes(36), b"FORM\0\0\0\0AIFF", b"ID3", b"\xff\xfb\x90\0", b"OggS"]
)
@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"LIST\0\0\0\0", b"\xff\xfb"])
def test_long_padding_after_a_header_does_not_hang(start, filling, tmp_path):
    (tmp_path / "a.wav").write_bytes(start + filling * (2_000_000 // len(filling)))
    with contextlib.suppress(AudioError):
        read(tmp_path / "a.wav")


def test_video_without_audio_is_rejected(tmp_path, ffmpeg):
    ffmpeg("-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=10", tmp_path / "film.mp4")
    line = complaint(segan("enhance", tmp_path / "film.mp4", "-o", tmp_path / "out.wav", PATH=ffmpeg.path))
    assert line.endswith("film.mp4: no audio track")


def test_files_of_a_folder_that_are_left_out_are_reported(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.wav", "b.aifc", "c.snd"):
        (folder / name).write_bytes(whole(name[2:]))
    for name in ("notes.txt", "more.txt", "cover.jpg"):
        (folder / name).write_text("no sound")
    (folder / "linked").symlink_to(tmp_path)
    result = segan("enhance", folder, "-o", tmp_path / "out")
    assert result.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "b.aifc", "c.snd"]
    assert f"{folder}: 3 other files (2 .txt, 1 .jpg) left out" in result.stderr
    assert f"{folder / 'linked'}: is a link to a folder, which is not followed" in result.stderr


def test_training_reads_the_same_formats_as_enhance(tmp_path, monkeypatch, ffmpeg):
    from segan_cli.data.layouts import scan_noise

    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "a.wav", voice(1.0), 16_000)
    for ending in ("m4a", "webm", "mp2"):
        ffmpeg("-i", tmp_path / "a.wav", tmp_path / f"b.{ending}")
    (tmp_path / "c.txt").write_text("no sound")
    corpus = scan_noise(str(tmp_path))
    assert [utterance.path.name for utterance in corpus.utterances] == ["a.wav", "b.m4a", "b.mp2", "b.webm"]
    assert corpus.notes == (f"{tmp_path}: 1 other file (1 .txt)",)
    entries = Cache(tmp_path / "cache", 16_000).read([utterance.path for utterance in corpus.utterances])
    assert all(isinstance(entry, CacheEntry) and entry.length >= 15_700 for entry in entries)


def test_missing_shards_of_the_cache_are_decoded_again(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(1.0), 16_000)
    (entry,) = Cache(tmp_path / "cache", 16_000).read([tmp_path / "a.wav"])
    recordings = Recordings((Recording("a", "a", entry, entry.length),))
    shutil.rmtree(tmp_path / "cache")
    map_shard.cache_clear()
    np.testing.assert_allclose(recordings.excerpt("a", 100, 5_000), np.clip(voice(1.0), -1, 1)[100:5_100], atol=1e-4)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    (entry,) = Cache(tmp_path / "cache", 16_000).read([tmp_path / "b.wav"])
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "b.wav").unlink()
    map_shard.cache_clear()
    with pytest.raises(CorpusError, match="no longer in the cache"):
        Recordings((Recording("b", "b", entry, entry.length),)).excerpt("b", 0, 100)


def test_commands_work_without_a_writable_home(tmp_path, pairs):
    home = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none/cache"}
    result = segan("evaluate", "--noisy", pairs / "noisy", "--clean", pairs / "clean", "--measure", "si_sdr_db", **home)
    assert result.returncode == 0, result.stderr
    assert "scores are not cached" in result.stderr
    soundfile.write(tmp_path / "a.wav", voice(1.0), 16_000)
    assert segan("enhance", tmp_path / "a.wav", "-o", tmp_path / "out.wav", **home).returncode == 0


def test_other_threads_keep_standard_error_while_mp3_is_decoded(tmp_path, capfd):
    content = bytearray(whole("mp3", 8.0))
    for place in range(2_000, len(content), 700):
        content[place] ^= 0xFF
    (tmp_path / "a.mp3").write_bytes(content)
    over = threading.Event()

    def decode():
        while not over.is_set():
            read(tmp_path / "a.mp3", allow_truncated=True)

    threads = [threading.Thread(target=decode) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(300):
        os.write(2, f"line {i}\n".encode())
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(capfd.readouterr().err.splitlines()) == sorted(f"line {i}" for i in range(300))


@pytest.mark.parametrize("message", [b"\n[src/libmpg123/x.c:1] error: a\n", b"[src/libmpg123/x.c:1] error: a\n"])
def test_removing_mpg123_messages_keeps_the_line_ends_of_other_messages(message):
    assert MESSAGES.sub(b"", b"line 1\n" + message + b"line 2\n" + message) == b"line 1\nline 2\n"


def test_silence_at_the_declared_end_does_not_end_the_recording(tmp_path):
    sound = np.concatenate((voice(1.0), np.zeros(4_000, np.float32), voice(1.0)))
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    for told in (0, 2 * 16_100):
        content = bytearray((tmp_path / "a.wav").read_bytes())
        struct.pack_into("<I", content, content.index(b"data") + 4, told)
        (tmp_path / "b.wav").write_bytes(content)
        samples, notes = read(tmp_path / "b.wav")
        assert len(samples) == len(sound)
        assert notes


def large_wav(path, kept=0, name=b"data", size=2_200_000_000):
    """A sparse WAV file of more than 2 GiB, with a chunk behind its samples, of which `kept` bytes are missing."""
    tail = b"iXML" + struct.pack("<I", 600) + b"x" * 600
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 8, 96_000, 96_000 * 16, 16, 16) + name + struct.pack("<I", size)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", len(head) + size + len(tail)) + head)
        file.seek(size, os.SEEK_CUR)
        file.write(tail)
        file.truncate(file.tell() - kept)


def test_a_wav_of_more_than_2_gib_ends_where_its_header_says(tmp_path):
    large_wav(tmp_path / "a.wav")
    assert scan.scan_file(tmp_path / "a.wav") == []
    with (tmp_path / "a.wav").open("rb") as stream:
        encoding, n_bytes = read_wav_header(stream, "a.wav")
    assert (encoding.channels, n_bytes) == (8, 2_200_000_000)
    large_wav(tmp_path / "cut.wav", kept=1_000_000)
    (part,) = scan.scan_file(tmp_path / "cut.wav")
    assert part.missing == "its header specifies 2200000000 bytes of samples, but the file has 2199000608"


def test_only_the_first_of_two_data_chunks_is_read_and_this_is_reported(tmp_path):
    content = whole("wav")
    data = content.index(b"data")
    (tmp_path / "a.wav").write_bytes(content + content[data : data + 4] + struct.pack("<I", 1_000) + bytes(1_000))
    with open_file(tmp_path / "a.wav") as source:
        assert sum(block.shape[1] for block in source.blocks) == N
        assert source.warnings == ["only the first of its data chunks is read"]


@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), bytes(1), bytes(3_000)])
def test_other_data_behind_a_complete_flac_are_ignored_and_reported(tmp_path, behind):
    (tmp_path / "a.flac").write_bytes(whole("flac") + behind)
    with open_file(tmp_path / "a.flac") as source:
        assert sum(block.shape[1] for block in source.blocks) == N
        assert source.warnings == ["other data follows the samples and is ignored"]


@pytest.mark.parametrize("ending", ["ogg", "opus"])
@pytest.mark.parametrize("place", [0.5, 1.0])
def test_a_damaged_page_of_ogg_is_missing(tmp_path, ending, place):
    """One bit of the last page, which decoders leave out in silence, or of one in the middle."""
    content = bytearray(whole(ending, 8.0))
    (tmp_path / f"a.{ending}").write_bytes(content)
    with open_file(tmp_path / f"a.{ending}") as source:
        assert source.warnings == []
    content[round(place * (len(content) - 20))] ^= 1
    (tmp_path / f"a.{ending}").write_bytes(content)
    with (
        pytest.raises(AudioError, match=r"truncated: its Ogg stream has 1 damaged page"),
        open_file(tmp_path / f"a.{ending}"),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "codec", "zeros"),
    [("a.webm", "libopus", True), ("a.mka", "libvorbis", True), ("a.mka", "flac", False), ("a.tta", "tta", False)],
)
def test_damage_within_a_container_is_reported(tmp_path, ffmpeg, monkeypatch, name, codec, zeros):
    """Zeros where blocks were, which a demuxer skips, or one wrong bit in a codec with checksums."""
    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "in.wav", voice(8.0) + hiss(8.0), 16_000)
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", codec, tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    content[middle : middle + 500 * zeros] = bytes(500 * zeros)
    with open_file(tmp_path / name) as source:
        n = sum(block.shape[1] for block in source.blocks)
    assert n / source.info.rate_hz == pytest.approx(8.0, abs=0.05)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match="truncated: ffmpeg reports"), open_file(tmp_path / name) as source:
        list(source.blocks)


@pytest.mark.parametrize("behind", [bytes(100), b"\n"])
def test_padding_behind_matroska_is_accepted(tmp_path, ffmpeg, monkeypatch, behind):
    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "in.wav", voice(2.0), 16_000)
    piped = ffmpeg("-i", tmp_path / "in.wav", "-c:a", "libopus", "-f", "webm", "-")
    (tmp_path / "a.webm").write_bytes(piped + behind)
    with open_file(tmp_path / "a.webm") as source:
        assert sum(block.shape[1] for block in source.blocks) == pytest.approx(96_000, abs=1_000)


def test_fragments_that_repeat_their_header_are_read(tmp_path, ffmpeg, monkeypatch):
    """As segments of DASH joined with their initialisation segments."""
    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "in.wav", voice(6.0), 16_000)
    fragments = ("-movflags", "empty_moov+default_base_moof", "-frag_duration", 2_000_000)
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", "aac", *fragments, tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    starts = [found.start() - 4 for found in re.finditer(b"moof", content)]
    assert len(starts) >= 3
    head, parts = content[: starts[0]], itertools.starmap(slice, itertools.pairwise([*starts, len(content)]))
    (tmp_path / "a.mp4").write_bytes(b"".join(head + content[part] for part in parts))
    with open_file(tmp_path / "a.mp4") as source:
        assert sum(block.shape[1] for block in source.blocks) == pytest.approx(96_000, abs=3_000)


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_wrong_checksums_of_ac3_do_not_silence_it(tmp_path, ffmpeg, monkeypatch, codec):
    """ffmpeg would replace the frames if it checked them, and say so in no error."""
    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "in.wav", 0.3 * (voice(2.0, 48_000) + hiss(2.0, 48_000)), 48_000)
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", codec, tmp_path / f"a.{codec}")
    content = bytearray((tmp_path / f"a.{codec}").read_bytes())
    frames = [found.start() for found in re.finditer(re.escape(content[:2]), bytes(content))]
    for start in frames[2:]:
        content[start - 1] ^= 0xFF  # the checksum ends a frame
    (tmp_path / f"a.{codec}").write_bytes(content)
    ffmpeg("-f", codec, "-i", tmp_path / f"a.{codec}", "-c", "copy", tmp_path / "a.mka")
    with open_file(tmp_path / "a.mka") as source:
        samples = np.concatenate(list(source.blocks), axis=1)
    assert np.sqrt(np.mean(samples[:, 48_000:] ** 2)) > 0.003


def test_joined_mp4_files_are_refused(tmp_path, ffmpeg, monkeypatch):
    monkeypatch.setenv("PATH", ffmpeg.path)
    soundfile.write(tmp_path / "in.wav", voice(1.0), 16_000)
    ffmpeg("-i", tmp_path / "in.wav", tmp_path / "a.m4a")
    content = (tmp_path / "a.m4a").read_bytes()
    for behind in (bytes(100), b"\0\0\0\1free" + b"\xff" * 8, b"\0\0\0\2abcd"):
        (tmp_path / "a.m4a").write_bytes(content + behind)
        with open_file(tmp_path / "a.m4a") as source:
            list(source.blocks)
    (tmp_path / "two.m4a").write_bytes(2 * content)
    with pytest.raises(AudioError, match="several files were joined"), open_file(tmp_path / "two.m4a") as source:
        list(source.blocks)


@pytest.mark.parametrize("start", ["0.7", "1.34"])
def test_a_vorbis_file_that_was_cut_without_encoding_keeps_its_end(tmp_path, ffmpeg, monkeypatch, start):
    sound = 0.3 * (voice(3.0) + hiss(3.0))
    soundfile.write(tmp_path / "in.wav", sound, 16_000)
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", "libvorbis", tmp_path / "in.ogg")
    ffmpeg("-ss", start, "-i", tmp_path / "in.ogg", "-c", "copy", tmp_path / "cut.ogg")
    assert scan.scan_file(tmp_path / "in.ogg") == []
    with open_file(tmp_path / "cut.ogg") as source:
        samples = np.concatenate(list(source.blocks), axis=1)[0]
        (note,) = source.warnings
    lead_in = int(re.match(r"its first (\d+) samples", note)[1])
    kept = 48_000 - round(float(start) * 16_000) + lead_in
    assert len(samples) == kept
    np.testing.assert_allclose(samples[-8_000:], sound[-8_000:], atol=0.2)
    assert np.corrcoef(samples[-8_000:], sound[-8_000:])[0, 1] > 0.9
    (tmp_path / "two.ogg").write_bytes((tmp_path / "in.ogg").read_bytes() + (tmp_path / "cut.ogg").read_bytes())
    with open_file(tmp_path / "two.ogg") as source:
        assert abs(sum(block.shape[1] for block in source.blocks) - 48_000 - kept) < 1_000
        assert "contains 2 recordings, read one after the other; tags are those of the first" in source.warnings
    monkeypatch.setattr(sources, "find_ffmpeg", lambda: None)
    with (
        pytest.raises(AudioError, match=f"without ffmpeg, its last {lead_in} samples cannot be read"),
        open_file(tmp_path / "cut.ogg"),
    ):
        pass


@pytest.mark.parametrize(("rate_hz", "n", "level"), [(8_000, 100, 0.5), (44_100, 5_000, 0.1), (48_000, 90_000, 0.9)])
def test_a_vorbis_file_begins_at_time_0(tmp_path, rate_hz, n, level):
    soundfile.write(tmp_path / "a.ogg", hiss(2.0)[:n], rate_hz, compression_level=level)
    assert scan.scan_file(tmp_path / "a.ogg") == []
    setup = b"".join(packet for packet, _, _ in itertools.islice(packets_of(tmp_path / "a.ogg"), 2, 3))
    assert vorbis.long_modes(setup) in ([False, True], [False])
    assert vorbis.long_modes(setup[:-9]) == []


def packets_of(path):
    with path.open("rb") as file:
        view = FileView(file, 0, path.stat().st_size)
        yield from vorbis.read_packets(view, 0, int.from_bytes(view.at(14, 4), "little"))


@pytest.mark.parametrize("bits", [20, 24])
@pytest.mark.parametrize("before", [b"", ID3_TAG])
@pytest.mark.parametrize("level", [2**30, 2**15])
def test_24_bits_in_4_bytes_are_refused(bits, before, level, tmp_path):
    """Libsndfile chooses between two encodings by the content, and reads some recordings as noise of another length."""
    samples = (voice(1.0) * level).astype("<i4").tobytes()
    header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVEfmt ", 16, 1, 1, 16_000, 64_000, 4, bits,
                         b"data", len(samples))  # fmt: skip
    (tmp_path / "a.wav").write_bytes(before + header + samples)
    with pytest.raises(AudioError, match=rf"a\.wav: has {bits} bits in 4 bytes, which may mean two encodings"):
        read(tmp_path / "a.wav")
    header = header.replace(struct.pack("<HH", 4, bits), struct.pack("<HH", 4, 32))
    (tmp_path / "a.wav").write_bytes(before + header + samples)
    np.testing.assert_allclose(read(tmp_path / "a.wav")[0][:, 0], voice(1.0) * level / 2**31, atol=1e-6)
