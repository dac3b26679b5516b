"""The Python interface: Enhancer on arrays of any layout, streams and files."""

import copy
import io
import multiprocessing
import pickle
import re

import numpy as np
import pytest
import soundfile
import torch
from conftest import hiss, voice

from segan_cli import Enhancer
from segan_cli.backends.pretrained import find_model, find_onnx
from segan_cli.enhancement.enhancer import channel_axis
from segan_cli.errors import AudioError, ConfigError, ExistsError, SeganError, TruncatedError
from segan_cli.networks.checkpoint import load_model


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer(device="cpu", strength=0.9)


@pytest.fixture
def noisy(tmp_path):
    path = tmp_path / "noisy.wav"
    soundfile.write(path, np.stack((voice(1.0), voice(1.0) + hiss(1.0)), 1), 16_000, "FLOAT")
    return path


def test_a_file_and_its_samples_give_the_same(enhancer, noisy):
    samples, rate_hz = enhancer(noisy)
    assert (samples.shape, rate_hz) == ((2, 16_000), 16_000)
    array, _ = soundfile.read(noisy, dtype="float32")
    np.testing.assert_allclose(enhancer(array, 16_000), samples.T, atol=1e-6)
    np.testing.assert_allclose(enhancer(array.T, 16_000), samples, atol=1e-6)
    soundfile.write(noisy, array[:, 1], 16_000, "FLOAT")
    mono, _ = enhancer(str(noisy))
    np.testing.assert_allclose(mono, enhancer(array[:, 1], 16_000), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "hint"),
    [
        (np.zeros(100, np.int16), "divide them by 32768"),
        ([0, 1, 2], "divide them by the full scale of their encoding, such as 32768 for 16 bits"),
        (np.zeros(100, np.uint8), "give floats whose full scale is 1"),
        (torch.zeros(100, dtype=torch.bfloat16), r"not an array of samples; give float32 \[n\] or \[channels, n\]"),
    ],
)
def test_samples_of_other_types_are_refused_with_what_to_do(enhancer, samples, hint):
    with pytest.raises(AudioError, match=f"{hint}$"):
        enhancer(samples, 16_000)


@pytest.mark.parametrize("convert", [list, torch.tensor, np.float64])
def test_lists_and_tensors_are_accepted_as_samples(enhancer, convert):
    sound = (voice(0.3) + hiss(0.3)).astype(np.float32)
    np.testing.assert_array_equal(enhancer(convert(sound), 16_000), enhancer(sound, 16_000))


@pytest.mark.parametrize(
    ("shape", "axis"), [((5,), 0), ((1, 5), 0), ((5, 1), 1), ((2, 16_000), 0), ((16_000, 2), 1), ((64, 65), 0)]
)
def test_the_shorter_axis_has_the_channels(shape, axis):
    assert channel_axis(shape) == axis


@pytest.mark.parametrize(("shape", "message"), [((2, 64), "too short"), ((65, 70), "up to 64"), ((1, 2, 3), "shape")])
def test_an_ambiguous_axis_order_is_refused(shape, message):
    with pytest.raises(AudioError, match=message):
        channel_axis(shape)


@pytest.mark.parametrize(
    "samples", [np.zeros(9, np.int16), torch.zeros(9, requires_grad=True), "abc", [[1.0], [1.0, 2.0]]]
)
def test_values_that_are_not_samples_are_refused(enhancer, samples):
    with pytest.raises(AudioError):
        enhancer.enhance(samples, 16_000)


def test_an_array_needs_its_rate(enhancer):
    with pytest.raises(AudioError, match="rate_hz"):
        enhancer(voice(0.1))


def test_a_mono_stream_takes_flat_blocks(enhancer):
    noisy, stream = voice(2.0) + hiss(2.0), enhancer.stream(16_000)
    parts = [stream.push(block) for block in np.array_split(noisy, 7)]
    np.testing.assert_allclose(np.concatenate([*parts, stream.flush()]), enhancer(noisy, 16_000), atol=1e-5)


def test_a_stream_takes_channels_on_either_axis(enhancer):
    noisy = np.stack((voice(1.5), voice(1.5) + hiss(1.5)))
    whole = enhancer(noisy, 16_000)
    for axis in (0, 1):
        stream = enhancer.stream(16_000, 2)
        blocks = np.split(noisy, [7, 9, 8_000], axis=1)
        parts = [stream.push(np.moveaxis(block, 0, axis)) for block in blocks] + [stream.flush()]
        np.testing.assert_allclose(np.concatenate(parts, axis=1 - axis), np.moveaxis(whole, 0, axis), atol=1e-5)


def test_the_first_block_decides_the_axis_of_a_stream(enhancer):
    for first, other, layout in (((2, 9), (9, 2), "[2, n]"), ((9, 2), (2, 9), "[n, 2]"), ((2, 2), (9, 2), "[2, n]")):
        stream = enhancer.stream(16_000, 2)
        stream.push(np.zeros(first, np.float32))
        stream.push(np.zeros((2, 2), np.float32))
        with pytest.raises(
            AudioError, match=re.escape(f"shape {list(other)} for 2 channels; give blocks {layout}, as")
        ):
            stream.push(np.zeros(other, np.float32))
    with pytest.raises(AudioError, match=re.escape("give blocks [2, n] or [n, 2]")):
        enhancer.stream(16_000, 2).push(np.zeros((3, 9), np.float32))
    column = enhancer.stream(16_000)
    assert column.push(np.zeros((9, 1), np.float32)).shape == (0, 1)
    assert column.flush().shape == (9, 1)


