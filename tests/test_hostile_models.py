"""Malicious and damaged models are refused with one line that names them."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from commands import PATIENCE_S, Running, alone, complaint, segan, wait_until
from conftest import Identity, hiss, voice
from counting import macs_per_second, weights
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file

from segan_cli.backends import onnx as onnx_backend
from segan_cli.backends.choice import open_network
from segan_cli.backends.export import export
from segan_cli.backends.graph import PROGRAM
from segan_cli.backends.pretrained import find_onnx
from segan_cli.config.budget import check_layers
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.schema import override
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.networks.checkpoint import Model, load_model, save_model
from segan_cli.networks.families import build_generator

SLIM = scaled(PRESETS["segan-gated"], 0.1)
ABOUT = {"format": 1, "config": dataclasses.asdict(SLIM), "provenance": {"steps": 1, "runs": []}}
FLOATS, TRUE = TensorProto.FLOAT, numpy_helper.from_array(np.array(True), "true")


def saved(path, model=None, **changes):
    """A model as a file, its metadata changed."""
    torch.manual_seed(0)
    model = model or Model(build_generator(SLIM.generator).eval(), SLIM, {"steps": 1, "runs": []})
    save_model(path, model)
    if changes:
        save_file(load_file(path), path, {"segan": json.dumps({**ABOUT, **changes})})
    return path


def graph(path, nodes, constants=(), about=ABOUT, segment_length=SLIM.segment_length, inputs=("noisy",), kind=None):
    """An ONNX file of one's own making that says it was written by segan export."""
    ins = [helper.make_tensor_value_info(name, FLOATS, ["n", 1, segment_length]) for name in inputs]
    outs = [helper.make_value_info("enhanced", kind or helper.make_tensor_type_proto(FLOATS, None))]
    made = helper.make_model(
        helper.make_graph(nodes, "g", ins, outs, list(constants)),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(made, {"segan": json.dumps(about)})
    path.write_bytes(made.SerializeToString())
    return path


def node(kind, *inputs, **attributes):
    return helper.make_node(kind, inputs, ["enhanced"], **attributes)


def constant(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, kind), name)


def endless(condition="true"):
    """A loop that adds nothing for ever, as long as a condition holds at its start."""
    scalars = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", TensorProto.INT64), ("c", TensorProto.BOOL))
    ]
    x, y = (helper.make_tensor_value_info(name, FLOATS, None) for name in ("x", "y"))
    c_out = helper.make_tensor_value_info("c_out", TensorProto.BOOL, [])
    steps = [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Identity", ["x"], ["y"])]
    body = helper.make_graph(steps, "body", [*scalars, x], [c_out, y])
    return node("Loop", "", condition, "noisy", body=body)


def late():
    """A loop without end for loud segments, which those that try a model out are not."""
    return [
        helper.make_node("ReduceMax", ["noisy"], ["peak"], keepdims=0),
        helper.make_node("Greater", ["peak", "loud"], ["is_loud"]),
        endless("is_loud"),
    ], [constant("loud", 0.6)]


GRAPHS = {
    "not a number": ([node("Div", "noisy", "zero")], [constant("zero", 0)], "is not finite"),
    "infinite": ([node("Mul", "noisy", "much")], [constant("much", np.inf)], "is not finite"),
    "beyond measure": ([node("Mul", "noisy", "much")], [constant("much", 3e38)], "is not finite"),
    "a number": ([node("ReduceMax", "noisy", keepdims=0)], [], r"returns float32 \[\] for float32"),
    "one segment for all": ([node("ReduceMax", "noisy", axes=[0], keepdims=1)], [], r"returns float32 \[1, 1"),
    "no such name": ([helper.make_node("Identity", ["noisy"], ["other"])], [], "not a readable ONNX file"),
    "too much memory": ([node("Expand", "noisy", "s")], [constant("s", [2**30, 1, 1], np.int64)], "cannot be run"),
    "an error of its own": ([node("Reshape", "noisy", "s")], [constant("s", [7, 7], np.int64)], "cannot be run"),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "says"), GRAPHS.values(), ids=GRAPHS)
