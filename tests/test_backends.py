"""ONNX Runtime and torch give the same, the one that suits is taken, and torch stays out where it is not needed."""

import dataclasses
import gc
import math
import subprocess
import sys
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
import torch
from click.testing import CliRunner
from commands import complaint, segan, wait_until
from conftest import Identity, hiss, voice

from segan_cli import Enhancer
from segan_cli.backends import choice
from segan_cli.backends.choice import open_network
from segan_cli.backends.export import export
from segan_cli.backends.onnx import OnnxNetwork
from segan_cli.backends.pretrained import find_onnx, shipped_models
from segan_cli.backends.pytorch import TorchNetwork
from segan_cli.backends.thread_pool import ThreadPool
from segan_cli.cli import segan as command_line
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.enhancement.batch import run_job
from segan_cli.enhancement.plan import Job
from segan_cli.enhancement.recording import OutputOptions
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.networks.checkpoint import Model, save_model
from segan_cli.networks.families import build_generator
from segan_cli.networks.fourier import Fourier, MatrixFourier

SHIPPED = sorted(shipped_models()[1])


@pytest.fixture(params=["segan-plus", "segan-dilated", "segan-gated", "segan-spectral", "no skips"])
def model(request):
    """A small untrained model of each kind, with a non-zero last layer."""
    preset = "segan-dilated" if request.param == "no skips" else request.param
    config = scaled(PRESETS[preset], 0.1 if preset != "segan-spectral" else 0.5)
    if request.param == "no skips":
        config = dataclasses.replace(config, generator=dataclasses.replace(config.generator, skip_merge="none"))
    torch.manual_seed(0)
    generator = build_generator(config.generator).eval()
    if request.param == "segan-spectral":
        torch.nn.init.normal_(generator.output_conv.weight, std=0.1)
    return Model(generator, config, {"steps": 0, "runs": []})


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_give_the_same_in_onnx_and_torch(name):
    noisy = voice(5.0) + hiss(5.0)
    ours, theirs = (
        Enhancer(name, device="cpu", backend=backend).enhance(noisy, 16_000) for backend in ("onnx", "torch")
    )
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(ours - noisy).max() > 0.01


def test_any_model_can_be_exported(model, tmp_path):
    assert export(model, tmp_path / "m.onnx") < 1e-4
    ours, theirs = OnnxNetwork(tmp_path / "m.onnx", trusted=False), TorchNetwork(model, "cpu")
    assert ours.config == model.config
    rng = np.random.default_rng(1)
    for n in (1, 5):
        noisy = (0.1 * rng.standard_normal((n, 1, model.config.segment_length))).astype(np.float32)
        z = model.config.generator.draw_latent(np.random.default_rng(2), n, model.config.segment_length)
        np.testing.assert_allclose(ours(noisy, z), theirs(noisy, z), atol=1e-4)
    about = onnx.load(tmp_path / "m.onnx")
    assert [value.name for value in about.graph.output] == ["enhanced"]
    assert about.opset_import[0].version == 17


def test_a_half_precision_export_is_smaller_and_nearly_equal(model, tmp_path):
    export(model, tmp_path / "whole.onnx")
    assert export(model, tmp_path / "half.onnx", half=True) < 5e-3
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * (tmp_path / "whole.onnx").stat().st_size


def test_the_command_halves_the_precision_only_when_it_is_asked_to(tmp_path, monkeypatch):
    asked = []

    def note(model, output, half):
        asked.append(half)
        output.write_bytes(b"")
        return 0.0

    monkeypatch.setattr("segan_cli.backends.export.export", note)
    for words in ((), ("--half",)):
        path = str(tmp_path / f"{len(words)}.onnx")
        CliRunner().invoke(command_line, ["export", "segan-live", "-o", path, *words], catch_exceptions=False)
    assert asked == [False, True]


@pytest.mark.parametrize("half", [False, True])
def test_a_model_that_cannot_be_exported_leaves_what_was_there(half, tmp_path):
    config = scaled(PRESETS["segan-spectral"], 0.5)
    generator = build_generator(config.generator).eval()
    torch.nn.init.constant_(generator.output_conv.bias, math.nan)
    (tmp_path / "m.onnx").write_bytes(b"before")
    with pytest.raises(CheckpointError, match="would differ from torch by nan"):
        export(Model(generator, config, {"steps": 0, "runs": []}), tmp_path / "m.onnx", half)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("m.onnx", b"before")]


def test_exported_spectral_transforms_equal_those_of_torch():
    frames = torch.randn(2, 3, 512)
    ours, theirs = MatrixFourier(512), Fourier(512)
    torch.testing.assert_close(ours.stft(frames), theirs.stft(frames), atol=1e-5, rtol=0)
    parts = theirs.stft(frames)
    torch.testing.assert_close(ours.istft(*parts), theirs.istft(*parts), atol=1e-5, rtol=0)


