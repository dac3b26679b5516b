"""The published shapes and sizes, and what the parts of the networks promise."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from counting import macs_per_second, parameters
from counting import weights as weights_of

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.enhancement import segment_engine
from segan_cli.errors import ConfigError
from segan_cli.networks.convolutional import ConvolutionalDiscriminator, ConvolutionalGenerator
from segan_cli.networks.families import build_generator
from segan_cli.networks.layers import HighPass, VirtualBatchNorm, level_gain, phase_shuffle

CLASSICAL = [name for name, model in PRESETS.items() if model.generator.family == "convolutional"]
TINY = ConvolutionalConfig((4, 8, 8), (2, 4, 2), (1, 1, 3), 5, latent_channels=3)


def latent_shape(config, *sizes):
    z = config.draw_latent(np.random.default_rng(0), *sizes)
    return None if z is None else z.shape


def test_the_paper_preset_has_the_published_shapes():
    config = PRESETS["segan"]
    with torch.device("meta"):
        generator = ConvolutionalGenerator(config.generator)
        h, shapes = torch.empty(1, 1, 16384), []
        for convolution in generator.encoder:
            h = convolution(h)
            shapes.append((h.shape[2], h.shape[1]))
        noisy, z = torch.empty(1, 1, 16384), torch.empty(latent_shape(generator.config, 1, 16384))
        assert generator(noisy, z).shape == (1, 1, 16384)
        discriminator = ConvolutionalDiscriminator(config.discriminator, config.segment_length, 2)
        assert discriminator(noisy, noisy).shape == (1,)
    assert shapes == [
        (8192, 16), (4096, 32), (2048, 32), (1024, 64), (512, 64), (256, 128),
        (128, 128), (64, 256), (32, 256), (16, 512), (8, 1024),
    ]  # fmt: skip
    assert z.shape == (1, 1024, 8)
    assert parameters(generator) == pytest.approx(73e6, rel=0.01)
    assert parameters(discriminator) == pytest.approx(24e6, rel=0.03)


def test_segan_plus_has_as_many_weights_as_its_authors_configuration():
    """Counted from the released options: 5 layers of stride 4, kernel 31, learned skips, z of 1024 channels."""
    widths, k = (64, 128, 256, 512, 1024), 31
    encoder = sum(i * o * k + 2 * o for i, o in zip((1, *widths), widths, strict=False))  # bias and PReLU
    decoder = sum(2 * i * o * k + 2 * o for i, o in zip(widths[::-1], widths[-2::-1], strict=False))
    last, skips = 2 * 64 * k + 1, sum(widths[:-1])
    config = PRESETS["segan-plus"]
    with torch.device("meta"):
        generator = ConvolutionalGenerator(config.generator)
        discriminator = ConvolutionalDiscriminator(config.discriminator, config.segment_length, 2)
        h, shapes = torch.empty(1, 1, 16384), []
        for convolution in generator.encoder:
            h = convolution(h)
            shapes.append((h.shape[2], h.shape[1]))
    assert shapes == [(4096, 64), (1024, 128), (256, 256), (64, 512), (16, 1024)]
    assert parameters(generator) == encoder + decoder + last + skips
    convolutions = sum(i * o * k + 4 * o for i, o in zip((2, *widths), widths, strict=False))  # bias, norm, PReLU
    head = 16 * 1024 * 256 + 256 + 256 + 256 * 128 + 128 + 128 + 128 + 1
    assert parameters(discriminator) == convolutions + head


def test_segan_dilated_has_half_the_macs_and_sees_a_whole_segment():
    plus, dilated = PRESETS["segan-plus"].generator, PRESETS["segan-dilated"].generator
    assert dilated.receptive_field() > PRESETS["segan-dilated"].segment_length > plus.receptive_field()
    assert macs_per_second(PRESETS["segan-dilated"]) < 0.5 * macs_per_second(PRESETS["segan-plus"])
    assert weights_of(PRESETS["segan-dilated"])[0] == parameters_by_hand(dilated)


def parameters_by_hand(config):
    k, widths = config.kernel_size, config.channels
    encoder = sum(i * o * k + 2 * o for i, o in zip((1, *widths), widths, strict=False))
    decoder = sum(2 * i * o * k + 2 * o for i, o in zip(widths[::-1], widths[-2::-1], strict=False))
    return encoder + decoder + 2 * widths[0] * k + 1


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_field_of_view_equals_the_samples_that_reach_one_frame(name):
    """Measured: the samples of a long input that move a frame in its middle, to the last one."""
    generator = ConvolutionalGenerator(scaled(PRESETS[name], 0.02).generator)
    view, stride = generator.config.receptive_field(), math.prod(generator.config.strides)
    torch.manual_seed(0)
    with torch.no_grad():
        for convolution in generator.encoder:
            convolution.weight.uniform_(0.5, 1.0)  # nothing can cancel
    x = torch.zeros(1, 1, -(-2 * view // stride) * stride, requires_grad=True)
    h = x
    for convolution in generator.encoder:
        h = convolution(h)
    h[..., h.shape[2] // 2].sum().backward()
    heard = x.grad[0, 0].nonzero().flatten()
    assert int(heard[-1] - heard[0]) + 1 == view


def test_every_sample_reaches_the_thought_vector_through_odd_dilations():
    generator = ConvolutionalGenerator(scaled(PRESETS["segan-dilated"], 0.02).generator)
    with torch.no_grad():
        for convolution in generator.encoder:
            convolution.weight.uniform_(0.5, 1.0)
    h = x = torch.zeros(1, 1, 16384, requires_grad=True)
    for convolution in generator.encoder:
        h = convolution(h)
    h.sum().backward()
    assert (x.grad > 0).all()
    with pytest.raises(ConfigError, match="share a divisor"):
        ConvolutionalConfig((4, 4), (4, 4), (1, 2), 15, 0)


def test_macs_are_those_of_the_convolutions():
    model = ModelConfig(
        "m",
        ConvolutionalConfig((4, 8), (2, 4), (1, 1), 5, 3),
        ConvolutionalDiscriminatorConfig((4,), (4,), 5),
        segment_length=64,
        hop=32,
    )
    encoder = 32 * 1 * 4 * 5 + 8 * 4 * 8 * 5  # outputs x inputs x channels x taps
    decoder = 8 * (8 + 3) * 4 * 5 + 32 * 8 * 1 * 5
    assert macs_per_second(model) == (encoder + decoder) * 16_000 / 32


def test_segan_slim_has_a_sixteenth_of_the_weights():
    slim = parameters(ConvolutionalGenerator(PRESETS["segan-slim"].generator))
    assert slim == pytest.approx(4.7e6, rel=0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_maps_segments_to_segments(name):
    config = PRESETS[name]
    with torch.device("meta"):
        generator = build_generator(config.generator)
        shape = latent_shape(config.generator, 2, config.segment_length)
        z = None if shape is None else torch.empty(shape)
        assert generator(torch.empty(2, 1, config.segment_length), z).shape == (2, 1, config.segment_length)


@pytest.mark.parametrize("n_samples", [16, 32, 160])
def test_any_multiple_of_the_stride_is_accepted_as_segment(n_samples):
    generator = ConvolutionalGenerator(TINY)
    z = torch.randn(latent_shape(TINY, 2, n_samples))
    assert z.shape == (2, 3, n_samples // 16)
    assert generator(torch.randn(2, 1, n_samples), z).shape == (2, 1, n_samples)


def test_layers_keep_signals_aligned_in_time():
    """Shifting the input by the total stride shifts the output by as much, away from the edges."""
    torch.manual_seed(0)
    generator = ConvolutionalGenerator(ConvolutionalConfig((4, 8), (2, 2), (1, 3), 5, 0, input_rms=1.0)).eval()
    x = torch.zeros(1, 1, 128)
    x[..., 40:80] = 0.1 * torch.randn(40)
    out, shifted = generator(x, None), generator(x.roll(4, -1), None)
    torch.testing.assert_close(out[..., 30:100], shifted[..., 34:104])


def test_latent_and_skips_change_the_output():
    torch.manual_seed(0)
    generator = ConvolutionalGenerator(TINY)
    x = torch.randn(1, 1, 64)
    z = torch.randn(latent_shape(TINY, 1, 64))
    assert not torch.equal(generator(x, z), generator(x, 2 * z))
    with torch.no_grad():  # cut the thought vector off: only the skips are left to carry the input
        generator.encoder[-1].weight.zero_()
    assert not torch.equal(generator(x, z), generator(2 * x, z))


def test_skip_gates_are_controlled_by_the_decoder():
    torch.manual_seed(0)
    generator = ConvolutionalGenerator(ConvolutionalConfig((4, 8), (2, 2), (1, 1), 5, 0, skip_scale="gated"))
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


def test_skips_join_by_sum_or_with_learned_weights():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 64)
    for merge in ("concat", "sum"):
        generator = ConvolutionalGenerator(
            ConvolutionalConfig((4, 8), (2, 2), (1, 1), 5, 0, skip_merge=merge, skip_scale="learned")
        )
        fixed = ConvolutionalGenerator(ConvolutionalConfig((4, 8), (2, 2), (1, 1), 5, 0, skip_merge=merge))
        fixed.load_state_dict({k: v for k, v in generator.state_dict().items() if "skip" not in k})
        assert [tuple(w.shape) for w in generator.skip_weights] == [(4, 1)]
        torch.testing.assert_close(generator(x, None), fixed(x, None))  # the weights start at 1
        with torch.no_grad():
            generator.skip_weights[0].zero_()
            generator.encoder[
                1
            ].weight.zero_()  # without the thought vector, too, the output does not depend on the input
        torch.testing.assert_close(generator(x, None), generator(2 * x, None))
        assert not torch.equal(fixed(x, None), fixed(2 * x, None))
    assert fixed.decoder[1].in_channels == 4


def test_without_skips_the_output_depends_on_the_thought_vector_only():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 64)
    generator = ConvolutionalGenerator(ConvolutionalConfig((4, 8), (2, 2), (1, 1), 5, 0, skip_merge="none"))
    assert generator.decoder[1].in_channels == 4
    assert not torch.equal(generator(x, None), generator(2 * x, None))
    with torch.no_grad():  # by hand: encoder, thought vector, decoder
        h = generator.encoder_activations[0](generator.encoder[0](x))
        h = generator.encoder_activations[1](generator.encoder[1](h))
        h = generator.decoder_activations[0](generator.decoder[0](h))
        torch.testing.assert_close(generator(x, None), torch.tanh(generator.decoder[1](h)))
        generator.encoder[1].weight.zero_()
    assert torch.equal(generator(x, None), generator(2 * x, None))


def test_without_skips_costs_are_those_of_the_narrower_decoder():
    model = ModelConfig(
        "m",
        ConvolutionalConfig((4, 8), (2, 4), (1, 1), 5, 3, skip_merge="none"),
        ConvolutionalDiscriminatorConfig((4,), (4,), 5),
        segment_length=64,
        hop=32,
    )
    costs = model.generator.layer_costs(64)
    encoder = (1 * 4 * 5 + 2 * 4) + (4 * 8 * 5 + 2 * 8)  # taps, bias and PReLU
    decoder = ((8 + 3) * 4 * 5 + 2 * 4) + (4 * 1 * 5 + 1)  # the last layer takes 4 channels, 8 with concatenated skips
    assert weights_of(model)[0] == encoder + decoder == sum(layer.weights for layer in costs)
    macs = 32 * 1 * 4 * 5 + 8 * 4 * 8 * 5 + 8 * (8 + 3) * 4 * 5 + 32 * 4 * 1 * 5  # outputs x inputs x channels x taps
    assert macs_per_second(model) == macs * 16_000 / 32 == model.macs_per_second


def test_the_high_pass_filter_halves_its_cutoff_and_keeps_what_is_above():
    times = torch.arange(16_384, dtype=torch.float64) / 16_000
    gains = {}
    for hz in (0, 20, 48, 75, 100, 1_000):
        x = torch.cos(2 * math.pi * hz * times)[None, None]
        y = HighPass(0.003).double()(x)
        x, y = x[..., 1_000:-1_000], y[..., 1_000:-1_000]
        if hz >= 75:
            torch.testing.assert_close(y, x, atol=0.005, rtol=0)  # without a delay
        gains[hz] = float(y.square().mean() / x.square().mean()) ** 0.5
    assert gains[0] < 0.001
    assert gains[20] < 0.01
    assert gains[48] == pytest.approx(0.5, abs=0.02)


def test_a_generator_with_a_high_pass_filter_neither_receives_nor_produces_low_frequencies():
    torch.manual_seed(0)
    config = ConvolutionalConfig((4, 8), (4, 4), (1, 1), 31, 0, high_pass=0.003)
    generator = ConvolutionalGenerator(config).eval()
    torch.nn.init.constant_(generator.decoder[-1].bias, 0.3)
    noise = 0.1 * torch.randn(1, 1, 16_384)
    rumble = 0.1 * torch.cos(2 * math.pi * 20 / 16_000 * torch.arange(16_384))
    clean, rumbling = generator(noise, None).detach(), generator(noise + rumble, None).detach()
    assert float(clean.mean().abs()) < 0.001
    assert float((rumbling - clean).square().mean().sqrt()) < 0.02 * float(clean.square().mean().sqrt())


@pytest.mark.parametrize(("cutoff", "bound"), [(0.0009, "0.001 or more"), (0.11, "0.1 or less"), (-0.1, "0.001 or")])
def test_cutoffs_of_high_pass_filters_have_bounds(cutoff, bound):
    with pytest.raises(ConfigError, match=f"generator: high_pass {cutoff}; it must be {bound}"):
        ConvolutionalConfig((4, 8), (4, 4), (1, 1), 31, 0, high_pass=cutoff)


def test_a_high_pass_filter_fits_into_a_segment_and_is_counted():
    preset = PRESETS["segan-gated"]
    lower = dataclasses.replace(preset, generator=dataclasses.replace(preset.generator, high_pass=0.0025))
    with pytest.raises(ConfigError, match="generator: frames of 2449 samples do not fit a segment_length of 1024"):
        dataclasses.replace(lower, segment_length=1_024, hop=512)
    model = dataclasses.replace(preset, segment_length=2_048, hop=2_048)
    costs = model.generator.layer_costs(2_048)
    plain = dataclasses.replace(model.generator, high_pass=0.0).layer_costs(2_048)
    assert sum(layer.macs for layer in costs) - sum(layer.macs for layer in plain) == 4 * 1_021 * 2_048 // 64
    generator = ConvolutionalGenerator(model.generator)
    assert generator(torch.randn(2, 1, 2_048), None).shape == (2, 1, 2_048)


@pytest.mark.parametrize("scale", ["learned", "gated"])
def test_skip_scales_without_skips_are_refused(scale):
    with pytest.raises(ConfigError, match="leaves no skips to scale; set skip_scale to fixed"):
        ConvolutionalConfig((4, 8), (2, 4), (1, 1), 5, 3, skip_merge="none", skip_scale=scale)


@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_latents_have_mean_0_and_deviation_1(latent):
    config = ConvolutionalConfig((4, 8), (2, 2), (1, 1), 5, 8, latent=latent)
    z = config.draw_latent(np.random.default_rng(0), 64, 256)
    assert z.shape == (64, 8, 64)
    assert z.dtype == np.float32
    assert float(z.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(z.std()) == pytest.approx(1.0, abs=0.02)
    assert (float(np.abs(z).max()) <= 3**0.5 + 1e-6) == (latent == "uniform")
    assert ConvolutionalConfig((4,), (2,), (1,), 5, 0).draw_latent(np.random.default_rng(0), 1, 4) is None


def test_phase_shuffle_rolls_only_in_training():
    torch.manual_seed(0)
    shifted = {tuple(phase_shuffle(torch.arange(8.0)[None, None], 2).flatten().tolist()) for _ in range(100)}
    assert shifted == {tuple(torch.arange(8.0).roll(n).tolist()) for n in range(-2, 3)}
    d = ConvolutionalDiscriminator(
        ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5, norm="none", phase_shuffle=3), 64, 1
    )
    candidate, noisy = torch.randn(3, 1, 64), torch.randn(3, 1, 64)
    assert len({float(d(candidate, noisy).sum().detach()) for _ in range(20)}) > 5
    d.eval()
    assert len({float(d(candidate, noisy).sum().detach()) for _ in range(5)}) == 1


def test_batch_norm_depends_on_the_batch():
    d = ConvolutionalDiscriminator(ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5, norm="batch"), 64, 1)
    candidate, noisy = torch.randn(3, 1, 64), torch.randn(3, 1, 64)
    assert not torch.allclose(d(candidate, noisy)[:1], d(candidate[:1], noisy[:1]))
    assert not any("running" in name for name in d.state_dict())


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)
    d = ConvolutionalDiscriminator(
        ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5, norm="none", spectral_norm=True, hidden=(6,)), 64, 1
    )
    for _ in range(50):  # power iterations
        d(torch.randn(3, 1, 64), torch.randn(3, 1, 64))
    layers = [layer for layer in d.modules() if isinstance(layer, torch.nn.Conv1d | torch.nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1.0, abs=1e-3)


def test_discriminator_judges_the_candidate_under_its_condition():
    torch.manual_seed(0)
    d = ConvolutionalDiscriminator(ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5), 64, 4)
    d.set_reference(torch.randn(4, 1, 64), torch.randn(4, 1, 64))
    candidate, noisy = torch.randn(3, 1, 64), torch.randn(3, 1, 64)
    logits = d(candidate, noisy)
    assert logits.shape == (3,)
    assert not torch.allclose(logits, d(candidate, noisy.flip(0)))
    assert not torch.allclose(logits, d(noisy, noisy))


def test_the_reference_batch_holds_candidates_with_their_conditions():
    d = ConvolutionalDiscriminator(ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5), 64, 4)
    clean, noisy = torch.randn(2, 4, 1, 64)
    d.set_reference(clean, noisy)
    seen = []
    d.convolutions[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    d(clean, noisy)
    assert torch.equal(*seen)


def test_virtual_batch_norm_keeps_examples_independent():
    torch.manual_seed(0)
    d = ConvolutionalDiscriminator(ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5), 64, 4)
    d.set_reference(torch.randn(4, 1, 64), torch.randn(4, 1, 64))
    candidate, noisy = torch.randn(3, 1, 64), torch.randn(3, 1, 64)
    torch.testing.assert_close(d(candidate, noisy)[:1], d(candidate[:1], noisy[:1]))


def test_virtual_batch_norm_uses_the_reference_plus_the_example():
    norm = VirtualBatchNorm(1)
    with torch.no_grad():
        norm.gain.fill_(2.0)
        norm.shift.fill_(0.5)
    reference, x = torch.tensor([[[0.0, 2.0]], [[4.0, 6.0]]]), torch.tensor([[[9.0, 9.0]]])
    out, ref = norm(x, reference)
    everything = np.array([0.0, 2.0, 4.0, 6.0, 9.0, 9.0])
    expected = 0.5 + 2 * (x - everything.mean()) / everything.std()
    torch.testing.assert_close(out, expected, check_dtype=False, rtol=1e-4, atol=0)
    torch.testing.assert_close(ref, 0.5 + 2 * (reference - 3.0) / 5.0**0.5, rtol=1e-4, atol=1e-6)


def test_level_gain_is_the_same_in_training_and_when_enhancing():
    torch.manual_seed(0)
    segments = torch.randn(4, 1, 1000) * torch.tensor([0.1, 3.0, 1e-8, 0.0])[:, None, None]
    segments[0, 0, 3] = 50.0
    np.testing.assert_allclose(level_gain(segments, 0.05), segment_engine.level_gain(segments.numpy(), 0.05), rtol=1e-5)


def test_level_gain_reaches_the_level_but_never_clips():
    steady, click = 1e-3 * torch.ones(1, 1, 1000), torch.zeros(1, 1, 1000)
    click[..., 5] = 0.5
    gain = level_gain(torch.cat((steady, click, torch.zeros(1, 1, 1000))), 0.05)
    torch.testing.assert_close(gain[:2].flatten(), torch.tensor([50.0, 1.8]))
    assert torch.isfinite(gain).all()
