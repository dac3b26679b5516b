"""Segments are drawn first and rendered as drawn: the same every time, with the properties that were drawn."""

import dataclasses
import itertools
import json
import typing

import numpy as np
import pytest
import soundfile
import soxr
from conftest import hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.config.schema import to_dict
from segan_cli.config.training import CodecName, DataConfig, MixingConfig, NoiseKind
from segan_cli.data.cache import Cache
from segan_cli.data.degradation import CODECS, Degradation, apply_codec, degrade, limit_band
from segan_cli.data.loader import SamplingPlan, batches
from segan_cli.data.mixing import ExampleSource, apply_filter, draw_utterances, spec_from_dict, speed_perturb
from segan_cli.data.noise import generate, smooth_spectrum
from segan_cli.data.recordings import Recordings
from segan_cli.data.rooms import apply_rir, load_rir
from segan_cli.data.training_data import load_training_data
from segan_cli.errors import ConfigError

RATE = 16_000
EVERYTHING = MixingConfig(
    clean_probability=0.1, speechless_probability=0.1, shaping_probability=0.5, generated_probability=0.3,
    reverb_probability=0.5, band_probability=0.4, clipping_probability=0.4, codec_probability=0.5, gap_probability=0.5,
    speed_probability=0.5, mirrored_probability=0.3,
)  # fmt: skip


def impulse(seconds=0.3, seed=0, delay=100):
    """A room impulse response: silence, a direct sound, a decaying tail."""
    rng = np.random.default_rng(seed)
    tail = 0.05 * rng.standard_normal(int(seconds * RATE)) * np.exp(-np.arange(int(seconds * RATE)) / 1500)
    tail[0] = 1.0
    return np.concatenate((np.zeros(delay), 0.9 * tail))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for kind in ("speech", "noise", "rirs", "clean", "noisy"):
        (root / kind).mkdir()
    for i in range(6):
        soundfile.write(root / "speech" / f"s{i}.wav", 0.5 * voice(1.5, seed=i), RATE)
        soundfile.write(root / "noise" / f"n{i}.wav", hiss(0.7, seed=i), RATE)
        soundfile.write(root / "rirs" / f"r{i}.wav", impulse(seed=i, delay=50 * i), RATE)
        (root / "pairs" / "clean").mkdir(parents=True, exist_ok=True)
        (root / "pairs" / "noisy").mkdir(exist_ok=True)
        soundfile.write(root / "pairs" / "clean" / f"p{i}.wav", 0.5 * voice(1.5, seed=10 + i), RATE)
        noisy = 0.5 * voice(1.5, seed=10 + i) + hiss(1.5, seed=i)
        soundfile.write(root / "pairs" / "noisy" / f"p{i}.wav", noisy, RATE)
    return root


