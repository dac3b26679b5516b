"""Imports only go up the architecture's table, none goes round in a circle, and what needs no torch loads none."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import segan_cli

ROOT = Path(segan_cli.__file__).parent
FOLDERS = (  # each may import from those before it, and from itself; "" are the modules beside the folders
    "", "process", "storage", "config", "audio", "measures", "networks", "losses", "data", "backends", "enhancement",
    "training", "evaluation", "cluster", "cli",
)  # fmt: skip


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
ENTRY_POINTS = {"", "__main__"}  # hand out what they import when it is asked for


def folder_of(module):
    return module.split(".")[0] if module.split(".")[0] in FOLDERS else ""


def own_imports(path):
    """Modules of the package that a file imports, also within functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = name.removeprefix("segan_cli.")
            if name.startswith("segan_cli.") and module in MODULES and module not in FOLDERS:
                yield module


@pytest.fixture(scope="module")
def graph():
    """The modules that each module imports."""
    return {module: set(own_imports(path)) for module, path in MODULES.items() if module not in ENTRY_POINTS}


def test_every_folder_has_its_place_in_the_import_order():
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*/*.py")}
    assert folders == set(FOLDERS) - {""}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_from_those_before_it(graph, folder):
    allowed = FOLDERS[: FOLDERS.index(folder) + 1]
    for module, imports in graph.items():
        if folder_of(module) == folder:
            assert {folder_of(name) for name in imports} <= set(allowed), f"{module} imports {sorted(imports)}"


def test_containers_import_nothing_else_of_audio(graph):
    of_containers = {name: imports for name, imports in graph.items() if name.startswith("audio.containers.")}
    assert len(of_containers) == 5
    assert {name for imports in of_containers.values() for name in imports if name.startswith("audio.")} <= {
        "audio.containers", *of_containers
    }  # fmt: skip


def test_no_import_goes_round_in_a_circle(graph):
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_importing_these_modules_does_not_load_torch():
    modules = (
        "config.recipe", "audio.sources", "audio.sinks", "measures.catalog", "backends.onnx", "enhancement.enhancer",
        "enhancement.batch", "evaluation.page", "data.training_data", "cli",
    )  # fmt: skip
    program = (
        "import sys, importlib\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(f'segan_cli.{module}')\n"
        "    assert not {'torch', 'torchaudio'} & set(sys.modules), module\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_loading_a_model_does_not_load_the_compiler_of_torch():
    """Which takes a second and is imported by some functions on the meta device."""
    program = (
        "import sys\n"
        "from segan_cli.backends.pretrained import find_model\n"
        "from segan_cli.networks.checkpoint import load_model\n"
        "for name in ('segan-spectral', 'segan-live', 'segan-gated'):\n"
        "    load_model(find_model(name))\n"
        "    assert 'torch._dynamo' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
