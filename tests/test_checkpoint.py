"""Models travel as safetensors that rebuild themselves, and nothing else is taken for one."""

import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from segan_cli.backends.pretrained import find_model, pretrained_dir
from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import check_size
from segan_cli.config.presets import PRESETS
from segan_cli.config.schema import from_dict
from segan_cli.config.training import TrainingConfig
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.networks.checkpoint import Model, check_names, load_model, save_model
from segan_cli.networks.convolutional import ConvolutionalGenerator

TINY = ModelConfig(
    "tiny",
    ConvolutionalConfig((4, 8), (2, 4), (1, 3), 5, 3),
    ConvolutionalDiscriminatorConfig((4, 8), (4, 4), 5),
    segment_length=64,
    hop=32,
)


@pytest.fixture
def saved(tmp_path):
    model = Model(ConvolutionalGenerator(TINY.generator), TINY, {"steps": 7})
    save_model(tmp_path / "m.safetensors", model)
    return model, tmp_path / "m.safetensors"


def test_a_loaded_model_equals_the_saved_one(saved):
    model, path = saved
    loaded = load_model(path)
    assert loaded.config == TINY
    assert loaded.provenance == {"steps": 7}
    x, z = torch.randn(2, 1, 64), torch.randn(2, 3, 8)
    torch.testing.assert_close(loaded.generator(x, z), model.generator(x, z))


def test_half_precision_halves_the_file_and_loads_as_float32(saved, tmp_path):
    model, path = saved
    save_model(tmp_path / "half.safetensors", model, torch.float16)
    assert (tmp_path / "half.safetensors").stat().st_size < path.stat().st_size
    assert {p.dtype for p in load_model(tmp_path / "half.safetensors").generator.parameters()} == {torch.float32}


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_missing_or_unknown_weights_are_refused_by_name(saved, change):
    _, path = saved
    metadata = {"segan": json.dumps(about(path))}
    weights = load_file(path)
    if change == "missing":
        del weights["encoder.0.weight"]
    else:
        weights["extra.weight"] = torch.zeros(1)
    save_file(weights, path, metadata)
    with pytest.raises(CheckpointError, match="encoder.0.weight" if change == "missing" else "extra.weight"):
        load_model(path)


def test_the_number_of_wrong_weights_is_told():
    with pytest.raises(CheckpointError, match=r"^a: weights that are missing"):
        check_names(["a", "b"], ["b"])
    with pytest.raises(CheckpointError, match=r"^c and 2 more: weights that are unknown"):
        check_names(["a"], ["e", "d", "c", "a"])


def about(path):
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["segan"])


def test_a_foreign_or_broken_file_is_refused(tmp_path, saved):
    _, path = saved
    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not written by segan"):
        load_model(tmp_path / "foreign.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="not a readable"):
        load_model(path)
    torch.save({"generator": {}}, tmp_path / "pickle.pt")
    with pytest.raises(CheckpointError, match="not a readable"):
        load_model(tmp_path / "pickle.pt")


def test_the_index_agrees_with_the_shipped_models():
    index = json.loads((pretrained_dir() / "index.json").read_text())
    assert index["default"] in index["models"]
    for name, entry in index["models"].items():
        path = find_model(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        assert path.stat().st_size <= 10_000_000
        model = load_model(path)
        assert model.config.preset == entry["preset"]
        assert entry["preset"] in PRESETS
        assert model.provenance["steps"] == entry["steps"]
        assert model.provenance["runs"] == entry["runs"]
        assert all({"command", "data"} <= set(run) for run in entry["runs"])
        assert entry["licences"]
        assert {"noisy", "enhanced"} <= set(entry["benchmark"])


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_config_is_equal_after_json(preset):
    import dataclasses

    assert from_dict(ModelConfig, json.loads(json.dumps(dataclasses.asdict(preset)))) == preset


def test_unknown_and_missing_keys_are_named():
    with pytest.raises(ConfigError, match="batchsize: no such key; did you mean batch_size"):
        from_dict(TrainingConfig, {"batchsize": 3})
    with pytest.raises(ConfigError, match="preset: missing"):
        from_dict(ModelConfig, {"discriminator": {"channels": [1], "strides": [2], "kernel_size": 3}})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 9))
def test_contradictory_configs_are_refused(strides, kernel_size):
    channels = (4,) * len(strides)
    good = kernel_size % 2 == 1
    if good:
        assert ConvolutionalConfig(channels, tuple(strides), (1,) * len(strides), kernel_size, 0).channels == channels
    else:
        with pytest.raises(ConfigError, match="odd"):
            ConvolutionalConfig(channels, tuple(strides), (1,) * len(strides), kernel_size, 0)
    with pytest.raises(ConfigError, match="one per layer"):
        ConvolutionalConfig((*channels, 4), tuple(strides), (1,) * len(strides), 3, 0)


def test_a_model_of_another_format_is_refused_in_one_line(saved, tmp_path):
    _, path = saved
    changed = {"segan": json.dumps({**about(path), "format": 99})}
    save_file(load_file(path), tmp_path / "later.safetensors", metadata=changed)
    with pytest.raises(CheckpointError, match=r"later\.safetensors: model format 99 is not supported"):
        load_model(tmp_path / "later.safetensors")


def test_a_file_larger_than_a_model_may_be_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.truncate((2 << 30) + (1 << 20))  # a hole
    with pytest.raises(CheckpointError, match=r"^mine: 2049 MiB; the limit for models is 2048 MiB$"):
        check_size(path, "mine")
