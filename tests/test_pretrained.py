"""What the shipped models are known to do, by figures: any change of the audio path or of the weights shows here."""

import json

import goldens
import numpy as np
import pytest
import soundfile
from conftest import SAMPLES

from segan_cli.backends.pretrained import find_model, shipped_models
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.networks.checkpoint import load_model

DEFAULT, MODELS = shipped_models()


@pytest.fixture(scope="module", params=MODELS)
def shipped(request):
    return request.param


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer(load_model(find_model(DEFAULT)))


def test_scores_on_generated_mixes_are_the_golden_ones(shipped):
    golden = json.loads(goldens.FILE.read_text())[shipped]
    for mix, scores in goldens.scores(shipped).items():
        assert scores == pytest.approx(golden[mix], abs=1e-3), mix


def test_silence_stays_silence(shipped):
    silence = Enhancer(load_model(find_model(shipped))).enhance(np.zeros(40_000, np.float32), 16_000)
    assert np.abs(silence).max() < 1e-6


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "hum"])
def test_noise_without_speech_drops_by_20_db(enhancer, kind):
    noise = goldens.noise(kind, seed=1)
    left = enhancer.enhance(noise, goldens.RATE_HZ)
    assert 10 * np.log10(np.mean(noise**2) / np.mean(left**2)) >= 20


def test_the_output_does_not_depend_on_where_segments_begin(enhancer):
    noisy, _ = soundfile.read(SAMPLES / "noisy" / "street.wav", dtype="float32")
    shift = enhancer.network.config.hop // 3
    whole = enhancer.enhance(noisy, 16_000)
    shifted = enhancer.enhance(np.concatenate((np.zeros(shift, np.float32), noisy)), 16_000)[shift:]
    assert 10 * np.log10(np.mean(whole**2) / np.mean((shifted - whole) ** 2)) > 30