def test_a_graph_that_returns_no_signal_is_refused(tmp_path, nodes, constants, says):
    path = graph(tmp_path / "bad.onnx", nodes, constants)
    with pytest.raises(CheckpointError, match=says) as refused:
        open_network(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "nodes", "says"),
    [
        (helper.make_tensor_type_proto(TensorProto.DOUBLE, None), [node("Cast", "noisy", to=11)], "returns float64"),
        (helper.make_tensor_type_proto(TensorProto.STRING, None), [node("Cast", "noisy", to=8)], "returns object"),
        (
            helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOATS, None)),
            [node("SequenceConstruct", "noisy")],
            "returns no array",
        ),
    ],
)
def test_an_output_that_is_not_a_float_array_is_refused(tmp_path, kind, nodes, says):
    path = graph(tmp_path / "bad.onnx", nodes, kind=kind)
    with pytest.raises(CheckpointError, match=f"the model {says}"):
        open_network(path)


def test_a_graph_that_crashes_the_runtime_is_refused(tmp_path):
    """It divides by the number of groups, which ends in a signal and in no error."""
    nodes = [node("ConvTranspose", "noisy", "taps", group=0, kernel_shape=[1])]
    with pytest.raises(CheckpointError, match=r"m\.onnx: it crashes ONNX Runtime"):
        open_network(graph(tmp_path / "m.onnx", nodes, [constant("taps", [[[1.0]]])]))


def test_a_graph_for_segments_of_another_length_is_refused(tmp_path):
    path = graph(tmp_path / "lies.onnx", [node("Identity", "noisy")], segment_length=8_192)
    with pytest.raises(CheckpointError, match=r"lies\.onnx: the model cannot be run"):
        open_network(path)
    with pytest.raises(CheckpointError, match=r"wants\.onnx: the model cannot be run"):
        open_network(graph(tmp_path / "wants.onnx", [node("Add", "noisy", "z")], inputs=("noisy", "z")))


def test_python_files_in_the_current_folder_are_not_run(pairs):
    """By the process that tests a model, and by worker processes."""
    shutil.copy(find_onnx("default"), pairs / "m.onnx")
    for name in ("typing", "multiprocessing", "numpy"):
        (pairs / f"{name}.py").write_text(f"open('{name} ran', 'w')\nraise SystemExit(0)\n")
    words = (
        "evaluate",
        "--noisy",
        "noisy",
        "--clean",
        "clean",
        "--model",
        "m.onnx",
        "--measure",
        "lsd_db",
        "--no-cache",
    )
    program = Path(sys.executable).with_name("segan")  # not python -m, which runs them itself
    result = subprocess.run([program, *words], cwd=pairs, capture_output=True, text=True, check=False, env=alone())
    assert result.returncode == 0, result.stderr
    assert not list(pairs.glob("* ran"))


def test_a_graph_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_backend, "TEST_TIMEOUT_S", 1)
    with pytest.raises(CheckpointError, match=r"loop\.onnx: it takes more than 1 s"):
        open_network(graph(tmp_path / "loop.onnx", [endless()], [TRUE]))
    monkeypatch.undo()
    nodes, constants = late()
    enhancer = Enhancer(graph(tmp_path / "late.onnx", nodes, constants), threads=1)
    np.testing.assert_allclose(enhancer.enhance(hiss(1.0), 16_000), hiss(1.0), atol=1e-5)
    click = np.zeros(16_000, np.float32)
    click[8_000] = 1.0
    monkeypatch.setattr(onnx_backend, "CALL_TIMEOUT_S", 1)
    with pytest.raises(CheckpointError, match="takes more than 1 s"):
        enhancer.enhance(click, 16_000)


def test_ctrl_c_stops_an_endless_graph(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(1.0), 16_000)
    path = graph(tmp_path / "loop.onnx", [endless()], [TRUE])
    running = Running("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--model", path)
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    running.wait_until(children.read_text)
    checker = children.read_text().strip()
    running.send_signal(signal.SIGINT)
    ended = running.end()
    wait_until(lambda: not Path("/proc", checker).exists())
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert sorted(found.name for found in tmp_path.iterdir()) == ["in.wav", "loop.onnx"]


