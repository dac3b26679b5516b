"""Excerpts equal the same part of the whole, and are read without the rest where that is possible."""

import io
import json
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from commands import alone, command, complaint, segan
from conftest import hiss, voice

from segan_cli.audio.files import AudioInfo
from segan_cli.audio.sources import Source, open_file
from segan_cli.enhancement import recording as recording_module
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.recording import Excerpt, enhance_excerpt, hop_in_samples


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer("segan-gated", threads=1)


def write(path, seconds, rate_hz=16_000, channels=1, **options):
    sound = np.stack([voice(seconds, rate_hz, seed=c) + hiss(seconds, rate_hz, seed=c) for c in range(channels)], 1)
    soundfile.write(path, sound, rate_hz, **options)
    return path


def part(enhancer, path, excerpt):
    with open_file(path) as source:
        pairs = enhance_excerpt(enhancer.enhance_source, source, excerpt, enhancer.network.config)
        return np.concatenate([enhanced for _, enhanced in pairs], axis=1)


@pytest.fixture(scope="module", params=[16_000, 22_050])
def whole(request, enhancer, tmp_path_factory):
    """A recording of nine seconds, its rate, and all of it enhanced."""
    path = write(tmp_path_factory.mktemp("whole") / "a.wav", 9.0, request.param, subtype="FLOAT")
    return path, request.param, enhancer(path)[0][None]


@pytest.mark.parametrize(("start_s", "duration_s"), [(5.3, 1.1), (0.0, 0.5), (8.2, None), (8.0, 100.0)])
def test_an_excerpt_is_that_part_of_the_whole(enhancer, whole, monkeypatch, start_s, duration_s):
    monkeypatch.setattr(recording_module, "BEFORE_S", 2.5)
    path, rate_hz, enhanced = whole
    given = part(enhancer, path, Excerpt(start_s, duration_s))
    expected = enhanced[:, round(start_s * rate_hz) :]
    expected = expected[:, : None if duration_s is None else round(duration_s * rate_hz)]
    assert given.shape == expected.shape
    error_db = 10 * np.log10(np.mean(np.square(given - expected)) / np.mean(np.square(expected)) + 1e-30)
    assert error_db < (-100 if rate_hz == 16_000 else -50)  # above 8 kHz the estimate of the noise has settled less


def test_long_segments_are_read_whole_around_an_excerpt(enhancer):
    config = replace(enhancer.network.config, segment_length=1 << 20, hop=1 << 19)
    blocks = (np.full((1, 16_000), second, np.float32) for second in range(600))
    read = []

    def enhance(source):
        blocks = list(source.blocks)
        read.extend(block[0, 0] for block in blocks)
        return zip(blocks, blocks, strict=True)

    source = Source("a.wav", AudioInfo(16_000, 1, 600 * 16_000, "WAV", "PCM_16"), blocks)
    ((original, _),) = enhance_excerpt(enhance, source, Excerpt(300.0, 1.0), config)
    np.testing.assert_array_equal(original, np.full((1, 16_000), 300))
    assert (read[0] <= 300 - 66, read[-1] >= 301 + 66) == (True, True)  # a segment is 65.5 s


def test_the_hop_is_a_whole_number_of_samples_at_every_rate(enhancer):
    config = enhancer.network.config
    for rate_hz in (8_000, 11_025, 16_000, 44_056, 44_100, 48_000):
        n = hop_in_samples(config, rate_hz)
        assert n * config.sample_rate_hz % (rate_hz * config.hop) == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {}), ("a.flac", {}), ("a.ogg", {}), ("a.opus", {"format": "OGG", "subtype": "OPUS"}), ("a.mp3", {}),
        ("a.aiff", {}),
    ],
)  # fmt: skip
def test_files_are_read_from_the_middle(tmp_path, name, options):
    path = write(tmp_path / name, 3.0, 44_100 if "format" not in options else 48_000, channels=2, **options)
    with open_file(path) as source:
        whole = np.concatenate(list(source.blocks), axis=1)
    for first, end in ((1, 400), (70_000, 90_000), (100_000, None)):
        with open_file(path) as source:
            assert source.blocks_from is not None
            np.testing.assert_array_equal(
                np.concatenate(list(source.part(first, end).blocks), axis=1), whole[:, first:end]
            )


def test_joined_files_are_read_from_the_middle(tmp_path):
    parts = [write(tmp_path / f"{i}.flac", 1.0 + i).read_bytes() for i in range(2)]
    (tmp_path / "both.flac").write_bytes(b"".join(parts))
    for first in (5_000, 20_000):
        with open_file(tmp_path / "both.flac") as source:
            given = np.concatenate(list(source.part(first, None).blocks), axis=1)
        with open_file(tmp_path / "both.flac") as source:
            np.testing.assert_array_equal(given, np.concatenate(list(source.blocks), axis=1)[:, first:])


