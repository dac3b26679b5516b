"""The family of networks in docs/extending.md, a file of its own, does all that the families of segan do."""

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import hiss, voice
from counting import macs_per_second, weights

from segan_cli import Enhancer
from segan_cli.backends.onnx import OnnxNetwork
from segan_cli.cli import segan
from segan_cli.config.families.base import DiscriminatorConfig, GeneratorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import scaled
from segan_cli.config.recipe import load_recipe, recipe_for
from segan_cli.config.schema import from_dict, to_dict
from segan_cli.errors import ConfigError
from segan_cli.networks.checkpoint import load_model

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
SMALL = (
    "steps=2", "batch_size=2", "reference_segments=2", "warmup_steps=1", "validate_every=2", "validation_mixes=1",
    "adversarial.weight=1", "adversarial.start=0",
)  # fmt: skip


def block(language, word):
    """The block of the page that has a word."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL) if word in text]
    return found


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of the page, installed as long as a test runs."""
    (tmp_path / "subtractive.py").write_text(block("python", "GeneratorConfig"))
    (tmp_path / "subtractive-0.1.dist-info").mkdir()
    (tmp_path / "subtractive-0.1.dist-info" / "METADATA").write_text("Name: subtractive\nVersion: 0.1\n")
    entries = tomllib.loads(block("toml", "segan_cli.families"))["project"]["entry-points"]["segan_cli.families"]
    lines = ["[segan_cli.families]", *(f"{name} = {module}" for name, module in entries.items())]
    (tmp_path / "subtractive-0.1.dist-info" / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "subtractive.toml").write_text(block("toml", "[model]"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the process that tests an ONNX file
    yield tmp_path / "subtractive.toml"
    GeneratorConfig.families.pop("subtractive", None)
    sys.modules.pop("subtractive", None)


def test_a_family_is_known_only_while_its_package_is_installed(installed, monkeypatch):
    model = load_recipe(str(installed)).model
    assert type(model.generator).__name__ == "SubtractiveConfig"
    assert from_dict(ModelConfig, to_dict(model)) == model
    assert recipe_for(model) == "segan-gated"
    values = to_dict(model)
    GeneratorConfig.families.pop("subtractive")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"generator\.family: 'subtractive'; it must be one of convolutional, spectr"):
        from_dict(ModelConfig, values)


def test_a_family_that_cannot_be_imported_is_named(installed):
    values = to_dict(load_recipe(str(installed)).model)
    GeneratorConfig.families.pop("subtractive")
    sys.modules["subtractive"] = None  # as if the package lacked the module
    with pytest.raises(ConfigError, match=r"generator\.family: subtractive cannot be imported \(.*\); install it"):
        from_dict(ModelConfig, values)


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_the_costs_of_the_family_are_those_of_its_network(installed, width):
    model = scaled(load_recipe(str(installed)).model, width)
    costs = model.generator.layer_costs(model.segment_length)
    assert sum(layer.weights for layer in costs) == weights(model)[0] == 24 * width * (2 * 63 + 1) + 1
    rate_hz = model.sample_rate_hz * model.segment_length / model.hop
    assert macs_per_second(model) == 2 * 24 * width * 63 * rate_hz == sum(c.macs for c in costs) * 16_000 / model.hop


def test_a_model_of_the_family_is_trained_saved_loaded_exported_and_run(installed, pairs, tmp_path):
    run = tmp_path / "run"
    sizes = ("model.segment_length=4096", "model.hop=2048", *(f"training.{name}" for name in SMALL))
    training = [word for assignment in sizes for word in ("--set", assignment)]
    words = ["train", "--data", pairs, "--recipe", installed, "--run-dir", run, "--workers", 0, "-d", "cpu", *training]
    segan.main([*map(str, words)], standalone_mode=False)
    best = run / "best.safetensors"
    model = load_model(best)
    assert model.provenance["training"]["steps"] == 2
    assert model.config == load_recipe(str(run / "recipe.toml")).model
    segan.main(["export", str(best), "-o", str(tmp_path / "m.onnx")], standalone_mode=False)
    noisy = voice(2.0) + hiss(2.0)
    by_torch, by_onnx = (Enhancer(path, device="cpu") for path in (best, tmp_path / "m.onnx"))
    assert isinstance(by_onnx.network, OnnxNetwork)
    enhanced = by_torch.enhance(noisy, 16_000)
    np.testing.assert_allclose(by_onnx.enhance(noisy, 16_000), enhanced, atol=1e-4)
    assert np.abs(enhanced - noisy).max() > 1e-3


def test_fields_of_a_family_have_the_types_of_the_page():
    @dataclass(frozen=True)
    class Fields:
        pair: tuple[int, float] = (1, 1.0)
        several: list[int] | None = None

    assert from_dict(Fields, {"pair": [3, 0.5], "several": None}) == Fields((3, 0.5))
    with pytest.raises(ConfigError, match=r"pair: 0\.5; it must be a whole number"):
        from_dict(Fields, {"pair": [0.5, 3]})
    with pytest.raises(ConfigError, match=r"several: a field of a config cannot be of type list\[int\]"):
        from_dict(Fields, {"several": [1]})


def test_every_family_of_segan_registers_its_networks():
    assert {*GeneratorConfig.families} == {*DiscriminatorConfig.families} == {"convolutional", "spectral"}
