"""The base install: what the wheel holds, and what it does without the packages of training and evaluation."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import soundfile
from commands import alone, without
from conftest import hiss, voice

from segan_cli.backends.pretrained import find_model, shipped_models
from segan_cli.config.presets import PRESETS
from segan_cli.networks.checkpoint import load_model
from segan_cli.system import PACKAGES, extra_of, install_command

ROOT = Path(__file__).parents[1]
EXTRAS = {package for packages in PACKAGES.values() for package in packages} | {"imageio_ffmpeg"}


def test_the_base_install_can_enhance(tmp_path):
    soundfile.write(tmp_path / "noisy.wav", voice(1.0) + hiss(1.0), 16_000)
    result = without(EXTRAS, "enhance", tmp_path / "noisy.wav")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "noisy-clean.wav").is_file()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("train", "--data", "vctk"), "train"),
        (("evaluate", "--noisy", "a", "--clean", "b"), "evaluate"),
        (("export", "default", "-o", "m.onnx"), "export"),
        (("enhance", "{noisy}", "--plot", "p.png"), "plot"),
        (("enhance", "{noisy}", "--loudness", "-16"), "loudness"),
        (("enhance", "{noisy}", "--backend", "torch"), "train"),
    ],
)
def test_a_missing_extra_is_one_line_with_the_install_command(tmp_path, arguments, extra):
    soundfile.write(tmp_path / "noisy.wav", voice(1.0), 16_000)
    result = without(EXTRAS, *(argument.format(noisy=tmp_path / "noisy.wav") for argument in arguments))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"; run: {install_command(extra)}")
    assert list(tmp_path.iterdir()) == [tmp_path / "noisy.wav"]


def test_models_are_listed_without_any_extra():
    result = without(EXTRAS, "models")
    assert result.returncode == 0, result.stderr
    assert "segan-spectral" in result.stdout


def test_shipped_models_have_the_networks_of_their_presets():
    """Whose costs `segan models` lists for them."""
    for name, entry in shipped_models()[1].items():
        config, preset = load_model(find_model(name)).config, PRESETS[entry["preset"]]
        assert (config.generator, config.segment_length, config.hop) == (
            preset.generator, preset.segment_length, preset.hop
        )  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/me/.local/share/pipx/venvs/segan-cli", 'pipx install --force "segan-cli[train]"'),
        ("/home/me/.local/share/uv/tools/segan-cli", 'uv tool install --reinstall "segan-cli[train]"'),
        ("/home/me/project/.venv", f'{sys.executable} -m pip install "segan-cli[train]"'),
    ],
)
def test_the_install_command_suits_the_installation(monkeypatch, prefix, command):
    monkeypatch.setattr(sys, "prefix", prefix)
    assert install_command("train") == command
    assert extra_of("torch.nn") == "train"
    assert extra_of("numpy") is None


def test_the_wheel_holds_models_recipes_and_types(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True, env=alone(),
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "segan_cli/py.typed",
        "segan_cli/pretrained/index.json",
        "segan_cli/pretrained/segan-spectral.onnx",
        "segan_cli/pretrained/high-band.onnx",
    } <= names
    assert any(name.startswith("segan_cli/recipes/") for name in names)
    assert any(name.endswith(".data/data/share/man/man1/segan-enhance.1") for name in names)
    assert not any(name.startswith(("tests/", "runs/")) for name in names)
