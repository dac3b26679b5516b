"""What a user may ask of the enhancement: how much, which channels together, what happens above the model's band."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from commands import complaint, segan
from conftest import SAMPLES, decibels, hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, lfilter, sosfiltfilt

from segan_cli import Enhancer
from segan_cli.audio.meter import LevelMeter
from segan_cli.cli.outcomes import describe
from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.enhancement import plot
from segan_cli.enhancement.linked_channels import SourceComparison, mix_aligned, refine_lags, stft
from segan_cli.enhancement.recording import Outcome
from segan_cli.errors import AudioError, ConfigError, OutputError
from segan_cli.networks.checkpoint import Model, save_model
from segan_cli.networks.families import build_generator


def stereo(seconds, rate_hz=16_000, delay=7, gain=0.5):
    """A voice that reaches the second channel later and quieter, in the noise of a room."""
    sound = voice(seconds, rate_hz) + hiss(seconds, rate_hz, level=0.01)
    return np.stack((sound, gain * np.roll(sound, delay)), 1)


def above(signal, rate_hz, low_hz=9_000):
    return sosfiltfilt(butter(8, low_hz, "highpass", fs=rate_hz, output="sos"), signal, axis=0)


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer()


@settings(max_examples=12)
@given(
    st.sampled_from([8_000, 16_000, 22_050, 44_100, 96_000]),
    st.integers(65, 40_000),
    st.sampled_from(["linked", "independent"]),
    st.sampled_from(["denoise", "keep", "drop"]),
)
def test_strength_0_changes_no_sample(rate_hz, n, channels, high_band):
    noisy = np.random.default_rng(n).standard_normal((2, n)).astype(np.float32)
    untouched = Enhancer(strength=0.0, channels=channels, high_band=high_band).enhance(noisy, rate_hz)
    np.testing.assert_array_equal(untouched, noisy)


@pytest.mark.parametrize("n", [3, 8, 24])
def test_one_active_channel_among_many_is_enhanced_as_it_is_alone(enhancer, n):
    noisy = voice(2.0) + hiss(2.0)
    channels = np.zeros((n, len(noisy)), np.float32)
    channels[n // 2] = noisy
    enhanced = enhancer.enhance(channels, 16_000)
    assert decibels(enhanced[n // 2] - enhancer.enhance(noisy, 16_000), noisy) < -15
    assert not np.delete(enhanced, n // 2, 0).any()


def test_channels_are_aligned_before_their_mean():
    rng = np.random.default_rng(0)
    sound, other = rng.standard_normal((2, 16_384)).astype(np.float32)
    channels = np.stack((sound, -0.5 * np.roll(sound, 7), 0.8 * np.roll(sound, -40), 0.1 * other))
    comparison = SourceComparison(16_000).push(channels[None])
    assert comparison.lags.tolist() == [[0, 7, -40, 0]]
    assert comparison.signs.tolist() == [[1, -1, 1, 1]]
    np.testing.assert_allclose(
        mix_aligned(channels[None], comparison)[0, 0], (2.3 * sound + 0.1 * other) / 4, atol=1e-6
    )


def test_lags_are_refined_at_the_full_rate():
    sound = np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    channels = np.stack((0.9 * np.roll(sound, 52), sound, -0.8 * np.roll(sound, -11)))
    signs = np.array([1, 1, -1], np.float32)
    assert refine_lags(channels, np.array([48, 0, -12]), signs, range(-5, 6)).tolist() == [52, 0, -11]


@pytest.mark.parametrize("model", ["segan-spectral", "segan-live"])
@pytest.mark.parametrize("lag", [16, 48])
def test_a_voice_that_reaches_two_microphones_at_different_times_is_enhanced_as_at_one(model, lag):
    files = sorted((SAMPLES / "clean").iterdir())
    clean = np.concatenate([soundfile.read(file, dtype="float32")[0] for file in files])[:64_000]
    clean *= 0.05 / clean.std()
    channels = np.stack((clean, np.roll(clean, lag)))
    noisy = channels + np.stack([hiss(4.0, seed=i, level=0.02) for i in range(2)])
    errors = {}
    for policy in ("linked", "independent"):
        enhanced = Enhancer(model, channels=policy).enhance(noisy, 16_000)
        errors[policy] = decibels((enhanced - channels)[:, 16_000:-1_000], channels)
    assert errors["linked"] < errors["independent"] + 0.5


def test_spectra_of_linked_channels_are_of_64_ms_every_16_ms():
    assert stft(np.zeros((2, 3, 160_000), np.float32)).shape == (2, 3, 626, 513)


def test_channels_that_cancel_are_enhanced_by_the_loudest(enhancer):
    noisy = voice(2.0) + hiss(2.0)
    enhanced = enhancer.enhance(np.stack((np.zeros_like(noisy), noisy, -noisy)), 16_000)
    assert decibels(enhanced[1] - enhancer.enhance(noisy, 16_000), noisy) < -15
    assert not enhanced[0].any()


@pytest.mark.parametrize("snr_db", [5, 15])
@pytest.mark.parametrize("same_noise", [False, True])
def test_a_voice_of_opposite_polarity_is_not_lost_in_noise(enhancer, snr_db, same_noise):
    clean = voice(3.0)
    clean = clean / clean.std() * 0.05
    noise = np.stack([hiss(3.0, seed=0), hiss(3.0, seed=0 if same_noise else 1)])
    noise *= 10 ** (-snr_db / 20) * 0.05 / noise.std()
    left, right = enhancer.enhance((np.stack((clean, -clean)) + noise).astype(np.float32), 16_000)
    alone = enhancer.enhance((clean + noise[0]).astype(np.float32), 16_000)
    for side in (left, -right):
        assert 20 * np.log10(side @ clean / (alone @ clean)) > -1


def test_the_noise_reduction_is_that_of_the_pauses(tmp_path):
    """Known levels: pauses of -40 dB become -52 dB, speech stays, digital silence does not count."""
    rng = np.random.default_rng(0)
    pause, speech = 0.01 * rng.standard_normal((1, 48_000)), 0.3 * rng.standard_normal((1, 48_000))
    meter = LevelMeter(16_000, 1)
    for original, gain in ((speech, 1.0), (pause, 0.25), (np.zeros((1, 48_000)), 1.0)):
        for block in np.array_split(original.astype(np.float32), 7, axis=1):
            meter.push(block, np.float32(gain) * block)
    assert meter.noise_reductions_db() == (pytest.approx(12.04, abs=0.05), None, None)
    before, after = meter.levels_db()
    assert before == pytest.approx(10 * np.log10((0.3**2 + 0.01**2) / 3), abs=0.05)
    assert after == pytest.approx(10 * np.log10((0.3**2 + 0.0025**2) / 3), abs=0.05)
    muted = LevelMeter(16_000, 1)
    muted.push(pause.astype(np.float32), np.zeros_like(pause))
    assert muted.noise_reductions_db()[0] > 60
    short = LevelMeter(16_000, 1)
    short.push(np.float32(pause[:, :30_000]), np.zeros((1, 30_000), np.float32))
    short.push(*2 * [np.zeros((1, 48_000), np.float32)])
    assert short.noise_reductions_db() == (None, None, None)


def test_the_noise_reduction_is_known_below_and_above_8_khz():
    """Noise of both bands, of which the lower falls by 20 dB and the upper by 6 dB."""
    rng, rate_hz, n = np.random.default_rng(0), 48_000, 96_000
    spectrum = np.fft.rfft(0.01 * rng.standard_normal((2, n)))
    low_bins = np.fft.rfftfreq(n, 1 / rate_hz) < 8_000
    low, high = (np.fft.irfft(spectrum * bins, n).astype(np.float32) for bins in (low_bins, ~low_bins))
    meter = LevelMeter(rate_hz, 2)
    for before, after in zip(
        *(np.array_split(s, 9, axis=1) for s in (low + high, 0.1 * low + 0.5 * high)), strict=True
    ):
        meter.push(before, after)
    assert meter.noise_reductions_db()[1:] == pytest.approx((20.0, 6.02), abs=0.1)
    assert 6.02 < meter.noise_reductions_db()[0] < 8
    narrow = LevelMeter(rate_hz, 2)
    narrow.push(low, 0.1 * low)
    assert narrow.noise_reductions_db() == (pytest.approx(20, abs=0.1), None, None)


def test_the_result_line_has_both_bands_of_a_wide_recording():
    outcome = Outcome("a.wav", "b.wav", seconds=12.0, real_time_factor=0.1, noise_reduction_db=21.4)
    line = "b.wav: 0:12, 10 × real time, noise in pauses reduced by 21 dB"
    assert describe(outcome) == line
    assert ", 0.25 × real time" in describe(replace(outcome, real_time_factor=4.0))
    wide = replace(outcome, noise_reduction_low_db=30.2, noise_reduction_high_db=15.9)
    assert describe(wide) == f"{line} (below 8 kHz by 30 dB, above by 16 dB)"


def test_half_the_strength_is_half_the_change(enhancer):
    noisy = voice(1.5, 44_100) + hiss(1.5, 44_100)
    half = Enhancer(strength=0.5).enhance(noisy, 44_100)
    np.testing.assert_allclose(half, (noisy + enhancer.enhance(noisy, 44_100)) / 2, atol=1e-6)


def test_linked_channels_keep_level_and_delay_between_them(enhancer):
    delay, gain = 7, 0.5
    both = enhancer.enhance(stereo(3.0, delay=delay, gain=gain), 16_000)
    inner = slice(2_000, -2_000)
    expected = gain * np.roll(both[:, 0], delay)[inner]
    assert decibels(both[inner, 1] - expected, expected) < -20
    assert abs(decibels(both[inner, 1], both[inner, 0]) - 20 * np.log10(gain)) < 0.1
    lags = np.correlate(both[inner, 1], both[20_000:20_800, 0], "valid")
    assert np.argmax(lags) == 20_000 - 2_000 + delay


def test_channels_that_cancel_each_other_are_enhanced_all_the_same(enhancer):
    left = voice(2.0) + hiss(2.0, level=0.01)
    both = enhancer.enhance(np.stack((left, -left), 1), 16_000)
    np.testing.assert_allclose(both[:, 0], -both[:, 1], atol=1e-5)
    expected = enhancer.enhance(left, 16_000)
    assert decibels(both[:, 0] - expected, expected) < -25


@pytest.mark.parametrize("model", ["segan-spectral", "segan-gated"])
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_channels_with_different_sources_are_enhanced_on_their_own(model, gain):
    enhancer = Enhancer(model)
    sources = np.stack((gain * voice(3.0, seed=1), voice(3.0, seed=2), hiss(3.0, level=0.2)))
    together = enhancer.enhance(sources, 16_000)
    for source, enhanced in zip(sources, together, strict=True):
        np.testing.assert_allclose(enhanced, enhancer.enhance(source, 16_000), atol=1e-6)


def test_segments_are_linked_if_two_channels_are_correlated():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 16_384)).astype(np.float32)

    def separate(*channels, rate_hz=16_000, pre_emphasis=0.0):
        return SourceComparison(rate_hz, pre_emphasis).push(np.stack(channels)[None]).separate.item()

    assert separate(a, b)
    assert separate(a, 0.001 * b)
    assert separate(a, b, c)
    assert not separate(a, 0 * b)
    assert not separate(0 * a, 0 * b)
    assert separate(a + 0.15 * b, b)
    assert not separate(a + 0.5 * b, b)
    assert not separate(a - 0.5 * b, b)
    assert not separate(a, b, c, 2 * a + c)
    for lag in (-49, -48, 0, 48, 49):
        assert separate(a, np.roll(b + 0.5 * a, lag)) == (abs(lag) > 48)
        assert not separate(a, np.roll(b + 0.5 * a, lag), rate_hz=32_000)
    sources = [*np.stack((a, b)), 0.6 * np.sin(np.arange(16_384) / 50).astype(np.float32)]
    emphasised = [lfilter([1, -0.95], 1, source) for source in (0.3 * a + sources[2], 0.3 * b + sources[2])]
    assert separate(*emphasised)
    assert not separate(*emphasised, pre_emphasis=0.95)


def test_the_decision_is_a_mean_weighted_by_energy():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 16_384)).astype(np.float32)
    same, different, quiet = np.stack((a, a)), np.stack((a, b)), 0.01 * np.stack((a, b))
    comparison = SourceComparison(16_000)
    first = comparison.push(np.stack((same, quiet, quiet, different, different))).separate
    then = comparison.push(np.stack([different] * 6)).separate
    assert not first.any()
    assert then.all()
    assert not comparison.push(np.stack((same, same))).separate[-1]


def test_channels_stay_linked_or_separate_between_two_correlations():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 16_384)).astype(np.float32)
    between = np.stack((a, b + 0.25 * a))  # a correlation of 0.24
    for before, separate in ((np.stack((a, a)), False), (np.stack((a, b)), True)):
        comparison = SourceComparison(16_000)
        comparison.push(before[None])
        assert comparison.push(np.stack([between] * 20)).separate[-1] == separate


def test_the_latents_of_a_segment_do_not_depend_on_how_its_channels_are_enhanced(tmp_path):
    torch.manual_seed(0)
    config = ModelConfig(
        "m", ConvolutionalConfig((4, 8), (2, 4), (1, 1), 5, 3), ConvolutionalDiscriminatorConfig((4,), (4,), 5),
        segment_length=1_024, hop=512,
    )  # fmt: skip
    save_model(tmp_path / "m.safetensors", Model(build_generator(config.generator).eval(), config, {}))
    enhancer = Enhancer(tmp_path / "m.safetensors", device="cpu")
    left, right = np.random.default_rng(0).standard_normal((2, 4_096)).astype(np.float32)
    left[:2_048] *= 0.01
    right[:2_048] = left[:2_048]  # linked first, then on their own
    both = enhancer.enhance(np.stack((left, right)), 16_000)
    np.testing.assert_allclose(both[0, 2_800:], enhancer.enhance(left, 16_000)[2_800:], atol=1e-6)


def test_equal_channels_are_enhanced_as_one_is(enhancer):
    mono = voice(2.0) + hiss(2.0, level=0.01)
    both = enhancer.enhance(np.stack((mono, mono), 1), 16_000)
    expected = enhancer.enhance(mono, 16_000)
    for channel in range(2):
        assert decibels(both[:, channel] - expected, expected) < -25


def test_half_precision_gives_nearly_the_same(enhancer):
    noisy = voice(2.0) + hiss(2.0)
    whole = enhancer.enhance(noisy, 16_000)
    assert decibels(Enhancer(precision="bf16").enhance(noisy, 16_000) - whole, whole) < -15


def test_one_enhancer_serves_several_threads(enhancer):
    recordings = [voice(1.5, seed=seed) + hiss(1.5, seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda noisy: enhancer.enhance(noisy, 16_000), recordings))
    for noisy, result in zip(recordings, together, strict=True):
        np.testing.assert_array_equal(result, enhancer.enhance(noisy, 16_000))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_memory_of_a_stream_does_not_grow_with_its_length(enhancer, rate_hz):
    stream = enhancer.stream(rate_hz, 2)
    stream.settings = Enhancer(strength=0.0).settings
    n = 5 * enhancer.network.config.hop * rate_hz // 16_000  # whole segments, so that each push leaves as much
    block, held = np.zeros((2, n), np.float32), []
    for _ in range(12):
        stream.push(block)
        held.append(len(stream.engine.pending) + len(stream.engine.pending_low))
    assert max(held[6:]) <= max(held[:6]) < 4 * rate_hz


@pytest.mark.parametrize(
    "setting", [{"strength": 1.5}, {"batch": 0}, {"channels": "both"}, {"high_band": "half"}, {"precision": "int4"}]
)
def test_an_invalid_setting_is_named(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Enhancer(**setting)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "in.wav"
    soundfile.write(path, stereo(2.0, 44_100), 44_100, "FLOAT")
    return path


def test_output_and_residual_add_up_to_the_input(recording, tmp_path):
    assert segan("enhance", recording, "-o", tmp_path / "o.wav", "--residual", tmp_path / "r.wav").returncode == 0
    noisy, left, removed = (soundfile.read(tmp_path / name)[0] for name in ("in.wav", "o.wav", "r.wav"))
    np.testing.assert_allclose(left + removed, noisy, atol=1e-6)
    assert decibels(removed, noisy) > -30


def test_the_attenuation_can_be_bounded(tmp_path):
    soundfile.write(tmp_path / "in.wav", hiss(3.0), 16_000, "FLOAT")
    assert segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--max-attenuation", 6).returncode == 0
    noise, left = (soundfile.read(tmp_path / name)[0] for name in ("in.wav", "out.wav"))
    assert -6.1 < decibels(left, noise) < -4.5


def test_peak_rate_and_encoding_of_the_output_can_be_set(recording, tmp_path):
    options = ("--normalize", -3, "--rate", 48_000, "--subtype", "pcm24")
    assert segan("enhance", recording, "-o", tmp_path / "out.flac", *options).returncode == 0
    info = soundfile.info(tmp_path / "out.flac")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (48_000, 2, 96_000, "PCM_24")
    assert np.abs(soundfile.read(tmp_path / "out.flac")[0]).max() == pytest.approx(10 ** (-3 / 20), abs=1e-3)


def test_a_picture_shows_before_and_after(recording, tmp_path):
    assert segan("enhance", recording, "-o", tmp_path / "out.wav", "--plot", tmp_path / "p.png").returncode == 0
    from matplotlib.image import imread

    picture = imread(tmp_path / "p.png")
    assert picture.shape[:2] == (700, 1_950)
    before, after, removed = np.split(picture[:, 60:1_800, :3], 3, axis=1)
    assert min(np.abs(a - b).mean() for a, b in ((before, after), (after, removed), (before, removed))) > 0.01


def test_a_column_of_a_picture_has_the_level_of_a_tone():
    tone = 0.5 * np.sin(2 * np.pi * 100 / plot.FRAME * np.arange(plot.FRAME)).astype(np.float32)
    low, high, level = plot.to_column(tone, 512, np.hanning(plot.FRAME).astype(np.float32))
    assert (low, high) == pytest.approx((-0.5, 0.5), abs=1e-3)
    assert level[100] == pytest.approx(20 * np.log10(0.5), abs=0.1)
    assert level[400] < -90


@pytest.mark.parametrize("ending", ["flac", "mp3", "wav"])
def test_tags_are_kept(tmp_path, ending):
    with soundfile.SoundFile(tmp_path / f"in.{ending}", "w", 16_000, 1) as file:
        file.title, file.artist = "A talk", "Somebody"
        file.write(voice(0.5))
    assert segan("enhance", tmp_path / f"in.{ending}", "-o", tmp_path / f"out.{ending}").returncode == 0
    with soundfile.SoundFile(tmp_path / f"out.{ending}") as file:
        assert (file.title, file.artist) == ("A talk", "Somebody")


def test_json_describes_the_outcome(recording, tmp_path):
    result = segan("enhance", recording, "-o", tmp_path / "out.wav", "--json")
    account = json.loads(result.stdout)
    assert account["error"] is None
    assert (account["seconds"], account["rate_hz"], account["channels"]) == (2.0, 44_100, 2)
    noisy, left = (soundfile.read(tmp_path / name)[0] for name in ("in.wav", "out.wav"))
    assert account["level_db"] == pytest.approx(decibels(noisy, np.ones(1)), abs=0.1)
    assert account["enhanced_level_db"] == pytest.approx(decibels(left, np.ones(1)), abs=0.1)
    assert account["noise_reduction_db"] > 3
    assert account["real_time_factor"] > 0


def test_the_input_is_never_overwritten_however_it_is_named(recording, tmp_path):
    content = recording.read_bytes()
    (tmp_path / "soft.wav").symlink_to(recording)
    (tmp_path / "hard.wav").hardlink_to(recording)
    for name in ("in.wav", "soft.wav", "hard.wav"):
        line = complaint(segan("enhance", recording, "-o", tmp_path / name, "--force"))
        assert "is the input itself" in line
        assert recording.read_bytes() == content


@pytest.mark.parametrize(("option", "there"), [("--residual", "there.wav"), ("--plot", "there.png")])
def test_residual_and_plot_never_overwrite_a_file(recording, tmp_path, option, there):
    content = recording.read_bytes()
    (tmp_path / there).write_bytes(b"before")
    for name, says in (
        ("in.wav", "is the input itself"),
        ("out.wav", "would be written to this file"),
        (there, "--force"),
    ):
        assert says in complaint(segan("enhance", recording, "-o", tmp_path / "out.wav", option, tmp_path / name))
        assert not (tmp_path / "out.wav").exists()
    assert recording.read_bytes() == content
    assert (tmp_path / there).read_bytes() == b"before"


@pytest.mark.parametrize("ending", ["flac", "opus", "mp3"])
def test_a_full_disk_is_reported_for_every_format(tmp_path, ending):
    """The size limit of the process stands in for the disk; some formats write most when they are closed."""
    soundfile.write(tmp_path / "in.wav", voice(1.0) + hiss(1.0), 16_000)
    target = tmp_path / f"out.{ending}"
    target.write_bytes(b"before")
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "from segan_cli import Enhancer\n"
        f"Enhancer(strength=0.0).enhance_file({str(tmp_path / 'in.wav')!r}, {str(target)!r}, force=True)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "cannot be written" in result.stderr
    assert target.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 2


def test_the_python_interface_overwrites_only_with_force(enhancer, recording, tmp_path):
    (tmp_path / "out.wav").write_bytes(b"before")
    with pytest.raises(OutputError, match="already exists"):
        enhancer.enhance_file(recording, tmp_path / "out.wav")
    with pytest.raises(OutputError, match="is the input itself"):
        enhancer.enhance_file(recording, recording, force=True)
    enhancer.enhance_file(str(recording), str(tmp_path / "out.wav"), force=True)
    assert soundfile.info(tmp_path / "out.wav").frames == 88_200


@pytest.mark.parametrize("sample", [np.nan, np.inf, 3e38])
def test_a_bad_sample_is_refused_and_the_enhancer_stays_usable(enhancer, sample):
    noisy = hiss(1.0)
    noisy[100] = sample
    with pytest.raises(AudioError, match="NaN, infinite"):
        enhancer.enhance(noisy, 16_000)
    assert np.isfinite(enhancer.enhance(hiss(1.0), 16_000)).all()


@pytest.mark.parametrize(("name", "subtype"), [("out.flac", "vorbis")])
def test_an_encoding_that_a_format_lacks_is_refused(recording, tmp_path, name, subtype):
    assert "--subtype" in complaint(segan("enhance", recording, "-o", tmp_path / name, "--subtype", subtype))
    assert (
        segan("enhance", recording, "-o", tmp_path / "out.opus", "--subtype", "opus", "--rate", 48_000).returncode == 0
    )
    assert segan("enhance", recording, "-o", tmp_path / "eight.flac", "--subtype", "pcm8").returncode == 0
    assert soundfile.info(tmp_path / "eight.flac").subtype == "PCM_S8"


def test_existing_results_are_kept_skipped_or_replaced_by_option(recording, tmp_path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"before")
    assert "--force" in complaint(segan("enhance", recording, "-o", target))
    assert segan("enhance", recording, "-o", target, "--skip-existing").returncode == 0
    assert target.read_bytes() == b"before"
    assert segan("enhance", recording, "-o", target, "--force", "-q").returncode == 0
    assert soundfile.info(target).frames == 88_200
