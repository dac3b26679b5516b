"""What a video or another container has besides the enhanced audio is kept: streams, tags, chapters, times."""

import os
import re
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from commands import complaint, segan
from conftest import voice
from test_keeping import enhanced, ffmpeg

from segan_cli.audio.ffmpeg.program import Stream, probe_media
from segan_cli.audio.ffmpeg.tracks import is_wanted
from segan_cli.audio.sources import open_file

RATE = 16_000
PICTURE = ("-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=10")
TAKES = "select='not(mod(n,3))+gt(n,6)'"  # of pictures at a variable rate


@pytest.fixture(autouse=True)
def _ffmpeg(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def make_matroska(folder):
    """A file with pictures, two audio tracks, subtitles in two languages, chapters, a font and a cover."""
    soundfile.write(folder / "s.wav", voice(1.0), RATE)
    (folder / "s.srt").write_text("1\n00:00:00,200 --> 00:00:00,800\nhello\n")
    (folder / "c.txt").write_text(
        ";FFMETADATA1\ntitle=A talk\nMOOD=calm\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=One\n"
    )
    (folder / "font.ttf").write_text("font")
    ffmpeg(*PICTURE, "-frames:v", 1, folder / "cover.jpg")
    inputs = ("s.wav", "s.srt", "c.txt")
    sources = [word for name in inputs for word in ("-i", folder / name)]
    maps = [word for spec in ("0:v", "1:a", "1:a", "2:s", "2:s") for word in ("-map", spec)]
    tags = {
        "s:0": "title=Camera A", "s:1": "language=eng", "s:2": "language=ger", "s:3": "language=fre",
        "s:4": "language=ger", "s:5": "mimetype=application/x-truetype-font", "s:6": "mimetype=image/jpeg",
    }  # fmt: skip
    ffmpeg(
        *PICTURE, *sources, *maps, "-map_metadata", 3, "-vf", TAKES, "-fps_mode", "vfr", "-c:v", "mpeg4",
        "-c:a", "flac", "-c:s", "srt", "-attach", folder / "font.ttf", "-attach", folder / "cover.jpg",
        *(word for spec, tag in tags.items() for word in (f"-metadata:{spec}", tag)), "-metadata:s:3", "title=Titres",
        "-disposition:v:0", "default", "-disposition:a:0", "default+visual_impaired", "-disposition:a:1", "comment",
        folder / "in.mkv",
    )  # fmt: skip
    return folder / "in.mkv"


def packets(path, spec):
    """The coded packets of a stream, with their times."""
    return ffmpeg("-i", path, "-map", f"0:{spec}", "-c", "copy", "-f", "framemd5", "-")


def shape(path):
    """Kind, language, title and flags of the streams of a file."""
    return [(s.kind, s.language, s.tags.get("title"), s.flags) for s in probe_media(path).streams]


ONE_ENHANCED = "only its first audio track is enhanced; 1 other copied unchanged"


def test_a_matroska_file_keeps_all_its_streams(tmp_path):
    source, target = make_matroska(tmp_path), tmp_path / "out.mkv"
    assert enhanced(source, target) == [ONE_ENHANCED]
    assert shape(target) == shape(source)
    assert shape(target)[:6] == [
        ("Video", "", "Camera A", ("default",)), ("Audio", "eng", None, ("default", "visual impaired")),
        ("Audio", "ger", None, ("comment",)), ("Subtitle", "fre", "Titres", ()),
        ("Subtitle", "ger", None, ()), ("Attachment", "", None, ()),
    ]  # fmt: skip
    font, cover = probe_media(target).streams[5:]
    assert (font.tags["filename"], font.tags["mimetype"]) == ("font.ttf", "application/x-truetype-font")
    assert cover.is_cover
    assert (tmp_path / "cover.jpg").read_bytes() in target.read_bytes()
    for spec in ("v:0", "a:1", "s:0"):
        assert packets(target, spec) == packets(source, spec)
    assert (probe_media(target).n_chapters, probe_media(target).tags["mood"]) == (1, "calm")


@pytest.mark.parametrize(
    ("kind", "details", "flags", "endings"),
    [
        ("Data", "bin_data (text / 0x74786574)", (), []),  # chapters, which ffmpeg writes itself
        ("Data", "none (tmcd / 0x64636D74)", (), []),  # and a time code
        ("Data", "none (gpmd / 0x646D7067)", (), [".mp4", ".mkv"]),
        ("Subtitle", "", (), [".mp4", ".mkv"]),
        ("Audio", "", (), [".mp4", ".mkv", ".mka", ".m4a"]),
        ("Video", "", ("attached pic",), [".mp4", ".m4a"]),
    ],
)
def test_a_container_gets_the_streams_that_belong_in_it(kind, details, flags, endings):
    stream = Stream(1, kind, "", details, "", flags)
    assert [e for e in (".mp4", ".mkv", ".mka", ".m4a") if is_wanted(Path(f"out{e}"), stream)] == endings


def test_streams_that_mp4_cannot_hold_are_named_in_one_line(tmp_path):
    source, target = make_matroska(tmp_path), tmp_path / "out.mp4"
    first, second = enhanced(source, target)
    assert first == ONE_ENHANCED
    assert second == ("omitted, because .mp4 files cannot contain it: attachment track 5 (font.ttf); tags (mood)")
    kinds = [stream.kind for stream in probe_media(target).streams]
    assert kinds == ["Video", "Audio", "Audio", "Subtitle", "Subtitle", "Data", "Video"]  # chapters, cover
    assert [stream.language for stream in probe_media(target).of("Subtitle")] == ["fre", "ger"]
    assert [stream.codec for stream in probe_media(target).of("Audio")] == ["flac", "flac"]


def test_video_that_a_container_cannot_hold_is_refused_in_one_line(tmp_path):
    source = make_matroska(tmp_path)
    line = complaint(segan("enhance", source, "-o", tmp_path / "out.webm"))
    assert line == f"segan: {tmp_path}/out.webm: .webm files cannot contain mpeg4 video; give an .mkv file"
    assert not list(tmp_path.glob("*out*"))


def test_a_codec_that_a_container_cannot_hold_is_named(tmp_path):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", *PICTURE, "-c:a", "aac", "-c:v", "libvpx", tmp_path / "in.mkv")
    warnings = enhanced(tmp_path / "in.mkv", tmp_path / "out.webm")
    assert warnings[0] == ".webm files cannot contain aac audio; it is written in their default codec"
    assert probe_media(tmp_path / "out.webm").of("Audio")[0].codec in ("opus", "vorbis")


CODECS = {
    "mpeg4": "mpeg4", "vp8": "libvpx", "theora": "libtheora", "mpeg2video": "mpeg2video", "wmv2": "wmv2",
    "h264": "libx264", "vorbis": "libvorbis",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "target", "video", "before", "after"),
    [
        ("in.mkv", "out.ts", "mpeg2video", "flac", "mp2"),  # ffmpeg would write flac that it cannot read
        ("in.mkv", "out.mpg", "h264", "flac", "mp2"),
        ("in.mkv", "out.avi", "h264", "mp3", "mp3"),
        ("in.mp4", "out.mpg", "h264", "aac", "mp2"),  # at a bit rate that MP2 has
        ("in.ogv", "out.ogv", "theora", "vorbis", "vorbis"),
        ("in.ogv", "out.mkv", "theora", "vorbis", "vorbis"),
    ],
)
def test_pictures_and_sound_can_be_read_in_other_containers(tmp_path, source, target, video, before, after):
    soundfile.write(tmp_path / "s.wav", np.stack([0.3 * voice(1.0, 48_000)] * 2, 1), 48_000)
    inputs = ("-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=25", "-i", tmp_path / "s.wav")
    ffmpeg(*inputs, "-pix_fmt", "yuv420p", "-c:v", CODECS[video], "-c:a", CODECS.get(before, before), tmp_path / source)
    warnings = enhanced(tmp_path / source, tmp_path / target)
    message = f"{Path(target).suffix} files cannot contain {before} audio; it is written in their default codec"
    assert warnings == [message] * (before != after)
    assert {s.kind: s.codec for s in probe_media(tmp_path / target).streams} == {"Video": video, "Audio": after}
    pictures = ffmpeg("-i", tmp_path / target, "-map", "0:v", "-f", "framemd5", "-").splitlines()
    assert sum(not line.startswith(b"#") for line in pictures) >= 23


