"""Loudness and peak of outputs: the values of ITU-R BS.1770-4, in one piece and in blocks."""

import numpy as np
import pyloudnorm
import pytest
import soundfile
from commands import complaint, segan
from conftest import hiss, voice

from segan_cli.audio.loudness import LoudnessMeter


def tone(seconds, rate_hz=48_000, level_db=-20.0, hz=997.0):
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype("f4")


def test_a_tone_has_the_loudness_of_the_standard():
    """BS.1770: 997 Hz at 0 dB in one channel is -3.01 LUFS, in two channels 0."""
    for channels, expected in ((1, -23.01), (2, -20.0)):
        meter = LoudnessMeter(-16, 48_000, channels)
        meter.push(np.stack([tone(5.0)] * channels))
        assert meter.loudness() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seconds", [0.5, 59.9, 60.3, 131.0])
def test_blocks_give_the_loudness_of_the_whole(seconds):
    rng = np.random.default_rng(0)
    n = round(seconds * 8_000)
    sound = (rng.standard_normal((2, n)) * np.repeat(10 ** rng.uniform(-3, -1, n // 4_000 + 1), 4_000)[:n]).astype("f4")
    meter = LoudnessMeter(-16, 8_000, 2)
    for block in np.array_split(sound, 9, axis=1):
        meter.push(block)
    expected = pyloudnorm.Meter(8_000).integrated_loudness(sound.T.astype(np.float64))
    assert meter.loudness() == pytest.approx(expected, abs=0.02)


def test_the_true_peak_bounds_the_gain():
    """A tone at a quarter of the rate, sampled beside its peaks: 3 dB above the highest sample."""
    sound = (0.5 * np.sin(np.pi / 2 * np.arange(96_000) + np.pi / 4)).astype("f4")[None]
    meter = LoudnessMeter(0, 48_000, 1)
    meter.push(sound)
    gain = meter.gain()
    assert 0.5 * gain == pytest.approx(10 ** (-1 / 20), rel=0.02)
    reached = float(meter.warning().split(" LUFS")[0].split()[-1])
    expected = pyloudnorm.Meter(48_000).integrated_loudness(gain * sound[0].astype(np.float64))
    assert reached == pytest.approx(expected, abs=0.06)


def test_silence_stays_silence():
    meter = LoudnessMeter(-16, 16_000, 1)
    meter.push(np.zeros((1, 16_000), np.float32))
    assert meter.gain() == 1.0


def test_outputs_get_the_loudness_asked_for(tmp_path):
    soundfile.write(tmp_path / "in.wav", 0.3 * (voice(4.0) + hiss(4.0)), 16_000)
    assert segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--loudness", "-27").returncode == 0
    samples, rate_hz = soundfile.read(tmp_path / "out.wav")
    assert pyloudnorm.Meter(rate_hz).integrated_loudness(samples) == pytest.approx(-27, abs=0.1)
    line = complaint(
        segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "b.wav", "--loudness", -16, "--normalize", 0)
    )
    assert "give one" in line


def test_the_channels_of_quad_have_the_same_weight_left_and_right():
    sound = tone(5.0)
    levels = []
    for channel in range(4):
        block = np.zeros((4, len(sound)), np.float32)
        block[channel] = sound
        meter = LoudnessMeter(-16, 48_000, 4)
        meter.push(block)
        levels.append(meter.loudness())
    assert levels[0] == pytest.approx(levels[1], abs=1e-6)
    assert levels[2] == pytest.approx(levels[3], abs=1e-6)
    assert levels[2] - levels[0] == pytest.approx(10 * np.log10(1.41), abs=1e-3)
