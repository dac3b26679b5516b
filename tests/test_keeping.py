"""Metadata is kept, or its loss is reported: tags, covers, chapters, time codes, layouts, bit rates."""

import json
import struct
import subprocess
from types import SimpleNamespace

import imageio_ffmpeg
import mutagen
import numpy as np
import pytest
import soundfile
from commands import command, segan
from conftest import hiss
from conftest import voice as full_voice
from mutagen import id3
from mutagen._vorbis import VComment
from mutagen.apev2 import APEBinaryValue, APEv2
from mutagen.flac import FLAC, Picture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4Tags

from segan_cli.audio.libsndfile.writer import bit_rate
from segan_cli.audio.sources import open_file, open_stream
from segan_cli.audio.tags import read_covers, read_texts, remove_gains, write_covers
from segan_cli.errors import OutputError

RATE = 16_000
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de") + b"\0" * 30
MASKS = {"3.0": 0x7, "2.1": 0xB, "quad": 0x33, "4.0": 0x107, "5.0(side)": 0x607, "5.1": 0x3F, "5.1(side)": 0x60F}


def voice(seconds, rate_hz=RATE, seed=0):
    """A voice far below full scale."""
    return 0.5 * full_voice(seconds, rate_hz, seed)


@pytest.fixture(autouse=True)
def _ffmpeg(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("bin")
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def ffmpeg(*arguments):
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(program, check=True, capture_output=True).stdout


def told(path):
    """What ffmpeg says of a file."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", path]
    return subprocess.run(program, capture_output=True, text=True, check=False).stderr


def enhanced(source, target, *options):
    """The warnings of a run, which are the same on standard error and in the account."""
    result = segan("enhance", source, "-o", target, "--json", "--strength", 0, *options)
    assert result.returncode == 0, result.stderr
    warnings = json.loads(result.stdout)["warnings"]
    done, *lines = result.stderr.splitlines()
    assert done.startswith(f"{target}: ")
    assert lines == [f"segan: {source}: {line}" for line in warnings]
    return warnings


def tagged_mp3(path, version=4):
    soundfile.write(path, voice(1.0), RATE, format="MP3")
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=3, text="A talk"))
    tags.add(id3.TPUB(encoding=3, text="P"))
    tags.add(id3.TXXX(encoding=3, desc="mood", text="calm"))
    tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="c", data=PNG))
    tags.add(id3.CTOC(element_id="toc", flags=3, child_element_ids=["c0"], sub_frames=[]))
    title = id3.TIT2(encoding=3, text="One")
    tags.add(
        id3.CHAP(
            element_id="c0",
            start_time=0,
            end_time=500,
            start_offset=2**32 - 1,
            end_offset=2**32 - 1,
            sub_frames=[title],
        )
    )
    tags.save(path, v2_version=version)
    return path


@pytest.mark.parametrize("version", [3, 4])
def test_an_mp3_keeps_cover_chapters_and_every_tag(tmp_path, version):
    source = tagged_mp3(tmp_path / "in.mp3", version)
    assert enhanced(source, tmp_path / "out.mp3") == []
    before, after = MP3(source), MP3(tmp_path / "out.mp3")
    assert sorted(before.tags.keys()) == sorted(after.tags.keys())
    assert after.tags["APIC:c"].data == PNG
    assert after.tags["CHAP:c0"].sub_frames["TIT2"].text == ["One"]
    assert after.tags.version[1] == version


@pytest.mark.parametrize("ending", ["flac", "ogg", "opus", "m4a", "wav", "aiff"])
def test_tags_and_covers_reach_other_formats(tmp_path, ending):
    target = tmp_path / f"out.{ending}"
    warnings = enhanced(tagged_mp3(tmp_path / "in.mp3"), target)
    lost = ending in ("flac", "ogg", "opus")
    assert warnings == ([f"chapters are left out, because .{ending} cannot store them"] if lost else [])
    text, content = told(target), target.read_bytes()
    for value in (b"A talk", b"calm"):
        assert value in content
    assert "attached pic" in text
    assert lost or "One" in text


@pytest.mark.parametrize("ending", ["au", "w64", "flac"])
def test_tags_that_a_format_cannot_store_are_reported(tmp_path, ending):
    with soundfile.SoundFile(tmp_path / "in.wav", "w", RATE, 1, "PCM_16") as file:
        file.title, file.comment, file.software = "T", "C", "S"
        file.write(voice(0.5))
    warnings = enhanced(tmp_path / "in.wav", tmp_path / f"out.{ending}")
    lost = [f"left out, because segan cannot write them to .{ending}: title, comment"]
    assert warnings == ([] if ending == "flac" else lost)


def test_a_flac_keeps_comments_pictures_and_foreign_blocks(tmp_path):
    source = tmp_path / "in.flac"
    soundfile.write(source, voice(0.5), RATE, "PCM_24")
    file = FLAC(source)
    file["mood"] = ["calm", "bright"]
    cover = Picture()
    cover.data, cover.mime, cover.type = PNG, "image/png", 4
    file.add_picture(cover)
    file.save()
    assert enhanced(source, tmp_path / "out.flac") == []
    after = FLAC(tmp_path / "out.flac")
    assert (after["mood"], after.pictures[0].data, after.pictures[0].type) == (["calm", "bright"], PNG, 4)
    assert soundfile.info(tmp_path / "out.flac").subtype == "PCM_24"
    warnings = enhanced(tmp_path / "out.flac", tmp_path / "out.opus")
    assert warnings == []
    assert mutagen.File(tmp_path / "out.opus")["mood"] == ["calm", "bright"]
    assert "attached pic" in told(tmp_path / "out.opus")


@pytest.mark.parametrize("tags", [MP4Tags, id3.ID3, VComment])
def test_a_file_without_covers_gets_no_tag_for_them(tags):
    file = SimpleNamespace(tags=tags())
    assert write_covers(file, [])
    assert not list(file.tags)


def test_an_m4a_keeps_free_tags_cover_and_chapters(tmp_path):
    source = tmp_path / "in.m4a"
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    (tmp_path / "t.txt").write_text(
        ";FFMETADATA1\ntitle=A talk\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=One\n"
    )
    ffmpeg("-i", tmp_path / "s.wav", "-i", tmp_path / "t.txt", "-map_metadata", 1, source)
    file = mutagen.File(source)
    file.tags["----:com.apple.iTunes:MOOD"] = [b"calm"]
    file.tags["covr"] = [mutagen.mp4.MP4Cover(PNG, mutagen.mp4.MP4Cover.FORMAT_PNG)]
    file.save()
    assert enhanced(source, tmp_path / "out.m4a") == []
    after = mutagen.File(tmp_path / "out.m4a").tags
    assert after["----:com.apple.iTunes:MOOD"] == [b"calm"]
    assert bytes(after["covr"][0]) == PNG
    assert "Chapter #0:0" in told(tmp_path / "out.m4a")
    lost = ["chapters are left out, because .flac cannot store them"]
    assert enhanced(source, tmp_path / "out.flac") == lost
    assert FLAC(tmp_path / "out.flac").pictures[0].data == PNG


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def found(path):
    """The chunks of a WAV file by name."""
    content, chunks, place = path.read_bytes(), {}, 12
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    while place < len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        chunks[name] = content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return chunks


BEXT = b"Z" * 338 + struct.pack("<Q", 12_345_678) + bytes(256)
BESIDE = {b"bext": BEXT, b"iXML": b"<x>odd</x>!", b"LIST": b"INFOINAM\4\0\0\0abc\0", b"cue ": struct.pack("<I", 0)}
LABELS = b"adtllabl" + struct.pack("<II", 8, 1) + b"one\0"  # of markers


def timed(path, before=True):
    soundfile.write(path, voice(1.0), 48_000, "PCM_24")
    whole, extra = path.read_bytes(), b"".join(chunk(*pair) for pair in BESIDE.items())
    parts = (whole[12:36], extra, whole[36:]) if before else (whole[12:], extra)
    content = b"WAVE" + b"".join(parts)
    path.write_bytes(chunk(b"RIFF", content))
    return path


@pytest.mark.parametrize("before", [True, False])
def test_a_wav_keeps_the_chunks_around_its_samples(tmp_path, before):
    source = timed(tmp_path / "in.wav", before)
    assert enhanced(source, tmp_path / "out.wav") == []
    chunks = found(tmp_path / "out.wav")
    assert {name: chunks[name] for name in BESIDE} == BESIDE
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_24"
    samples, expected = (soundfile.read(path)[0] for path in (tmp_path / "out.wav", source))
    np.testing.assert_allclose(samples, expected, atol=2**-22)


def test_a_time_code_is_converted_with_the_rate(tmp_path):
    content = timed(tmp_path / "in.wav").read_bytes()[8:] + chunk(b"LIST", LABELS)
    (tmp_path / "in.wav").write_bytes(chunk(b"RIFF", content))
    assert enhanced(tmp_path / "in.wav", tmp_path / "same.wav") == []
    assert LABELS in (tmp_path / "same.wav").read_bytes()
    warnings = enhanced(tmp_path / "in.wav", tmp_path / "out.wav", "--rate", 24_000)
    assert warnings == ["markers are left out: the sampling rate changed"]
    assert LABELS not in (tmp_path / "out.wav").read_bytes()
    chunks = found(tmp_path / "out.wav")
    assert struct.unpack_from("<Q", chunks[b"bext"], 338) == (12_345_678 // 2,)
    assert b"cue " not in chunks


def test_chunks_that_another_format_cannot_hold_are_named(tmp_path):
    warnings = enhanced(timed(tmp_path / "in.wav"), tmp_path / "out.flac")
    assert warnings == ["left out, because segan cannot write them to .flac: bext, cue, iXML"]
    assert mutagen.File(tmp_path / "out.flac")["title"] == ["abc"]


def test_a_wav_whose_size_was_never_written_is_not_copied_as_a_chunk(tmp_path):
    whole = timed(tmp_path / "in.wav").read_bytes()
    data = whole.index(b"data") + 4
    (tmp_path / "in.wav").write_bytes(whole[:4] + bytes(4) + whole[8:data] + bytes(4) + whole[data + 4 :])
    assert enhanced(tmp_path / "in.wav", tmp_path / "out.wav") == [
        "its header was never completed; the file is read to its end"
    ]
    assert found(tmp_path / "out.wav").keys() == {b"fmt ", b"data", *BESIDE}


def test_chunks_behind_samples_without_a_pad_byte_are_kept(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(0.3)[:4_001], RATE, "PCM_U8")
    content = (tmp_path / "in.wav").read_bytes()[8:].removesuffix(b"\0")
    behind = chunk(b"LIST", BESIDE[b"LIST"]) + chunk(b"iXML", b"<x/>")
    (tmp_path / "in.wav").write_bytes(chunk(b"RIFF", content + behind))
    assert enhanced(tmp_path / "in.wav", tmp_path / "out.wav") == []
    chunks = found(tmp_path / "out.wav")
    assert (chunks[b"LIST"], chunks[b"iXML"]) == (BESIDE[b"LIST"], b"<x/>")


@pytest.mark.parametrize("format", ["W64", "CAF"])
def test_chunks_of_w64_and_caf_are_reported_as_lost(tmp_path, format):
    source = tmp_path / f"in.{format.lower()}"
    soundfile.write(source, voice(0.3), RATE)
    assert enhanced(source, tmp_path / f"same{source.suffix}") == []
    name = b"bext" + bytes(12) + struct.pack("<Q", 32) if format == "W64" else b"mark" + struct.pack(">Q", 8)
    source.write_bytes(source.read_bytes() + name + bytes(8))
    what = {"W64": "bext", "CAF": "mark"}[format]
    target = tmp_path / f"out{source.suffix}"
    assert enhanced(source, target) == [f"left out, because segan cannot write them to {source.suffix}: {what}"]


def test_a_big_endian_wav_has_no_damaged_tags(tmp_path):
    with soundfile.SoundFile(tmp_path / "in.wav", "w", RATE, 1, endian="BIG") as file:
        file.title = "T"
        file.write(voice(0.3))
    assert (tmp_path / "in.wav").read_bytes()[:4] == b"RIFX"
    assert enhanced(tmp_path / "in.wav", tmp_path / "out.wav") == []


def test_texts_of_au_and_8svx_are_reported_as_lost(tmp_path):
    plain, au, svx = (tmp_path / name for name in ("plain.au", "in.au", "in.svx"))
    soundfile.write(plain, voice(0.5), RATE, "PCM_16")
    assert enhanced(plain, tmp_path / "out.wav") == []
    header, samples = plain.read_bytes()[:24], plain.read_bytes()[24:]
    au.write_bytes(header[:4] + struct.pack(">I", 32) + header[8:] + b"Stella\0\0" + samples)
    soundfile.write(svx, voice(0.5), RATE, "PCM_S8", format="SVX")
    for source, names in ((au, "annotation"), (svx, "ANNO, NAME")):
        for ending in (source.suffix, ".flac"):
            target = tmp_path / f"{source.suffix[1:]}{ending}"
            assert enhanced(source, target) == [f"left out, because segan cannot write them to {ending}: {names}"]
    assert enhanced(plain, tmp_path / "a.svx") == enhanced(plain, tmp_path / "b.svx") == []
    assert (tmp_path / "a.svx").read_bytes() == (tmp_path / "b.svx").read_bytes()  # without their names


def test_an_rf64_is_written_for_a_recording_with_tags_or_of_unknown_length(tmp_path):
    with soundfile.SoundFile(tmp_path / "in.flac", "w", RATE, 1) as file:
        file.title = "T"
        file.write(voice(0.5))
    lost = "tags other than title, artist and the like are left out, because .rf64 cannot store them"
    assert enhanced(tmp_path / "in.flac", tmp_path / "a.rf64") == [lost]
    ffmpeg("-i", tmp_path / "in.flac", "-map_metadata", "-1", tmp_path / "in.mka")
    enhanced(tmp_path / "in.mka", tmp_path / "b.rf64")
    for name in ("a.rf64", "b.rf64"):
        assert (tmp_path / name).read_bytes()[:4] == b"RF64"


@pytest.mark.parametrize("layout", MASKS)
def test_a_channel_layout_is_kept_from_wav_to_wav_and_through_pipes(tmp_path, layout):
    n = MASKS[layout].bit_count()
    samples = np.stack([0.1 * (i + 1) * voice(0.5, seed=i) for i in range(n)], 1)
    soundfile.write(tmp_path / "s.wav", samples, RATE)
    source = tmp_path / "in.wav"
    ffmpeg("-channel_layout", layout, "-i", tmp_path / "s.wav", "-c:a", "pcm_s16le", source)
    assert enhanced(source, tmp_path / "out.wav") == []
    keeps(tmp_path / "out.wav", samples, MASKS[layout])
    if layout != "quad":
        return
    with source.open("rb") as noisy, (tmp_path / "piped.wav").open("wb") as out:
        subprocess.run(command("enhance", "-", "-o", "-", "--strength", "0"), stdin=noisy, stdout=out, check=True)
    with source.open("rb") as noisy:
        arguments = command("enhance", "-", "-o", tmp_path / "filed.wav", "--strength", "0")
        subprocess.run(arguments, stdin=noisy, check=True)
    for name in ("piped.wav", "filed.wav"):
        keeps(tmp_path / name, samples, MASKS[layout])


def keeps(path, samples, mask):
    """Check that a WAV file has these samples and this mask."""
    fmt = found(path)[b"fmt "]
    assert (struct.unpack_from("<H", fmt)[0], struct.unpack_from("<I", fmt, 20)[0]) == (0xFFFE, mask)
    np.testing.assert_allclose(soundfile.read(path)[0], samples, atol=2e-4)


@pytest.mark.parametrize("layout", ["3.0", "quad"])
@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_a_channel_layout_is_kept_by_ffmpeg(tmp_path, layout, codec):
    n = MASKS[layout].bit_count()
    soundfile.write(tmp_path / "s.wav", np.stack([0.1 * (i + 1) * voice(1.0, seed=i) for i in range(n)], 1), RATE)
    ending = {"aac": "m4a", "flac": "mka"}[codec]
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    ffmpeg("-channel_layout", layout, "-i", tmp_path / "s.wav", "-c:a", codec, source)
    assert enhanced(source, target) == []
    assert f" Hz, {layout}, " in told(target)
    with open_file(source) as before, open_file(target) as after:
        assert before.info.mask == after.info.mask == MASKS[layout]
        levels = [np.concatenate(list(source.blocks), axis=1).std(axis=1) for source in (before, after)]
    np.testing.assert_allclose(levels[0], levels[1], rtol=0.1)


@pytest.mark.parametrize(("channels", "ending"), [(3, "m4a"), (4, "m4a"), (4, "webm"), (4, "mka")])
def test_an_unknown_layout_gets_no_low_frequency_channel(tmp_path, channels, ending):
    soundfile.write(tmp_path / "in.wav", np.stack([voice(0.5, 48_000, seed=i) for i in range(channels)], 1), 48_000)
    assert enhanced(tmp_path / "in.wav", tmp_path / f"out.{ending}") == []
    assert {3: " 3.0, ", 4: " quad, "}[channels] in told(tmp_path / f"out.{ending}")


@pytest.mark.parametrize("ending", ["ogg", "opus"])
def test_channel_order_is_kept_to_ogg_and_back(tmp_path, ending):
    t = np.arange(48_000) / 48_000
    tones = (300, 500, 700, 60, 1_100, 1_300)
    soundfile.write(tmp_path / "s.wav", np.stack([0.2 * np.sin(2 * np.pi * f * t) for f in tones], 1), 48_000)
    ffmpeg("-channel_layout", "5.1", "-i", tmp_path / "s.wav", "-c:a", "pcm_s16le", tmp_path / "in.wav")
    assert enhanced(tmp_path / "in.wav", tmp_path / f"out.{ending}") == []
    heard = np.frombuffer(ffmpeg("-i", tmp_path / f"out.{ending}", "-f", "f32le", "-"), np.float32).reshape(-1, 6)
    assert pitches(heard)[:3] == [300, 500, 700]
    assert pitches(heard)[4:] == [1_100, 1_300]
    assert enhanced(tmp_path / f"out.{ending}", tmp_path / "back.wav") == []
    assert pitches(soundfile.read(tmp_path / "back.wav")[0])[4:] == [1_100, 1_300]
    assert struct.unpack_from("<I", found(tmp_path / "back.wav")[b"fmt "], 20)[0] == MASKS["5.1"]


def pitches(samples):
    return [int(np.argmax(np.abs(np.fft.rfft(samples[:48_000, i])))) for i in range(samples.shape[1])]


@pytest.mark.parametrize("kbps", [32, 160])
@pytest.mark.parametrize("ending", ["mp3", "opus", "ogg", "m4a"])
def test_a_lossy_file_keeps_its_bit_rate(tmp_path, ending, kbps):
    soundfile.write(tmp_path / "s.wav", np.random.default_rng(0).normal(0, 0.1, (2 * 48_000, 2)), 48_000)
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    codec = {"mp3": "libmp3lame", "opus": "libopus", "ogg": "libvorbis", "m4a": "aac"}[ending]
    rate = max(kbps, 64) if ending == "ogg" else kbps
    ffmpeg("-i", tmp_path / "s.wav", "-c:a", codec, "-b:a", f"{rate}k", source)
    assert enhanced(source, target) == []
    before, after = (path.stat().st_size for path in (source, target))
    assert 0.75 <= after / before <= 1.3
    if ending in ("mp3", "ogg"):
        assert bit_rate(target)[0] == pytest.approx(bit_rate(source)[0], rel=0.1)
    if ending == "opus":
        assert bit_rate(source)[0] == pytest.approx(8 * before / 2, rel=0.1)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("ending", ["flac", "aiff", "caf", "wav"])
def test_bit_depth_is_kept_or_the_nearest_is_reported(tmp_path, subtype, ending):
    soundfile.write(tmp_path / "in.w64", voice(0.3), RATE, subtype)
    warnings = enhanced(tmp_path / "in.w64", tmp_path / f"out.{ending}")
    nearest = "PCM_24" if ending == "flac" else subtype
    assert soundfile.info(tmp_path / f"out.{ending}").subtype == nearest
    assert len(warnings) == (nearest != subtype)


def test_an_encoding_that_cannot_be_written_becomes_the_nearest_one(tmp_path):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", "-c:a", "libmp3lame", "-f", "wav", tmp_path / "in.wav")
    (warning,) = enhanced(tmp_path / "in.wav", tmp_path / "out.wav")
    assert "MPEG Layer III" in warning
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_video_read_from_a_pipe_keeps_its_video_stream(tmp_path, ending):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    picture = ("-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=10")
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    options = ("-movflags", "+faststart") if ending == "mp4" else ()
    ffmpeg("-i", tmp_path / "s.wav", *picture, "-c:a", "aac", "-c:v", "mpeg4", *options, source)
    with source.open("rb") as stream:
        subprocess.run(command("enhance", "-", "-o", target), stdin=stream, check=True)
    frames = [ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", "framemd5", "-") for path in (source, target)]
    assert frames[0] == frames[1]
    assert "Audio: aac" in told(target)


@pytest.mark.parametrize(
    ("ending", "codec", "hz"), [("webm", "opus", 48_000), ("amr", "amr_nb", 8_000), ("3gp", "amr_nb", 8_000)]
)
def test_a_rate_that_a_codec_lacks_is_changed_and_reported(tmp_path, ending, codec, hz):
    """AMR takes samples of any rate as if they had 8 kHz, when ffmpeg is told to use experimental codecs."""
    soundfile.write(tmp_path / "in.wav", voice(2.0, 44_100), 44_100)
    warnings = enhanced(tmp_path / "in.wav", tmp_path / f"out.{ending}")
    assert warnings == [f"the rate became {hz} Hz, because {codec} does not support 44100 Hz"]
    with open_file(tmp_path / f"out.{ending}") as source:
        seconds = sum(block.shape[1] for block in source.blocks) / source.info.rate_hz
    assert seconds == pytest.approx(2.0, abs=0.05)


def with_gains(path):
    """A recording with tags for players that change its level, and a title."""
    if path.suffix == ".m4a":
        ffmpeg("-f", "lavfi", "-i", "sine=d=1:r=16000", path)
    else:
        soundfile.write(path, voice(1.0), RATE)
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if isinstance(file.tags, id3.ID3):
        file.tags.add(id3.TIT2(encoding=3, text="A talk"))
        file.tags.add(id3.TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text="+12.00 dB"))
        file.tags.add(id3.RVA2(desc="track", channel=1, gain=12.0, peak=0.2))
    elif path.suffix == ".m4a":
        file.tags["\xa9nam"] = ["A talk"]
        file.tags["----:com.apple.iTunes:iTunNORM"] = [b" 00000A12"]
        file.tags["----:com.apple.iTunes:replaygain_track_gain"] = [b"+12.00 dB"]
    else:
        gains = {"replaygain_track_gain": ["+12.00 dB"], "R128_TRACK_GAIN": ["3072"]}
        file.tags.update({"title": ["A talk"], **gains})
    file.save()


def kept_tags(path):
    """What is left: the title, and what changes the level."""
    text = told(path).lower()
    return "a talk" in text, any(word in text for word in ("replaygain", "r128", "itunnorm", "12.00 db"))


@pytest.mark.parametrize(
    ("before", "after"),
    [("wav", "wav"), ("mp3", "mp3"), ("flac", "ogg"), ("flac", "mka"), ("m4a", "m4a"), ("m4a", "flac"), ("ogg", "m4a")],
)
def test_tags_about_the_level_are_kept_until_it_changes(tmp_path, before, after):
    with_gains(tmp_path / f"in.{before}")
    assert kept_tags(tmp_path / f"in.{before}") == (True, True)
    source, target = tmp_path / f"in.{before}", tmp_path / f"out.{after}"
    assert not any("ReplayGain" in line for line in enhanced(source, target))
    assert kept_tags(target) == (True, True)
    lines = [line for line in enhanced(source, target, "--normalize", "-3", "-y") if "ReplayGain" in line]
    assert lines == ["its ReplayGain tags are left out, because the level was changed"]
    assert kept_tags(target) == (True, False)


@pytest.mark.parametrize("before", ["mp3", "m4a"])
@pytest.mark.parametrize("after", ["mp3", "m4a", "flac"])
def test_the_delay_of_the_former_encoder_is_not_a_tag_of_the_output(tmp_path, before, after):
    source, value = tmp_path / f"in.{before}", " 00000000 00000210 00000A24 000000000000368C"
    if before == "m4a":
        soundfile.write(tmp_path / "in.wav", voice(1.0), RATE)
        ffmpeg("-i", tmp_path / "in.wav", source)
    else:
        soundfile.write(source, voice(1.0), RATE)
    file = mutagen.File(source)
    if before == "m4a":
        file.tags["----:com.apple.iTunes:iTunSMPB"] = [value.encode()]
        file.tags["\xa9cmt"] = ["A talk"]
    else:
        file.add_tags()
        file.tags.add(id3.COMM(encoding=3, lang="eng", desc="iTunSMPB", text=value))
        file.tags.add(id3.COMM(encoding=3, lang="eng", desc="", text="A talk"))
    file.save()
    enhanced(source, tmp_path / f"out.{after}")
    written = str(mutagen.File(tmp_path / f"out.{after}").tags)
    assert "A talk" in written
    assert "00000210" not in written


def test_a_full_disk_while_gains_are_removed_is_an_error_of_the_output(tmp_path, monkeypatch):
    with_gains(tmp_path / "a.flac")
    monkeypatch.setattr(FLAC, "save", lambda self: (_ for _ in ()).throw(mutagen.MutagenError("disk full")))
    with pytest.raises(OutputError, match=r"a\.flac: its tags cannot be written \(disk full\)"):
        remove_gains(tmp_path / "a.flac", print)


def test_the_loudness_in_a_bext_chunk_is_kept_unless_the_level_changes(tmp_path):
    bext = struct.pack("<346sH64s5h180s", b"Interview", 2, b"", -2300, 600, -100, -2000, -2100, b"")
    soundfile.write(tmp_path / "in.wav", voice(0.5), RATE)
    content = (tmp_path / "in.wav").read_bytes() + struct.pack("<4sI", b"bext", len(bext)) + bext
    (tmp_path / "in.wav").write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert enhanced(tmp_path / "in.wav", tmp_path / "same.wav") == []
    assert bext in (tmp_path / "same.wav").read_bytes()
    (line,) = enhanced(tmp_path / "in.wav", tmp_path / "out.wav", "--normalize", "-3")
    assert line == "the loudness in its bext chunk is left out, because the level was changed"
    changed = bext[:412] + b"\xff\x7f" * 5 + bext[422:]
    assert changed in (tmp_path / "out.wav").read_bytes()


@pytest.mark.parametrize(("family", "channels"), [(2, 4), (255, 6)])
def test_the_loss_of_an_opus_ambisonic_layout_is_reported(tmp_path, family, channels):
    """Each channel has its own level, by which it is found again in its place."""
    levels = 0.4 * 0.7 ** np.arange(channels)
    soundfile.write(tmp_path / "in.wav", voice(1.0, 48_000)[:, None] * levels, 48_000)
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", "libopus", "-mapping_family", family, tmp_path / "in.opus")
    (line,) = enhanced(tmp_path / "in.opus", tmp_path / "out.wav")
    assert f"family {family})) is lost" in line
    with open_file(tmp_path / "out.wav") as source:
        assert source.info.mask == 0
        heard = np.concatenate(list(source.blocks), axis=1).std(axis=1)
    np.testing.assert_allclose(heard / heard[0], levels / levels[0], rtol=0.25)
    lines = enhanced(tmp_path / "in.opus", tmp_path / "out.ogg")
    assert any("is lost" in line for line in lines)


def test_the_loss_of_a_b_format_layout_is_reported(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.stack([voice(0.5)] * 4, 1), RATE, format="WAVEX")
    content = (tmp_path / "in.wav").read_bytes()
    guid = bytes.fromhex("000000001000800000aa00389b71")
    b_format = bytes.fromhex("00002107d3118644c8c1ca000000")
    (tmp_path / "in.wav").write_bytes(content.replace(guid, b_format, 1))
    (line,) = enhanced(tmp_path / "in.wav", tmp_path / "out.wav")
    assert line.startswith("its channel layout (ambisonic (B-format)) is lost")
    with (tmp_path / "in.wav").open("rb") as stream, open_stream(stream) as source:
        assert source.warnings == [line]


@pytest.mark.parametrize(
    ("codec", "container", "subtype"),
    [
        ("aac", "mp4", "PCM_24"),
        ("alac", "m4a", "PCM_16"),
        ("pcm_s24le", "mka", "PCM_24"),
        ("pcm_f32le", "mka", "FLOAT"),
    ],
)
def test_sound_that_ffmpeg_reads_keeps_its_depth_in_a_wav(tmp_path, codec, container, subtype):
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5:r=16000", "-c:a", codec, tmp_path / f"in.{container}")
    assert enhanced(tmp_path / f"in.{container}", tmp_path / "out.wav") == []
    assert soundfile.info(tmp_path / "out.wav").subtype == subtype


@pytest.mark.parametrize(("rate_hz", "kbps"), [(16_000, 24), (8_000, 16), (44_100, 48), (48_000, 128)])
def test_mp3_of_a_low_constant_bit_rate_keeps_its_length_and_timing(tmp_path, rate_hz, kbps):
    soundfile.write(tmp_path / "in.wav", voice(2.0, rate_hz) + hiss(2.0, rate_hz), rate_hz)
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", "libmp3lame", "-b:a", f"{kbps}k", tmp_path / "in.mp3")
    enhanced(tmp_path / "in.mp3", tmp_path / "out.mp3")
    before, after = (soundfile.read(tmp_path / name)[0] for name in ("in.mp3", "out.mp3"))
    assert len(after) == len(before)
    lags = [float(after[max(0, lag) : len(after) + min(0, lag)] @ before[max(0, -lag) : len(before) - max(0, lag)])
            for lag in range(-1_200, 1_201)]  # fmt: skip
    assert np.argmax(lags) == 1_200
    assert MP3(tmp_path / "out.mp3").info.bitrate == pytest.approx(1_000 * kbps, rel=0.15)


def test_lossy_sound_in_a_misleading_name_is_not_called_lossless(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "sine=d=1:r=16000", "-c:a", "aac", "-f", "ipod", tmp_path / "in.mp3")
    assert enhanced(tmp_path / "in.mp3", tmp_path / "out.mp3") == []


def test_lossless_sound_that_becomes_lossy_in_the_same_container_is_reported(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "sine=d=1:r=16000", "-c:a", "flac", tmp_path / "in.oga")
    (line,) = enhanced(tmp_path / "in.oga", tmp_path / "out.oga")
    assert line == "the encoding became Vorbis, because OGG cannot be written as Signed 16 bit PCM"


def test_alac_is_not_written_by_libsndfile_which_damages_the_last_samples(tmp_path):
    soundfile.write(tmp_path / "in.caf", np.stack([voice(0.3)] * 2, 1)[:4_103], RATE, "ALAC_24")
    (line,) = enhanced(tmp_path / "in.caf", tmp_path / "out.caf")
    assert line == "the encoding became Signed 24 bit PCM, because CAF cannot be written as 24 bit ALAC"
    samples, expected = (soundfile.read(tmp_path / name)[0] for name in ("out.caf", "in.caf"))
    np.testing.assert_allclose(samples, expected, atol=2**-22)


@pytest.mark.parametrize("ending", ["flac", "ogg"])
def test_tags_stay_in_their_order(tmp_path, ending):
    soundfile.write(tmp_path / f"in.{ending}", voice(0.5), RATE)
    file = mutagen.File(tmp_path / f"in.{ending}")
    names = [f"name{number}" for number in (3, 1, 4, 5, 9, 2, 6)]
    for name in names:
        file.tags[name] = [f"of {name}", "again"]
    file.save()
    enhanced(tmp_path / f"in.{ending}", tmp_path / f"out.{ending}")
    tags = [pair for pair in mutagen.File(tmp_path / f"out.{ending}").tags if pair[0].lower() in names]
    assert [(key.lower(), text) for key, text in tags] == [
        (name, text) for name in names for text in (f"of {name}", "again")
    ]


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_id3_tags_in_front_of_a_flac_are_kept(tmp_path, ending):
    soundfile.write(tmp_path / "plain.flac", voice(0.5), RATE)
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=3, text="of ID3")), tags.add(id3.TPE1(encoding=3, text="singer"))
    tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=b"picture"))
    tags.save(tmp_path / "tag")
    (tmp_path / "in.flac").write_bytes((tmp_path / "tag").read_bytes() + (tmp_path / "plain.flac").read_bytes())
    file = mutagen.File(tmp_path / "in.flac")
    file.tags["title"] = "of FLAC"
    file.save()
    assert enhanced(tmp_path / "in.flac", tmp_path / f"out.{ending}") == []
    after = mutagen.File(tmp_path / f"out.{ending}")
    texts = read_texts(after.tags)
    assert (texts["title"], texts["artist"]) == (["of FLAC"], ["singer"])
    assert [cover.data for cover in read_covers(after)] == [b"picture"]


@pytest.mark.parametrize("ending", ["mp3", "flac"])
def test_ape_tags_of_an_mp3_are_kept(tmp_path, ending):
    source = tagged_mp3(tmp_path / "in.mp3")
    tags = APEv2()
    tags.update({"Title": "other", "Conductor": "C. K.", "REPLAYGAIN_TRACK_GAIN": "-3 dB", "MP3GAIN_UNDO": "+1,+1,N"})
    tags.update({"Mood": "not calm", "Disc": "2/3", "Artist": ["A", "B"]})
    tags["Cover Art (Front)"] = APEBinaryValue(b"front.jpg\0\xff\xd8")
    tags.save(source)
    enhanced(source, tmp_path / f"out.{ending}")
    texts = read_texts(mutagen.File(tmp_path / f"out.{ending}").tags)
    assert texts["title"] == read_texts(MP3(source).tags)["title"] != ["other"]
    assert (texts["conductor"], texts["replaygain_track_gain"]) == (["C. K."], ["-3 dB"])
    assert (texts["mood"], texts["discnumber"], texts["artist"]) == (["calm"], ["2/3"], ["A", "B"])
    assert not any("mp3gain" in name or "cover" in name for name in texts)


def test_ape_tags_of_an_mp3_without_others_reach_m4a(tmp_path):
    soundfile.write(tmp_path / "in.mp3", voice(1.0), RATE, format="MP3")
    tags = APEv2()
    tags.update({"Title": "T", "Artist": "A", "Mood": "calm"})
    tags.save(tmp_path / "in.mp3")
    enhanced(tmp_path / "in.mp3", tmp_path / "out.m4a")
    texts = read_texts(mutagen.File(tmp_path / "out.m4a").tags)
    assert (texts["title"], texts["artist"], texts["mood"]) == (["T"], ["A"], ["calm"])


@pytest.mark.parametrize(("layout", "became"), [("4.0", "quad"), ("2.1", "3.0"), ("5.1", None)])
def test_a_layout_that_vorbis_in_matroska_cannot_store_is_named(tmp_path, layout, became):
    noise = f"anoisesrc=d=0.5:r=48000:a=0.1,aformat=channel_layouts={layout}"
    ffmpeg("-f", "lavfi", "-i", noise, "-c:a", "pcm_s16le", tmp_path / "in.wav")
    lines = enhanced(tmp_path / "in.wav", tmp_path / "out.mka")
    wanted = f"the channels became {became}, because vorbis in .mka files cannot store {layout}"
    assert [line for line in lines if "channels" in line] == [wanted] * (became is not None)


@pytest.mark.parametrize("layout", ["3.0", "quad", "5.0(side)", "5.0", "6.1"])
@pytest.mark.parametrize("ending", ["webm", "mka"])
def test_opus_keeps_each_channel_in_its_place(tmp_path, layout, ending):
    """Each channel has its own level, by which it is found again; that for low effects has none."""
    n = {"3.0": 3, "quad": 4, "6.1": 7}.get(layout, 5)
    levels = 0.5 * 0.7 ** np.arange(n)
    if layout == "6.1":
        levels[3] = 0
    (full_voice(1.0, 48_000)[:, None] * levels).astype("<f4").tofile(tmp_path / "in.raw")
    raw = ("-f", "f32le", "-ar", 48_000, "-ch_layout", layout, "-i", tmp_path / "in.raw")
    codec = ("-c:a", "libopus", "-mapping_family", 1) if ending == "mka" and layout != "5.0(side)" else ("-c:a", "flac")
    ffmpeg(*raw, *codec, tmp_path / "in.mka")
    enhanced(tmp_path / "in.mka", tmp_path / f"out.{ending}")
    with open_file(tmp_path / f"out.{ending}") as source:
        heard = np.concatenate(list(source.blocks), axis=1).std(axis=1)
    np.testing.assert_allclose(heard / heard[0], levels / levels[0], rtol=0.25, atol=0.02)
