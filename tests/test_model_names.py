"""What is given as a model: shipped names, files, what is neither, and what a shell completes."""

import os
import subprocess
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from commands import alone, command, without
from test_wheel import EXTRAS

from segan_cli.backends.pretrained import find_model
from segan_cli.cli import segan
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import CheckpointError

CHOICE = "give a file or one of: default, segan-gated, segan-live, segan-spectral"
WRITERS = "give a .safetensors file from segan train, or an .onnx file"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a training, and files that are no models."""
    monkeypatch.chdir(tmp_path)
    for name in ("run/best.safetensors", "run/deep/mine.onnx", "run/last.pt", "empty/.keep", "run/.hidden/x.onnx"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    Path("run/best.safetensors").write_bytes(find_model("segan-gated").read_bytes())
    for name in ("page.html", "page.safetensors", "run/a/b/c.onnx"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("<html>")
    os.mkfifo("pipe")
    Path("broken").mkdir()
    Path("broken/lost.onnx").symlink_to("nowhere.onnx")
    return tmp_path


WRONG = [
    ("defualt", f"no such model; did you mean default? Otherwise {CHOICE}"),
    ("segan_spectral", f"no such model; did you mean segan-spectral? Otherwise {CHOICE}"),
    ("resnet", f"no such model; {CHOICE}"),
    ("segan-plus", f"no such model, but a preset of segan train; {CHOICE}"),
    ("run/bets.safetensors", "no such file; did you mean run/best.safetensors?"),
    ("q.onnx", "no such file; check the path"),
    ("broken/lots.onnx", "no such file; check the path"),
    ("none/x.onnx", "no such file; check the path"),
    ("run", "is a folder, not a model; use run/best.safetensors"),
    ("empty", "is a folder, not a model; give a .safetensors or .onnx file"),
    ("run/last.pt", "is a training state, not a model; use run/best.safetensors"),
    ("page.html", f"not a model; {WRITERS}"),
    ("page.safetensors", f"not a readable safetensors file; {WRITERS}"),
    ("pipe", "is a device or pipe, not a model; give a file"),
    ("https://host/best.safetensors", "models are not read from URLs; give a local file"),
]


@pytest.mark.parametrize(("model", "says"), WRONG)
def test_names_that_are_no_model_are_refused_with_the_reason(folder, model, says):
    with pytest.raises(CheckpointError) as caught:
        Enhancer(model)
    assert str(caught.value) == f"{model}: {says}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("enhance", "page.html", "--model", "{}"),
        ("evaluate", "--noisy", "run", "--clean", "run", "--model", "mine={}"),
        ("export", "{}", "-o", "m.onnx"),
        ("train", "--data", "run", "--init", "{}"),
    ],
)
def test_a_wrong_model_is_reported_before_a_missing_extra(folder, arguments):
    result = without(EXTRAS, *(each.format("segan-spectal") for each in arguments))
    says = f"no such model; did you mean segan-spectral? Otherwise {CHOICE}"
    assert (result.returncode, result.stderr) == (1, f"segan: segan-spectal: {says}\n")


def test_a_missing_training_state_is_reported_before_a_missing_extra(folder):
    result = without(EXTRAS, "train", "--data", "run", "--init", "run/lost.pt")
    assert (result.returncode, result.stderr) == (1, "segan: run/lost.pt: no such file; did you mean run/last.pt?\n")


@pytest.mark.parametrize(
    ("words", "incomplete", "found"),
    [
        (["enhance", "--model"], "", [*CHOICE.rpartition(": ")[2].split(", "), "run/best.safetensors"]),
        (["enhance", "-m"], "segan-s", ["segan-spectral"]),
        (["evaluate", "--model"], "run/", ["run/best.safetensors", "run/a/b/c.onnx", "run/deep/mine.onnx"]),
        (["export"], "./run/d", ["./run/deep/mine.onnx"]),
        (["train", "--init"], "run/", ["run/best.safetensors", "run/last.pt"]),
        (["enhance", "--model"], "none/", []),
    ],
)
def test_model_names_are_completed_in_the_shell(folder, words, incomplete, found):
    given = [
        item.value for item in ShellComplete(segan, {}, "segan", "_SEGAN_COMPLETE").get_completions(words, incomplete)
    ]
    if incomplete:
        assert sorted(given) == sorted(found)
    else:
        assert set(found) <= set(given)
        assert "page.html" not in given


@pytest.mark.parametrize(
    ("shell", "lines"),
    [("bash", ["plain,segan-gated"]), ("zsh", ["plain", "segan-gated", "_"]), ("fish", ["plain,segan-gated"])],
)
def test_completion_has_the_format_of_each_shell(shell, lines):
    number = {"bash": "3", "zsh": "3", "fish": "segan-g"}[shell]
    words = {"COMP_WORDS": "segan enhance --model segan-g", "COMP_CWORD": number}
    environment = alone(_SEGAN_COMPLETE=f"{shell}_complete", **words)
    result = subprocess.run(command(), capture_output=True, text=True, env=environment, check=False)
    assert [line.rstrip("\t") for line in result.stdout.split()] == lines, result