@pytest.mark.parametrize("target", ["out.ts", "out.mpg"])
def test_video_that_ffmpeg_would_write_but_not_read_is_refused(tmp_path, target):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", *PICTURE, "-c:a", "libopus", "-c:v", "libvpx", tmp_path / "in.webm")
    line = complaint(segan("enhance", tmp_path / "in.webm", "-o", tmp_path / target))
    assert f"{target}: {target[3:]} files cannot contain vp8 video; give an .mkv file" in line


@pytest.mark.parametrize(
    ("ending", "video", "sound", "says"),
    [
        ("avi", "mpeg4", "pcm_s16le", "its header specifies"),
        ("wmv", "wmv2", "wmav2", "its header specifies"),
        ("mxf", "mpeg2video", "pcm_s16le", "its container specifies"),
    ],
)
def test_a_truncated_video_is_refused(tmp_path, ending, video, sound, says):
    soundfile.write(tmp_path / "s.wav", 0.3 * voice(6.0, 48_000), 48_000)
    inputs = ("-f", "lavfi", "-i", "testsrc=duration=6:size=64x48:rate=25", "-i", tmp_path / "s.wav")
    ffmpeg(*inputs, "-pix_fmt", "yuv420p", "-c:v", video, "-c:a", sound, tmp_path / f"in.{ending}")
    content = (tmp_path / f"in.{ending}").read_bytes()
    (tmp_path / f"cut.{ending}").write_bytes(content[: len(content) // 2])
    line = complaint(segan("enhance", tmp_path / f"cut.{ending}", "-o", tmp_path / "out.wav"))
    assert "truncated" in line
    assert says in line or "Packet corrupt" in line  # if the cut is in a packet
    if says == "its header specifies":
        assert says in line
    assert enhanced(tmp_path / f"in.{ending}", tmp_path / "whole.wav") == []


def test_an_avi_file_whose_second_part_is_truncated_is_refused(tmp_path):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", "-c:a", "pcm_s16le", tmp_path / "in.avi")
    content = (tmp_path / "in.avi").read_bytes()
    part = b"RIFF" + (104).to_bytes(4, "little") + b"AVIXJUNK" + (92).to_bytes(4, "little") + bytes(92)
    (tmp_path / "whole.avi").write_bytes(content + part)
    assert enhanced(tmp_path / "whole.avi", tmp_path / "whole.wav") == []
    (tmp_path / "cut.avi").write_bytes(content + part[:-10])
    line = complaint(segan("enhance", tmp_path / "cut.avi", "-o", tmp_path / "out.wav"))
    n = len(content) + 112
    assert f"truncated: its header specifies {n} bytes, but the file has {n - 10}" in line


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_a_longer_second_track_is_no_reason_to_refuse_the_first(tmp_path, ending):
    soundfile.write(tmp_path / "s.wav", voice(2.0), RATE)
    inputs = ("-i", tmp_path / "s.wav", *PICTURE, "-f", "lavfi", "-i", "sine=d=5:r=16000")
    codecs = ("-c:v", "mpeg2video" if ending == "ts" else "mpeg4", "-c:a", "aac")
    ffmpeg(*inputs, *[word for n in (0, 1, 2) for word in ("-map", n)], *codecs, tmp_path / f"in.{ending}")
    lines = enhanced(tmp_path / f"in.{ending}", tmp_path / f"out.{ending}")
    (first,) = [line for line in lines if "container" in line]
    assert re.fullmatch(r"its container specifies [45]\.\d\d s, but its audio lasts 2\.\d\d s", first)


@pytest.mark.parametrize("target", ["out.mkv", "out.wav"])
def test_sound_that_would_lose_sync_because_its_format_changes_is_refused(tmp_path, target):
    for n in (1, 6):
        ffmpeg("-f", "lavfi", "-i", "sine=d=2:r=48000", "-ac", n, "-c:a", "ac3", tmp_path / f"{n}.ac3")
    (tmp_path / "both.ac3").write_bytes(b"".join((tmp_path / f"{n}.ac3").read_bytes() for n in (1, 6)))
    pictures = ("-f", "lavfi", "-i", "testsrc=duration=4:size=64x48:rate=25")
    ffmpeg(*pictures, "-i", tmp_path / "both.ac3", "-c:v", "mpeg4", "-c:a", "copy", tmp_path / "in.mkv")
    line = complaint(segan("enhance", tmp_path / "in.mkv", "-o", tmp_path / target))
    assert "in.mkv: its audio changes to 48000 Hz, 5.1" in line
    with open_file(tmp_path / "both.ac3") as source:
        assert abs(sum(block.shape[1] for block in source.blocks) - 192_000) < 5_000
    ffmpeg("-i", tmp_path / "in.mkv", "-c:v", "copy", "-ac", 1, "-ar", 48_000, tmp_path / "new.mkv")  # as advised
    assert enhanced(tmp_path / "new.mkv", tmp_path / target) == []


def test_pictures_that_go_on_after_the_sound_are_no_reason_to_refuse_a_video(tmp_path):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    pictures = ("-f", "lavfi", "-i", "testsrc=duration=4:size=64x48:rate=25")
    ffmpeg("-i", tmp_path / "s.wav", *pictures, "-c:a", "mp2", "-c:v", "mpeg2video", tmp_path / "in.ts")
    (warning,) = enhanced(tmp_path / "in.ts", tmp_path / "out.ts")
    assert re.fullmatch(r"its container specifies 4\.\d\d s, but its audio lasts 1\.\d\d s", warning)


@pytest.mark.parametrize("target", ["out.flac", "out.mp3", "out.wav"])
@pytest.mark.parametrize("source", ["in.mkv", "in.avi"])
def test_titles_of_videos_reach_sound_files_and_the_rest_is_named(tmp_path, source, target):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    chapters = ";FFMETADATA1\ntitle=A talk\nartist=Me\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=One\n"
    (tmp_path / "c.txt").write_text(chapters)
    ffmpeg(
        "-i", tmp_path / "s.wav", "-i", tmp_path / "c.txt", "-map_metadata", 1, "-c:a", "pcm_s16le", tmp_path / source
    )
    named = f"left out, because segan cannot write them to {Path(target).suffix}: chapters"
    assert enhanced(tmp_path / source, tmp_path / target) == [named] * (source == "in.mkv")
    tags = probe_media(tmp_path / target).tags
    assert (tags["title"], tags["artist"]) == ("A talk", "Me")


@pytest.mark.parametrize(("ending", "muxer"), [("weba", "webm"), ("m4r", "ipod")])
def test_extensions_that_ffmpeg_does_not_know_are_written(tmp_path, ending, muxer):
    soundfile.write(tmp_path / "s.wav", 0.3 * voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", "-f", muxer, tmp_path / f"in.{ending}")
    assert enhanced(tmp_path / f"in.{ending}", tmp_path / f"out.{ending}") == []
    codecs = [probe_media(tmp_path / f"{name}.{ending}").of("Audio")[0].codec for name in ("in", "out")]
    assert codecs[0] == codecs[1]


@pytest.mark.parametrize(
    ("target", "subtype", "says"),
    [
        ("out.mka", "float", "ffmpeg chooses the encoding of .mka files; omit --subtype"),
        ("out.m4a", "pcm16", "ffmpeg chooses the encoding of .m4a files; omit --subtype"),
        ("out.opus", "vorbis", ".opus files hold Opus; choose another --subtype"),
    ],
)
def test_an_encoding_that_would_have_no_effect_is_refused(tmp_path, target, subtype, says):
    soundfile.write(tmp_path / "s.wav", voice(0.2), RATE)
    assert says in complaint(segan("enhance", tmp_path / "s.wav", "-o", tmp_path / target, "--subtype", subtype))


@pytest.mark.parametrize("ending", ["mov", "mp4"])
def test_a_phone_video_keeps_location_date_device_rotation_and_time_code(tmp_path, ending):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", *PICTURE, "-c:a", "aac", "-c:v", "mpeg4", tmp_path / "s.mov")
    tags = {
        "com.apple.quicktime.location.iso6709": "+48.1+011.5/",
        "com.apple.quicktime.creationdate": "2023-05-06T07:08:09+0200",
        "com.apple.quicktime.make": "Apple",
        "creation_time": "2023-05-06T05:08:09.000000Z",
    }
    words = [word for name, text in tags.items() for word in ("-metadata", f"{name}={text}")]
    turned = ("-display_rotation", 90, "-i", tmp_path / "s.mov", "-timecode", "10:20:30:00", "-c", "copy")
    ffmpeg(*turned, "-movflags", "use_metadata_tags", *words, tmp_path / "in.mov")
    target = tmp_path / f"out.{ending}"
    assert enhanced(tmp_path / "in.mov", target) == []
    after = probe_media(target)
    assert {name: after.tags[name].split(";")[0] for name in tags} == tags  # the date of creation is there twice
    assert after.of("Video")[0].tags["timecode"] == "10:20:30:0"  # frames have one digit at 10 Hz
    assert "rotation of 90.00 degrees" in after.of("Video")[0].side_data.values()
    assert packets(target, "v:0") == packets(tmp_path / "in.mov", "v:0")


def test_sound_that_starts_late_is_read_completely_and_keeps_its_start(tmp_path):
    soundfile.write(tmp_path / "s.wav", voice(1.0), RATE)
    ffmpeg("-i", tmp_path / "s.wav", "-af", "asetpts=PTS+0.8/TB", "-c:a", "flac", tmp_path / "in.mka")
    assert probe_media(tmp_path / "in.mka").start_s == pytest.approx(0.8)
    assert enhanced(tmp_path / "in.mka", tmp_path / "out.mka") == []
    assert probe_media(tmp_path / "out.mka").start_s == pytest.approx(0.8)
    with open_file(tmp_path / "out.mka") as late, open_file(tmp_path / "s.wav") as plain:
        np.testing.assert_allclose(*(np.concatenate(list(s.blocks), 1) for s in (late, plain)), atol=2e-4)


@pytest.mark.parametrize("ending", ["mkv", "mka"])
def test_short_gaps_are_filled_with_silence(tmp_path, ending):
    sound = voice(3.0, 48_000)
    soundfile.write(tmp_path / "s.wav", sound, 48_000)
    pictures = (*PICTURE, "-c:v", "mpeg4") if ending == "mkv" else ()
    ffmpeg("-i", tmp_path / "s.wav", *pictures, "-c:a", "pcm_s16le", tmp_path / f"whole.{ending}")
    drop = "noise=drop='eq(mod(n,30),20)+eq(mod(n,30),21)'"  # two packets of 21 ms, four times
    ffmpeg("-i", tmp_path / f"whole.{ending}", "-c", "copy", "-bsf:a", drop, tmp_path / f"in.{ending}")
    with open_file(tmp_path / f"in.{ending}") as source:
        heard = np.concatenate(list(source.blocks), 1)[0]
    assert source.warnings == []
    assert abs(len(heard) - len(sound)) <= 48
    last = slice(-9_600, -4_800)
    shifts = range(-96, 97)
    errors = [np.abs(heard[last.start + shift : last.stop + shift] - sound[last]).mean() for shift in shifts]
    assert abs(shifts[int(np.argmin(errors))]) <= 48  # 1 ms, the precision of the times
    assert min(errors) < 0.01


def test_names_and_tags_that_imitate_ffmpeg_output_are_not_parsed(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "s.wav", voice(0.5), RATE)
    name = "a\n  Duration: 99:00:00.00, start: 5.0\n  Stream #0:7: Video: h264\n[error] partial file\n.mka"
    tag = "title=partial file\n  Duration: 99:00:00.00, corrupt input packet in stream 0"
    ffmpeg("-i", tmp_path / "s.wav", "-c:a", "flac", "-metadata", tag, f"file:{tmp_path / name}")
    monkeypatch.setenv("AV_LOG_FORCE_COLOR", "1")
    media = probe_media(tmp_path / name)
    assert (media.duration_s, media.start_s, [s.kind for s in media.streams]) == (0.5, 0.0, ["Audio"])
    with open_file(tmp_path / name) as source:
        assert sum(block.shape[1] for block in source.blocks) == 8_000
    assert source.warnings == []


def test_a_truncated_recording_with_a_cover_is_refused(tmp_path):
    soundfile.write(tmp_path / "s.wav", voice(2.0), RATE)
    ffmpeg(*PICTURE, "-frames:v", 1, tmp_path / "c.jpg")
    attach = ("-attach", tmp_path / "c.jpg", "-metadata:s:t", "mimetype=image/jpeg")
    ffmpeg("-i", tmp_path / "s.wav", *attach, "-c:a", "pcm_s16le", "-cluster_time_limit", 100, tmp_path / "in.mka")
    content = (tmp_path / "in.mka").read_bytes()
    (tmp_path / "cut.mka").write_bytes(content[: len(content) // 2])
    assert "truncated" in complaint(segan("enhance", tmp_path / "cut.mka", "-o", tmp_path / "out.wav"))