def test_an_excerpt_near_the_end_does_not_read_the_start(enhancer, tmp_path, monkeypatch):
    """A recording that is damaged near its start: the excerpt near its end is enhanced."""
    monkeypatch.setattr(recording_module, "BEFORE_S", 2.5)
    path = write(tmp_path / "a.flac", 60.0, 8_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 8 : len(content) // 4] = bytes(len(content) // 4 - len(content) // 8)
    path.write_bytes(content)
    assert part(enhancer, path, Excerpt(55.0, 1.0)).shape == (1, 8_000)


def test_the_command_enhances_an_excerpt_with_its_tags(tmp_path):
    source = tmp_path / "noisy.flac"
    with soundfile.SoundFile(source, "w", 16_000, 1) as file:
        file.title = "talk"
        file.write(voice(4.0) + hiss(4.0))
    result = segan("enhance", source, "-o", tmp_path / "part.flac", "--start", "0:01.5", "--duration", "2", "--json")
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert (outcome["seconds"], outcome["error"]) == (2.0, None)
    info = soundfile.info(tmp_path / "part.flac")
    assert (info.frames, info.samplerate) == (32_000, 16_000)
    with soundfile.SoundFile(tmp_path / "part.flac") as file:
        assert file.title == "talk"


def test_an_excerpt_of_a_pipe_equals_that_of_the_file(tmp_path):
    source = write(tmp_path / "noisy.wav", 5.0)
    arguments = ("--start", "2", "--duration", "1.5")
    assert segan("enhance", source, "-o", tmp_path / "part.wav", *arguments).returncode == 0
    piped = subprocess.run(
        command("enhance", "-", "-o", "-", *arguments), input=source.read_bytes(), capture_output=True, env=alone(),
        check=False,
    )  # fmt: skip
    assert piped.returncode == 0, piped.stderr
    given, expected = (soundfile.read(each)[0] for each in (io.BytesIO(piped.stdout), tmp_path / "part.wav"))
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_the_time_code_of_an_excerpt_is_moved_to_its_start(tmp_path):
    source = write(tmp_path / "noisy.wav", 3.0)
    chunk = bytes(338) + struct.pack("<Q", 1_000) + bytes(256)
    marker = b"cue " + struct.pack("<II", 4, 0)
    source.write_bytes(source.read_bytes() + b"bext" + struct.pack("<I", len(chunk)) + chunk + marker)
    source.write_bytes(b"RIFF" + struct.pack("<I", source.stat().st_size - 8) + source.read_bytes()[8:])
    result = segan("enhance", source, "-o", tmp_path / "part.wav", "--start", "1", "--duration", "1")
    assert result.returncode == 0
    assert "markers are left out: this is an excerpt" in result.stderr
    content = (tmp_path / "part.wav").read_bytes()
    place = content.index(b"bext") + 8 + 338
    assert struct.unpack("<Q", content[place : place + 8]) == (17_000,)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--start", "9"), 1, "noisy.wav: --start 9 is beyond its end (2.00 s)"),
        (("--start", "x"), 2, "x; give seconds, MM:SS or HH:MM:SS, such as 90 or 1:30"),
        (("--start", "-1"), 2, "-1; give seconds"),
        (("--start", "1:60"), 2, "1:60; give seconds"),
        (("--start", "1:60:00"), 2, "1:60:00; give seconds"),
        (("--duration", "0"), 2, "the excerpt is empty"),
        (("--duration", "1", "--plot", "p.png"), 2, "--plot shows whole recordings"),
        (
            ("--start", "1", "-o", "part.mp4"),
            1,
            "part.mp4: an excerpt of a video can only be written as audio; add --format wav",
        ),
    ],
)
def test_an_excerpt_beyond_the_end_is_refused_in_one_line(tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "noisy.wav", 2.0)
    result = segan("enhance", "noisy.wav", *arguments)
    assert result.returncode == code
    assert says in complaint(result)
    assert [path.name for path in tmp_path.iterdir()] == ["noisy.wav"]


def test_a_pipe_that_ends_before_the_excerpt_is_refused_in_one_line(tmp_path):
    source = write(tmp_path / "noisy.wav", 1.0)
    result = subprocess.run(
        command("enhance", "-", "-o", tmp_path / "x.flac", "--start", "60"), env=alone(), check=False,
        input=source.read_bytes()[:40] + b"\xff\xff\xff\xff" + source.read_bytes()[44:], capture_output=True,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.decode() == "segan: standard input: --start 60 is beyond its end\n"
    assert not (tmp_path / "x.flac").exists()
