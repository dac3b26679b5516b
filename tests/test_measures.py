"""Known values, order, invariance and undefined cases of the measures."""

import json
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from conftest import hiss, voice
from scipy.signal import lfilter

from segan_cli.errors import AudioError, ConfigError
from segan_cli.measures.catalog import CORE, FULL_BAND, MEASURES, WITH_REFERENCE, measure_all
from segan_cli.measures.composite import frames, llr_frames, ssnr_frames_db, wss_frames
from segan_cli.measures.dnsmos import dnsmos, mel_spectrogram
from segan_cli.measures.high_band import HighBandSignals
from segan_cli.measures.score import Undefined, mean
from segan_cli.measures.standard import lsd_db, pesq_wb, si_sdr_db, stoi

CLEAN = 0.5 * (voice(3.0) + hiss(3.0, seed=9, level=3e-3))
GOLDEN = Path(__file__).parent / "golden" / "measures.json"
BEST = {"pesq_wb": 4.644, "pesq_nb": 4.549, "stoi": 1.0, "estoi": 1.0, "ssnr_db": 35.0, "csig": 5.0, "cbak": 5.0,
        "covl": 5.0, "lsd_db": 0.0}  # fmt: skip


@pytest.mark.parametrize("scale", [1e-6, 1e-20, 1e-30])
def test_si_sdr_does_not_depend_on_the_level(scale):
    noise = hiss(3.0)
    assert si_sdr_db(CLEAN, (scale * noise).astype("f4")) == pytest.approx(si_sdr_db(CLEAN, noise), abs=1e-3)


def at_snr(snr_db, seed=0):
    noise = hiss(3.0, seed=seed, level=1.0)
    return (CLEAN + noise * np.sqrt(np.mean(CLEAN**2)) * 10 ** (-snr_db / 20)).astype(np.float32)


def one(name, clean, degraded):
    return measure_all(clean, degraded, (name,))[name]


def test_more_noise_scores_worse():
    names, snrs_db = tuple(WITH_REFERENCE), (0.0, 10.0, 20.0, 30.0)
    rows = [[measure_all(CLEAN, at_snr(snr_db, seed), names) for seed in range(3)] for snr_db in snrs_db]
    for name in names:
        means = [np.mean([scores[name] for scores in row]) for row in rows]
        assert means == sorted(means, reverse=not MEASURES[name].higher_is_better), name
        low, high = MEASURES[name].range
        assert all(low <= value <= high for value in means), name


def test_a_signal_compared_with_itself_has_the_best_scores():
    scores = measure_all(CLEAN, CLEAN, tuple(WITH_REFERENCE))
    assert scores.pop("si_sdr_db") == Undefined("no distortion")
    assert scores == pytest.approx(BEST, abs=1e-3)


@pytest.mark.parametrize("name", ["stoi", "estoi", "si_sdr_db", "pesq_wb", "pesq_nb"])
def test_scores_do_not_depend_on_level(name):
    quiet = one(name, CLEAN, 0.25 * at_snr(10.0))
    assert quiet == pytest.approx(one(name, CLEAN, at_snr(10.0)), abs=0.02)


def test_scores_equal_the_golden_values():
    """On real speech the code was compared with reference figures (docs/metrics.md); these pin it on made signals."""
    golden = json.loads(GOLDEN.read_text())
    for snr_db, expected in golden.items():
        assert measure_all(CLEAN, at_snr(float(snr_db)), tuple(WITH_REFERENCE)) == pytest.approx(expected, abs=1e-3)


def test_parts_of_the_composites_equal_the_golden_values():
    """More exactly than the ratings, in which a constant of the filters hardly shows."""
    parts = [np.mean(part(np.float64(CLEAN), np.float64(at_snr(10.0)))) for part in (wss_frames, llr_frames)]
    assert parts == pytest.approx([27.104844273, 1.443802529], rel=1e-7)


def test_segmental_snr_is_that_of_each_frame_within_bounds():
    clean = np.ones(4_800)
    for gain, expected in ((0.1, 20.0), (1e-3, 35.0), (10.0, -10.0)):
        assert ssnr_frames_db(clean, clean * (1 + gain)) == pytest.approx(expected, abs=1e-6)
    assert frames(np.ones(4_800)).shape == (36, 480)  # 30 ms every 7.5 ms; the last whole one is not counted


