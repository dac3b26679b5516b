"""What only ffmpeg knows: other containers, video, and pipes from and to it."""

import os
import re
import shutil
import subprocess
from functools import partialmethod
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from commands import command, complaint, segan, without
from conftest import assert_same_sound, hiss, voice

from segan_cli.audio.ffmpeg import program
from segan_cli.audio.ffmpeg.encoder import run_encoder
from segan_cli.audio.sources import open_file
from segan_cli.audio.wav import Encoding
from segan_cli.errors import AudioError, OutputError

SECONDS = 2.0
PICTURE = ("-f", "lavfi", "-i", f"testsrc=duration={SECONDS}:size=64x48:rate=10")
VIDEO = ("-f", "lavfi", "-i", f"testsrc=duration={SECONDS}:size=64x48:rate=25")  # MPEG-2 has no 10 Hz
CONTAINERS = {  # ending → how to make one, with pictures where it has some
    "m4a": ("-c:a", "aac"),
    "mp4": ("-c:a", "aac", "-c:v", "mpeg4", "-map", "0:a", "-map", "1:v"),
    "mov": ("-c:a", "pcm_s16le", "-c:v", "mpeg4", "-map", "0:a", "-map", "1:v"),
    "mkv": ("-c:a", "flac", "-c:v", "mpeg4", "-map", "0:a", "-map", "1:v"),
    "webm": ("-c:a", "libopus", "-c:v", "libvpx", "-map", "0:a", "-map", "1:v"),
}
WITH_PICTURES = ("mp4", "mov", "mkv", "webm")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A PATH with an ffmpeg on it."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def ffmpeg(path, *arguments, **options):
    words = [shutil.which("ffmpeg", path=path), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(words, check=True, capture_output=True, **options).stdout


def pictures(path, file):
    """The coded pictures as they lie in a file."""
    return ffmpeg(path, "-i", file, "-map", "0:v", "-c", "copy", "-f", "framemd5", "-")


def sound(file):
    with open_file(file) as source:
        return source.info.rate_hz, np.concatenate(list(source.blocks), axis=1).T


@pytest.mark.parametrize("ending", ["m4a", "mp4", "mkv", "webm"])
def test_other_containers_keep_pictures_rate_channels_and_time(path, tmp_path, monkeypatch, ending):
    monkeypatch.setenv("PATH", path)
    stereo = 0.5 * np.stack((voice(SECONDS, 48_000), voice(SECONDS, 48_000, seed=1)), 1)
    soundfile.write(tmp_path / "sound.wav", stereo, 48_000)
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    ffmpeg(path, "-i", tmp_path / "sound.wav", *PICTURE, *CONTAINERS[ending], "-metadata", "title=A talk", source)
    before = source.read_bytes()
    result = segan("enhance", source, "-o", target, "--strength", "0")
    assert (result.returncode, "segan:" in result.stderr) == (0, False)
    assert source.read_bytes() == before
    if ending in WITH_PICTURES:
        assert pictures(path, target) == pictures(path, source)
    assert b"A talk" in ffmpeg(path, "-i", target, "-f", "ffmetadata", "-")
    (rate_hz, heard), (_, expected) = sound(target), sound(source)
    assert rate_hz == 48_000
    assert heard.shape[1] == 2
    n = min(len(heard), len(expected))
    assert n >= SECONDS * 48_000 - 2_048  # a frame of the codec at either end
    assert abs(len(heard) - len(expected)) <= 4_096
    for channel in range(2):
        lags = np.fft.irfft(np.fft.rfft(heard[:n, channel], 2 * n) * np.conj(np.fft.rfft(expected[:n, channel], 2 * n)))
        assert np.argmax(lags) == 0


def test_a_video_can_become_a_sound_file(path, tmp_path):
    soundfile.write(tmp_path / "sound.wav", voice(SECONDS) + hiss(SECONDS), 16_000)
    ffmpeg(path, "-i", tmp_path / "sound.wav", *PICTURE, *CONTAINERS["mkv"], tmp_path / "in.mkv")
    assert segan("enhance", tmp_path / "in.mkv", "-o", tmp_path / "out.flac", PATH=path).returncode == 0
    assert segan("enhance", tmp_path / "sound.wav", "-o", tmp_path / "direct.flac").returncode == 0
    heard, expected = (soundfile.read(tmp_path / name)[0] for name in ("out.flac", "direct.flac"))
    np.testing.assert_allclose(heard, expected, atol=2e-4)


def test_without_ffmpeg_the_line_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "talk.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    line = complaint(without({"imageio_ffmpeg"}, "enhance", tmp_path / "talk.mp4", "-o", tmp_path / "out.wav"))
    assert "talk.mp4" in line
    assert "needs ffmpeg" in line
    soundfile.write(tmp_path / "in.wav", voice(0.5), 16_000)
    line = complaint(without({"imageio_ffmpeg"}, "enhance", tmp_path / "in.wav", "-o", tmp_path / "out.m4a"))
    assert "out.m4a" in line
    assert "needs ffmpeg" in line
    assert sorted(place.name for place in tmp_path.iterdir()) == ["in.wav", "talk.mp4"]


@pytest.mark.parametrize(
    ("name", "content"), [("talk.mp4", b"no video"), ("talk.xyz", b"no sound"), ("talk.mp3", b"x")]
)
def test_a_file_that_ffmpeg_cannot_read_gets_one_line(path, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    line = complaint(segan("enhance", tmp_path / name, "-o", tmp_path / "out.wav", PATH=path))
    assert f"{name}: not a readable audio file" in line
    assert [place.name for place in tmp_path.iterdir()] == [name]


def burst_s(path, file):
    """Time of the loudest sample after the first picture, by the times in the file."""

    def start_s(stream):
        table = ffmpeg(path, "-copyts", "-i", file, "-map", stream, "-c", "copy", "-f", "framecrc", "-").decode()
        unit, rows = re.search(r"#tb 0: (\d+)/(\d+)", table), [line for line in table.splitlines() if line[0] != "#"]
        times = (int(row.split(",")[2]) for row in rows)
        return min(time for time in times if abs(time) < 2**62) * int(unit[1]) / int(unit[2])  # others are unknown

    samples = ffmpeg(path, "-i", file, "-map", "0:a", "-ar", "16000", "-f", "f32le", "-")
    return start_s("0:a") + np.argmax(np.frombuffer(samples, np.float32)) / 16_000 - start_s("0:v")


@pytest.mark.parametrize(("late", "time_s"), [("sound", 1.25), ("pictures", 0.25)])
@pytest.mark.parametrize(
    ("endings", "codecs"),
    [
        (("mov", "mov"), ("-c:a", "pcm_s16le", "-c:v", "mpeg4")),
        (("ts", "ts"), ("-c:a", "mp2", "-c:v", "mpeg2video")),
        (("mpg", "mpg"), ("-c:a", "mp2", "-c:v", "mpeg2video")),
        (("mpg", "mkv"), ("-c:a", "mp2", "-c:v", "mpeg2video")),
    ],
)
def test_sound_stays_in_sync_with_pictures_that_begin_at_another_time(path, tmp_path, endings, codecs, late, time_s):
    burst = np.zeros(24_000, np.float32)
    burst[12_000:12_800] = 0.5 * np.hanning(800)
    soundfile.write(tmp_path / "sound.wav", burst, 16_000)
    offset = ("-itsoffset", "0.5")
    inputs = (*offset * (late == "sound"), "-i", tmp_path / "sound.wav", *offset * (late == "pictures"), *VIDEO)
    streams = ("-map", "1:v", "-map", "0:a", *codecs, "-fps_mode", "passthrough")
    source, target = (tmp_path / f"{name}.{ending}" for name, ending in zip(("in", "out"), endings, strict=True))
    ffmpeg(path, *inputs, *streams, source)
    result = segan("enhance", source, "-o", target, "--strength", 0, PATH=path)
    assert result.returncode == 0, result.stderr
    assert burst_s(path, source) == pytest.approx(time_s, abs=0.05)  # delays of encoders
    delay_s = 0.03 if endings[0] != endings[1] else 0.002  # of the codec, which not every container states
    assert burst_s(path, target) == pytest.approx(burst_s(path, source), abs=delay_s)


def test_a_video_with_very_long_tags_is_read(path, tmp_path):
    soundfile.write(tmp_path / "sound.wav", voice(0.5), 16_000)
    (tmp_path / "tags.txt").write_text(";FFMETADATA1\ncomment=" + "x" * 1_300_000)
    tagged = ("-i", tmp_path / "tags.txt", "-map_metadata", "1", "-c:a", "flac", tmp_path / "in.mka")
    ffmpeg(path, "-i", tmp_path / "sound.wav", *tagged)
    assert segan("enhance", tmp_path / "in.mka", "-o", tmp_path / "out.wav", PATH=path).returncode == 0


def test_the_audio_codec_is_kept(path, tmp_path):
    soundfile.write(tmp_path / "sound.wav", voice(0.5), 16_000)
    ffmpeg(path, "-i", tmp_path / "sound.wav", "-c:a", "flac", tmp_path / "in.mka")
    assert segan("enhance", tmp_path / "in.mka", "-o", tmp_path / "out.mka", PATH=path).returncode == 0
    told = subprocess.run(
        ["ffmpeg", "-i", "out.mka"], cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": path}
    )
    assert "Audio: flac" in told.stderr


def test_sound_that_a_container_cannot_hold_gets_its_default_codec(path, tmp_path):
    soundfile.write(tmp_path / "sound.wav", voice(0.5), 16_000)
    made = ("-map", "0:a", "-map", "1:v", "-c:a", "wmav2", "-c:v", "mpeg4", tmp_path / "in.mkv")
    ffmpeg(path, "-i", tmp_path / "sound.wav", *PICTURE, *made)
    result = segan("enhance", tmp_path / "in.mkv", "-o", tmp_path / "out.mp4", PATH=path)
    assert result.returncode == 0, result.stderr
    assert ".mp4 files cannot contain wmav2 audio; it is written in their default codec" in result.stderr
    copied = ffmpeg(path, "-i", tmp_path / "out.mp4", "-map", "0:a", "-c", "copy", "-f", "framecrc", "-")
    assert b"#codec_id 0: aac" in copied


@pytest.mark.parametrize(
    ("own", "others", "kbps"), [("", 0, 129), ("", 1, 0), (", 96 kb/s", 0, 96), (", 96 kb/s", 1, 96)]
)
def test_the_bit_rate_of_a_file_is_that_of_its_sound_if_there_is_nothing_else(own, others, kbps):
    video = "  Stream #0:1: Video: mpeg4, yuv420p, 64x48, 900 kb/s, 10 fps\n"
    log = (
        "Input #0, matroska,webm, from 'in.mkv':\n  Duration: 00:00:02.00, start: 0.000000, bitrate: 129 kb/s\n"
        f"  Stream #0:0: Audio: opus, 48000 Hz, mono, fltp{own}\n{others * video}"
    )
    assert program.parse_media(log).kbps == kbps


def test_a_damaged_video_leaves_no_output(path, tmp_path):
    soundfile.write(tmp_path / "sound.wav", voice(SECONDS), 16_000)
    ffmpeg(path, "-i", tmp_path / "sound.wav", *PICTURE, *CONTAINERS["mov"], tmp_path / "whole.mov")
    (tmp_path / "cut.mov").write_bytes((tmp_path / "whole.mov").read_bytes()[:20_000])  # its index lies at the end
    complaint(segan("enhance", tmp_path / "cut.mov", "-o", tmp_path / "out.mov", PATH=path))
    assert not list(tmp_path.glob("*out*"))


def test_ffmpeg_is_stopped_when_its_input_fails(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(subprocess.Popen, "wait", partialmethod(subprocess.Popen.wait, timeout=20.0))
    samples = ["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", "pipe:0", str(tmp_path / "out.mp3")]
    with pytest.raises(AudioError, match="damaged"), run_encoder(samples, tmp_path / "out.mp3", False, pytest.fail):
        raise AudioError("damaged")


def test_an_impossible_rate_is_refused_in_what_ffmpeg_decodes(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(
        "segan_cli.audio.ffmpeg.decoder.read_wav_header", lambda *_: (Encoding(10**9, 1, "FLOAT"), None)
    )
    ffmpeg(path, "-f", "lavfi", "-i", "sine=duration=0.1", tmp_path / "a.mka")
    with pytest.raises(AudioError, match="1000000000 Hz"), open_file(tmp_path / "a.mka"):
        pass


def test_a_short_name_does_not_change_what_is_read_from_the_log(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ffmpeg(path, "-f", "lavfi", "-i", "sine=duration=0.5", tmp_path / "a.mka")
    for name in ("e", "a", "0", "Audio"):
        (tmp_path / name).write_bytes((tmp_path / "a.mka").read_bytes())
        with open_file(Path(name)) as source:
            assert (source.info.rate_hz, source.info.channels) == (44_100, 1)


def test_the_format_is_recognised_by_content_and_not_by_name(path, tmp_path):
    soundfile.write(tmp_path / "in.flac", voice(0.5), 16_000)
    (tmp_path / "in.recording").write_bytes((tmp_path / "in.flac").read_bytes())
    for place in (os.environ["PATH"], path):
        result = segan("enhance", tmp_path / "in.recording", "-o", tmp_path / "out.wav", "--force", PATH=place)
        assert (result.returncode, "segan:" in result.stderr) == (0, False)


def test_ffmpeg_can_write_to_and_read_from_a_pipe(path, tmp_path):
    soundfile.write(tmp_path / "in.flac", voice(SECONDS, 44_100) + hiss(SECONDS, 44_100), 44_100)
    program = " ".join(command())
    line = (
        f"ffmpeg -v error -i in.flac -f wav - | {program} enhance - -o - | ffmpeg -v error -i - -c:a flac out.flac;"
        f" ffmpeg -v error -i in.flac -f s16le - | {program} enhance - -o - --raw --rate 44100"
        " | ffmpeg -v error -f s16le -ar 44100 -ac 1 -i - raw.flac"
    )
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=True,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    assert "segan:" not in result.stderr
    assert segan("enhance", tmp_path / "in.flac", "-o", tmp_path / "file.flac").returncode == 0
    for name in ("out.flac", "raw.flac"):
        assert_same_sound(tmp_path / name, tmp_path / "file.flac")


def test_an_encoder_that_reads_only_a_part_is_an_error_though_its_exit_code_is_0(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "start", lambda path, *options, **streams: subprocess.Popen(["true"], **streams))
    with (
        pytest.raises(OutputError, match="cannot be written"),
        run_encoder([], tmp_path / "a.mp3", False, pytest.fail) as pipe,
    ):
        pipe.write(bytes(1 << 20))
