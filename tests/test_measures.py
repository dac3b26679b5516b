"""Known values, order, invariance and undefined cases of the measures."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import hiss, voice
from scipy.signal import lfilter

from segan_cli.measures.catalog import CORE, MEASURES, WITH_REFERENCE, measure_all
from segan_cli.measures.composite import frames, llr_frames, ssnr_frames_db, wss_frames
from segan_cli.measures.distortion import lsd_db, si_sdr_db
from segan_cli.measures.score import Undefined, mean
from segan_cli.measures.standard import pesq_wb, stoi

CLEAN = 0.5 * (voice(3.0) + hiss(3.0, seed=9, level=3e-3))
GOLDEN = Path(__file__).parent / "golden" / "measures.json"
BEST = {"pesq_wb": 4.644, "pesq_nb": 4.549, "stoi": 1.0, "estoi": 1.0, "ssnr_db": 35.0, "csig": 5.0, "cbak": 5.0,
        "covl": 5.0, "lsd_db": 0.0}  # fmt: skip


def at_snr(snr_db, seed=0):
    noise = hiss(3.0, seed=seed, level=1.0)
    return (CLEAN + noise * np.sqrt(np.mean(CLEAN**2)) * 10 ** (-snr_db / 20)).astype(np.float32)


def one(name, clean, degraded):
    return measure_all(clean, degraded, (name,))[name]


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_more_noise_scores_worse(name):
    means = [np.mean([one(name, CLEAN, at_snr(snr, seed)) for seed in range(3)]) for snr in (0.0, 10.0, 20.0, 30.0)]
    assert means == sorted(means, reverse=not MEASURES[name].higher_is_better)
    low, high = MEASURES[name].range
    assert all(low <= value <= high for value in means)


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


def test_the_reason_of_an_undefined_score_is_text():
    reason = pesq_wb(CLEAN[:2000], at_snr(5.0)[:2000]).reason
    assert isinstance(reason, str)
    assert not reason.startswith("b'")


def test_undefined_scores_are_excluded_from_the_mean():
    assert mean([1.0, Undefined("silent"), 3.0]) == 2.0
    assert mean([Undefined("silent")]) is None


def test_every_measure_has_a_range_and_a_source():
    assert set(CORE) < set(MEASURES)
    for measure in MEASURES.values():
        assert measure.range[0] < measure.range[1]
        assert measure.source


def test_dnsmos_rates_noisy_speech_lower_without_a_reference():
    names = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
    clean, noisy = (measure_all(signal, signal, names) for signal in (0.3 * CLEAN, 0.3 * at_snr(0.0)))
    assert all(1 <= score <= 5 for score in (*clean.values(), *noisy.values()))
    assert clean["dnsmos_bak"] > noisy["dnsmos_bak"] + 0.5
    silent = measure_all(np.zeros(48_000, np.float32), np.zeros(48_000, np.float32), names)
    assert set(silent.values()) == {Undefined("silent signal")}
    assert isinstance(measure_all(CLEAN[:8_000], CLEAN[:8_000], names)["dnsmos_sig"], Undefined)
    assert isinstance(measure_all(CLEAN, 30 * CLEAN, names)["dnsmos_sig"], Undefined)