def test_likelihood_ratio_equals_that_of_the_prediction_filters():
    """Of a process by a filter A against white noise: log of a' R a / σ², with R and σ² of the white one."""
    white = np.random.default_rng(0).standard_normal(160_000)
    coloured = lfilter([1.0], [1.0, -0.9], white)
    assert np.mean(llr_frames(coloured, coloured)) == pytest.approx(0.0, abs=1e-9)
    assert np.mean(llr_frames(white, coloured)) == pytest.approx(np.log(1 + 0.9**2), abs=0.05)


def test_spectral_slope_distance_depends_on_tilt_and_not_on_level():
    white = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    assert np.max(wss_frames(white, 0.1 * white)) < 1e-3
    assert np.mean(wss_frames(white, lfilter([1.0, -0.9], [1.0], white))) > 0.5


def test_log_spectral_distance_of_a_gain_is_the_gain():
    loud = hiss(1.0, level=0.1)
    assert lsd_db(loud, 0.5 * loud) == pytest.approx(6.02, abs=0.01)


def test_si_sdr_of_orthogonal_noise_is_its_snr_at_any_scale():
    clean = np.tile(np.float32([1.0, -1.0]), 500)
    noise = np.tile(np.float32([1.0, 1.0, -1.0, -1.0]), 250)
    assert si_sdr_db(clean, clean + 0.1 * noise) == pytest.approx(20.0, abs=1e-4)
    assert si_sdr_db(clean, 7 * (clean + 0.1 * noise)) == pytest.approx(20.0, abs=1e-4)
    assert si_sdr_db(clean + 0.5, clean + 0.1 * noise - 0.3) == pytest.approx(20.0, abs=1e-4)  # means are removed


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_silence_is_undefined(name):
    silence = np.zeros(48_000, np.float32)
    assert isinstance(one(name, silence, CLEAN), Undefined)
    if name != "lsd_db":  # which may well say how far silence is from speech
        assert isinstance(one(name, CLEAN, silence), Undefined)


def test_too_short_a_signal_is_undefined():
    short = measure_all(CLEAN[:400], at_snr(5.0)[:400], tuple(WITH_REFERENCE))
    assert all(isinstance(score, Undefined) for name, score in short.items() if name != "si_sdr_db")
    assert isinstance(stoi(CLEAN[:2000], at_snr(5.0)[:2000]), Undefined)


def test_pauses_of_exact_zeros_keep_scores_defined():
    clean, noisy = CLEAN.copy(), at_snr(10.0)
    clean[20_000:30_000] = noisy[20_000:30_000] = 0.0
    assert all(isinstance(score, float) for score in measure_all(clean, noisy, tuple(WITH_REFERENCE)).values())


def test_samples_that_are_not_numbers_are_undefined():
    broken = CLEAN.copy()
    broken[100] = np.nan
    assert all(isinstance(score, Undefined) for score in measure_all(CLEAN, broken, tuple(WITH_REFERENCE)).values())


def test_pesq_is_undefined_below_a_quarter_of_a_second():
    noisy = at_snr(5.0)
    assert pesq_wb(CLEAN[:3999], noisy[:3999]) == Undefined("shorter than 0.25 s")
    assert pesq_wb(CLEAN[:4000], noisy[:4000]) != Undefined("shorter than 0.25 s")


def test_undefined_scores_are_excluded_from_the_mean():
    assert mean([1.0, Undefined("silent"), 3.0]) == 2.0
    assert mean([Undefined("silent")]) is None