def test_the_test_of_a_graph_ends_with_the_process_that_wants_it(tmp_path):
    path = graph(tmp_path / "loop.onnx", [endless()], [TRUE])
    words = (sys.executable, "-c", PROGRAM, path, "loop", str(os.getppid()))
    done = subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_weights_in_another_file_are_refused(tmp_path, location):
    (tmp_path / "weights.bin").write_bytes(np.float32(0.5).tobytes())
    outside = TensorProto(name="half", data_type=FLOATS, data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value=location)
    with pytest.raises(CheckpointError, match="stores weights in another file"):
        open_network(graph(tmp_path / "m.onnx", [node("Mul", "noisy", "half")], [outside]))


def test_the_runtime_adds_no_lines_of_its_own(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(1.0), 16_000)
    vast = TensorProto(name="vast", data_type=FLOATS, dims=[2**62])
    path = graph(tmp_path / "m.onnx", [node("Mul", "noisy", "vast")], [vast])
    result = segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--model", path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"segan: {path}: not a readable ONNX file")
    assert result.stderr.count("\n") == 1


def test_a_broken_model_stops_a_folder_in_one_line(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        soundfile.write(tmp_path / "in" / f"{i}.wav", voice(1.0), 16_000)
    path = graph(tmp_path / "nan.onnx", [node("Div", "noisy", "zero")], [constant("zero", 0)])
    said = complaint(segan("enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", path))
    assert said == f"segan: {path}: the output of the model is not finite; use another model"
    assert not (tmp_path / "out").exists()


def test_a_recording_that_breaks_the_model_does_not_stop_the_others(tmp_path):
    """It divides by zero where segments are loud."""
    nodes = [
        helper.make_node("Greater", ["noisy", "loud"], ["is_loud"]),
        helper.make_node("Where", ["is_loud", "nan", "noisy"], ["enhanced"]),
    ]
    path = graph(tmp_path / "m.onnx", nodes, [constant("loud", 0.6), constant("nan", np.nan)])
    soundfile.write(tmp_path / "quiet.wav", hiss(1.0), 16_000, "FLOAT")
    peak = hiss(1.0, level=0.001)
    peak[9_000] = 0.99
    soundfile.write(tmp_path / "peak.wav", peak, 16_000, "FLOAT")
    files = (tmp_path / "peak.wav", tmp_path / "quiet.wav")
    result = segan("enhance", *files, "-o", tmp_path / "out", "--model", path, "--json")
    assert result.returncode == 1
    lines = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    lines.sort(key=lambda line: line["source"])  # two at a time end in any order
    assert [line["error"] is None for line in lines] == [False, True]
    assert f"the model {path}" in lines[0]["error"]
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["quiet.wav"]


CONFIGS = {
    "segment_length=1099511627776": "segment_length 1099511627776",
    "segment_length=-1": "segment_length -1",
    "hop=1": "hop 1; it must be a whole number between 256",
    "generator.channels=[16,32,64,128,1000000000]": "channels 1000000000; it must lie between 1 and",
    "generator.channels=[16,32,64,8192,16384]": "weights",
    "generator.channels=[16,32,0,64,128]": "channels 0; it must",
    f"generator.channels=[16,32,64,128,{10**400}]": "it must be below 2^63",
    f"pre_emphasis={10**400}": "it must be below 2^63",
    "generator.kernel_size=1000000001": "kernel_size 1000000001",
    "generator.latent_channels=100000000": "latent_channels",
    "generator.input_rms=1e-300": "input_rms",
    "generator.input_rms=-1": "input_rms",
    "generator.dilations=[1,1,1,1,999999]": "dilation of layer 5 999999",
    "discriminator.hidden=[16384,16384,16384]": "discriminator",
    "discriminator.channels=[8,16,32,64,1000000000]": "channels 1000000000; it must lie between 1 and",
}


@pytest.mark.parametrize(("change", "says"), CONFIGS.items(), ids=CONFIGS)
def test_an_oversized_config_is_refused_before_the_network_is_built(tmp_path, change, says):
    plain = json.loads(json.dumps(ABOUT["config"]))
    place, keys = plain, change.partition("=")[0].split(".")
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = json.loads(change.partition("=")[2])
    path = saved(tmp_path / "m.safetensors", config=plain)
    with pytest.raises(CheckpointError) as refused:
        load_model(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert says in str(refused.value)
    with pytest.raises(CheckpointError, match=r"m\.onnx: "):
        open_network(graph(tmp_path / "m.onnx", [node("Identity", "noisy")], about={**ABOUT, "config": plain}))


@pytest.mark.parametrize(
    "change",
    [
        "channels=1000000", "width=1000000000", "blocks=100000", "depth=100000", "bands=100000", "frame=1048576",
        "hidden=100000", "power=1e-300", "largest_gain=1e300", "input_rms=0", "steps=0",
    ],
)  # fmt: skip
def test_an_oversized_spectral_config_is_refused(change):
    with pytest.raises(ConfigError):
        override(PRESETS["segan-spectral"], [f"generator.{change}"])


@pytest.mark.parametrize("name", PRESETS)
def test_the_cost_estimate_equals_the_weights_of_the_network(name):
    model = scaled(PRESETS[name], 0.5)
    generator, discriminator = weights(model)
    assert model.generator_weights == generator
    assert model.macs_per_second == pytest.approx(macs_per_second(model), rel=2e-3)
    told = sum(layer.weights for layer in model.discriminator.layer_costs(model.segment_length))
    assert told == pytest.approx(discriminator, rel=0.1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None), ({"channels": (1, 0)}, "channels 0"), ({"channels": (1, 10**7)}, "channels 10000000"),
        ({"strides": (0, 1)}, "strides 0"), ({"strides": (1, 10**7)}, "strides 10000000"),
        ({"kernel_size": -1}, "kernel_size -1"), ({"kernel_size": 10**7 + 1}, "kernel_size 10000001"),
    ],
)  # fmt: skip
def test_sizes_of_layers_lie_between_1_and_a_limit(change, field):
    refused = pytest.raises(ConfigError, match=rf"\Agenerator: {field}; it must lie between 1 and \d+\Z")
    with refused if field else contextlib.nullcontext():
        check_layers("generator", **{"channels": (1, 1), "strides": (1, 1), "kernel_size": 1} | change)


