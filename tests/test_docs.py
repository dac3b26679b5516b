"""The documentation agrees with the code: commands, options, links, numbers and outputs."""

import dataclasses
import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from segan_cli.cli import SUMMARIES, segan
from segan_cli.cli.train import RECIPE_OPTIONS, resolve_recipe
from segan_cli.config.presets import PRESETS
from segan_cli.config.training import AdversarialConfig, DataConfig, MixingConfig, TrainingConfig
from segan_cli.losses.adversarial import OBJECTIVES

ROOT = Path(__file__).parent.parent
DECIMAL = r"-?\d+\.\d+"
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")), ROOT / "pretrained" / "README.md", ROOT / "CHANGELOG.md")
PLAIN_PAGES = (
    "getting-started", "recordings", "recipes", "python", "fine-tuning", "extending", "evaluating", "how-it-works",
    "quality", "security", "demo", "api",
)  # fmt: skip
PACKAGE = sorted((ROOT / "segan_cli").rglob("*.py"))
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
SCORES = r"([\d.]+) \| ([\d.–]+) \| ([\d.–]+) \|"


def read(path):
    return path.read_text(encoding="utf-8")


def code_lines(page):
    """Lines of the shell blocks of a page."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", read(page), re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines()]


def segan_commands(line):
    """Arguments of each call of segan in a line of shell code."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command = []
    for token in (*lexer, ";"):
        if token[0] not in "();<>|&":
            command.append(token)
            continue
        if command and Path(command[0]).name == "segan":
            yield command[1:]
        elif "segan_cli" in command:
            yield command[command.index("segan_cli") + 1 :]
        command = ["output"] if ">" in token else []


COMMANDS = [
    pytest.param(arguments, id=f"{page.name}: {shlex.join(arguments)}")
    for page in PAGES
    for line in code_lines(page)
    for arguments in segan_commands(line)
]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_every_quoted_command_is_valid(arguments):
    name, *options = arguments
    if name == "--version":
        return
    parameters = segan.get_command(None, name).make_context(name, options).params
    if name == "train" and not (parameters["resume"] or parameters["recipe"]):
        recipe_options = {option: parameters[option] for option in RECIPE_OPTIONS}
        model = (parameters[option] for option in ("preset", "width", "init"))
        resolve_recipe(None, *model, recipe_options, parameters["assignments"])


def test_commands_are_found_in_pipes_and_sequences():
    found = segan_commands("ffmpeg -i a.mkv - | segan enhance - -o - > x.wav && .venv/bin/segan models --json > m.json")
    assert list(found) == [["enhance", "-", "-o", "-"], ["models", "--json"]]
    assert list(segan_commands("torchrun -m segan_cli train --data a")) == [["train", "--data", "a"]]
    assert len(COMMANDS) > 40


def test_every_option_in_the_text_exists():
    options = {"--version"} | {
        name
        for command in (segan.get_command(None, name) for name in segan.list_commands(None))
        for parameter in command.get_params(click.Context(command, help_option_names=["-h", "--help"]))
        for name in parameter.opts
    }
    for page in (ROOT / "README.md", *(DOCS / f"{name}.md" for name in PLAIN_PAGES)):
        text = re.sub(r"^ *```.*?^ *```", "", read(page), flags=re.DOTALL | re.MULTILINE)
        for span in re.findall(r"`([^`]*)`", text):
            if not span.startswith(("python", "pip", "ulimit")):
                for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", span):
                    assert option in options, f"{page.name}: {option}"


def test_the_summaries_in_the_help_are_those_of_the_commands():
    for name, summary in SUMMARIES.items():
        assert segan.get_command(None, name).get_short_help_str(limit=100) == summary


