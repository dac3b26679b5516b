"""The losses against their formulas."""

import pytest
import torch

from segan_cli.losses.adversarial import least_squares_discriminator, least_squares_generator
from segan_cli.losses.reconstruction import L1, CompressedSpectrum


def test_least_squares_objective():
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert float(least_squares_discriminator(real, fake)) == pytest.approx(0.5 * 0.5 + 0.5 * 2.0)
    assert float(least_squares_generator(fake, real)) == pytest.approx(0.5 * (1 + 1) / 2)
    assert float(least_squares_discriminator(torch.ones(2), torch.zeros(2))) == 0.0


def test_l1_is_the_mean_absolute_difference():
    assert float(L1()(torch.zeros(2, 1, 4), torch.full((2, 1, 4), -0.5))) == 0.5


def test_compressed_spectrum_is_zero_for_equals_and_grows_with_the_difference():
    torch.manual_seed(0)
    loss, clean, noise = CompressedSpectrum(), torch.randn(2, 1, 4096), torch.randn(2, 1, 4096)
    values = [float(loss(clean + scale * noise, clean)) for scale in (0.0, 0.1, 0.3, 1.0)]
    assert values[0] == 0.0
    assert values == sorted(values)


def test_compressed_spectrum_of_a_scaled_signal():
    """|aX|^0.3 = a^0.3 |X|^0.3: a factor a costs (1 - a^0.3)^2 of the mean |X|^0.6, a turned sign 4 times its share."""
    torch.manual_seed(0)
    loss, clean = CompressedSpectrum(), torch.randn(1, 1, 8192)
    whole = loss.compress(clean)[0].square().mean()
    assert float(loss(0.5 * clean, clean)) == pytest.approx(float((1 - 0.5**0.3) ** 2 * whole), rel=1e-3)
    assert float(loss(-clean, clean)) == pytest.approx(float(0.3 * 4 * whole), rel=1e-3)


def test_gradients_are_finite_at_silence():
    silence = torch.zeros(1, 1, 4096, requires_grad=True)
    CompressedSpectrum()(silence, torch.zeros(1, 1, 4096)).backward()
    assert torch.isfinite(silence.grad).all()