def test_estimated_operations_and_activations_are_those_of_all_layers():
    """Of generator and discriminator: multiply-accumulates of a segment, values of its largest output and of all."""
    expected = {
        "segan": [(2_157_576_192, 131_072, 1_040_384), (723_263_488, 131_072, 516_097)],
        "segan-spectral": [(156_549_120, 149_760, 1_647_360), (28_907_520, 65_536, 325_824)],
        "segan-live": [(351_436_800, 149_760, 3_011_840), (28_907_520, 65_536, 325_824)],
    }
    for name, costs in expected.items():
        model = PRESETS[name]
        for network, (macs, largest, activations) in zip((model.generator, model.discriminator), costs, strict=True):
            layers = network.layer_costs(model.segment_length)
            assert sum(layer.macs for layer in layers) == macs
            assert max(layer.activations for layer in layers) == largest
            assert sum(layer.activations for layer in layers) == activations


@pytest.mark.parametrize(
    "about", ["", "[]", "7", "[" * 100_000, '{"config": 1, "provenance": {}}', "9" * 5_000, '{"config": {}}']
)
def test_invalid_metadata_is_refused_in_one_line(tmp_path, about):
    path = saved(tmp_path / "m.safetensors")
    save_file(load_file(path), path, {"segan": about})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: ") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_weights_of_another_shape_or_type_are_refused_before_loading(tmp_path, monkeypatch):
    path = saved(tmp_path / "m.safetensors")
    metadata, tensors = {"segan": json.dumps(ABOUT)}, load_file(path)
    name = "encoder.1.weight"
    for other, says in (
        (torch.zeros(3, 5), r"weights \[3, 5\], but the config has"),
        (tensors[name].int(), "type I32"),
    ):
        save_file({**tensors, name: other}, path, metadata)
        monkeypatch.setattr("segan_cli.networks.families.Generator.load_state_dict", pytest.fail)
        with pytest.raises(CheckpointError, match=f"{name}: .*{says}"):
            load_model(path)