def test_the_backend_follows_device_and_precision(monkeypatch, tmp_path):
    assert isinstance(Enhancer(device="cpu").network, OnnxNetwork)
    assert isinstance(Enhancer(device="cpu", precision="bf16").network, TorchNetwork)
    assert isinstance(Enhancer(device="cpu", backend="torch").network, TorchNetwork)
    monkeypatch.setattr(choice, "has_accelerator", lambda: True)
    assert isinstance(Enhancer(device="auto").network, TorchNetwork)
    monkeypatch.setattr(choice, "has_accelerator", lambda: False)
    assert isinstance(Enhancer(device="auto").network, OnnxNetwork)
    monkeypatch.setattr(choice, "has_accelerator", lambda: True)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert isinstance(Enhancer(device="auto").network, OnnxNetwork)  # the base installation has no torch


@pytest.mark.parametrize("holds", [1, 3])
def test_the_batch_shrinks_when_device_memory_runs_out(holds):
    network = TorchNetwork(Model(Narrow(holds), PRESETS["segan-slim"], {}), "cpu")
    noisy, z = (np.random.default_rng(0).standard_normal((11, 1, n)).astype(np.float32) for n in (16_384, 1))
    for _ in range(2):
        np.testing.assert_array_equal(network(noisy, z), noisy + z)
    assert network.max_batch == (2 if holds == 3 else 1)


def test_a_device_too_small_for_one_segment_is_an_error(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "noisy.wav", voice(2.0), 16_000)
    full = TorchNetwork(Model(Narrow(0), PRESETS["segan-spectral"], {}), "cpu")
    monkeypatch.setattr("segan_cli.enhancement.enhancer.open_network", lambda *about: full)
    job = Job(tmp_path / "noisy.wav", tmp_path / "clean.wav")
    outcome = run_job(Enhancer(), job, OutputOptions(), lambda *done: None)
    assert outcome.error == f"{tmp_path / 'noisy.wav'}: CUDA out of memory"
    assert not (tmp_path / "clean.wav").exists()


class Narrow(Identity):
    """A network for a device that holds so many segments."""

    def __init__(self, holds):
        super().__init__()
        self.holds = holds

    def forward(self, noisy, z=None):
        if len(noisy) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return noisy if z is None else noisy + z


@pytest.mark.parametrize(("threads", "jobs", "together"), [(None, 1, 8), (None, 4, 8), (2, 4, 8), (1, 4, 4), (1, 1, 1)])
def test_jobs_that_run_at_once_keep_all_cores_busy(threads, jobs, together, monkeypatch):
    monkeypatch.setattr("segan_cli.backends.onnx.cpu_count", lambda: 8)
    monkeypatch.setattr("segan_cli.backends.pytorch.cpu_count", lambda: 8)
    assert open_network("default", "cpu", "onnx", threads=threads, jobs=jobs).threads == together
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        open_network("default", "cpu", "torch", threads=threads, jobs=jobs)
        assert torch.get_num_threads() * jobs == together
    finally:
        torch.set_num_threads(before)


def test_model_calls_have_a_time_limit():
    waited, ended = [], []

    class Never(Future):
        def result(self, timeout=None):
            waited.append(timeout)
            raise TimeoutError

    pool = SimpleNamespace(name="mine.onnx", end=lambda: ended.append(True))
    with pytest.raises(CheckpointError, match=r"mine\.onnx: it takes more than 3 s"):
        ThreadPool._result(pool, Never(), 3)
    assert (waited, ended) == ([1.0, 1.0, 1.0], [True])


def test_the_batch_size_follows_the_cores_per_job(monkeypatch):
    monkeypatch.setattr("segan_cli.backends.onnx.cpu_count", lambda: 8)
    assert [Enhancer(device="cpu", **jobs).network.batch for jobs in ({}, {"jobs": 1}, {"jobs": 4})] == [32, 32, 8]


