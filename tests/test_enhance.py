"""Audio in, audio out: lengths, rates, channels, determinism, and the streaming core around any network."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLES, Identity, decibels, hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.filters import HoldingResampler
from segan_cli.backends.pretrained import find_model
from segan_cli.config.presets import PRESETS
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.segment_engine import level_gain, remove_rumble, robust_level_gain
from segan_cli.errors import AudioError, ConfigError
from segan_cli.networks.checkpoint import Model, load_model


@pytest.fixture(scope="session")
def shipped():
    return load_model(find_model("default"))


def identity(input_rms=None, **changes):
    preset = PRESETS["segan-slim"]
    generator = dataclasses.replace(preset.generator, input_rms=input_rms)
    return Enhancer(Model(Identity(), dataclasses.replace(preset, generator=generator, **changes), {}), batch=3)


class Recorder(Identity):
    """An identity that remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.noisy, self.z = [], []

    def forward(self, noisy, z):
        self.noisy.append(noisy.clone())
        self.z.append(z)
        return noisy


def given_by(signal, seed=0, input_rms=None, **settings):
    """What a network gets of a signal [n, channels]: all segments, and the z of each."""
    recorder = Recorder()
    preset = PRESETS["segan-slim"]
    generator = dataclasses.replace(preset.generator, input_rms=input_rms)
    config = dataclasses.replace(preset, generator=generator, pre_emphasis=0.0)
    Enhancer(Model(recorder, config, {}), seed=seed, **settings).enhance(signal.astype(np.float32), 16_000)
    return torch.cat(recorder.noisy), torch.cat(recorder.z)


def test_every_segment_has_a_z_of_its_own_that_its_channels_share():
    signal = np.random.default_rng(0).standard_normal((40_000, 2))
    segments, z = given_by(signal, channels="independent", batch=4)
    assert segments.shape == (12, 1, 16_384)
    assert z.shape[0] == 12
    assert torch.equal(z[0::2], z[1::2])
    assert len({float(segment.sum()) for segment in z}) == 6
    assert float(z.std()) == pytest.approx(1.0, abs=0.05)
    _, again = given_by(signal, channels="independent", batch=12)
    assert torch.equal(again, z)
    _, other = given_by(signal, seed=1, channels="independent", batch=4)
    assert not torch.isclose(other, z).all(-1).any()


def test_segments_are_scaled_to_the_models_level_with_peaks_of_at_most_0_9():
    rng, click = np.random.default_rng(0), np.zeros(16_384)
    click[5_000] = 0.2
    quiet = 1e-3 * rng.standard_normal(16_384)
    levels = [given_by(signal[:, None], input_rms=0.05)[0] for signal in (quiet, click)]
    inner = levels[0][1:-1]  # segments that hold nothing else
    assert inner.square().mean(-1).sqrt().flatten().tolist() == pytest.approx([0.05] * len(inner), rel=1e-3)
    assert float(levels[1].max()) == pytest.approx(0.9, rel=1e-5)


