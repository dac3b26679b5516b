"""Causal models: frames that see no later one, the same samples whole and in blocks, live streams, ONNX."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import decibels, hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.filters import DcBlocker
from segan_cli.backends.export import export
from segan_cli.backends.onnx import OnnxNetwork
from segan_cli.config.presets import PRESETS
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.frame_engine import FrameEngine
from segan_cli.errors import AudioError, CheckpointError, ConfigError
from segan_cli.networks.checkpoint import Model, load_model, save_model
from segan_cli.networks.families import build_generator
from segan_cli.networks.spectral import LEVEL_DECAY, Block, Memory, running_level

ROOT = Path(__file__).parents[1]
HOP = 256  # samples at 16 kHz


@pytest.fixture(scope="module")
def model():
    """A small causal model whose mask changes much."""
    config = PRESETS["segan-live"]
    generator = replace(config.generator, channels=8, embed_dim=16, hidden=12, bands=8)
    config = replace(config, generator=generator)
    torch.manual_seed(3)
    network = build_generator(generator)
    torch.nn.init.normal_(network.output_conv.weight, std=0.3)
    for block in network.blocks:
        torch.nn.init.normal_(block.initial_state, std=0.5)
    return Model(network.eval().requires_grad_(False), config, {})


@pytest.fixture(scope="module")
def enhancer(model):
    return Enhancer(model, device="cpu")


def noisy(seconds=1.024, rate_hz=16_000, seed=0):
    return voice(seconds, rate_hz, seed) + hiss(seconds, rate_hz, seed)


def test_output_does_not_depend_on_samples_later_than_a_frame(model):
    segment = torch.from_numpy(noisy())[None, None]
    changed = segment.clone()
    changed[..., 8_192:] += 0.1
    difference = (model.generator(changed) - model.generator(segment)).abs()[0, 0]
    assert difference[: 8_192 - HOP].max() == 0
    assert difference[8_192 - HOP : 8_192].max() > 1e-3


def test_frames_one_by_one_give_the_mask_of_a_segment(model):
    generator = model.generator
    spectra = torch.stack(generator.stft(torch.from_numpy(np.stack([noisy(), noisy(seed=1)]))), 1)
    start = torch.zeros(2, model.config.generator.state_size())
    whole, last_state = generator.step(spectra, start)
    parts, state = [], start
    for i in range(spectra.shape[2]):
        part, state = generator.step(spectra[:, :, i : i + 1], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 2), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(state, last_state, atol=1e-5, rtol=1e-5)
    assert whole.std() > 0.1


@pytest.mark.parametrize("causal", [True, False])
def test_blocks_start_from_their_learned_state(causal):
    torch.manual_seed(0)
    sizes = {"embed_dim": 12, "hidden": 6, "bands": 4, "causal": causal, "learned_start": True}
    block = Block(replace(PRESETS["segan-spectral"].generator, **sizes))
    torch.nn.init.normal_(block.initial_state)
    directions = 1 if causal else 2
    with torch.no_grad():
        for layer in (block.gru_out, block.attention_out, block.ffn_out):  # the output is that of the GRU
            layer.weight.zero_(), layer.bias.zero_()
        block.gru_out.weight.copy_(torch.eye(12)[:, : 6 * directions])
    x, memory = torch.randn(2, 3, 4, 12), Memory(torch.zeros(2, 4 * 6)) if causal else None  # [B, N, bands, dim]
    output = block(x, memory) - x
    for band in range(4):
        start = block.initial_state[:, band, None].expand(-1, 2, -1).contiguous()
        expected, latest = block.gru(block.time_norm(x[:, :, band]).transpose(0, 1), start)
        torch.testing.assert_close(output[:, :, band, : 6 * directions], expected.transpose(0, 1))
        if causal:
            kept = memory.next_state().view(2, 4, 6)[:, band]
            torch.testing.assert_close(kept, latest[0] - block.initial_state[0, band])


def test_signal_is_enhanced_as_the_training_enhances_a_segment(model, enhancer):
    segment = noisy()
    blocked = torch.from_numpy(DcBlocker(16_000, 1, 256).push(segment[None]))
    expected = model.generator(blocked[None])[0, 0].numpy()
    np.testing.assert_allclose(enhancer.enhance(segment, 16_000), expected, atol=1e-5)


def test_running_level_is_a_decaying_mean_of_power():
    spectra = torch.zeros(1, 2, 3, 4)
    spectra[0, 0] = torch.tensor([1.0, 2.0, 0.0])[:, None]  # powers 2, 8, 0: the window halves them
    first = running_level(spectra[:, :, :2], memory := Memory(torch.zeros(1, 2)))
    second = running_level(spectra[:, :, 2:], Memory(memory.next_state()))
    d = LEVEL_DECAY
    powers = [2, (2 * d + 8) / (d + 1), (2 * d**2 + 8 * d) / (d**2 + d + 1)]
    torch.testing.assert_close(torch.cat((first, second), 2)[0, 0, :, 0], torch.tensor(powers).sqrt())


def test_level_of_the_input_scales_the_output(enhancer):
    sound = noisy(2.0)
    np.testing.assert_allclose(
        enhancer.enhance(0.01 * sound, 16_000), 0.01 * enhancer.enhance(sound, 16_000), atol=1e-6
    )


@settings(max_examples=12)
@given(
    st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]), st.sampled_from([1, 2]),
    st.lists(st.integers(0, 3_000), min_size=1, max_size=8),
)  # fmt: skip
def test_blocks_give_the_samples_of_the_whole_at_every_rate(enhancer, rate_hz, channels, lengths):
    lengths = [*lengths, 100]  # in fewer samples channels cannot be told from samples
    sound = np.stack([noisy(sum(lengths) / rate_hz + 0.001, rate_hz, seed)[: sum(lengths)] for seed in range(channels)])
    whole = enhancer.enhance(sound, rate_hz)
    plain, live = enhancer.stream(rate_hz, channels), enhancer.stream(rate_hz, channels, live=True)
    blocks = np.split(sound, np.cumsum(lengths)[:-1], axis=1)
    pushed = [plain.push(block) for block in blocks]
    np.testing.assert_allclose(np.concatenate([*pushed, plain.flush()], axis=1), whole, atol=1e-5)
    late = [live.push(block) for block in blocks]
    assert [block.shape for block in late] == [block.shape for block in blocks]
    late = np.concatenate([*late, live.flush()], axis=1)
    assert not late[:, : live.delay].any()
    np.testing.assert_allclose(late[:, live.delay :], whole, atol=1e-5)


@pytest.mark.parametrize(
    ("rate_hz", "block", "delay"), [(16_000, 1, 511), (16_000, 256, 256), (16_000, 160, 480), (48_000, 768, 768)]
)
def test_delay_of_a_live_stream_depends_on_its_blocks(enhancer, rate_hz, block, delay):
    assert enhancer.stream(rate_hz, live=True, block=block).delay == delay


@pytest.mark.parametrize(("rate_hz", "offset"), [(16_000, 0.3), (16_000, -0.2), (48_000, 1.0)])
def test_an_offset_does_not_change_the_enhanced_voice(enhancer, rate_hz, offset):
    noisy = np.concatenate((np.zeros(rate_hz // 10, np.float32), voice(2.0, rate_hz))) + hiss(2.1, rate_hz)
    expected = enhancer.enhance(noisy, rate_hz)
    shifted = enhancer.enhance(noisy + np.float32(offset), rate_hz)
    assert decibels(shifted - expected, expected) < -35


def test_the_dc_blocker_removes_offsets_and_keeps_what_is_above():
    times = np.arange(32_000) / 16_000
    tone = np.sin(2 * np.pi * 50 * times).astype(np.float32)[None]
    for offset in (0.0, 4.0):
        blocker = DcBlocker(16_000, 1, 320)
        blocks = np.array_split(tone + np.float32(offset), 200, axis=1)
        both = np.concatenate([blocker.push(block) for block in blocks], axis=1)
        np.testing.assert_allclose(both, tone, atol=0.04)
    assert np.abs(DcBlocker(16_000, 1, 320).push(np.full((1, 100), 0.4, np.float32), last=True)).max() < 1e-6
    step = DcBlocker(16_000, 1, 320).push(np.repeat(np.float32([[0, 1]]), 16_000, axis=1))[0, 16_000:]
    np.testing.assert_allclose(step, np.exp(-2 * np.pi * np.arange(16_000) / 16_000), atol=1e-5)


def test_linked_channels_get_the_same_mask(enhancer):
    left = noisy()
    enhanced = enhancer.enhance(np.stack((left, 0.5 * left)), 16_000)
    np.testing.assert_allclose(enhanced[1], 0.5 * enhanced[0], atol=1e-6)
    assert np.abs(enhanced[0] - left).max() > 1e-2


def test_channels_with_different_sources_are_enhanced_on_their_own(model, enhancer):
    """From the first comparison on; once they are correlated again, the mean continues from the louder channel."""
    sound = np.stack((noisy(4.0), 3 * noisy(4.0, seed=1)))
    sound[0, 32_000:] = 0.05 * sound[1, 32_000:]
    enhanced = enhancer.enhance(sound, 16_000)
    alone = Enhancer(model, device="cpu", channels="independent").enhance(sound, 16_000)
    errors = [decibels((enhanced - alone)[:, i : i + 4_096], alone[:, i : i + 4_096]) for i in range(0, 60_000, 4_096)]
    assert max(errors[:12]) < -36
    assert max(errors[12:]) < -24
    np.testing.assert_allclose(enhanced[0, 60_000:], 0.05 * enhanced[1, 60_000:], atol=1e-5)


def test_independent_channels_are_enhanced_as_alone(model):
    enhancer = Enhancer(model, device="cpu", channels="independent")
    sound = np.stack((noisy(), noisy(seed=1)))
    alone = np.stack([enhancer.enhance(side, 16_000) for side in sound])
    np.testing.assert_allclose(enhancer.enhance(sound, 16_000), alone, atol=1e-5)


def test_channels_that_cancel_are_not_lost(enhancer):
    sound = noisy()
    enhanced = enhancer.enhance(np.stack((sound, -sound)), 16_000)
    np.testing.assert_allclose(enhanced[0], enhancer.enhance(sound, 16_000), atol=1e-5)
    first = 20 * 256  # samples, until the first comparison
    np.testing.assert_allclose(enhanced[1, first:], -enhanced[0, first:], atol=1e-5)


def test_the_gain_above_the_band_is_the_mean_size_of_the_highest_gains():
    mask = np.zeros((1, 2, 3, 8), np.float32)
    mask[0, :, :, -2:] = np.array([[3.0, 5.0], [4.0, 12.0]])[:, None]
    engine = SimpleNamespace(policy="denoise", n_highest=2)
    np.testing.assert_allclose(FrameEngine._gains_above(engine, mask), np.full((1, 3, 1), 9.0))


@pytest.mark.parametrize(("policy", "gain"), [("keep", 1.0), ("drop", 0.0)])
def test_sound_above_the_band_is_kept_or_dropped(model, policy, gain):
    tone = 0.1 * np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000).astype(np.float32)
    enhanced = Enhancer(model, device="cpu", high_band=policy).enhance(tone, 48_000)
    np.testing.assert_allclose(enhanced[2_000:-2_000], gain * tone[2_000:-2_000], atol=1e-4)


def test_exported_model_gives_the_samples_of_torch(model, enhancer, tmp_path):
    path = tmp_path / "live.onnx"
    assert export(model, path) < 1e-5
    sound = np.stack((noisy(1.5), noisy(1.5, seed=1)))
    np.testing.assert_allclose(Enhancer(path).enhance(sound, 16_000), enhancer.enhance(sound, 16_000), atol=1e-5)


def test_graph_with_another_state_is_rejected(model, tmp_path):
    path = tmp_path / "live.onnx"
    export(model, path)
    network = OnnxNetwork(path, trusted=True)
    with pytest.raises(CheckpointError, match="cannot be run"):
        network.step(np.zeros((1, 2, 1, 257), np.float32), np.zeros((1, 7), np.float32))


def test_live_stream_of_a_model_that_is_not_causal_is_rejected():
    with pytest.raises(ConfigError, match="needs a whole segment at once; for real-time enhancement use segan-live"):
        Enhancer("segan-spectral").stream(16_000, live=True)


def test_a_block_of_another_length_than_the_stream_takes_is_rejected(enhancer):
    stream = enhancer.stream(16_000, live=True, block=256)
    with pytest.raises(AudioError, match="a block of 300 samples; this live stream takes multiples of 256"):
        stream.push(np.zeros(300, np.float32))
    assert stream.push(np.zeros(512, np.float32)).shape == (512,)


def test_live_stream_of_a_block_of_nothing_is_rejected(enhancer):
    with pytest.raises(ConfigError, match="block"):
        enhancer.stream(16_000, live=True, block=0)


@pytest.mark.parametrize("causal", [True, False])
def test_growing_a_model_keeps_its_output(tmp_path, monkeypatch, causal):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import grow

    config = PRESETS["segan-live" if causal else "segan-spectral"]
    small, large = (
        replace(config, generator=replace(config.generator, channels=8, embed_dim=16, bands=8, **sizes))
        for sizes in ({"hidden": 6, "blocks": 2}, {"hidden": 10, "blocks": 3})
    )
    torch.manual_seed(0)
    before = build_generator(small.generator)
    for weight in before.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    save_model(tmp_path / "small.safetensors", Model(before, small, {}))
    monkeypatch.setitem(grow.PRESETS, "grown", large)
    monkeypatch.setattr(
        "sys.argv", ["grow", "grown", *(f"{tmp_path}/{size}.safetensors" for size in ("small", "large"))]
    )
    grow.main()
    after = load_model(tmp_path / "large.safetensors")
    assert after.config == large
    segment = torch.from_numpy(noisy())[None, None]
    torch.testing.assert_close(after.generator(segment), before(segment))
    assert (before(segment) - segment).abs().max() > 0.01
    after.generator.requires_grad_(True)(segment).square().sum().backward()
    assert after.generator.blocks[2].gru_out.weight.grad.any()  # new blocks can be trained
    assert after.generator.blocks[0].gru_out.weight.grad[:, 6:10].any()  # new units too


def test_start_states_are_means_of_the_states_after_noisy_speech(model, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    from start_states import mean_states

    generator, config = model.generator, model.config.generator
    segments = torch.from_numpy(np.stack([noisy(), noisy(seed=1)]))
    spectra = torch.stack(generator.stft(segments), 1)
    _, state = generator.step(spectra, torch.zeros(2, config.state_size()))
    positions, size = config.frame // 2 // config.freq_stride, config.bands * config.hidden
    first = 2 + 2 * (3 * config.frame // 2 + config.depth * config.channels * positions)  # after level and convolutions
    for block, mean in zip(
        generator.blocks, mean_states(generator, [*generator.blocks], segments[:, None]), strict=True
    ):
        expected = block.initial_state + state[:, first : first + size].mean(0).view(block.initial_state.shape)
        torch.testing.assert_close(mean, expected)
        first += size
