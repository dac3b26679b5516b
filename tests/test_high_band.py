"""What happens above 8 kHz, in recordings of 44.1 and 48 kHz."""

import numpy as np
import onnx
import pytest
import soundfile
import soxr
import torch
from conftest import SAMPLES, decibels, hiss
from scipy.signal import butter, sosfilt, sosfiltfilt

from segan_cli import Enhancer
from segan_cli.backends.high_band import load_high_band
from segan_cli.backends.pretrained import find_high_band
from segan_cli.enhancement.high_band import (
    FLOOR_RISE,
    HIGH_EDGES_HZ,
    LOOK_AHEAD,
    MIN_GAIN,
    N_HIGH,
    N_LOW,
    Features,
    HighBand,
)
from segan_cli.errors import CheckpointError
from segan_cli.networks.high_band import HighBandGenerator

RATE_HZ = 48_000


def above(signal, rate_hz=RATE_HZ, low_hz=9_000):
    return sosfiltfilt(butter(8, low_hz, "highpass", fs=rate_hz, output="sos"), signal)


def speech(seconds):
    """A real voice without noise at 48 kHz, which ends at 8 kHz."""
    samples, rate_hz = soundfile.read(SAMPLES / "clean" / "fan.wav", dtype="float32")
    return soxr.resample(np.resize(samples, round(seconds * rate_hz)), rate_hz, RATE_HZ)


class Stub:
    """In place of the network: the same gain for all bands of a frame, computed from its features."""

    def __init__(self, gain_of=lambda features: 1.0):
        self.gain_of, self.features = gain_of, []

    def __call__(self, features, state):
        self.features += list(features[0])
        gains = [[[self.gain_of(frame)] * N_HIGH for frame in channel] for channel in features]
        return np.array(gains, np.float32), np.zeros(0)


def run(stage, original, change, sizes=(2_000,)):
    """Push a signal through the stage in blocks of the given sizes, over and over."""
    outputs, first, i = [], 0, 0
    while first < original.shape[1]:
        block = slice(first, first + sizes[i % len(sizes)])
        first, i = block.stop, i + 1
        outputs.append(stage.push(original[:, block], change[:, block], last=first >= original.shape[1]))
    return tuple(np.concatenate(parts, axis=1) for parts in zip(*outputs, strict=True))


def stage(network, rate_hz=RATE_HZ, channels=1, linked=True):
    return HighBand(network, rate_hz, 16_000, channels, linked)