def sources(folder, mixing, *speech, noise=True, rirs=True):
    data = DataConfig(
        tuple(str(folder / name) for name in speech or ("speech",)),
        (str(folder / "noise"),) if noise else (),
        (str(folder / "rirs"),) if rirs else (),
    )
    return load_training_data(data, mixing, 0, Cache(folder / "cache", RATE))


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@pytest.mark.parametrize("speech", [("speech",), ("pairs",), ("speech", "pairs")])
def test_a_spec_read_back_from_json_renders_the_same_samples(folder, speech):
    noise = "speech" in speech
    source = sources(folder, EVERYTHING, *speech, noise=noise, rirs=noise).training
    assert (len(source.speech) > 0, len(source.pairs) > 0) == (noise, "pairs" in speech)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        spec = source.draw(rng, 6_000)
        again = spec_from_dict(json.loads(json.dumps(to_dict(spec))))
        assert again == spec
        for one, two in zip(source.render(spec), source.render(again), strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.shape == (6_000,)
            assert one.dtype == np.float32
            assert np.isfinite(one).all()
        seen |= {name for name, value in to_dict(spec).items() if value}
        seen |= {f"degradation.{name}" for name, value in to_dict(spec)["degradation"].items() if value}
    assert {"degradation.band_hz", "degradation.clipping_db", "degradation.codec", "degradation.gaps"} <= seen
    assert not noise or {"noises", "babble", "generated", "rir", "shaping"} <= seen


def test_mixtures_have_the_drawn_snr_and_level(folder):
    source = sources(folder, MixingConfig(babble_probability=0.0, reverb_probability=0.0)).training
    for seed in range(10):
        spec = source.draw(np.random.default_rng(seed), None)
        noisy, clean = source.render(spec)
        whole = source.speech.excerpt(spec.speech.name, 0, spec.length)
        level = rms(clean) / rms(whole) * source.speech[spec.speech.name].entry.level
        assert 20 * np.log10(level / rms(noisy - clean)) == pytest.approx(spec.snr_db, abs=0.1)
        assert 20 * np.log10(level) <= spec.level_db + 0.1


def test_both_sides_of_a_mixture_that_would_clip_are_scaled_down(folder):
    source = sources(folder, MixingConfig(reverb_probability=0.0, snr_db=(-20, -20), level_db=(-10, -10))).training
    spec = source.draw(np.random.default_rng(0), 8_000)
    loud, quiet = source.render(spec), source.render(dataclasses.replace(spec, level_db=-60.0))
    factor = np.abs(loud[0]).max() / np.abs(quiet[0]).max()
    assert np.abs(loud[0]).max() == pytest.approx(0.99)
    for ours, theirs in zip(loud, quiet, strict=True):
        np.testing.assert_allclose(ours, factor * theirs, atol=1e-4)


def test_clean_segments_have_no_noise_and_speechless_ones_no_speech(folder):
    mixing = dataclasses.replace(EVERYTHING, clean_probability=0.3, speechless_probability=0.3)
    source = sources(folder, mixing).training
    rng, n = np.random.default_rng(0), 200
    clean, speechless = 0, 0
    for _ in range(n):
        spec = source.draw(rng, 4_000)
        noisy, target = source.render(spec)
        if spec.speechless:
            speechless += 1
            assert not target.any()
            assert noisy.any()
        elif not (spec.noises or spec.babble or spec.generated):
            clean += 1
            assert spec.rir is None
            assert spec.degradation == Degradation()
            np.testing.assert_array_equal(noisy, target)
        else:
            assert (noisy != target).any()
    assert clean / n == pytest.approx(0.3, abs=0.1)
    assert speechless / n == pytest.approx(0.3, abs=0.1)
    whole = [source.draw(rng, None) for _ in range(50)]  # they are there to be scored
    assert not any(spec.speechless or not (spec.noises or spec.babble or spec.generated) for spec in whole)


def test_shaping_filters_speech_and_noise_apart_and_keeps_them_aligned(folder):
    mixing = MixingConfig(shaping_probability=1.0, reverb_probability=0.0, babble_probability=0.0)
    source = sources(folder, mixing).training
    rng = np.random.default_rng(0)
    for _ in range(5):
        spec = source.draw(rng, 8_000)
        noisy, clean = source.render(spec)
        plain_noisy, plain_clean = source.render(dataclasses.replace(spec, shaping=()))
        noise, plain_noise = noisy - clean, plain_noisy - plain_clean
        assert rms(clean) / rms(noise) == pytest.approx(rms(plain_clean) / rms(plain_noise), 1e-3)
        for shaped, before in ((clean, plain_clean), (noise, plain_noise)):
            assert np.corrcoef(shaped, before)[0, 1] < 0.9999  # no mere change of level
    assert spec.shaping[:4] != spec.shaping[4:]
    samples = hiss(1.0)
    a, b, c, d = spec.shaping[:4]
    response = np.abs(np.polyval([b, a, 1.0], np.exp(-1j * np.linspace(0, np.pi, 9)))) / np.abs(
        np.polyval([d, c, 1.0], np.exp(-1j * np.linspace(0, np.pi, 9)))
    )
    ratio = np.abs(np.fft.rfft(apply_filter((a, b, c, d), samples))[::1000]) / np.abs(np.fft.rfft(samples)[::1000])
    np.testing.assert_allclose(ratio / ratio[4], response / response[4], rtol=0.05)


@given(speed=st.floats(0.5, 2.0), length=st.integers(1, 30_000))
@settings(max_examples=60)
def test_speed_perturbation_changes_pitch_and_keeps_the_length(speed, length):
    hz = 700.0
    sine = speed_perturb(speed, lambda n: np.sin(2 * np.pi * hz / RATE * np.arange(n)).astype(np.float32), length)
    assert sine.shape == (length,)
    expected = np.sin(2 * np.pi * hz * speed / RATE * np.arange(length))
    np.testing.assert_allclose(sine[1_000:-1_000], expected[1_000:-1_000], atol=1e-3)


def test_speech_and_noise_have_separate_speeds(folder):
    mixing = MixingConfig(speed_probability=0.6, reverb_probability=0.0, babble_probability=0.3)
    source = sources(folder, mixing).training
    rng = np.random.default_rng(0)
    specs = [source.draw(rng, 4_000) for _ in range(100)]
    changed = [spec for spec in specs if spec.speeds != (1.0, 1.0)]
    assert len(changed) / len(specs) == pytest.approx(0.6, abs=0.15)
    assert all(0.85 <= speed <= 1.18 and spec.speeds[0] != spec.speeds[1] for spec in changed for speed in spec.speeds)
    assert {source.draw(rng, None).speeds for _ in range(20)} == {(1.0, 1.0)}  # they are there to be scored
    for spec in changed[:20]:
        of_speech, of_noise = spec.speeds
        noisy, clean = source.render(spec)
        for speeds, same_speech in (((of_speech, 1.0), True), ((1.0, of_noise), False)):
            other_noisy, other_clean = source.render(dataclasses.replace(spec, speeds=speeds))
            alike = [
                np.corrcoef(one, two)[0, 1] > 0.999
                for one, two in ((clean, other_clean), (noisy - clean, other_noisy - other_clean))
            ]
            assert alike == [same_speech, not same_speech]


@pytest.mark.parametrize("speech", ["speech", "pairs"])
def test_mirrored_segments_extend_a_recording_as_enhancement_does(folder, speech):
    noise = speech == "speech"
    source = sources(folder, MixingConfig(mirrored_probability=0.5), speech, noise=noise, rirs=noise).training
    rng, before, after = np.random.default_rng(0), 0, 0
    for _ in range(100):
        spec = source.draw(rng, 4_000)
        n = spec.mirrored
        before, after = before + (n > 0), after + (n < 0)
        assert abs(n) <= 2_000
        inside = source.render(dataclasses.replace(spec, mirrored=0))
        for side, plain_side in zip(source.render(spec), inside, strict=True):
            if n > 0:
                expected = np.pad(plain_side, (n, 0), mode="symmetric")[:4_000]
            else:
                expected = np.pad(plain_side, (0, -n), mode="symmetric")[-4_000:]
            np.testing.assert_array_equal(side, expected)
    assert before + after == pytest.approx(50, abs=15)
    assert min(before, after) > 10
    assert source.draw(rng, None).mirrored == 0  # whole utterances are there to be scored


def test_onsets_begin_in_the_pause_before_an_utterance(folder):
    source = sources(folder, MixingConfig(onset_probability=0.5, reverb_probability=0.0)).training
    rng, pauses = np.random.default_rng(0), []
    for _ in range(200):
        spec = source.draw(rng, 4_000)
        if (offset := spec.speech.offset) < 0:
            clean = source.render(spec)[1]
            speech = source.render(dataclasses.replace(spec, speech=dataclasses.replace(spec.speech, offset=0)))[1]
            assert not clean[:-offset].any()
            followed = speech[:offset]
            np.testing.assert_allclose(clean[-offset:] * followed.std(), followed * clean[-offset:].std(), atol=1e-4)
            pauses.append(-offset)
    assert len(pauses) == pytest.approx(100, abs=25)
    assert max(pauses) < 2_000
    assert np.mean(pauses) == pytest.approx(1_000, abs=150)
    assert source.draw(rng, None).speech.offset >= 0


def test_reverberation_of_earlier_speech_is_kept_at_other_speeds(folder):
    source = sources(folder, MixingConfig(reverb_probability=1.0)).training
    spec = dataclasses.replace(source.draw(np.random.default_rng(1), 4_000), speeds=(1.1, 0.9))
    spec = dataclasses.replace(spec, speech=dataclasses.replace(spec.speech, offset=9_000))
    led, alone = source._render_speech(spec, 5_000)[5_000:], source._render_speech(spec, 0)
    np.testing.assert_allclose(led[500:], alone[500:], atol=0.05 * np.abs(alone).max())


def test_babble_is_of_other_speakers(folder):
    source = sources(folder, MixingConfig(babble_probability=1.0)).training
    rng = np.random.default_rng(0)
    for _ in range(200):
        spec = source.draw(rng, 1_000)
        groups = {source.speech[excerpt.name].group for excerpt in spec.babble}
        assert 3 <= len(spec.babble) <= 8
        assert source.speech[spec.speech.name].group not in groups


def test_babble_is_drawn_even_if_nearly_all_speech_is_of_one_speaker(folder):
    source = sources(folder, MixingConfig(babble_probability=1.0)).training
    first, *others = source.speech.all
    heavy = Recordings((dataclasses.replace(first, weight=1e6), *others))
    source = ExampleSource(heavy, source.noise, source.rirs, source.config, RATE)
    babble = {excerpt.name for _ in range(20) for excerpt in source.draw(np.random.default_rng(_), 100).babble}
    assert babble == {recording.name for recording in others}


def test_without_recorded_noise_noises_are_generated(folder):
    both = sources(folder, MixingConfig(), noise=False, rirs=False)
    rng = np.random.default_rng(0)
    for source in (both.training, both.validation):
        kinds = [spec.generated for spec in (source.draw(rng, 100) for _ in range(300)) if not spec.babble]
        assert {generated.kind for generated in kinds} == set(typing.get_args(NoiseKind))


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_coloured_noise_has_the_slope_of_its_colour(kind, slope_db):
    noise = generate(kind, 1, 8 * RATE, RATE, np.zeros(0, np.float32))
    assert rms(noise) == pytest.approx(1.0, rel=1e-3)
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [power[(hz >= low) & (hz < 2 * low)].mean() for low in (125, 250, 500, 1000, 2000)]
    slopes = np.diff(10 * np.log10(octaves))
    assert np.mean(slopes) == pytest.approx(slope_db, abs=0.3)


def test_hum_has_the_harmonics_of_the_mains():
    for seed in range(5):
        noise = generate("hum", seed, 4 * RATE, RATE, np.zeros(0, np.float32))
        power = np.abs(np.fft.rfft(noise * np.hanning(len(noise)))) ** 2
        first = np.argmax(power) / 4
        ratio = min(abs(first / mains - round(first / mains)) for mains in (50.0, 60.0))
        assert first > 40
        assert ratio < 0.15
        assert np.sort(power)[-100:].sum() > 0.7 * power.sum()


def test_speech_shaped_noise_has_the_spectrum_of_speech_without_its_modulation():
    speech = voice(4.0)
    noise = generate("speech-shaped", 0, 4 * RATE, RATE, speech)
    shapes = [np.log(smooth_spectrum(x.astype(np.float32), 60)[1:50]) for x in (speech, noise)]
    assert np.corrcoef(*shapes)[0, 1] > 0.95
    sign_changes = [np.std(x[:60_000].reshape(-1, 400).std(1)) / x.std() for x in (speech, noise)]
    assert sign_changes[1] < 0.6 * sign_changes[0]


def test_reverberant_speech_and_targets_equal_plain_convolutions(folder):
    """Against convolution in plain numbers: the room keeps the power; late sound is in the noisy side alone."""
    rir = 7 * np.asarray(impulse(delay=0), np.float32)
    speech = voice(1.0)
    gain = rms(speech) / rms(np.convolve(speech, rir)[:RATE])
    heard, early = apply_rir(rir, speech, 4_000, "early", RATE)
    _, dry = apply_rir(rir, speech, 4_000, "dry", RATE)
    np.testing.assert_allclose(heard, gain * np.convolve(speech, rir)[4_000:RATE], atol=1e-4)
    np.testing.assert_allclose(early, gain * np.convolve(speech, rir[:800])[4_000:RATE], atol=1e-4)
    assert np.corrcoef(dry, speech[4_000:])[0, 1] > 0.9
    assert rms(heard - early) > 0.05 * rms(heard)


def test_room_responses_start_at_the_direct_sound(folder):
    rirs = sources(folder, MixingConfig()).training.rirs
    for recording in rirs.all:
        rir = load_rir(rirs, recording.name, RATE)
        assert np.abs(rir).argmax() <= 0.001 * RATE


def test_reverberant_speech_is_aligned_with_its_target(folder):
    source = sources(folder, MixingConfig(reverb_probability=1.0, snr_db=(60, 60))).training
    for seed in range(5):
        noisy, clean = source.render(source.draw(np.random.default_rng(seed), 12_000))
        lags = np.correlate(noisy, clean, "full")
        assert abs(int(np.argmax(lags)) - 11_999) <= 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("compression", [0.0, 0.9])
def test_codecs_change_speech_without_delay(codec, compression):
    speech = 0.5 * voice(1.024)[:16_384] + hiss(1.024)[:16_384]
    coded = apply_codec(codec, compression, speech, RATE)
    assert coded.shape == speech.shape
    assert coded.dtype == np.float32
    assert int(np.argmax(np.correlate(coded, speech, "full"))) == 16_383
    assert 0.001 < rms(coded - speech) / rms(speech) < 0.9
    assert set(CODECS) == set(typing.get_args(CodecName))


def test_degradations_change_what_was_drawn_and_nothing_else():
    noisy, clean = 0.5 * voice(1.0) + hiss(1.0), 0.5 * voice(1.0)
    for one, two in zip(degrade(Degradation(), noisy, clean, RATE), (noisy, clean), strict=True):
        np.testing.assert_array_equal(one, two)
    clipped, same = degrade(Degradation(clipping_db=-6.0), noisy, clean, RATE)
    assert np.abs(clipped).max() == pytest.approx(np.abs(noisy).max() / 2, rel=0.01)
    np.testing.assert_array_equal(same, clean)
    holed, same = degrade(Degradation(gaps=((100, 300), (5_000, 5_500))), noisy, clean, RATE)
    assert not holed[100:300].any()
    assert not holed[5_000:5_500].any()
    np.testing.assert_array_equal(
        np.delete(holed, np.r_[100:300, 5_000:5_500]), np.delete(noisy, np.r_[100:300, 5_000:5_500])
    )
    np.testing.assert_array_equal(same, clean)
    both = 0.5 * voice(1.0) + hiss(1.0), 0.5 * voice(1.0) + hiss(1.0, seed=1)  # both with sound above the limit
    for side in degrade(Degradation(band_hz=3_000.0), *both, RATE):
        power = np.abs(np.fft.rfft(side * np.hanning(len(side)))) ** 2
        assert power[4_000:].sum() < 1e-5 * power.sum()


def test_the_band_limit_has_no_delay():
    speech = 0.5 * voice(1.0)
    low = limit_band(speech, 4_000.0, RATE)
    half = soxr.resample(soxr.resample(speech, RATE, 8_000), 8_000, RATE)
    assert rms(low - half) < 0.1 * rms(speech)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(400, 40_000))
