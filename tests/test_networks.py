"""The published shapes and sizes, and what the parts of the networks promise."""

import numpy as np
import pytest
import torch

from segan_cli.config import PRESETS, DiscriminatorConfig, GeneratorConfig
from segan_cli.networks.discriminator import Discriminator
from segan_cli.networks.generator import Generator
from segan_cli.networks.layers import VirtualBatchNorm, level_gain

TINY = GeneratorConfig((4, 8, 8), (2, 4, 2), (1, 1, 3), 5, latent_channels=3)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_paper_preset_has_the_published_shapes():
    config = PRESETS["segan"]
    with torch.device("meta"):
        generator = Generator(config.generator)
        h, shapes = torch.empty(1, 1, 16384), []
        for convolution in generator.encoder:
            h = convolution(h)
            shapes.append((h.shape[2], h.shape[1]))
        noisy, z = torch.empty(1, 1, 16384), torch.empty(generator.latent_shape(1, 16384))
        assert generator(noisy, z).shape == (1, 1, 16384)
        discriminator = Discriminator(config.discriminator, config.window, 2)
        assert discriminator(noisy, noisy).shape == (1,)
    assert shapes == [
        (8192, 16), (4096, 32), (2048, 32), (1024, 64), (512, 64), (256, 128),
        (128, 128), (64, 256), (32, 256), (16, 512), (8, 1024),
    ]  # fmt: skip
    assert z.shape == (1, 1024, 8)
    assert parameters(generator) == pytest.approx(73e6, rel=0.01)
    assert parameters(discriminator) == pytest.approx(24e6, rel=0.03)


def test_slim_has_a_sixteenth_of_the_weights():
    slim = parameters(Generator(PRESETS["segan-slim"].generator))
    assert slim == pytest.approx(4.7e6, rel=0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_maps_windows_to_windows(name):
    config = PRESETS[name]
    with torch.device("meta"):
        generator = Generator(config.generator)
        shape = generator.latent_shape(2, config.window)
        z = None if shape is None else torch.empty(shape)
        assert generator(torch.empty(2, 1, config.window), z).shape == (2, 1, config.window)


@pytest.mark.parametrize("n_samples", [16, 32, 160])
def test_any_multiple_of_the_stride_is_a_window(n_samples):
    generator = Generator(TINY)
    z = torch.randn(generator.latent_shape(2, n_samples))
    assert z.shape == (2, 3, n_samples // 16)
    assert generator(torch.randn(2, 1, n_samples), z).shape == (2, 1, n_samples)


def test_layers_keep_time_aligned():
    """Shifting the input by the total stride shifts the output by as much, away from the edges."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig((4, 8), (2, 2), (1, 3), 5, 0, input_rms=1.0)).eval()
    x = torch.zeros(1, 1, 128)
    x[..., 40:80] = 0.1 * torch.randn(40)
    out, shifted = generator(x, None), generator(x.roll(4, -1), None)
    torch.testing.assert_close(out[..., 30:100], shifted[..., 34:104])


def test_latent_and_skips_matter():
    torch.manual_seed(0)
    generator = Generator(TINY)
    x = torch.randn(1, 1, 64)
    z = torch.randn(generator.latent_shape(1, 64))
    assert not torch.equal(generator(x, z), generator(x, 2 * z))
    with torch.no_grad():  # cut the thought vector off: only the skips are left to carry the input
        generator.encoder[-1].weight.zero_()
    assert not torch.equal(generator(x, z), generator(2 * x, z))


def test_gates_let_skips_through_as_the_decoder_says():
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig((4, 8), (2, 2), (1, 1), 5, 0, skip_scale="gated"))
    x = torch.randn(1, 1, 64)
    with torch.no_grad():
        generator.decoder[0].weight.zero_()  # nothing but the gate's bias reaches the only skip
        outputs = []
        for bias in (-50.0, 0.0, 50.0):
            generator.decoder[0].bias.fill_(bias)
            generator.decoder_activations[0].weight.zero_()
            generator.decoder[1].weight[:4].zero_()  # the decoder's own half of the last layer's input
            outputs.append(torch.atanh(generator(x, None)) - generator.decoder[1].bias)
    assert outputs[0].abs().max() < 1e-6
    torch.testing.assert_close(outputs[2], 2 * outputs[1], atol=1e-5, rtol=1e-3)


def test_discriminator_judges_the_candidate_under_its_condition():
    torch.manual_seed(0)
    d = Discriminator(DiscriminatorConfig((4, 8), (4, 4), 5), 64, 4)
    d.set_reference(torch.randn(4, 1, 64), torch.randn(4, 1, 64))
    candidate, noisy = torch.randn(3, 1, 64), torch.randn(3, 1, 64)
    logits = d(candidate, noisy)
    assert logits.shape == (3,)
    assert not torch.allclose(logits, d(candidate, noisy.flip(0)))
    assert not torch.allclose(logits, d(noisy, noisy))


def test_virtual_batch_norm_does_not_let_examples_see_each_other():
    torch.manual_seed(0)
    d = Discriminator(DiscriminatorConfig((4, 8), (4, 4), 5), 64, 4)
    d.set_reference(torch.randn(4, 1, 64), torch.randn(4, 1, 64))
    candidate, noisy = torch.randn(3, 1, 64), torch.randn(3, 1, 64)
    torch.testing.assert_close(d(candidate, noisy)[:1], d(candidate[:1], noisy[:1]))


def test_virtual_batch_norm_uses_the_reference_plus_the_example():
    norm = VirtualBatchNorm(1)
    with torch.no_grad():
        norm.gain.fill_(1.0)
    reference, x = torch.tensor([[[0.0, 2.0]], [[4.0, 6.0]]]), torch.tensor([[[9.0, 9.0]]])
    out, ref = norm(x, reference)
    everything = np.array([0.0, 2.0, 4.0, 6.0, 9.0, 9.0])
    torch.testing.assert_close(out, (x - everything.mean()) / everything.std(), check_dtype=False, rtol=1e-4, atol=0)
    torch.testing.assert_close(ref, (reference - 3.0) / 5.0**0.5, rtol=1e-4, atol=1e-6)


def test_level_gain_reaches_the_level_but_never_clips():
    steady, click = 1e-3 * torch.ones(1, 1, 1000), torch.zeros(1, 1, 1000)
    click[..., 5] = 0.5
    gain = level_gain(torch.cat((steady, click, torch.zeros(1, 1, 1000))), 0.05)
    torch.testing.assert_close(gain[:2].flatten(), torch.tensor([50.0, 1.8]))
    assert torch.isfinite(gain).all()