@settings(max_examples=40)
@given(
    length=st.one_of(st.integers(1, 50_000), st.sampled_from([1, 8191, 8192, 8193, 16383, 16384, 16385, 32768])),
    cuts=st.lists(st.integers(0, 50_000), max_size=6),
    hop=st.sampled_from([4096, 5000, 8192, 16384]),
    input_rms=st.sampled_from([None, 0.05]),
    channels=st.integers(1, 2),
)
def test_an_identity_network_returns_the_input(length, cuts, hop, input_rms, channels):
    signal = 0.1 * np.random.default_rng(length).standard_normal((channels, length)).astype(np.float32)
    enhancer = identity(hop=hop, input_rms=input_rms)
    stream = enhancer.stream(16_000, channels)
    blocks = np.split(signal, sorted(min(c, length) for c in cuts), axis=1)
    output = np.concatenate([*(stream.push(block) for block in blocks), stream.flush()], axis=1)
    assert output.shape == signal.shape
    np.testing.assert_allclose(output, signal, atol=1e-4)
    if length > 64:
        np.testing.assert_allclose(enhancer.enhance(signal, 16_000), output, atol=1e-6)
        np.testing.assert_allclose(enhancer.enhance(signal.T, 16_000), output.T, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_the_output_of_the_model_is_aligned_in_time(rate_hz):
    """A network that halves everything: were its change late by a sample, it would not cancel half of the input."""
    t = np.arange(round(1.7 * rate_hz)) / rate_hz
    chirp = (0.5 * np.sin(2 * np.pi * (100 * t + 800 * t**2))).astype(np.float32)  # 100 … 2,800 Hz
    halving = identity()
    halving.network.generator.forward = lambda noisy, z: 0.5 * noisy
    error = (halving.enhance(chirp, rate_hz) - 0.5 * chirp)[rate_hz // 20 : -rate_hz // 20]
    assert 10 * np.log10(np.mean(error**2) / np.mean((0.5 * chirp) ** 2)) < -60


@settings(max_examples=30)
@given(st.integers(1, 60_000), st.sampled_from([8000, 11025, 22050, 32000, 44100, 48000, 96000]))
def test_the_length_is_kept_at_every_rate(length, rate_hz):
    assert identity().enhance(np.zeros(length, np.float32), rate_hz).shape == (length,)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (5, 0)])
def test_an_empty_signal_stays_empty(shipped, shape):
    assert Enhancer(shipped).enhance(np.zeros(shape), 16_000).shape == shape


def test_block_sizes_and_batches_do_not_change_the_shipped_models_output(shipped):
    noisy = voice(3.0) + hiss(3.0)
    whole = Enhancer(shipped, batch=16).enhance(noisy, 16_000)
    stream = Enhancer(shipped, batch=1).stream(16_000, 1)
    parts = [stream.push(block) for block in np.array_split(noisy, 13)]
    cut = np.concatenate([*parts, stream.flush()])
    np.testing.assert_allclose(cut, whole, atol=1e-5)


