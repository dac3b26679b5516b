"""The differentiable STOI is STOI."""

import numpy as np
import pytest
import torch
from conftest import hiss, voice
from pystoi import stoi

from segan_cli.losses.intelligibility import IntelligibilityDistance
from segan_cli.losses.segments import Segments


def wave(samples):
    return torch.from_numpy(samples.astype(np.float32))[None, None]


def distance(enhanced, clean):
    """STOI's distance of waveforms [B, 1, T]."""
    return IntelligibilityDistance()(Segments(enhanced), Segments(clean))


@pytest.mark.parametrize("level", [1e-3, 1e-2, 3e-2, 0.1, 0.3])
def test_the_loss_follows_stoi_from_best_to_worst(level):
    """Frames are a little longer, and pauses are masked in place of cut out."""
    for seed in range(2):
        clean = voice(4.0, seed=seed)
        noisy = clean + hiss(4.0, seed=seed, level=level)
        assert 1 - float(distance(wave(noisy), wave(clean))) == pytest.approx(stoi(clean, noisy, 16_000), abs=0.06)


def test_equal_signals_have_no_distance_and_level_does_not_matter():
    clean = wave(voice(1.024))
    assert abs(float(distance(clean, clean))) < 1e-3
    noisy = clean + wave(hiss(1.024))
    torch.testing.assert_close(distance(0.3 * noisy, clean), distance(noisy, clean), rtol=0, atol=2e-3)


def test_gradient_descent_on_the_loss_raises_stoi():
    clean = voice(2.0)
    noisy = clean + hiss(2.0, level=0.1)
    enhanced = wave(noisy).requires_grad_()
    optimizer = torch.optim.Adam([enhanced], 1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        distance(enhanced, wave(clean)).backward()
        optimizer.step()
    assert stoi(clean, enhanced.detach().numpy()[0, 0], 16_000) > stoi(clean, noisy, 16_000) + 0.03


def test_segments_without_speech_are_ignored_and_gradients_stay_finite():
    speech, noise = wave(voice(1.024)), wave(hiss(1.024))
    silence = torch.zeros_like(speech)
    assert float(distance(noise, silence)) == 0.0
    both = distance(torch.cat((speech + noise, noise)), torch.cat((speech, silence)))
    torch.testing.assert_close(2 * both, distance(speech + noise, speech))
    for enhanced in (silence, noise, speech):
        guess = enhanced.clone().requires_grad_()
        for clean in (silence, speech):
            distance(guess, clean).backward()
            assert torch.isfinite(guess.grad).all()
