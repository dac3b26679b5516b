"""An identity network gives the signal back, whatever the sizes and however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal.windows import hann

from segan_cli.enhancement.overlap_add import OverlapAdd


def at_once(network):
    return lambda segments: lambda: network(segments)


def run(signal, cuts, network, segment_length, hop, batch, ahead=0):
    frames = OverlapAdd(at_once(network), signal.shape[0], segment_length, hop, batch, ahead)
    blocks = np.split(signal, sorted(cuts), axis=1)
    return np.concatenate([*(frames.push(block) for block in blocks), frames.flush()], axis=1)


@st.composite
def framings(draw):
    segment_length = draw(st.integers(1, 64))
    length = draw(st.integers(0, 300))
    return {
        "segment_length": segment_length,
        "hop": draw(st.integers(1, segment_length)),
        "batch": draw(st.integers(1, 5)),
        "ahead": draw(st.integers(0, 3)),
        "length": length,
        "channels": draw(st.integers(1, 3)),
        "cuts": draw(st.lists(st.integers(0, length), max_size=8)),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=100)
@given(framings())
def test_identity_network_returns_its_input(f):
    signal = np.random.default_rng(f["seed"]).standard_normal((f["channels"], f["length"])).astype(np.float32)
    output = run(signal, f["cuts"], lambda w: w, f["segment_length"], f["hop"], f["batch"], f["ahead"])
    assert output.shape == signal.shape
    np.testing.assert_allclose(output, signal, atol=1e-5)


@settings(max_examples=100)
@given(framings())
def test_block_sizes_and_batches_do_not_change_the_output(f):
    signal = np.random.default_rng(f["seed"]).standard_normal((f["channels"], f["length"])).astype(np.float32)

    def network(segments):  # depends on the position in the segment, so the grid of segments matters
        return segments * np.linspace(0.5, 1.5, f["segment_length"], dtype=np.float32)

    cut = run(signal, f["cuts"], network, f["segment_length"], f["hop"], f["batch"], f["ahead"])
    whole = run(signal, [], network, f["segment_length"], f["hop"], 1)
    np.testing.assert_array_equal(cut, whole)


@pytest.mark.parametrize("length", [1, 16383, 16384, 16385, 40001])
def test_identity_at_the_real_segment_length(length):
    signal = np.random.default_rng(0).standard_normal((1, length)).astype(np.float32)
    np.testing.assert_allclose(run(signal, [], lambda w: w, 16384, 8192, 4), signal, atol=1e-5)


def test_the_signal_is_mirrored_beyond_both_ends():
    seen = []
    signal = np.arange(1.0, 101.0, dtype=np.float32)[None]
    run(signal, [7, 50], lambda w: seen.extend(w[:, 0]) or w, 32, 16, 2)
    extended = np.pad(signal[0], (16, 28), mode="symmetric")
    np.testing.assert_array_equal(np.stack(seen), [extended[start : start + 32] for start in range(0, 113, 16)])


@pytest.mark.parametrize("hop", [8, 24, 32])
def test_segments_are_never_padded_with_zeros(hop):
    """Also where a segment's overlap or its lack at the end is longer than what it holds, or than the signal."""
    for length in (1, 5, 8, 31, 33, 100):
        seen = []
        run(np.ones((1, length), np.float32), [], lambda w: seen.extend(w) or w, 32, hop, 3)  # noqa: B023
        assert np.stack(seen).min() == 1.0


def test_every_sample_lies_in_as_many_segments_as_the_overlap_gives():
    seen = []
    frames = OverlapAdd(at_once(lambda w: seen.append(len(w)) or w), 1, 64, 16, 3)
    frames.push(np.ones((1, 1000), np.float32))
    assert frames.flush().shape[1] > 0
    assert sum(seen) == -(-(1000 + 48) // 16)


def test_output_comes_before_the_signal_ends():
    frames = OverlapAdd(at_once(lambda w: w), 1, 64, 32, 4)
    assert frames.push(np.ones((1, 64), np.float32)).shape[1] == 32


@pytest.mark.parametrize(("length", "hop"), [(64, 32), (64, 16), (65, 20)])
def test_the_taper_is_that_of_hann_between_its_zeros(length, hop):
    taper = OverlapAdd(at_once(lambda x: x), 1, length, hop, 1).taper
    np.testing.assert_allclose(taper, hann(2 * length + 1)[1::2], atol=1e-12)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_the_look_ahead_bounds_the_batches_in_progress(ahead):
    begun, finished = [], []

    def network(segments):
        begun.append(len(segments))
        return lambda: finished.append(len(segments)) or segments

    frames = OverlapAdd(network, 1, 64, 32, 2, ahead)
    outputs = [frames.push(np.ones((1, 64), np.float32)) for _ in range(10)]
    assert sum(begun) == 20
    assert finished == begun[: len(begun) - ahead]
    assert sum(output.shape[1] for output in outputs) == 32 * sum(finished) - 32  # less the lead
    assert frames.flush().shape[1] == 640 - sum(output.shape[1] for output in outputs)
    assert finished == begun