def test_the_shipped_model_is_deterministic(shipped):
    noisy = voice(1.5) + hiss(1.5)
    first, again = (Enhancer(shipped).enhance(noisy, 16_000) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_shipped_model_removes_noise(shipped):
    """Noise alone gets much quieter, and real speech in noise comes closer to the speech."""
    clean, _ = soundfile.read(SAMPLES / "clean" / "fan.wav", dtype="float32")
    noise = hiss(len(clean) / 16_000)
    silence = Enhancer(shipped).enhance(noise, 16_000)
    assert np.sqrt(np.mean(silence**2)) < 0.25 * np.sqrt(np.mean(noise**2))
    enhanced = Enhancer(shipped).enhance(clean + noise, 16_000)
    assert np.mean((enhanced - clean) ** 2) < 0.7 * np.mean(noise**2)


def test_the_ends_of_a_recording_are_enhanced_as_its_middle_is(shipped):
    """A voice that is there from the first sample to the last: the error falls within 3 dB of how it does between."""
    clean = voice(6.3)[1_300:]  # cut in the midst of syllables
    clean = clean[: len(clean) - 2_100]
    falls = []
    for seed in range(6):
        noise = hiss(len(clean) / 16_000 + 0.01, seed=seed)[: len(clean)]
        error = Enhancer(shipped).enhance(clean + noise, 16_000) - clean
        power = [
            (np.mean(noise[part] ** 2), np.mean(error[part] ** 2))
            for part in (slice(0, 2_000), slice(30_000, 60_000), slice(-2_000, None))
        ]
        falls.append([10 * np.log10(before / after) for before, after in power])
    begin, middle, end = np.mean(falls, 0)
    assert begin > middle - 3
    assert end > middle - 3


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_the_level_of_a_recording_does_not_matter(shipped, gain):
    noisy = 0.2 * (voice(1.5) + hiss(1.5))
    enhancer = Enhancer(shipped)
    expected = gain * enhancer.enhance(noisy, 16_000)
    np.testing.assert_allclose(enhancer.enhance(gain * noisy, 16_000), expected, atol=1e-3 * np.abs(expected).max())


def test_independent_channels_are_enhanced_each_on_its_own(shipped):
    left, right = voice(1.5, seed=1) + hiss(1.5, seed=1), voice(1.5, seed=2) + hiss(1.5, seed=2)
    enhancer = Enhancer(shipped, channels="independent")
    both = enhancer.enhance(np.stack((left, right), 1), 16_000)
    for channel, alone in enumerate((left, right)):
        np.testing.assert_allclose(both[:, channel], enhancer.enhance(alone, 16_000), atol=1e-5)


def test_there_are_no_clicks_between_segments(shipped):
    """Jumps from sample to sample at the segment borders are no larger than between them."""
    enhanced = Enhancer(shipped).enhance(hiss(20.0), 16_000)
    jumps = np.abs(np.diff(enhanced, 2))
    seam = np.zeros(len(jumps), bool)
    for k in range(shipped.config.hop, len(enhanced) - 8, shipped.config.hop):
        seam[k - 8 : k + 8] = True
    assert jumps[seam].max() <= 1.2 * jumps[~seam].max()
    assert jumps[seam].mean() < 1.3 * jumps[~seam].mean()


@pytest.mark.parametrize(
    ("rate_hz", "channels", "subtype"), [(16_000, 1, "PCM_16"), (44_100, 2, "PCM_24"), (8000, 1, "FLOAT")]
)
def test_files_keep_rate_channels_length_and_encoding(shipped, tmp_path, rate_hz, channels, subtype):
    sound = np.stack([voice(1.3, rate_hz, seed=c) for c in range(channels)], 1)
    soundfile.write(tmp_path / "in.wav", sound, rate_hz, subtype)
    Enhancer(shipped).enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (rate_hz, channels, len(sound), subtype)


def test_a_file_is_enhanced_as_an_array_is(shipped, tmp_path):
    noisy = voice(25.0) + hiss(25.0)  # three blocks of reading
    soundfile.write(tmp_path / "in.wav", noisy, 16_000, "FLOAT")
    Enhancer(shipped).enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    np.testing.assert_allclose(written, Enhancer(shipped).enhance(noisy, 16_000), atol=1e-5)


def test_samples_that_are_not_numbers_are_refused(shipped, tmp_path):
    sound = voice(1.0)
    sound[500] = np.nan
    soundfile.write(tmp_path / "in.wav", sound, 16_000, "FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        Enhancer(shipped).enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 4)), np.float32(0.5), np.zeros((100, 65)), np.zeros((2, 64)), np.zeros(10, np.int16),
        np.zeros(10, np.uint8), np.zeros(10, bool), np.zeros(10, complex), np.array(["a", "b"]), np.array([None, 1.0]),
        [[0.1], [0.2, 0.3]], "sound", None, np.array([0.0, np.inf]), np.array([0.0, 1e300]), np.array([0.0, 1e7]),
    ],
)  # fmt: skip
def test_arrays_that_are_no_signal_are_refused_in_one_line(array):
    with pytest.raises((AudioError, ConfigError)) as refused:
        identity().enhance(array, 16_000)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_every_float_type_is_accepted(dtype):
    sound = voice(0.3).astype(dtype)
    enhanced = identity().enhance(sound, np.int64(16_000))
    assert enhanced.dtype == np.float32
    np.testing.assert_allclose(enhanced, sound.astype(np.float32), atol=1e-4)
    np.testing.assert_allclose(identity().enhance(sound.tolist(), 16_000.0), sound.astype(np.float32), atol=1e-4)


