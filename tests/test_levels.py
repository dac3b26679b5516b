"""Samples above full scale: limited, scaled or cut off, with a warning; in range, every sample stays as it is."""

import json

import numpy as np
import pytest
import soundfile
from commands import complaint, segan
from conftest import hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.files import AudioInfo
from segan_cli.audio.filters import Limiter
from segan_cli.audio.levels import TargetOptions, full_scale, normalised_peak
from segan_cli.audio.meter import decibels
from segan_cli.audio.sinks import open_target
from segan_cli.audio.sources import open_file

RATE_HZ = 16_000


def hot(seconds=2.0, over_db=12.0):
    """A voice whose peaks are above full scale, [n]."""
    sound = voice(seconds) + hiss(seconds, level=0.001)
    return sound / np.abs(sound).max() * np.float32(10 ** (over_db / 20))


def through(sound, clip, cuts=()):
    blocks, warnings = [], []
    with full_scale(clip, RATE_HZ, len(sound), blocks.append, warnings.append) as write:
        for block in np.split(sound, cuts, axis=1):
            write(block)
    return np.concatenate(blocks, axis=1), warnings


@settings(max_examples=40)
@given(
    st.integers(1, 4_000), st.integers(1, 3), st.lists(st.integers(0, 4_000), max_size=6), st.floats(0.2, 8),
    st.sampled_from([1_000, 16_000, 48_000]),
)  # fmt: skip
def test_a_limiter_stays_below_its_ceiling_for_all_block_sizes(n, channels, cuts, gain, rate_hz):
    rng = np.random.default_rng(n)
    sound = (gain * rng.uniform(-1, 1, (channels, n)) * (rng.random(n) < 0.2)).astype(np.float32)
    results = []
    for places in ([], sorted(min(cut, n) for cut in cuts)):
        limiter = Limiter(rate_hz, channels)
        parts = [limiter.push(block) for block in np.split(sound, places, axis=1)]
        results.append(np.concatenate([*parts, limiter.push(sound[:, :0], last=True)], axis=1))
    assert results[0].shape == sound.shape
    np.testing.assert_allclose(*results, atol=1e-6)
    assert np.abs(results[0]).max() <= 1
    if np.abs(sound).max() <= 1:
        np.testing.assert_array_equal(results[0], sound)
    loud = np.abs(sound) > 1e-3
    gains = (results[0][loud] / sound[loud]).reshape(-1)
    assert ((gains > 0) & (gains <= 1 + 1e-6)).all()


def test_a_peak_is_turned_down_with_the_sound_around_it_and_no_more():
    """One sample 6 dB above full scale, in a constant: the gain is smooth, shared by the channels, and soon 1 again."""
    sound = np.full((2, RATE_HZ), 0.1, np.float32)
    sound[1, 8_000] = 2.0
    limited, warnings = through(sound, "limit")
    gain = limited / sound
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-6)
    assert gain[0, 8_000] == pytest.approx(0.5, rel=1e-4)
    np.testing.assert_array_equal(gain[0, : 8_000 - 80], 1)
    np.testing.assert_array_equal(gain[0, 8_000 + 800 :], 1)
    assert 20 * np.log10(gain[0, 8_000 + 240]) == pytest.approx(-6.02 + 200 * 240 / RATE_HZ, abs=1)  # 200 dB a second
    assert np.abs(np.diff(20 * np.log10(gain[0]))).max() < 0.25
    assert warnings[0].startswith("1 sample above full scale (by up to 6.0 dB): limited")


@pytest.mark.parametrize("clip", ["limit", "scale", "clip"])
def test_samples_in_range_are_not_changed(clip):
    sound = np.random.default_rng(0).uniform(-1, 1, (2, 40_000)).astype(np.float32)
    sound[:, :2] = [[1, -1], [-1, 1]]
    same, warnings = through(sound, clip, [1, 77, 30_000])
    np.testing.assert_array_equal(same, sound)
    assert warnings == []


def test_scaling_turns_down_the_whole_recording_and_clipping_only_what_is_over():
    sound = hot()[None]
    n_over = int((np.abs(sound) > 1).sum())
    scaled, (line,) = through(sound, "scale")
    np.testing.assert_allclose(scaled, sound / np.abs(sound).max(), atol=1e-6)
    assert line.startswith(f"{n_over} samples above full scale (by up to 12.0 dB): the whole recording is turned down")
    clipped, (line,) = through(sound, "clip")
    np.testing.assert_array_equal(clipped, np.clip(sound, -1, 1))
    assert "cut off" in line


def test_a_limited_voice_is_less_distorted_than_a_clipped_one():
    sound = hot()[None]
    distances = []
    for clip in ("limit", "clip"):
        result, _ = through(sound, clip)
        spectra = [np.abs(np.fft.rfft(s[0].reshape(-1, 400))) for s in (sound, result)]
        high = slice(100, None)  # above 4 kHz, where the voice has little and cut-off peaks have much
        distances.append(np.square(spectra[1][:, high]).sum() / np.square(spectra[0][:, high]).sum())
    assert distances[0] < 1
    assert distances[1] > 1


def test_decibels_begin_at_minus_120():
    assert decibels(np.array([0.0, 1e-13, 1e-2, 1.0])).tolist() == pytest.approx([-120, -120, -20, 0])


def test_a_normalised_peak_is_not_above_full_scale():
    for seed in range(200):
        sound, blocks = np.random.default_rng(seed).standard_normal((1, 50)).astype(np.float32), []
        with normalised_peak(0, 1, blocks.append) as write:
            write(sound)
        assert 1 - 1e-6 < np.abs(blocks[0]).max() <= 1


@pytest.mark.parametrize("ending", ["wav", "mp3", "m4a"])
def test_encodings_without_floats_get_samples_in_range(tmp_path, ending):
    """Levels of what comes out: an encoder that cuts off peaks is several dB off."""
    info, target, warnings = AudioInfo(RATE_HZ, 1, None, "WAV", "PCM_16"), tmp_path / f"out.{ending}", []
    with open_target(target, info, options=TargetOptions(warn=warnings.append, clip="scale")) as write:
        write(hot()[None])
    assert "12.0 dB" in warnings[0]
    with open_file(target) as source:
        heard = np.concatenate(list(source.blocks), axis=1)
    assert 20 * np.log10(np.std(heard) / np.std(hot())) == pytest.approx(-12, abs=0.3)


def test_float_encodings_keep_samples_above_full_scale(tmp_path):
    soundfile.write(tmp_path / "in.wav", hot(), RATE_HZ, "FLOAT")
    result = segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--strength", 0)
    assert "full scale" not in result.stderr
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], hot())


def test_the_command_limits_peaks_and_reports_it(tmp_path):
    soundfile.write(tmp_path / "in.wav", hot(), RATE_HZ, "FLOAT")
    arguments = ("enhance", tmp_path / "in.wav", "--strength", 0, "--subtype", "pcm16", "--json")
    result = segan(*arguments, "-o", tmp_path / "out.wav")
    (line,) = json.loads(result.stdout)["warnings"]
    assert line.startswith(f"{int((np.abs(hot()) > 1).sum())} samples above full scale (by up to 12.0 dB): limited")
    assert f"segan: {tmp_path / 'in.wav'}: {line}" in result.stderr
    limited = soundfile.read(tmp_path / "out.wav")[0]
    assert (np.abs(limited) > 0.9999).sum() < 200  # peaks touch full scale, and are not flat there
    stream = complaint(segan(*arguments, "-o", "-", "--clip", "scale"))
    assert "--clip scale read the whole recording" in stream