def test_every_measure_has_its_range_and_a_source():
    assert set(CORE) < set(MEASURES)
    opinion = dict.fromkeys(("csig", "cbak", "covl", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"), (1, 5))
    assert {name: measure.range for name, measure in MEASURES.items()} == opinion | {
        "pesq_wb": (0.999, 4.644), "pesq_nb": (0.999, 4.549), "stoi": (0, 1), "estoi": (0, 1), "ssnr_db": (-10, 35),
        "si_sdr_db": (-np.inf, np.inf), "lsd_db": (0, np.inf), "high_lsd_db": (0, np.inf),
        "high_lsd_speech_db": (0, np.inf), "high_pause_db": (-np.inf, np.inf),
    }  # fmt: skip
    assert all(measure.source for measure in MEASURES.values())


@pytest.fixture
def rated(monkeypatch):
    """The parts of recordings that the networks of DNSMOS get, by their first samples; each is rated with that."""
    parts = []

    def rate(part):
        assert len(part) == 144_160
        parts.append(float(part[0]))
        return [part[0]] * 4

    monkeypatch.setattr("segan_cli.measures.dnsmos._rate", rate)
    return parts


@pytest.mark.usefixtures("rated")
def test_only_samples_up_to_full_scale_and_a_second_or_more_are_rated():
    full = np.ones(16_000, np.float32)
    assert dnsmos(full) == dict.fromkeys(("sig_mos", "bak_mos", "ovrl_mos", "p808_mos"), 1.0)
    assert set(dnsmos(1.001 * full).values()) == {Undefined("samples above full scale")}
    assert set(dnsmos(full[1:]).values()) == {Undefined("shorter than 1 s")}
    assert set(dnsmos(0 * full).values()) == {Undefined("silent signal")}


def test_the_parts_that_are_rated_are_those_of_the_reference_program(rated):
    """It repeats short recordings, and the rounding of floats leaves out parts of long ones."""
    ramp = np.arange(1, 16_000 * 26 + 5, dtype=np.float32) / 2**20
    scores = dnsmos(ramp)
    assert [round(first * 2**20) // 16_000 for first in rated] == list(range(7))
    assert scores["p808_mos"] == pytest.approx(np.mean(rated))
    for seconds, n in ((1.0, 7), (6.25, 3), (9.01, 1), (10.99, 1), (11.0, 2), (40.0, 14)):
        rated.clear()
        dnsmos(hiss(seconds))
        assert len(rated) == n, seconds


def test_the_mel_spectrogram_of_dnsmos_equals_that_of_librosa():
    """melspectrogram(n_fft=321, hop_length=160, n_mels=120), power_to_db(ref=max)."""
    levels = mel_spectrogram(np.append(CLEAN[:16_000], np.zeros(800, np.float32)))
    assert levels.shape == (105, 120)
    assert (levels.max(), levels.min()) == (1.0, -1.0)
    assert levels[[0, 20, 50, 99], [3, 40, 80, 119]] == pytest.approx(
        [0.666744, -0.877162, -0.36863, -0.361662], abs=1e-5
    )


# The band above 8 kHz


WIDE_HZ = 48_000


def split_at(samples, hz, rate_hz=WIDE_HZ):
    """The parts of samples below and above a frequency."""
    spectrum = np.fft.rfft(samples)
    spectrum[round(hz * len(samples) / rate_hz) :] = 0
    below = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    return below, samples - below


def talk(rate_hz=WIDE_HZ, pause=0.005, gain=1.0, gain_from_hz=8_100):
    """A second of noise, a second 46 dB below it, and a second of noise; with a gain above a frequency."""
    below, above = split_at(hiss(3.0, rate_hz, seed=3, level=0.1), gain_from_hz, rate_hz)
    return (below + gain * above) * np.repeat(np.float32([1, pause, 1]), rate_hz)


def high(clean, degraded, rate_hz=WIDE_HZ, recorded_hz=None):
    pair = HighBandSignals(clean, degraded, rate_hz, recorded_hz or (rate_hz, rate_hz))
    return pair.lsd_db(), pair.lsd_db(speech=True), pair.pause_db()


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000, 96_000])
def test_a_gain_above_8_khz_is_measured_by_its_decibels(rate_hz):
    assert high(talk(rate_hz), talk(rate_hz, gain=2.0), rate_hz) == pytest.approx((6.02, 6.02, 6.02), abs=0.02)


def test_noise_above_8_khz_changes_the_measures_of_the_high_band_only():
    speech = np.asarray(soxr.resample(CLEAN, 16_000, WIDE_HZ), np.float32)
    clean, noise = speech + hiss(3.0, WIDE_HZ, seed=1, level=1e-3), hiss(3.0, WIDE_HZ, seed=2, level=0.01)
    noisy = clean + split_at(noise, 7_900)[0]
    noisier = noisy + split_at(noise, 8_100)[1]
    names = ("stoi", "si_sdr_db", "lsd_db", "pesq_wb", *FULL_BAND)
    before, after = (measure_all(clean, signal, names, WIDE_HZ) for signal in (noisy, noisier))
    assert [after[name] for name in names[:4]] == pytest.approx([before[name] for name in names[:4]], abs=1e-3)
    assert before["high_lsd_db"] == pytest.approx(0.0, abs=0.01)
    level_db, deviation_db = 20.0, 5.57  # noise over the clean signal, and standard deviation of a bin of either
    assert after["high_lsd_db"] == pytest.approx(np.hypot(level_db, np.sqrt(2) * deviation_db), abs=0.2)


def test_attenuated_pauses_have_a_negative_level():
    clean, quieter = talk(), talk(pause=0.0025)
    lsd, lsd_in_speech, pause = high(clean, quieter)
    assert pause == pytest.approx(-6.02, abs=0.01)
    assert lsd_in_speech == pytest.approx(0.0, abs=0.01)
    assert lsd == pytest.approx(6.02 * 122 / 372, abs=0.02)  # 122 of 372 frames are in the pause
    assert high(quieter, clean)[2] == pytest.approx(6.02, abs=0.01)


def test_levels_below_the_floor_of_the_band_count_as_the_floor():
    silent = talk(pause=0.0)
    assert high(silent, silent) == (0.0, 0.0, 0.0)
    peak_db = 10 * np.log10(np.max(np.abs(np.fft.rfft(np.hanning(1536) * silent[:1536])) ** 2))
    noise_db = 10 * np.log10(np.sum(np.hanning(1536) ** 2) * 0.0005**2)
    assert high(silent, talk())[2] == pytest.approx(noise_db - (peak_db - 80), abs=3.0)
    assert high(silent, talk())[2] == pytest.approx(-high(talk(), silent)[2], abs=1e-6)


def test_recordings_without_a_high_band_are_undefined():
    clean = talk()
    for rates in ((48_000, 16_000), (22_050, 48_000)):
        assert set(high(clean, clean, recorded_hz=rates)) == {Undefined("recorded below 32 kHz")}
    narrow = np.asarray(soxr.resample(CLEAN, 16_000, WIDE_HZ), np.float32)
    assert set(high(narrow, clean)) == {Undefined("no sound above 8 kHz in the clean recording")}
    assert set(high(0 * clean, clean)) == {Undefined("silent signal")}
    assert set(high(clean[:1_000], clean[:1_000])) == {Undefined("shorter than 32 ms")}
    assert high(clean[:48_000], clean[:48_000])[2] == Undefined("no pauses")


@pytest.mark.parametrize(("recorded_hz", "highest_hz"), [(32_000, 15_200), (44_100, 20_000), (96_000, 20_000)])
def test_the_band_ends_below_the_nyquist_frequency_of_the_clean_recording(recorded_hz, highest_hz):
    clean = talk()
    inside, outside = (talk(gain=0.5, gain_from_hz=highest_hz + change_hz) for change_hz in (-200, 200))
    assert high(clean, inside, recorded_hz=(recorded_hz, 48_000))[0] > 0.5
    assert high(clean, outside, recorded_hz=(recorded_hz, 48_000))[0] < 0.05


@pytest.mark.parametrize("degraded", [CLEAN[:-1], CLEAN[None], CLEAN[:0]])
def test_signals_of_other_shapes_are_refused(degraded):
    with pytest.raises(AudioError, match=r"give two of one shape \[n\]"):
        measure_all(degraded if not degraded.size else CLEAN, degraded)


@pytest.mark.parametrize(
    ("degraded", "names", "rate_hz", "error"),
    [
        (CLEAN, ("foo",), 16_000, ConfigError), (CLEAN, "stoi", 16_000, ConfigError),
        (CLEAN, None, 16_000, ConfigError), (CLEAN, [["stoi"]], 16_000, ConfigError),
        *((CLEAN, ("stoi",), rate_hz, ConfigError) for rate_hz in (0, 1, np.nan, 44_100.5, "16000", None)),
        ([[1.0, 2.0], [3.0]], ("stoi",), 16_000, AudioError),
        ((CLEAN * 32_767).astype(np.int16), ("lsd_db",), 16_000, AudioError),
        (CLEAN.astype(complex), ("stoi",), 16_000, AudioError),
    ],
)  # fmt: skip
def test_other_names_rates_and_types_are_refused(degraded, names, rate_hz, error):
    with pytest.raises(error):
        measure_all(CLEAN, degraded, names, rate_hz)


def test_measures_take_lists():
    assert measure_all(CLEAN[:8_000].tolist(), CLEAN[:8_000].tolist(), ("si_sdr_db",))


def test_names_may_be_an_iterator_and_samples_any_floats():
    expected = measure_all(CLEAN, 0.5 * CLEAN, ("stoi", "lsd_db"))
    for samples in (CLEAN.astype(np.float64), CLEAN.astype(np.longdouble), CLEAN.tolist(), torch.from_numpy(CLEAN)):
        assert measure_all(samples, 0.5 * CLEAN, iter(("stoi", "lsd_db"))) == pytest.approx(expected, rel=1e-4)
    huge = measure_all(CLEAN.astype(np.float64) * 1e300, CLEAN, ("stoi",))
    assert huge == {"stoi": Undefined("samples are not finite")}