@pytest.mark.parametrize(
    "rate_hz", [np.nan, np.inf, 0, -1, 1e-9, 999, 10**400, 16_000.5, "16000", None, True, [16_000]]
)
def test_an_impossible_rate_is_refused_in_one_line(rate_hz):
    for use in (lambda: identity().enhance(voice(0.1), rate_hz), lambda: identity().stream(rate_hz)):
        with pytest.raises(ConfigError, match=r"^rate_hz .*between 1000 and 768000"):
            use()


def test_a_stream_refuses_wrong_blocks_and_blocks_after_its_end():
    for channels in (0, -1, 65, 1.5, "2", None):
        with pytest.raises(ConfigError, match="channels"):
            identity().stream(16_000, channels)
    stream = identity().stream(16_000, 2)
    for block in (
        np.zeros(10),
        np.zeros((1, 10)),
        np.zeros((2, 10), np.int32),
        np.zeros((2, 10, 2)),
    ):
        with pytest.raises(AudioError):
            stream.push(block)
    stream.push(np.zeros((2, 10)))
    assert stream.flush().shape == (2, 10)
    for use in (stream.flush, lambda: stream.push(np.zeros((2, 1)))):
        with pytest.raises(ConfigError, match="make another"):
            use()


@pytest.mark.parametrize(
    "setting",
    [
        {"seed": -1}, {"seed": 2**40}, {"seed": "x"}, {"seed": 1.5}, {"batch": 0}, {"batch": 10**9}, {"batch": 2.0},
        {"strength": np.nan}, {"strength": "much"}, {"strength": 2}, {"threads": 0}, {"threads": 1_000_000},
        {"threads": -1}, {"jobs": 10**6}, {"jobs": 0}, {"channels": 2},
    ],
)  # fmt: skip
def test_invalid_settings_are_refused_by_name(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Enhancer("segan-gated", device="cpu", **setting)


@pytest.mark.parametrize("name", ["segan-spectral", "segan-gated"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_constant_offset_is_removed_without_harm_to_speech(name, channels):
    """It goes as noise goes; at strength 0 it stays, as all does."""
    clean = np.stack([voice(4.0)] * channels, 1)
    noisy = clean + hiss(4.0)[:, None]
    enhancer = Enhancer(name, device="cpu")
    middle = slice(16_000, -16_000)  # whole segments
    expected = enhancer.enhance(noisy, 16_000)[middle]
    offset = np.float32([0.3, -0.2][:channels])
    enhanced = enhancer.enhance(noisy + offset, 16_000)[middle]
    assert np.abs(enhanced.mean(0)).max() < 0.01
    assert 10 * np.log10(np.mean(expected**2) / np.mean((enhanced - expected) ** 2)) > 20
    np.testing.assert_array_equal(
        Enhancer(name, device="cpu", strength=0).enhance(noisy + offset, 16_000), noisy + offset
    )


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_an_offset_is_removed_up_to_both_ends(rate_hz):
    """Without steps at the ends, which resampling the change would make."""
    enhancer = Enhancer(device="cpu", backend="onnx")
    noisy = (0.1 + hiss(2.0, rate_hz, level=1e-3)).astype(np.float32)
    enhanced = enhancer.enhance(noisy, rate_hz)
    assert enhanced.shape == noisy.shape
    assert np.abs(enhanced).max() < 0.005


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (16_000, 44_100), (44_056, 16_000), (16_000, 8_000)])
@pytest.mark.parametrize("length", [1, 7, 5_000])
def test_a_constant_is_resampled_to_a_constant(from_hz, to_hz, length):
    resampler = HoldingResampler(from_hz, to_hz, 2)
    signal = np.full((2, length), 0.25, np.float32)
    blocks = [resampler.push(block) for block in np.array_split(signal, 3, axis=1)]
    resampled = np.concatenate((*blocks, resampler.push(signal[:, :0], last=True)), axis=1)
    assert abs(resampled.shape[1] - length * to_hz / from_hz) <= 1
    np.testing.assert_allclose(resampled, 0.25, atol=1e-4)
    assert HoldingResampler(from_hz, to_hz, 2).push(signal[:, :0], last=True).shape == (2, 0)


def real_voice():
    """Clean speech, 8 s of sentences."""
    files = sorted((SAMPLES / "clean").iterdir())
    return np.concatenate([soundfile.read(file, dtype="float32")[0] for file in files])[: 8 * 16_000]


def heard(enhanced, clean):
    """Level change of a voice and the signal-to-error ratio, in dB, away from the ends."""
    y, x = enhanced[8_000:-8_000], clean[8_000:-8_000]
    gain = y @ x / (x @ x)
    return 20 * np.log10(gain), -decibels(y - gain * x, gain * x)


@pytest.mark.parametrize(
    ("model", "hz", "least"), [("segan-spectral", 60, 20), ("segan-gated", 60, 20), ("segan-live", 20, 14)]
)
def test_loud_sound_below_voices_does_not_suppress_a_voice(model, hz, least):
    clean = 0.1 * real_voice()
    noisy = clean + hiss(8.0, level=0.0003)
    hum = 0.3 * np.sin(2 * np.pi * hz * np.arange(len(clean)) / 16_000).astype(np.float32)
    gain, ratio = heard(Enhancer(model)(noisy + hum, 16_000), clean)
    assert gain == pytest.approx(0.0, abs=0.6)
    assert ratio > least


def test_only_sound_that_is_far_louder_below_voices_than_above_is_removed_there():
    t = np.arange(16_384) / 16_000
    low, high = np.sin(2 * np.pi * 40 * t), np.sin(2 * np.pi * 200 * t)
    segments = np.stack((2.2 * low + high, 1.8 * low + high, high, 0 * t))[:, None].astype(np.float32)
    without, emphasised = (remove_rumble(segments, 16_000, coefficient)[:, 0] for coefficient in (0.0, 0.95))
    np.testing.assert_array_equal(without[1:], segments[1:, 0])
    np.testing.assert_array_equal(emphasised[2:], segments[2:, 0])
    for heard_voice in (without[0], emphasised[0], emphasised[1]):
        np.testing.assert_allclose(heard_voice[1_000:-1_000], high[1_000:-1_000], atol=0.05)


def test_a_click_does_not_lower_the_level_of_the_segment_around_it():
    rng = np.random.default_rng(0)
    sound = 0.005 * rng.standard_normal((1, 1, 16_384)).astype(np.float32)
    click = sound.copy()
    click[0, 0, 5_000] = 1.0
    burst = sound.copy()
    burst[0, 0, 4_000:8_000] *= 20
    plain, robust = (gain(click, 0.05).item() for gain in (level_gain, robust_level_gain))
    assert (plain, robust) == (pytest.approx(0.9), pytest.approx(10 / (93 / 64) ** 0.5, rel=0.05))
    for segment in (sound, burst):
        assert robust_level_gain(segment, 0.05) == level_gain(segment, 0.05)
    onset = np.zeros_like(sound)
    onset[0, 0, -1_500:] = sound[0, 0, :1_500]
    assert robust_level_gain(onset, 0.05) == level_gain(onset, 0.05)
    alone = np.zeros_like(sound)
    alone[0, 0, 5_000] = 0.01
    assert robust_level_gain(alone, 0.05).item() == pytest.approx(10**1.5 * 0.05 / (0.01 / 128), rel=1e-3)


def test_a_click_does_not_suppress_the_voice_around_it():
    clean = 0.05 * real_voice()
    noisy = clean + hiss(8.0, level=0.0002)
    click = noisy.copy()
    click[64_000:64_040] = 0.9
    around = np.r_[54_000:63_500, 64_500:74_000]
    before, after = (Enhancer()(sound, 16_000)[around] @ clean[around] for sound in (noisy, click))
    assert 20 * np.log10(after / before) == pytest.approx(0.0, abs=0.3)
