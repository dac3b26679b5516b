"""The differentiable PESQ is that of the standard."""

import math

import numpy as np
import pytest
import torch
from conftest import hiss, voice
from pesq import pesq
from scipy.signal import lfilter

from segan_cli.losses.perceptual import PerceptualDistance, smoothed
from segan_cli.losses.segments import Segments


def wave(samples):
    return torch.from_numpy(samples)[None, None]


def distance(enhanced, clean):
    """PESQ's distance of waveforms [B, 1, T]."""
    return PerceptualDistance()(Segments(enhanced), Segments(clean))


def as_pesq(distance):
    """The score that P.862.2 makes of what is taken off 4.5."""
    return 0.999 + 4 / (1 + math.exp(-1.3669 * (4.5 - distance) + 3.8224))


def damaged(clean, seed):
    """Clean made worse in the ways that the parts of the standard are there for."""
    rumble = lfilter([1.0], [1.0, -0.99], hiss(4.0, seed=seed))
    swell = 10 ** (0.4 * np.sin(2 * np.pi * 0.8 * np.arange(len(clean)) / 16_000))
    soft = np.abs(clean) < 0.02
    yield from (clean + hiss(4.0, seed=seed, level=level) for level in (1e-4, 1e-3, 4e-3, 0.015, 0.05))
    yield clean + 0.05 * rumble / np.abs(rumble).max()
    yield (clean + hiss(4.0, seed=seed, level=1e-3)) * swell
    yield np.where(soft, 0.3 * clean, clean)
    yield lfilter([0.3], [1.0, -0.7], clean) + hiss(4.0, seed=seed, level=1e-3)


def test_the_loss_follows_pesq_from_best_to_worst():
    """Aligned in time as these are, nothing is left but the standard's arithmetic."""
    ours, theirs = [], []
    for seed in range(2):
        clean = voice(4.0, seed=seed)
        for worse in damaged(clean, seed):
            degraded = worse.astype(np.float32)
            ours.append(as_pesq(float(distance(wave(degraded), wave(clean)))))
            theirs.append(pesq(16_000, clean, degraded, "wb"))
    assert max(theirs) - min(theirs) > 2.5
    assert np.abs(np.subtract(ours, theirs)).max() < 0.1


def test_distances_of_fixed_signals_stay_as_they_are():
    """Of the damages above, and of sound whose highest bands are nearly gone."""
    clean = voice(4.0)
    degraded = [*damaged(clean, 0), lfilter([0.02], [1.0, -0.98], clean)]
    found = [float(distance(wave(side.astype(np.float32)), wave(clean))) for side in degraded]
    expected = [0.317633, 2.067685, 2.82076, 4.020314, 5.515226, 2.44806, 2.017972, 2.235661, 2.278708, 0.145234]
    assert found == pytest.approx(expected, rel=1e-5)


def test_smoothing_equals_the_recursion_of_the_standard():
    ratio = torch.rand(2, 30)
    expected = [ratio[:, 0]]
    for n in range(1, 30):
        expected.append(0.8 * ratio[:, n] + 0.2 * expected[-1])
    torch.testing.assert_close(smoothed(ratio), torch.stack(expected, 1))


def test_the_end_of_a_segment_is_judged_as_its_middle_is():
    clean = wave(voice(1.024))
    burst = 0.1 * wave(hiss(0.048))
    for start in (8_000, 16_384 - 768):
        noisy = clean.clone()
        noisy[..., start : start + 768] += burst
        assert float(distance(noisy, clean)) > 0.1, start


def test_equal_signals_have_no_distance_and_level_does_not_matter():
    clean = wave(voice(2.0))
    assert float(distance(clean, clean)) < 1e-4
    assert float(distance(0.1 * clean, clean)) < 1e-3
    noisy = clean + wave(hiss(2.0))
    torch.testing.assert_close(distance(3 * noisy, clean), distance(noisy, 3 * clean), rtol=1e-3, atol=0)


def test_gradient_descent_on_the_loss_raises_pesq():
    clean = voice(2.0)
    noisy = clean + hiss(2.0, level=0.02)
    enhanced = wave(noisy.copy()).requires_grad_()
    optimizer = torch.optim.Adam([enhanced], 1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        distance(enhanced, wave(clean)).backward()
        optimizer.step()
    assert pesq(16_000, clean, enhanced.detach().numpy()[0, 0], "wb") > pesq(16_000, clean, noisy, "wb") + 0.5


def test_segments_without_speech_are_ignored():
    speech, silence = wave(voice(1.024)), torch.zeros(1, 1, 16_384)
    noisy = wave(hiss(1.024))
    both = distance(torch.cat((speech + noisy, noisy)), torch.cat((speech, silence)))
    torch.testing.assert_close(2 * both, distance(speech + noisy, speech))
    for enhanced in (silence, noisy):
        guess = enhanced.clone().requires_grad_()
        for clean in (silence, speech):
            distance(guess, clean).backward()
            assert torch.isfinite(guess.grad).all()
    assert float(distance(noisy, silence)) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_finite_near_exact_equality(seed):
    clean = wave(voice(1.024, seed=seed))
    guess = clean.clone().requires_grad_()
    distance(guess, clean).backward()
    assert torch.isfinite(guess.grad).all()
