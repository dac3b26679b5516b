"""What encoders cannot take is refused before anything is written, in one line that says what they can."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from commands import PATIENCE_S, alone, complaint, segan
from conftest import hiss

from segan_cli.audio.files import FORMATS, AudioInfo
from segan_cli.audio.levels import TargetOptions
from segan_cli.audio.libsndfile.writer import ENCODING_LIMITS, exceeded_limit
from segan_cli.audio.sinks import open_target
from segan_cli.errors import OutputError

RATES_HZ = (1_000, 5_000, 8_000, 16_000, 44_100, 48_000, 65_536, 96_000, 200_000, 200_001, 655_350, 768_000)
CHANNELS = (1, 2, 3, 8, 9, 64)

PROGRAM = """
import soundfile
from segan_cli.audio.libsndfile.writer import exceeded_limit
for format, subtype in {pairs}:
    for rate in {rates}:
        for channels in {channels}:
            said = exceeded_limit(format, subtype, rate, channels)
            if subtype == "VORBIS" and said:
                continue  # libsndfile crashes
            try:
                with soundfile.SoundFile("{path}", "w", rate, channels, subtype, format=format) as file:
                    file.write([[0.1] * channels] * 500)
                fits = soundfile.info("{path}").samplerate == rate
            except soundfile.LibsndfileError:
                fits = False
            assert fits == (said is None), (format, subtype, rate, channels, said)
"""
PAIRS = [
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("SVX", "PCM_16"),
    ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("AU", "G723_24"),
    ("WAV", "PCM_16"), ("WAV", "NMS_ADPCM_16"), ("AIFF", "PCM_24"),
]  # fmt: skip


def test_the_table_of_limits_agrees_with_libsndfile(tmp_path):
    """In a process of its own, which may crash."""
    program = PROGRAM.format(pairs=PAIRS, rates=RATES_HZ, channels=CHANNELS, path=tmp_path / "file")
    words = [sys.executable, "-c", program]
    run = subprocess.run(words, capture_output=True, text=True, env=alone(), check=False, timeout=PATIENCE_S)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "line"),
    [
        ("a.ogg", 400_000, 1, "Vorbis supports at most 200000 Hz, not 400000; use a lower --rate"),
        ("a.opus", 44_100, 1, "Opus supports 8000, 12000, 16000, 24000 and 48000 Hz, not 44100; add --rate 48000"),
        ("a.mp3", 96_000, 2, "32000, 44100 and 48000 Hz, not 96000; add --rate 48000"),
        ("a.mp3", 5_000, 1, "not 5000; add --rate 8000"),
        ("a.mp3", 48_000, 6, "MP3 supports at most 2 channels, not 6; choose another --format"),
        ("a.flac", 768_000, 1, "FLAC supports at most 655350 Hz, not 768000"),
        ("a.flac", 96_001, 1, "FLAC supports only multiples of 10 Hz above 65535 Hz, not 96001; add --rate 96000"),
        ("a.flac", 48_000, 9, "FLAC supports at most 8 channels, not 9"),
        ("a.svx", 96_000, 1, "8SVX supports at most 65535 Hz, not 96000"),
    ],
)
def test_a_limit_is_named_with_what_to_do(tmp_path, name, rate_hz, channels, line):
    info = AudioInfo(rate_hz, channels, 10, "WAV", "PCM_16")
    with pytest.raises(OutputError) as caught, open_target(tmp_path / name, info):
        pytest.fail("was opened")
    assert f"{name}: cannot be written: " in str(caught.value)
    assert line in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_encoding_without_a_fallback_in_reach_becomes_the_default(tmp_path):
    """Opus of an Ogg file at another rate is written as Vorbis, which is said."""
    warnings, info = [], AudioInfo(44_100, 1, 10, "OGG", "OPUS")
    with open_target(tmp_path / "a.ogg", info, options=TargetOptions(warn=warnings.append)) as write:
        write(np.zeros((1, 10), np.float32))
    assert soundfile.info(tmp_path / "a.ogg").subtype == "VORBIS"
    assert "the encoding became Vorbis" in warnings[0]


def test_a_recording_beyond_a_limit_does_not_stop_a_batch(tmp_path):
    soundfile.write(tmp_path / "a.wav", hiss(0.3, 400_000), 400_000)
    soundfile.write(tmp_path / "b.wav", hiss(0.3), 16_000)
    result = segan("enhance", tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / "out", "--format", "ogg")
    assert "1 enhanced" in complaint(result)
    assert f"{tmp_path / 'out' / 'a.ogg'}: cannot be written: Vorbis supports at most 200000 Hz" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.ogg"]


def test_formats_without_limits_accept_the_highest_rate_and_most_channels():
    """Formats that are written without limits, at the highest rate and with the most channels that segan reads."""
    free = {name for name in set(FORMATS.values()) if exceeded_limit(name, "PCM_16", 768_000, 64) is None}
    assert free == {"WAV", "OGG", "MP3", "AIFF", "CAF", "W64", "RF64", "AU"}
    assert all(exceeded_limit("OGG", name, 768_000, 64) for name in ENCODING_LIMITS)