def test_any_segment_of_any_length_can_be_rendered(folder, seed, length):
    source = sources(folder, EVERYTHING).training
    noisy, clean = source.render(source.draw(np.random.default_rng(seed), length))
    assert len(noisy) == len(clean) == length
    assert np.isfinite(noisy).all()
    assert np.isfinite(clean).all()


def test_the_noisy_side_of_a_pair_belongs_to_its_clean_side(folder):
    source = sources(folder, MixingConfig(), "pairs", noise=False, rirs=False).training
    for seed in range(16):
        noisy, clean = source.render(source.draw(np.random.default_rng(seed), 8_000))
        assert np.corrcoef(noisy, clean)[0, 1] > 0.5 or np.abs(clean).max() < 0.01


@pytest.mark.parametrize("gain_db", [0.0, -6.0])
def test_both_sides_of_a_pair_get_the_gain_that_was_drawn(folder, gain_db):
    mixing = MixingConfig(pair_gain_db=(gain_db, gain_db))
    source = sources(folder, mixing, "pairs", noise=False, rirs=False).training
    spec = source.draw(np.random.default_rng(0), 8_000)
    for ours, noisy in zip(source.render(spec), (True, False), strict=True):
        recorded = source.pairs.excerpt(spec.speech.name, spec.speech.offset, 8_000, noisy)
        np.testing.assert_array_equal(ours, np.float32(10 ** (gain_db / 20)) * recorded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"babble_probability": 1.5}, "1 or less"), ({"snr_db": (5.0, 0.0)}, "the lower first"),
        ({"band_hz": (50.0, 4_000.0)}, "band_hz"), ({"generated": ()}, "generated"), ({"gap_ms": (0.0, 1.0)}, "gap_ms"),
        ({"speed": (0.4, 1.0)}, "speed"), ({"speed": (1.2, 0.8)}, "the lower first"),
        ({"clean_probability": 0.6, "speechless_probability": 0.5}, "add up to more than 1"),
        ({"codecs": ()}, "codecs"), ({"speed": (1.0, 2.5)}, "speed"), ({"band_hz": (200.0, 8_000.0)}, "band_hz"),
        ({"clipping_db": (-1.0, 1.0)}, "clipping_db"), ({"snr_db": (0.0, 300.0)}, "from -200 to 200"),
    ],
)  # fmt: skip
def test_invalid_mixing_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        MixingConfig(**changes)