def test_weights_that_are_nan_are_refused_by_name(tmp_path):
    path = saved(tmp_path / "m.safetensors")
    tensors = load_file(path)
    tensors["decoder.2.bias"][0] = np.nan
    save_file(tensors, path, {"segan": json.dumps(ABOUT)})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: decoder\.2\.bias holds weights that are not numbers"):
        load_model(path)


def test_weights_that_give_non_finite_output_are_refused(tmp_path):
    path = saved(tmp_path / "m.safetensors")
    tensors = {name: torch.full_like(tensor, 3e38) for name, tensor in load_file(path).items()}
    save_file(tensors, path, {"segan": json.dumps(ABOUT)})
    with pytest.raises(CheckpointError, match="is not finite"):
        open_network(path, "cpu")


def test_a_non_finite_candidate_has_undefined_scores(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from segan_cli.config.training import TrainingConfig
    from segan_cli.training.log import TrainingLog
    from segan_cli.training.validation import Validation

    class Ill(Identity):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, noisy, z):
            return noisy * np.nan

    found = []
    with ThreadPoolExecutor(1) as pool:
        pairs = [(voice(1.0) + hiss(1.0), voice(1.0))]
        validation = Validation(
            TrainingConfig(), pairs, pool, tmp_path, TrainingLog(tmp_path, 0), lambda *scores: found.append(scores)
        )
        validation.start(Model(Ill(), SLIM, {"steps": 3, "runs": []}))
        validation.finish()
    ((step, scores, _, _),) = found
    assert step == 3
    assert set(scores.values()) == {None}


def half(enhancer, queue, noisy):
    queue.put(enhancer.enhance(noisy, 16_000))


@pytest.mark.parametrize(("backend", "threads"), [("onnx", 3), ("onnx", 1), ("torch", 2)])
def test_an_enhancer_works_in_a_forked_process(backend, threads):
    enhancer, noisy = Enhancer("segan-gated", device="cpu", backend=backend, threads=threads), voice(2.0) + hiss(2.0)
    expected = enhancer.enhance(noisy, 16_000)
    context = multiprocessing.get_context("fork")
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            enhancer.enhance(noisy, 16_000)

    thread = threading.Thread(target=busy)
    if backend == "onnx":
        thread.start()  # forked while the parent's threads are at work
    try:
        for _ in range(3):
            queue = context.Queue()
            child = context.Process(target=half, args=(enhancer, queue, noisy))
            child.start()
            np.testing.assert_allclose(queue.get(timeout=PATIENCE_S), expected, atol=1e-6)
            child.join(PATIENCE_S)
            assert child.exitcode == 0
    finally:
        stop.set()
        with contextlib.suppress(RuntimeError):
            thread.join()
    np.testing.assert_allclose(enhancer.enhance(noisy, 16_000), expected, atol=1e-6)


def test_an_own_model_gives_the_same_in_onnx_and_torch(tmp_path):
    torch.manual_seed(0)
    model = Model(build_generator(SLIM.generator).eval(), SLIM, {"steps": 1, "runs": []})
    save_model(tmp_path / "m.safetensors", model)
    export(model, tmp_path / "m.onnx")
    noisy = voice(1.0) + hiss(1.0)
    ours, theirs = (
        Enhancer(tmp_path / f"m.{kind}", device="cpu").enhance(noisy, 16_000) for kind in ("onnx", "safetensors")
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert onnx.load(tmp_path / "m.onnx").ir_version > 0