@pytest.mark.parametrize("name", ["segan-gated", "segan-live"])
def test_a_forked_process_uses_one_thread_of_torch(name):
    """By segments and by frames; torch would wait for threads that the process does not have."""
    before = torch.get_num_threads()
    enhancer = Enhancer(name, device="cpu", backend="torch", threads=2)
    try:
        assert torch.get_num_threads() == 2
        enhancer.network.pid = 0  # that of the process before the fork
        enhancer.enhance(voice(0.5), 16_000)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_settings_that_a_backend_lacks_are_refused(model, tmp_path):
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(ConfigError, match="segan export"):
        Enhancer(tmp_path / "m.safetensors", backend="onnx")
    with pytest.raises(ConfigError, match="device cpu and precision fp32"):
        Enhancer(backend="onnx", precision="bf16")
    with pytest.raises(CheckpointError, match="does not read ONNX"):
        Enhancer(find_onnx("default"), backend="torch")
    (tmp_path / "bad.onnx").write_text("no graph")
    with pytest.raises(CheckpointError, match="not a readable ONNX file"):
        Enhancer(tmp_path / "bad.onnx")
    proto = onnx.load(find_onnx("segan-spectral"))
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="not written by segan export"):
        Enhancer(tmp_path / "foreign.onnx")


def test_a_modified_shipped_model_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("segan_cli.backends.pretrained.pretrained_dir", lambda: tmp_path)
    (tmp_path / "m.onnx").write_text("changed")
    index = '{"default": "m", "models": {"m": {"file": "m", "sha256": "", "onnx": {"file": "m.onnx", "sha256": "0"}}}}'
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(CheckpointError, match="install segan again"):
        find_onnx("default")


def test_enhance_loads_neither_torch_nor_scipy(tmp_path):
    """At any rate and channel count, with the high band followed and channels linked."""
    soundfile.write(tmp_path / "in.wav", np.stack((voice(2.0, 48_000), hiss(2.0, 48_000)), 1), 48_000)
    program = (
        "import sys\n"
        f"sys.argv = ['segan', 'enhance', {str(tmp_path / 'in.wav')!r}, '-o', {str(tmp_path / 'out.wav')!r},"
        " '--device', 'cpu']\n"
        "try:\n    from segan_cli.cli import main; main()\n"
        "finally:\n    print(sorted({'torch', 'torchaudio', 'scipy'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]"]
    assert soundfile.info(tmp_path / "out.wav").frames == 96_000


def test_export_of_an_own_model_enhances_like_the_original(tmp_path):
    config = dataclasses.replace(scaled(PRESETS["segan-gated"], 0.1))
    save_model(tmp_path / "own.safetensors", Model(build_generator(config.generator).eval(), config, {"runs": []}))
    result = segan("export", tmp_path / "own.safetensors", "-o", tmp_path / "own.onnx")
    assert result.returncode == 0, result.stderr
    assert "largest difference from torch" in result.stderr
    assert "--force" in complaint(segan("export", "default", "-o", tmp_path / "own.onnx"))
    assert ".onnx" in complaint(segan("export", "default", "-o", tmp_path / "own.bin"))
    assert "no such model" in complaint(segan("export", "none", "-o", tmp_path / "none.onnx"))
    soundfile.write(tmp_path / "in.wav", voice(1.5) + hiss(1.5), 16_000)
    for kind in ("onnx", "safetensors"):
        paths = (tmp_path / "in.wav", "-o", tmp_path / f"{kind}.wav", "--model", tmp_path / f"own.{kind}")
        result = segan("enhance", *paths, "--device", "cpu")
        assert result.returncode == 0, result.stderr
    ours, theirs = (soundfile.read(tmp_path / f"{kind}.wav")[0] for kind in ("onnx", "safetensors"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_threads_give_equal_results_and_end_with_their_network():
    noisy = voice(8.0) + hiss(8.0)
    before = set(threading.enumerate())
    enhancers = [Enhancer(device="cpu", threads=n) for n in (1, 3)]
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    one, three = (enhancer.enhance(noisy, 16_000) for enhancer in enhancers)
    np.testing.assert_allclose(one, three, atol=1e-6)
    del enhancers
    gc.collect()  # a stream and its segments hold each other
    wait_until(lambda: not any(thread.is_alive() for thread in started))


def test_an_error_in_a_thread_is_raised():
    network = Enhancer(device="cpu", threads=2).network
    with pytest.raises(ValueError, match="went wrong"):
        list(
            network.graph_and_pool[1].map(
                lambda part: (_ for _ in ()).throw(ValueError("went wrong")), [slice(0, 1)] * 2, 9
            )
        )


def test_an_error_in_the_middle_of_a_recording_ends_the_process_normally(tmp_path):
    """The threads are at the segments before it then."""
    samples = hiss(60.0)
    samples[25 * 16_000] = np.nan
    soundfile.write(tmp_path / "in.wav", samples, 16_000, "FLOAT")
    command = (
        sys.executable,
        "-m",
        "segan_cli",
        "enhance",
        "in.wav",
        "-o",
        "out.wav",
        "--device",
        "cpu",
        "--threads",
        "3",
    )
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert result.stderr.count("\n") == 1
    assert "in.wav: some samples are NaN" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]
