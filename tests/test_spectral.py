"""What the spectral generator and discriminator promise."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from conftest import hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.config.families.spectral import SpectralConfig, SpectralDiscriminatorConfig
from segan_cli.config.legacy import renamed_model
from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.schema import from_dict, to_dict
from segan_cli.errors import ConfigError
from segan_cli.networks.families import build_discriminator, build_generator
from segan_cli.networks.spectral import SpectralGenerator

TINY = SpectralConfig(channels=6, embed_dim=8, hidden=4, bands=8, heads=2, frame=64)


def segments(*seeds):
    return torch.from_numpy(np.stack([voice(1.024, seed=s) + hiss(1.024, seed=s) for s in seeds]))[:, None]


def trained(config=TINY, seed=0):
    """A generator whose last layer does something, unlike a fresh one's."""
    torch.manual_seed(seed)
    generator = SpectralGenerator(config).eval()
    with torch.no_grad():
        generator.output_conv.weight.normal_(0, 0.2)
    return generator


@settings(max_examples=30)
@given(st.sampled_from([64, 128, 512]), st.integers(1, 40), st.integers(0, 2**31))
def test_synthesis_inverts_analysis(frame, n_frames, seed):
    generator = SpectralGenerator(dataclasses.replace(TINY, frame=frame))
    x = torch.randn(2, (1 + n_frames) * frame // 2, generator=torch.Generator().manual_seed(seed))
    real, imaginary = generator.stft(x)
    assert real.shape == imaginary.shape == (2, n_frames + 2, frame // 2 + 1)
    torch.testing.assert_close(generator.istft(real, imaginary), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bands", [8, 6])  # as many as positions, and fewer
def test_an_untrained_generator_returns_its_input(bands):
    x = 0.05 * torch.randn(2, 1, 4096)
    torch.testing.assert_close(
        SpectralGenerator(dataclasses.replace(TINY, bands=bands))(x, None), x, atol=1e-5, rtol=1e-3
    )


def test_a_mask_of_i_shifts_every_phase_by_90_degrees():
    generator = SpectralGenerator(TINY)
    bound = TINY.max_gain**TINY.power
    opening = bound * math.atanh(1 / bound)
    with torch.no_grad():
        generator.output_conv.bias[0::2], generator.output_conv.bias[1::2] = -opening, opening
        angle = 2 * math.pi * torch.arange(1_024) / 8 + 0.7  # no frame's spectrum is real
        turned = generator(0.05 * angle.cos()[None, None], None)[0, 0]
    torch.testing.assert_close(turned[100:-100], -0.05 * angle.sin()[100:-100], atol=1e-3, rtol=0)


def test_only_the_lowest_bins_are_muted():
    generator = trained(dataclasses.replace(TINY, zeroed_bins=2))
    a, b = generator.mask(torch.randn(1, 8, 5, 8))
    assert a.shape == b.shape == (1, 5, 33)
    size = torch.hypot(a, b)
    assert size[..., :2].eq(0).all()
    assert size[..., 2:].gt(0).all()


def test_the_mask_equals_its_definition_in_complex_numbers():
    """A bounded mask on the power-compressed spectrum, decompressed; the highest bin has the mask of the one below."""
    generator = trained()
    c, torch_rng = generator.config, torch.Generator().manual_seed(0)
    h = torch.randn(2, 2 * c.freq_stride, 5, c.frame // 2 // c.freq_stride, generator=torch_rng)
    spectrum = torch.randn(2, 5, c.frame // 2 + 1, dtype=torch.complex64, generator=torch_rng)
    bound = c.max_gain**c.power
    opening = bound * math.atanh(1 / bound)
    pairs = torch.stack(
        [h[:, 2 * step + part] for step in range(c.freq_stride) for part in (0, 1)], -1
    )  # [2, 5, P, 2 s]
    raw = torch.view_as_complex(pairs.reshape(2, 5, -1, 2).contiguous()) + opening
    raw = torch.cat((raw, raw[..., -1:]), -1)
    compressed = torch.polar(spectrum.abs() ** c.power, spectrum.angle())
    masked = compressed * torch.polar(bound * torch.tanh(raw.abs() / bound), raw.angle())
    expected = torch.polar(masked.abs() ** (1 / c.power), masked.angle())
    torch.testing.assert_close(spectrum * torch.complex(*generator.mask(h)), expected, atol=1e-5, rtol=1e-3)


def test_band_embedding_equals_both_layers_in_either_order():
    generator = trained()
    torch.nn.init.normal_(generator.band_embedding)
    h = torch.randn(2, 5, 8, 6)
    to_dict = generator.to_bands(generator.to_embedding(h).transpose(2, 3)).transpose(2, 3) + generator.band_embedding
    torch.testing.assert_close(generator.embed_bands(h), to_dict, atol=1e-5, rtol=1e-4)


def test_every_output_sample_depends_on_the_whole_segment():
    generator = trained()
    x = segments(0).requires_grad_()
    generator(x, None)[..., 8000].sum().backward()
    assert (x.grad[0, 0].reshape(-1, 64).abs().amax(1) > 0).all()


def test_segments_are_processed_independently():
    generator = trained()
    x = segments(0, 1, 2)
    torch.testing.assert_close(generator(x, None)[:1], generator(x[:1], None), atol=1e-6, rtol=1e-4)


def test_silence_stays_silence():
    out = trained()(torch.zeros(1, 1, 4096), None).detach()
    assert torch.isfinite(out).all()
    assert float(out.abs().max()) < 1e-6


@pytest.mark.parametrize("loud", [1e-4, 1.0, 30.0])
def test_gradients_are_finite(loud):
    generator = trained()
    generator.train()
    generator(loud * segments(0), None).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in generator.parameters() if p.grad is not None)
    assert sum(float(p.grad.abs().sum()) > 0 for p in generator.parameters() if p.grad is not None) > 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": 9}, "not a multiple of the 2 heads"),
        ({"frame": 60}, "not a multiple of twice the freq_stride 4"),
        ({"channels": 0}, "channels 0; it must be a whole number between 1 and"),
        ({"freq_stride": 1}, "freq_stride 1; it must be a whole number between 2 and"),
        ({"max_gain": 1.0}, "max_gain above 1"),
        ({"power": 0.0}, "power must lie between"),
    ],
)
def test_an_impossible_generator_config_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **changes)
    with pytest.raises(ConfigError, match="frames must be even"):
        SpectralDiscriminatorConfig((4,), frames=(32, 33))
    with pytest.raises(ConfigError, match="generator: frames of 8192 samples do not fit a segment_length of 4096"):
        dataclasses.replace(
            PRESETS["segan-spectral"], segment_length=4_096, hop=2_048, generator=dataclasses.replace(TINY, frame=8_192)
        )


def test_the_family_in_a_config_selects_the_network():
    for name in ("segan-spectral", "segan-gated"):
        model = PRESETS[name]
        assert from_dict(ModelConfig, to_dict(model)) == model
        assert build_generator(scaled(model, 0.1).generator).config.family == model.generator.family
    values = to_dict(PRESETS["segan-gated"])
    del values["generator"]["family"], values["discriminator"]["family"]  # as models of before write it
    assert from_dict(ModelConfig, renamed_model(values)) == PRESETS["segan-gated"]
    values = to_dict(PRESETS["segan-gated"])
    values["generator"]["family"] = "wavelet"
    with pytest.raises(ConfigError, match=r"generator\.family: 'wavelet'; it must be one of convolutional, spectral"):
        from_dict(ModelConfig, values)
    values["generator"]["family"] = [1]
    with pytest.raises(ConfigError, match=r"generator\.family: \[1\]"):
        from_dict(ModelConfig, values)
    values["generator"] = to_dict(PRESETS["segan-spectral"])["generator"] | {"strides": [2]}
    with pytest.raises(ConfigError, match=r"generator\.strides: no such key"):
        from_dict(ModelConfig, values)


def test_width_scales_the_spectral_family():
    wide = scaled(PRESETS["segan-spectral"], 0.5)
    narrow = PRESETS["segan-spectral"]
    assert (wide.generator.channels, wide.generator.hidden) == (
        narrow.generator.channels // 2,
        narrow.generator.hidden // 2,
    )
    assert wide.generator.embed_dim % wide.generator.heads == 0
    assert wide.discriminator.channels == tuple(c // 2 for c in narrow.discriminator.channels)


def test_the_spectral_discriminator_judges_the_candidate_under_its_condition():
    torch.manual_seed(0)
    d = build_discriminator(scaled(PRESETS["segan-spectral"], 0.25), 1).eval()
    candidate, noisy = segments(0, 1, 2), segments(3, 4, 5)
    logits = d(candidate, noisy)
    assert logits.shape == (3, 141)  # patches of three resolutions
    assert not torch.allclose(logits, d(candidate, noisy.flip(0)))
    assert not torch.allclose(logits, d(noisy, noisy))
    torch.testing.assert_close(d(candidate[:1], noisy[:1]), logits[:1])  # it judges each by itself
    silence = torch.zeros(1, 1, 16384, requires_grad=True)
    d(silence, silence).sum().backward()
    assert torch.isfinite(silence.grad).all()
