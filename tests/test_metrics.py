"""Known values, order and undefined cases of the measures."""

import numpy as np
import pytest
from conftest import hiss, voice

from segan_cli.metrics import MEASURES, Undefined, mean, measure_all, pesq_wb, si_sdr_db, stoi

CLEAN = voice(3.0)
NOISE = hiss(3.0, level=1.0)


def at_snr(snr_db):
    return (CLEAN + NOISE * np.sqrt(np.mean(CLEAN**2)) * 10 ** (-snr_db / 20)).astype(np.float32)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_more_noise_scores_worse(measure):
    scores = [measure(CLEAN, at_snr(snr_db)) for snr_db in (-5.0, 5.0, 15.0, 25.0)]
    assert all(isinstance(score, float) for score in scores)
    assert scores == sorted(scores)


def test_a_signal_against_itself():
    assert pesq_wb(CLEAN, CLEAN) == pytest.approx(4.644, abs=1e-3)
    assert stoi(CLEAN, CLEAN) == pytest.approx(1.0, abs=1e-6)
    assert si_sdr_db(CLEAN, CLEAN) == Undefined("no distortion at all")


def test_si_sdr_of_orthogonal_noise_is_its_snr_at_any_scale():
    clean = np.tile(np.float32([1.0, -1.0]), 500)
    noise = np.tile(np.float32([1.0, 1.0, -1.0, -1.0]), 250)
    assert si_sdr_db(clean, clean + 0.1 * noise) == pytest.approx(20.0, abs=1e-4)
    assert si_sdr_db(clean, 7 * (clean + 0.1 * noise)) == pytest.approx(20.0, abs=1e-4)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_silence_is_undefined(measure):
    silence = np.zeros(48_000, np.float32)
    assert isinstance(measure(silence, CLEAN), Undefined)
    assert isinstance(measure(CLEAN, silence), Undefined)


def test_too_short_a_signal_is_undefined():
    assert isinstance(stoi(CLEAN[:2000], at_snr(5.0)[:2000]), Undefined)
    assert isinstance(pesq_wb(CLEAN[:2000], at_snr(5.0)[:2000]), Undefined)


def test_samples_that_are_not_numbers_are_undefined():
    broken = CLEAN.copy()
    broken[100] = np.nan
    assert all(isinstance(score, Undefined) for score in measure_all(CLEAN, broken).values())


def test_reasons_are_words():
    reason = pesq_wb(CLEAN[:2000], at_snr(5.0)[:2000]).reason
    assert isinstance(reason, str)
    assert not reason.startswith("b'")


def test_undefined_is_left_out_of_the_mean():
    assert mean([1.0, Undefined("silent"), 3.0]) == 2.0
    assert mean([Undefined("silent")]) is None
