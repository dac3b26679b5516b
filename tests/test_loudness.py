"""Loudness and peak of outputs: the values of ITU-R BS.1770-4, in one piece and in blocks."""

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from commands import complaint, segan
from conftest import hiss, voice
from scipy.signal import resample_poly

from segan_cli.audio import levels
from segan_cli.audio.levels import normalised_loudness
from segan_cli.audio.meter import LoudnessMeter, loudness_weights


def tone(seconds, rate_hz=48_000, level_db=-20.0, hz=997.0):
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype("f4")


def test_a_tone_has_the_loudness_of_the_standard():
    """BS.1770: 997 Hz at 0 dB in one channel is -3.01 LUFS, in two channels 0."""
    for channels, expected in ((1, -23.01), (2, -20.0)):
        meter = LoudnessMeter(48_000, [1.0] * channels)
        meter.push(np.stack([tone(5.0)] * channels))
        assert meter.loudness() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seconds", [0.5, 59.9, 60.3, 131.0])
def test_blocks_give_the_loudness_of_the_whole(seconds):
    rng = np.random.default_rng(0)
    n = round(seconds * 8_000)
    sound = (rng.standard_normal((2, n)) * np.repeat(10 ** rng.uniform(-3, -1, n // 4_000 + 1), 4_000)[:n]).astype("f4")
    meter = LoudnessMeter(8_000, [1.0, 1.0])
    for block in np.array_split(sound, 9, axis=1):
        meter.push(block)
    expected = pyloudnorm.Meter(8_000).integrated_loudness(sound.T.astype(np.float64))
    assert meter.loudness() == pytest.approx(expected, abs=0.02)


def normalised(sound, target_lufs, rate_hz):
    """A signal [channels, n] at a loudness, and the warnings."""
    blocks, warnings = [], []
    with normalised_loudness(target_lufs, rate_hz, [1.0] * len(sound), blocks.append, warnings.append) as write:
        for block in np.array_split(sound, 7, axis=1):
            write(block)
    return np.concatenate(blocks, axis=1), warnings


def true_peak_db(sound):
    return 20 * np.log10(np.abs(resample_poly(sound, 4, 1, axis=-1)).max())


def test_sound_too_short_for_a_loudness_stays_as_it_is():
    sound = 0.1 * (voice(0.2) + hiss(0.2))[None]
    assert np.array_equal(normalised(sound, -23, 16_000)[0], sound)


def test_low_peaks_are_not_limited():
    sound = 0.1 * (voice(4.0) + hiss(4.0))[None]
    scaled, warnings = normalised(sound, -36, 16_000)
    np.testing.assert_allclose(scaled / sound, (scaled / sound)[0, 0], rtol=1e-6)
    assert warnings == []


@pytest.mark.parametrize(("target_lufs", "rate_hz", "channels"), [(-14, 16_000, 1), (-13, 44_100, 2)])
def test_high_peaks_are_limited_so_that_the_loudness_is_reached(monkeypatch, target_lufs, rate_hz, channels):
    sound = np.stack([voice(4.0, rate_hz, seed=seed) + hiss(4.0, rate_hz, seed=seed) for seed in range(channels)])
    sound[:, rate_hz :: rate_hz // 2] = 1.0  # clicks
    meters = []
    monkeypatch.setattr(levels, "LoudnessMeter", lambda *shape: meters.append(LoudnessMeter(*shape)) or meters[-1])
    scaled, warnings = normalised(sound, target_lufs, rate_hz)
    assert scaled.shape == sound.shape
    assert pyloudnorm.Meter(rate_hz).integrated_loudness(scaled.T) == pytest.approx(target_lufs, abs=0.15)
    assert -1.5 < true_peak_db(scaled) < -1
    assert warnings == []
    assert len(meters) <= 7


def test_a_loudness_that_peaks_do_not_allow_is_reported():
    """A tone at a quarter of the rate, sampled beside its peaks: 3 dB above the highest sample."""
    sound = (0.5 * np.sin(np.pi / 2 * np.arange(96_000) + np.pi / 4)).astype("f4")[None]
    scaled, (line,) = normalised(sound, 0, 48_000)
    assert -1.3 < true_peak_db(scaled[:, 1_000:-1_000]) < -1
    reached = float(line.split(" LUFS")[0].split()[-1])
    assert reached == pytest.approx(pyloudnorm.Meter(48_000).integrated_loudness(scaled[0]), abs=0.06)


def test_peaks_near_half_the_rate_are_limited():
    noise = (0.3 * np.random.default_rng(0).standard_normal((1, 96_000))).astype("f4")
    scaled, _ = normalised(noise, -9, 48_000)
    assert 20 * np.log10(np.abs(resample_poly(scaled, 16, 1, axis=-1)).max()) < -1


@pytest.mark.parametrize(
    "sound", [0.99 * np.sin(np.arange(4_800) * 0.06), np.where(np.arange(48_000) % 12_000 == 99, 1e-3, 0.0)]
)
def test_a_recording_whose_loudness_cannot_be_measured_keeps_its_level(sound):
    """Less than a block of the standard, and single samples, whose blocks are below the absolute gate."""
    sound = sound.astype(np.float32)[None]
    kept, (line,) = normalised(sound, -16, 16_000)
    np.testing.assert_array_equal(kept, sound)
    assert line == "its loudness cannot be measured, so its level is unchanged"


def test_the_gain_before_the_limiter_is_bounded():
    sound = np.zeros((1, 48_000), np.float32)
    sound[0, 10_000:10_004] = 0.99
    scaled, (line,) = normalised(sound, 0, 16_000)
    assert -4 < 20 * np.log10(np.abs(scaled).max()) < -1
    assert line.endswith("instead of 0: its peaks do not allow more")


def test_a_loudness_below_8_khz_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("low.wav", hiss(1.0, 4_000), 4_000)
    result = segan("enhance", "low.wav", "-o", "out.wav", "--loudness", "-16")
    assert complaint(result) == "segan: low.wav: --loudness needs a rate of at least 8000 Hz, not 4000"
    assert not Path("out.wav").exists()


def test_silence_stays_silence():
    silence = np.zeros((1, 16_000), np.float32)
    scaled, warnings = normalised(silence, -16, 16_000)
    np.testing.assert_array_equal(scaled, silence)
    assert warnings == []


def test_outputs_have_the_requested_loudness(tmp_path):
    soundfile.write(tmp_path / "in.wav", 0.3 * (voice(4.0) + hiss(4.0)), 16_000)
    assert segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--loudness", "-27").returncode == 0
    samples, rate_hz = soundfile.read(tmp_path / "out.wav")
    assert pyloudnorm.Meter(rate_hz).integrated_loudness(samples) == pytest.approx(-27, abs=0.1)
    line = complaint(
        segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "b.wav", "--loudness", -16, "--normalize", 0)
    )
    assert "give one" in line
    soundfile.write(tmp_path / "seven.wav", np.zeros((1_600, 7)), 16_000)
    line = complaint(segan("enhance", tmp_path / "seven.wav", "-o", tmp_path / "b.wav", "--loudness", -16))
    assert "seven.wav: --loudness supports one to five channels and an LFE, not these 7" in line


@pytest.mark.parametrize(
    ("mask", "weights"),
    [
        (0x33, (1, 1, 1.41, 1.41)), (0x107, (1, 1, 1, 1)), (0x3F, (1, 1, 1, 0, 1.41, 1.41)),
        (0x60F, (1, 1, 1, 0, 1.41, 1.41)), (0xB, (1, 1, 0)), (0xF, (1, 1, 1, 0)),
    ],
)  # fmt: skip
def test_channels_have_the_weights_of_their_loudspeakers(mask, weights):
    """BS.1770-4: 1.5 dB more for the surround channels of 5.1, and nothing for the LFE."""
    sound = tone(5.0)
    reference = LoudnessMeter(48_000, [1.0])
    reference.push(sound[None])
    for channel, weight in enumerate(weights):
        block = np.zeros((len(weights), len(sound)), np.float32)
        block[channel] = sound
        meter = LoudnessMeter(48_000, loudness_weights(mask))
        meter.push(block)
        expected = reference.loudness() + 10 * np.log10(weight) if weight else -np.inf
        assert meter.loudness() == pytest.approx(expected, abs=1e-3)