@pytest.mark.parametrize("rate_hz", [17_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("n", [1, 500, 40_001])
def test_gains_of_one_change_nothing(rate_hz, n):
    signal = np.random.default_rng(n).standard_normal((2, n)).astype(np.float32)
    original, change = run(stage(Stub(), rate_hz, 2), signal, signal / 2, (7, 3_000, 250))
    np.testing.assert_array_equal(original, signal)
    np.testing.assert_allclose(change, signal / 2, atol=1e-6)


def test_a_gain_of_a_half_halves_the_sound_above_8_khz_alone():
    noise = hiss(3.0, RATE_HZ)[None]
    _, change = run(stage(Stub(lambda _: 0.5)), noise, np.zeros_like(noise))
    low = sosfiltfilt(butter(8, 5_000, fs=RATE_HZ, output="sos"), change[0])
    inner = slice(4_000, -4_000)
    assert decibels(low[inner], noise) < -60
    np.testing.assert_allclose(above(change[0])[inner], -0.5 * above(noise[0])[inner], atol=2e-4)


def test_a_gain_belongs_to_the_frame_of_its_features():
    """Bursts whose own features silence them are gone, and what is between them stays."""
    burst, faint = np.zeros(2 * RATE_HZ, np.float32), hiss(2.0, RATE_HZ, level=1e-4)
    for start in range(10_000, len(burst), 20_000):
        burst[start : start + 4_000] = hiss(1.0, RATE_HZ, seed=start, level=0.1)[:4_000]
    burst = sosfilt(butter(8, 9_000, "highpass", fs=RATE_HZ, output="sos"), burst).astype(np.float32)
    tone = (0.1 * np.sin(2 * np.pi * 500 * np.arange(len(burst)) / RATE_HZ)).astype(np.float32)  # the level below
    network = Stub(lambda features: float(features[2 * N_LOW : 2 * N_LOW + N_HIGH].max() < 0.7))
    noisy = (tone + burst + faint)[None]
    _, change = run(stage(network), noisy, np.zeros_like(noisy))
    left = above(noisy[0] + change[0])
    during = np.convolve(np.abs(burst) > 1e-3, np.ones(3_000), "same") > 0
    assert decibels(left[during], above(burst)[during]) < -30
    far = ~(np.convolve(during, np.ones(3_000), "same") > 0)
    assert abs(decibels(left[far], above(faint)[far])) < 0.5


def test_the_network_gets_the_levels_of_a_frame_and_of_a_later_one():
    """A tone at 1 kHz that the model halves, and one at 10 kHz that is 20 dB quieter."""
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    low, high = np.sin(2 * np.pi * 1_000 * t), 0.1 * np.sin(2 * np.pi * 10_000 * t)
    network = Stub()
    run(stage(network), (low + high).astype(np.float32)[None], (-0.5 * low).astype(np.float32)[None])
    now, later = np.split(np.array(network.features), 2, axis=1)
    np.testing.assert_array_equal(now[LOOK_AHEAD:][:40], later[:40])
    frame, band = now[30], int(np.searchsorted(HIGH_EDGES_HZ, 10_000)) - 1
    assert frame[3] == pytest.approx(1, abs=0.01)  # 770 to 1,080 Hz has the peak itself
    assert frame[N_LOW + 3] == pytest.approx(np.log10(0.25) / 2, abs=0.01)
    bins = [9.0, (HIGH_EDGES_HZ[band + 1] - HIGH_EDGES_HZ[band]) / 31.25]  # both levels are means over bins
    assert frame[2 * N_LOW + band] == pytest.approx(np.log10(0.01 * bins[0] / bins[1]) / 3 + 2, abs=0.05)
    silent = np.delete(frame[2 * N_LOW : 2 * N_LOW + N_HIGH], (band - 1, band, band + 1))
    assert silent.max() < 0.2


def test_the_network_gets_the_height_above_the_noise_floor():
    """Hiss whose level rises by 20 dB for a moment: the floor follows by 5 dB a second."""
    noise = hiss(4.0, RATE_HZ, level=0.01)
    noise[2 * RATE_HZ : 3 * RATE_HZ] *= 10
    noise += np.sin(2 * np.pi * 500 * np.arange(len(noise)) / RATE_HZ).astype(np.float32)  # the peak, throughout
    network = Stub()
    run(stage(network), noise[None], np.zeros((1, len(noise)), np.float32))
    heights = np.array(network.features)[:, 2 * N_LOW + N_HIGH : 2 * N_LOW + 2 * N_HIGH].mean(1)
    assert 0 < heights[60:120].mean() < 0.25
    assert heights[128] - heights[60:120].mean() == pytest.approx(2.0, abs=0.2)
    assert heights[128] - heights[184] == pytest.approx(56 * np.log10(FLOOR_RISE), abs=0.15)


@pytest.mark.parametrize(
    ("low_hz", "below", "expected"),
    [(3_000, 0.5, 0.5), (3_000, 0.25, 0.25), (5_300, 0.25, 0.5), (3_000, 0.02, 0.1), (3_000, 1.0, 0.8)],
)
def test_no_gain_above_is_larger_than_the_mean_one_of_the_model_at_its_top(low_hz, below, expected):
    noise = hiss(2.0, RATE_HZ)[None]
    band = sosfiltfilt(butter(10, (low_hz, 8_000), "bandpass", fs=RATE_HZ, output="sos"), noise).astype(np.float32)
    original, change = run(stage(Stub(lambda features: 0.8)), noise, (below - 1) * band)
    middle = slice(RATE_HZ // 2, 3 * RATE_HZ // 2)
    left = above((original + change)[0], low_hz=10_000)[middle]
    assert decibels(left, above(noise[0], low_hz=10_000)[middle]) == pytest.approx(20 * np.log10(expected), abs=0.4)


def test_levels_count_relative_to_the_signal():
    features = []
    for gain in (1.0, 1e-3):
        network, noisy = Stub(), np.float32(gain) * hiss(1.0, RATE_HZ, level=0.1)[None]
        run(stage(network), noisy, -0.5 * noisy)
        features.append(np.array(network.features)[:50])
    np.testing.assert_allclose(features[1], features[0], atol=1e-4)


def test_linked_channels_get_the_same_gains():
    noise = np.stack((hiss(2.0, RATE_HZ), hiss(2.0, RATE_HZ, seed=1, level=0.001)))
    for linked, expected in ((True, 1), (False, 2)):
        shapes = []

        def network(features, state, shapes=shapes):
            shapes.append(features.shape[0])
            return np.ones((*features.shape[:2], N_HIGH), np.float32), np.zeros(0)

        run(stage(network, channels=2, linked=linked), noise, np.zeros_like(noise))
        assert set(shapes) == {expected}


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_the_high_band_is_kept_dropped_or_denoised(rate_hz):
    noise = hiss(3.0, rate_hz)
    kept, dropped, denoised = (
        Enhancer(high_band=policy).enhance(noise, rate_hz)[8_000:-8_000] for policy in ("keep", "drop", "denoise")
    )
    high = above(noise, rate_hz)[8_000:-8_000]
    assert decibels(above(kept, rate_hz) - high, high) < -25
    assert decibels(above(dropped, rate_hz), high) < -40
    assert decibels(above(denoised, rate_hz), high) < -12


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_recordings_without_a_high_band_pass_no_network_above_it(rate_hz):
    assert Enhancer().stream(rate_hz).engine.high_band is None


def test_the_shipped_network_equals_its_definition_in_torch():
    """Of two channels at once, with a state from before."""
    graph = onnx.load(find_high_band()).graph
    tensors = {tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    below, gru, output = (
        [tensors[name] for name in node.input if name in tensors]
        for node in graph.node
        if node.op_type in ("MatMul", "GRU")
    )
    update, reset, new = zip(*(part.view(-1, 3, 32, *part.shape[2:]).unbind(1) for part in gru), strict=True)
    w, r, biases = (torch.cat(gates, 1) for gates in zip(reset, update, new, strict=True))  # the order of torch
    network = HighBandGenerator(2 * N_LOW, N_HIGH, MIN_GAIN)
    network.load_state_dict(
        {name: tensor for name, tensor in tensors.items() if "::" not in name}
        | {"below.weight": below[0].T, "output.weight": output[0].T}
        | {"gru.weight_ih_l0": w[0], "gru.weight_hh_l0": r[0], "gru.bias_ih_l0": biases[0], "gru.bias_hh_l0": biases[1]}
    )
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 5, 2 * (2 * N_LOW + 2 * N_HIGH))).astype(np.float32)
    state = rng.standard_normal((1, 2 * N_HIGH, network.hidden)).astype(np.float32)
    with torch.no_grad():
        gains, latest = network(torch.from_numpy(features).swapaxes(0, 1), torch.from_numpy(state))
    ours, next_state = load_high_band()(features, state)
    np.testing.assert_allclose(ours, gains.swapaxes(0, 1), atol=1e-5)
    np.testing.assert_allclose(next_state, latest, atol=1e-5)


def test_a_changed_network_is_refused(monkeypatch, tmp_path):
    (tmp_path / "high-band.onnx").write_text("changed")
    (tmp_path / "index.json").write_text('{"high_band": {"file": "high-band.onnx", "sha256": "0"}}')
    monkeypatch.setattr("segan_cli.backends.pretrained.pretrained_dir", lambda: tmp_path)
    with pytest.raises(CheckpointError, match="install segan again"):
        find_high_band()


def test_blocks_of_any_size_give_the_same_above_8_khz():
    noisy = np.stack((speech(3.0) + hiss(3.0, RATE_HZ), hiss(3.0, RATE_HZ, seed=1)))
    enhancer = Enhancer()
    stream, rng = enhancer.stream(RATE_HZ, 2), np.random.default_rng(0)
    cuts = np.cumsum(rng.integers(1, 9_000, 100))
    parts = [stream.push(block) for block in np.split(noisy, cuts[cuts < noisy.shape[1]], axis=1)]
    np.testing.assert_allclose(
        np.concatenate((*parts, stream.flush()), axis=1), enhancer.enhance(noisy, RATE_HZ), atol=1e-6
    )


def test_noise_falls_during_speech_as_in_pauses():
    """A voice that ends at 8 kHz in hiss of the whole band: the noise above 9 kHz neither pumps nor comes back."""
    clean, noise = speech(8.0), hiss(8.0, RATE_HZ, level=0.003)
    enhanced = Enhancer().enhance(clean + noise, RATE_HZ)
    frame = RATE_HZ // 50
    level, before, after = (
        np.square(signal[: len(clean) // frame * frame].reshape(-1, frame)).mean(1)
        for signal in (clean, above(noise), above(enhanced))
    )
    loud, quiet = level > 0.05 * level.max(), level < 1e-4 * level.max()
    loud[:25] = quiet[:25] = False  # until the level of the signal is known
    falls = [10 * np.log10(before[part].sum() / after[part].sum()) for part in (loud, quiet)]
    assert min(falls) > 12
    assert abs(falls[0] - falls[1]) < 4


def test_noise_that_begins_in_a_sentence_is_gone_after_a_fifth_of_a_second():
    clean, n = speech(6.0), 6 * RATE_HZ
    sound = sosfilt(butter(6, (8_500, 14_000), "bandpass", fs=RATE_HZ, output="sos"), hiss(6.0, RATE_HZ, level=0.02))
    sound[: n // 2] = 0.0
    enhanced = Enhancer().enhance(clean + sound.astype(np.float32), RATE_HZ)
    part = slice(n // 2 + RATE_HZ // 5, n // 2 + RATE_HZ)
    assert decibels(above(enhanced)[part], above(sound)[part]) < -10


def test_fricatives_above_8_khz_stay():
    """Bursts as of fricatives where the voice has its own, 20 dB above the hiss."""
    clean = speech(6.0)
    sibilants = sosfilt(butter(6, (4_500, 7_500), "bandpass", fs=RATE_HZ, output="sos"), clean)
    envelope = np.sqrt(np.convolve(np.square(sibilants), np.full(960, 1 / 960), "same"))
    burst = above(envelope * np.random.default_rng(0).standard_normal(len(clean)))
    noisy = clean + burst + 0.02 * np.sqrt(np.mean(np.square(burst))) * hiss(6.0, RATE_HZ, level=1.0)
    enhanced = Enhancer().enhance(noisy.astype(np.float32), RATE_HZ)
    kept = envelope > 0.3 * envelope.max()
    assert abs(decibels(above(enhanced)[kept], above(burst)[kept])) < 3


def test_a_slam_that_the_model_removes_does_not_count_as_the_peak():
    pooling = np.ones((1, N_LOW + N_HIGH), np.float32) / N_LOW
    features = [Features(pooling) for _ in range(3)]
    voice = np.full((3, 1, 4, 1), 0.01, np.float32)
    slam, kept = voice.copy(), voice.copy()
    slam[0, 0, 1] = 100.0
    kept[:2, 0, 1] = 100.0
    after = [one(powers)[0, -1] for one, powers in zip(features, (voice, slam, kept), strict=True)]
    peaks = [one.peak.item() for one in features]
    assert peaks == pytest.approx([0.01, 0.1 * 0.9995**2, 100.0 * 0.9995**2], rel=1e-4)
    assert after[1][0] - after[2][0] == pytest.approx(1.0, abs=1e-3)  # in units of 30 dB
