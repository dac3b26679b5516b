"""What the README says is so: its commands exist, its numbers are the code's."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from segan_cli.cli import segan
from segan_cli.cli.train import RECIPE_OPTIONS, resolve_recipe
from segan_cli.config.presets import PRESETS
from segan_cli.config.training import AdversarialConfig, DataConfig, MixingConfig, TrainingConfig
from segan_cli.losses.adversarial import OBJECTIVES
from segan_cli.networks.families import build_generator
from segan_cli.networks.summary import macs_per_second, weights

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line.split(">")[0] for line in LINES if line.startswith("segan ")] + [
    f"segan {line.partition('segan_cli ')[2]}" for line in LINES if line.startswith("torchrun ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_printed_command_is_understood(line):
    _, name, *arguments = shlex.split(line)
    command = segan.commands[name]
    parameters = command.make_context(name, arguments).params
    if name == "train" and not (parameters["resume"] or parameters["recipe"]):
        options = {option: parameters[option] for option in RECIPE_OPTIONS}
        model = (parameters[option] for option in ("preset", "width", "init"))
        resolve_recipe(None, *model, options, parameters["assignments"])


def test_ci_runs_the_printed_test_command():
    (line,) = [line for line in LINES if line.endswith("pytest")]
    assert line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_printed_first_command_works_on_a_shipped_sample():
    (line,) = [line for line in LINES if "samples/" in line]
    name, *arguments = shlex.split(line.rpartition("&& .venv/bin/segan ")[2])
    context = segan.commands[name].make_context(name, arguments)
    assert (ROOT / context.params["inputs"][0]).is_file()


def test_every_preset_is_listed():
    listed = re.findall(r"^\| `(segan[\w-]*)` \|.*\| ([\d.]+) M \|$", README, re.MULTILINE)
    assert [name for name, _ in listed] == list(PRESETS)
    for name, millions in listed:
        with torch.device("meta"):
            weights = sum(p.numel() for p in build_generator(PRESETS[name].generator).parameters())
        assert float(millions) == pytest.approx(weights / 1e6, abs=0.06)


def test_the_family_is_described_as_it_is():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(segan[\w-]*)` \|.*\| ([\d.]+) M \| ([\d.]+) G \| (\d+|segment) \|$", page, re.MULTILINE)
    assert rows == [
        (
            name,
            f"{weights(m)[0] / 1e6:.2f}",
            f"{macs_per_second(m) / 1e9:.2f}",
            str(m.generator.receptive_field() or "segment"),
        )
        for name, m in PRESETS.items()
    ]


def test_every_objective_is_listed():
    page = (ROOT / "docs" / "adversarial.md").read_text(encoding="utf-8")
    for name in OBJECTIVES:
        assert f"`{name}`" in README
        assert f"`{name}`" in page
    for f in dataclasses.fields(AdversarialConfig):
        assert f"`{f.name}`" in page, f.name


@pytest.mark.parametrize("config", [TrainingConfig, MixingConfig, DataConfig])
def test_every_field_of_a_recipe_is_explained(config):
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for f in dataclasses.fields(config):
        assert f"`{f.name}`" in page, f.name


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "pretrained" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_printed_scores_are_the_measured_ones():
    index = json.loads((ROOT / "pretrained" / "index.json").read_text(encoding="utf-8"))
    benchmark = index["models"][index["default"]]["benchmark"]
    for row, system in (("noisy", "noisy"), (index["default"], "enhanced")):
        (printed,) = re.findall(rf"^\| {row} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.MULTILINE)
        means = [benchmark[system][name]["mean"] for name in ("pesq_wb", "stoi", "si_sdr_db")]
        assert printed == (f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.1f}")