def test_validation_mixes_are_the_same_for_the_same_seed(folder):
    validation = sources(folder, EVERYTHING).validation
    first, again, other = (draw_utterances(validation, 4, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(spec.length == validation.speech[spec.speech.name].length for spec in first)


def segments(numbers, turns=1, start=0, seed=0):
    return SamplingPlan(seed, 1_000, turns, start, numbers)


def take(folder, n, workers=0, first_step=0, **options):
    source = sources(folder, EVERYTHING).training
    return list(itertools.islice(batches(source, segments(**options), first_step, workers), n))


def same(one, two):
    return all(a.equal(b) for a, b in zip(one[:2], two[:2], strict=True)) and one[2] == two[2]


def test_segments_do_not_depend_on_workers_or_the_first_step(folder):
    alone = take(folder, 6, numbers=range(3))
    assert all(map(same, alone, take(folder, 6, workers=2, numbers=range(3))))
    assert all(map(same, alone[4:], take(folder, 2, first_step=4, numbers=range(3))))
    assert not same(alone[0], alone[1])
    assert not same(alone[0], take(folder, 1, numbers=range(3), seed=1)[0])
    assert len({segment.numpy().tobytes() for segment in alone[0][0]}) == 3


def test_two_processes_get_the_halves_of_a_batch(folder):
    whole, first, second = (take(folder, 2, numbers=numbers) for numbers in (range(4), range(2), range(2, 4)))
    for all_of_it, *parts in zip(whole, first, second, strict=True):
        for side in (0, 1):
            assert all_of_it[side].equal(np_cat(parts, side))


def np_cat(parts, side):
    import torch

    return torch.cat([part[side] for part in parts])


def test_extra_rounds_get_new_segments_from_the_start_step(folder):
    keys = [batch[2][0][:2] for batch in take(folder, 7, numbers=range(1), turns=3, start=1)]
    assert keys == [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


def test_recordings_are_drawn_in_proportion_to_their_length(folder):
    speech = sources(folder, MixingConfig()).training.speech
    entry = speech.all[0].entry
    uneven = Recordings(
        tuple(dataclasses.replace(speech.all[0], name=str(i), entry=entry, length=n) for i, n in enumerate((1, 9)))
    )
    rng = np.random.default_rng(0)
    drawn = [uneven.draw(rng).name for _ in range(2_000)]
    assert drawn.count("1") / 2_000 == pytest.approx(0.9, abs=0.03)


def test_mixtures_and_pairs_are_drawn_in_proportion_to_their_weighted_durations(folder):
    source = sources(folder, MixingConfig(), "speech", "pairs", noise=False, rirs=False).training
    speech, pairs = (
        Recordings(tuple(dataclasses.replace(part.all[0], length=n, weight=weight) for n in lengths))
        for part, lengths, weight in (
            (source.speech, (9_000, 3_000), 0.5),
            (source.pairs, (1_000,), 2.0),
        )
    )
    none, both = Recordings(()), Recordings((*speech.all, *pairs.all))
    combined = ExampleSource(both, none, none, MixingConfig(), RATE)
    assert combined.pair_share == 2_000 / (6_000 + 2_000)
    rng = np.random.default_rng(0)
    assert np.mean([combined.draw(rng, 100).paired for _ in range(2_000)]) == pytest.approx(0.25, abs=0.03)