def test_the_manual_pages_are_those_of_the_help(monkeypatch):
    """Written by python tools/man_pages.py."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    from man_pages import FOLDER, escaped, pages

    assert {path.name: read(path) for path in FOLDER.iterdir()} == pages()
    assert "\\-\\-max\\-attenuation" in pages()["segan-enhance.1"]
    assert escaped(".a\\b") == "\\&.a\\eb"


def test_ci_runs_the_test_command_of_the_readme():
    (line,) = [line for line in code_lines(ROOT / "README.md") if line.endswith("pytest")]
    assert line in read(ROOT / ".ci" / "run").splitlines()


def test_the_install_command_of_the_readme_enhances_a_sample():
    (line,) = [line for line in code_lines(ROOT / "README.md") if "samples/" in line]
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt . && ")
    ((name, *arguments),) = segan_commands(line)
    context = segan.get_command(None, name).make_context(name, arguments)
    assert (ROOT / context.params["inputs"][0]).is_file()


def test_the_presets_are_described_as_they_are():
    page = read(DOCS / "architecture.md")
    rows = re.findall(r"^\| `(segan[\w-]*)` \|.*\| ([\d.]+) M \| ([\d.]+) G \| (\d+|segment) \|$", page, re.MULTILINE)
    assert rows == [
        (
            name,
            f"{model.generator_weights / 1e6:.2f}",
            f"{model.macs_per_second / 1e9:.2f}",
            str(model.generator.receptive_field() or "segment"),
        )
        for name, model in PRESETS.items()
    ]


def test_every_extra_is_listed():
    extras = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    for extra in extras.keys() - {"benchmarks", "docs", "dev"}:
        assert re.search(rf"segan-cli\[(\w+,)*{extra}\]", read(DOCS / "getting-started.md")), extra
    for page in PAGES:
        for names in re.findall(r"segan-cli\[([\w,]+)\]", read(page)):
            assert set(names.split(",")) <= extras.keys(), page.name


def test_every_objective_is_listed():
    page = read(DOCS / "adversarial.md")
    for name in (*OBJECTIVES, *(f.name for f in dataclasses.fields(AdversarialConfig))):
        assert f"`{name}`" in page, name
    readme = " ".join(read(ROOT / "README.md").split())
    assert f"{NUMBERS[len(OBJECTIVES)]} [adversarial losses]" in readme
    assert f"the {NUMBERS[len(PRESETS)]} [networks]" in readme


def test_every_step_of_the_architecture_names_a_function_or_class():
    files = [(f".{path.relative_to(ROOT).with_suffix('')}".replace("/", "."), read(path)) for path in PACKAGE]
    steps = re.findall(r"^\d+\. .*(?:\n   .*)*", read(DOCS / "architecture.md"), re.MULTILINE)
    names = re.findall(r"`([a-z_.]+)\.([A-Za-z_]+)(?:\.([a-z_]+))?`", "\n".join(steps))
    assert len(names) > 40
    for module, *parts in names:
        texts = [text for name, text in files if name.endswith(f".{module}")]
        found = [all(re.search(rf"(def|class) {part}\b", text) for part in parts if part) for text in texts]
        assert any(found), ".".join((module, *parts))


@pytest.mark.parametrize("config", [TrainingConfig, MixingConfig, DataConfig])
def test_every_field_of_a_recipe_is_explained(config):
    page = read(DOCS / "training.md")
    for f in dataclasses.fields(config):
        assert f"`{f.name}`" in page, f.name


def documented_defaults(page):
    """Default by name, as the tables of a page write them."""
    defaults = {}
    for table in re.findall(r"(?:^\|.*\n)+", read(page), re.MULTILINE):
        heading, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        if "default" in heading:
            for row in rows:
                names, values = row[0].replace("`", "").split(", "), row[heading.index("default")].split(", ")
                defaults |= dict(zip(names, values, strict=True))
    return defaults


def as_documented(value):
    """A default as the tables write it."""
    if isinstance(value, tuple):
        return f"{value[0]:g} … {value[1]:g}" if isinstance(value[0], float) else f"all {NUMBERS[len(value)]}"
    if isinstance(value, str):
        return f"`{value}`"
    return "none" if value in (None, {}) and value is not False else str(value).lower()


@pytest.mark.parametrize(
    ("config", "page"),
    [(TrainingConfig, "training.md"), (MixingConfig, "training.md"), (AdversarialConfig, "adversarial.md")],
)
def test_every_default_of_a_recipe_is_the_documented_one(config, page):
    documented = documented_defaults(DOCS / page)
    for name, value in vars(config()).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert float(documented[name]) == value, name
        elif not dataclasses.is_dataclass(value):
            assert documented[name] == as_documented(value), name


def anchors(page):
    """Anchors of the headings of a page, as GitHub and MkDocs form them."""
    text = re.sub(r"^ *```.*?^ *```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {link}"


def test_the_scores_of_the_shipped_models_are_the_measured_ones():
    index = json.loads(read(ROOT / "pretrained" / "index.json"))
    benchmarks = {name: model["benchmark"]["enhanced"] for name, model in index["models"].items()}
    benchmarks["noisy"] = index["models"][index["default"]]["benchmark"]["noisy"]
    for name, scores in benchmarks.items():
        (printed,) = re.findall(rf"^\| {name} \| {SCORES}$", read(DOCS / "quality.md"), re.MULTILINE)
        means = [scores[measure]["mean"] for measure in ("pesq_wb", "stoi", "si_sdr_db")]
        assert printed == (f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.1f}")


def comparison(page, columns):
    """Scores by system in a table, without emphasis and remarks."""
    lines = re.findall(r"^\|(.*)\|$", read(page).replace("*", ""), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {(re.split(r"[ ,(]+(?:this|trained)", row[0])[0], tuple(row[columns])) for row in rows if len(row) == 5}


def test_the_comparison_of_the_readme_is_that_of_the_quality_page():
    of_readme = {(name, scores) for name, scores in comparison(ROOT / "README.md", slice(1, 4)) if "." in scores[0]}
    assert len(of_readme) == 6
    assert of_readme <= comparison(DOCS / "quality.md", slice(2, 5))


def test_the_speeds_of_the_readme_are_the_measured_ones():
    measured = dict(re.findall(r"^\| (segan enhance|pyrnnoise) \| ([\d.]+) s \|", read(DOCS / "performance.md"), re.M))
    readme = read(ROOT / "README.md").replace("*", "")
    for name, system in (("segan enhance", r"segan-spectral.*?"), ("pyrnnoise", "RNNoise")):
        assert re.search(rf"^\| {system} \|.* {float(measured[name]):.1f} s \|$", readme, re.MULTILINE), name


class NumberChecker(doctest.OutputChecker):
    """Compares outputs; decimal numbers may differ a little between processors."""

    def check_output(self, want, got, optionflags):
        numbers = [[*map(float, re.findall(DECIMAL, text))] for text in (want, got)]
        if numbers[1] != pytest.approx(numbers[0], rel=0.003, abs=0.003):
            return False
        return super().check_output(*(re.sub(DECIMAL, "#", text) for text in (want, got)), optionflags)


def test_the_python_page_gives_its_outputs(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    text = "\n\n".join(re.findall(r"```pycon\n(.*?)```", read(DOCS / "python.md"), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(text, {}, "python.md", None, 0)
    report = []
    runner = doctest.DocTestRunner(NumberChecker())
    result = runner.run(test, out=report.append)
    assert not result.failed, "".join(report)
    assert result.attempted > 30


def test_the_python_code_of_the_readme_is_valid():
    for block in re.findall(r"```python\n(.*?)```", read(ROOT / "README.md"), re.DOTALL):
        compile(block, "README.md", "exec")


@pytest.mark.skipif(not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))), reason="needs the extra docs")
def test_the_site_builds_without_warnings_and_loads_nothing_from_other_hosts(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", tmp_path / "site"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert not re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//", read(page))
    assert "--max-attenuation" in read(tmp_path / "site" / "commands.html")
    assert "allow_truncated" in read(tmp_path / "site" / "api.html")


@pytest.mark.parametrize(("name", "limit"), [("before-after.png", 200_000), ("demo.html", 1_000_000)])
def test_pictures_are_small_and_name_no_machine(name, limit):
    content = (DOCS / "figures" / name).read_bytes()
    assert len(content) < limit
    assert b"/tmp/" not in content