def test_open_files_and_bytes_are_read_as_their_path(enhancer, noisy):
    expected, rate_hz = enhancer(noisy)
    content = noisy.read_bytes()
    with noisy.open("rb") as file, noisy.open("rb", buffering=0) as raw:
        for given in (file, raw, io.BytesIO(content), content, bytearray(content)):
            samples, given_hz = enhancer(given)
            assert given_hz == rate_hz
            np.testing.assert_array_equal(samples, expected)
        assert not file.closed


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"no audio", "^these bytes: not a readable audio file"),
        (b"", "^these bytes: the file is empty"),
        (io.BytesIO(b"no audio"), "^this file: not a readable audio file"),
        (io.StringIO("text"), "^this file: is open as text; open it in binary mode"),
    ],
)
def test_bytes_that_are_no_recording_are_refused(enhancer, given, says):
    with pytest.raises(AudioError, match=says):
        enhancer(given)


@pytest.mark.parametrize("copy_of", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_and_pickles_of_an_enhancer_give_the_same(enhancer, copy_of):
    sound = voice(0.3) + hiss(0.3)
    model = Enhancer(load_model(find_model("segan-gated")), device="cpu", channels="independent")
    for original in (enhancer, model):
        again = copy_of(original)
        assert (again.model, again.settings) == (original.model, original.settings)
        assert again.network is not original.network
        np.testing.assert_array_equal(again(sound, 16_000), original(sound, 16_000))
    assert len(pickle.dumps(enhancer)) < 1_000


def test_an_enhancer_works_in_worker_processes(enhancer):
    sound = voice(0.3) + hiss(0.3)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(enhancer, (sound, 16_000)), enhancer(sound, 16_000))


def test_enhance_file_returns_a_summary(enhancer, noisy, tmp_path):
    outcome = enhancer.enhance_file(noisy, tmp_path / "clean.flac")
    assert (outcome.seconds, outcome.rate_hz, outcome.channels, outcome.error) == (1.0, 16_000, 2, None)
    assert (outcome.model, len(outcome.model_sha256), outcome.noise_reduction_db) == ("default", 64, None)
    assert outcome.level_db - outcome.enhanced_level_db > 0.5
    with pytest.raises(ExistsError, match=r"already exists; pass force=True"):
        enhancer.enhance_file(noisy, tmp_path / "clean.flac")


def test_errors_in_python_name_arguments_and_not_options(enhancer, noisy, tmp_path):
    noisy.write_bytes(noisy.read_bytes()[:-5_000])
    with pytest.raises(TruncatedError, match=r"pass allow_truncated=True") as caught:
        enhancer.enhance_file(noisy, tmp_path / "clean.wav")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(TruncatedError, match=r"allow_truncated=True"):
        enhancer(noisy)
    with pytest.warns(UserWarning, match="truncated"):
        enhancer.enhance_file(noisy, tmp_path / "clean.wav", allow_truncated=True)
    assert Enhancer(strength=np.float32(0.5)).settings.strength == 0.5
    with pytest.raises(ConfigError, match="backend 'onxx'; choose auto, torch, onnx"):
        Enhancer(backend="onxx")
    with pytest.raises(ConfigError, match="strength 2"):
        Enhancer(strength=2)
    with pytest.raises(ConfigError, match="model None; give a name, a path or a loaded model"):
        Enhancer(None)


def test_its_repr_shows_model_settings_and_device(enhancer):
    assert repr(enhancer).startswith("Enhancer('default', strength=0.9, channels='linked', high_band='denoise'")
    assert repr(enhancer).endswith("on onnx on cpu")


def test_what_no_model_or_device_is_is_refused():
    model = load_model(find_model("segan-gated"))
    for backend in ("onnx", "nonsense"):
        with pytest.raises(ConfigError, match="a loaded model runs on torch, so omit it"):
            Enhancer(model, backend=backend)
    for device in (torch.device("cpu"), 0, None):
        with pytest.raises(ConfigError, match=r"device .*: unknown; use auto, cpu, cuda or mps"):
            Enhancer(device=device)
    with pytest.raises(ConfigError, match="give a name, a path or a loaded model"):
        Enhancer(torch.nn.ModuleDict({"generator": torch.nn.Identity()}))


def test_empty_arrays_are_checked_like_others():
    enhancer = Enhancer()
    assert enhancer(np.zeros(0, np.float32), 16_000).shape == (0,)
    with pytest.raises(ConfigError, match="rate_hz 'x'"):
        enhancer(np.zeros(0, np.float32), "x")
    with pytest.raises(AudioError):
        enhancer(np.zeros((2, 0, 4), np.float32), 16_000)


def test_open_files_that_cannot_be_read_are_refused_in_one_line(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(0.2), 16_000)
    closed = path.open("rb")
    closed.close()
    with path.open("ab") as appending:
        for file in (closed, appending):
            with pytest.raises(AudioError, match=r"a\.wav: cannot be read \(.+\); open it for reading, 'rb'"):
                Enhancer()(file)


def test_names_longer_than_a_file_system_allows_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(0.2), 16_000)
    enhancer = Enhancer()
    for call in (
        lambda: enhancer(f"{'x' * 300}.wav"),
        lambda: enhancer.enhance_file(tmp_path / "a.wav", tmp_path / f"{'x' * 300}.wav"),
        lambda: Enhancer(f"{'x' * 300}.onnx"),
    ):
        with pytest.raises(SeganError, match=r"\A.*x+\.(wav|onnx): .+\Z"):
            call()


def test_a_model_is_found_with_an_extension_in_capitals(tmp_path):
    (tmp_path / "M.ONNX").write_bytes(find_onnx("segan-gated").read_bytes())
    sound = voice(0.5)
    np.testing.assert_array_equal(Enhancer(tmp_path / "M.ONNX")(sound, 16_000), Enhancer("segan-gated")(sound, 16_000))
