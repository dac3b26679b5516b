"""Imports only point down, and what needs no torch loads none."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segan_cli

ROOT = Path(segan_cli.__file__).parent

LAYERS = [  # every module may import from the lines above its own, and from its own
    {"errors", "machine", "runtime", "plain_json", "printable", "segan_cli"},
    {"stopping", "tracebacks"},
    {"atomic"},
    {"schema", "workers", "measures.score", "budget"},
    {"measures.composite", "measures.distortion", "measures.standard", "measures.unaided"},
    {"measures.catalog"},
    {"architecture", "framing", "device", "pretrained", "audio.filters", "audio.meter"},
    {"audio.layouts", "audio.side_chunks", "audio.tags", "audio.bitrate"},
    {"audio.pieces", "audio.sifting", "audio.streams"},
    {"audio.files", "audio.chunks", "audio.mpeg", "audio.ogg"},
    {"audio.ffmpeg", "audio.linking", "audio.survey", "high_band"},
    {"audio.encoder", "audio.native"},
    {"audio.sources"},
    {"audio.sinks"},
    {"config", "modelfile"},
    {"presets", "networks.layers", "data.groups", "data.cache", "data.noises", "data.damage", "losses.signal"},
    {
        "data.layouts",
        "recipe",
        "networks.generator",
        "networks.spectral",
        "networks.discriminator",
        "networks.spectral_discriminator",
        "losses.intelligibility",
        "losses.perceptual",
        "losses.adversarial",
    },
    {"networks.families", "losses.reconstruction"},
    {"networks.summary", "losses.penalties", "checkpoint", "data.manifest", "data.recordings"},
    {"backends.network", "backends.crew"},
    {"backends.graph"},
    {"backends.trial"},
    {"backends.onnx", "backends.pytorch"},
    {"backends.choice", "backends.export", "plan"},
    {"enhance", "picture", "data.rooms", "data.split", "data.gather"},
    {"batch"},
    {"data.mixing", "evaluation.cases", "evaluation.store"},
    {"evaluation.scoring", "evaluation.statistics"},
    {"evaluation.run"},
    {"evaluation.report"},
    {"evaluation.compare", "evaluation.page"},
    {"data.sources", "data.loader"},
    {"training.adversary", "training.processes"},
    {"training.health"},
    {"training.state"},
    {"training.start", "training.step", "training.journal", "training.validation"},
    {"training.fit"},
    {"cli.console", "cli.numbers"},
    {"cli.trainer", "cli.scores"},
    {"cli.enhance", "cli.train", "cli.evaluate", "cli.export", "cli.models"},
    {"cli"},
    {"__main__"},
]
DEPTH = {module: depth for depth, modules in enumerate(LAYERS) for module in modules}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "segan_cli"


def own_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = name.removeprefix("segan_cli.") if name != "segan_cli" else name
            if name.startswith("segan_cli") and module in DEPTH:
                yield module


PACKAGES = (
    "audio",
    "backends",
    "networks",
    "losses",
    "data",
    "training",
    "measures",
    "evaluation",
)  # empty but for a line on what they hold
LAZY = ("segan_cli",)  # hands out what it imports when it is asked for
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if name_of(path) not in (*PACKAGES, *LAZY)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    own = DEPTH[name_of(path)]  # every module has its line
    for module in own_imports(path):
        assert DEPTH[module] <= own, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize(
    "module",
    [
        "architecture",
        "config",
        "framing",
        "audio.sources",
        "audio.sinks",
        "plan",
        "batch",
        "measures.catalog",
        "backends.onnx",
        "enhance",
        "evaluation.page",
        "data.sources",
        "cli",
    ],
)
def test_these_load_no_torch(module):
    program = f"import sys, segan_cli.{module}; assert not {{'torch', 'torchaudio'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
