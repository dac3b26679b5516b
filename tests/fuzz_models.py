"""Damaged and hostile models: each is run or refused by a SeganError in a line, in bounded time and memory.

python tests/fuzz_models.py 3000 [SEED]   tries N inputs and prints the outcomes
"""

import json
import random
import resource
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fuzz
import numpy as np
import onnx
import torch

from segan_cli.backends import onnx as onnx_backend
from segan_cli.backends.export import export
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import SeganError
from segan_cli.networks.checkpoint import Model, save_model
from segan_cli.networks.families import build_generator

LONGEST_S = 60  # of processor time, for one input
LARGEST = 5 << 30  # bytes that a process may come to
CHUNK = 250  # inputs of a process
VALUES = (
    0, -1, 1, 2, 3, 7, 255, 2**16, 2**31, 2**40, 2**63, 10**400, 0.5, -0.0, 1e-300, 1e308, float("nan"), True, None, "",
    "x", "gated", "spectral", "convolutional", [], {}, [1], [2] * 40, [10**9] * 5, [[[[]]]], {"family": "spectral"},
)  # fmt: skip
OPS = ("Identity", "Abs", "Exp", "Log", "Neg", "Sqrt", "Flatten", "Shape", "Size", "NonZero", "Loop", "Expand", "If")


def corpus(folder):
    """Small whole models, (ending, content)."""
    torch.manual_seed(0)
    for preset, width in (
        ("segan-gated", 0.1),
        ("segan-dilated", 0.02),
        ("segan-plus", 0.02),
        ("segan-spectral", 0.25),
    ):
        config = scaled(PRESETS[preset], width)
        model = Model(build_generator(config.generator).eval(), config, {"steps": 1, "runs": []})
        save_model(folder / "m.safetensors", model)
        export(model, folder / "m.onnx")
        for path in (folder / "m.safetensors", folder / "m.onnx"):
            yield path.suffix, path.read_bytes()


def damaged(ending, content, rng):
    """Content with damages: one to four anywhere, or ones that keep the file in form."""
    if rng.random() < 0.6:
        for _ in range(rng.randint(1, 3)):
            content = (edited_header if ending == ".safetensors" else edited_graph)(content, rng)
        return content
    return fuzz.damaged(content, rng, (16, 4_000, 1_000_000))


def edited_header(content, rng):
    """Safetensors whose header or metadata says something else."""
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
    except ValueError:  # after an earlier damage
        return content
    if rng.random() < 0.6 and isinstance(header.get("__metadata__"), dict) and "segan" in header["__metadata__"]:
        header["__metadata__"]["segan"] = edited_metadata(header["__metadata__"]["segan"], rng)
    else:
        twist(header, rng)
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + content[8 + size :]


def edited_metadata(text, rng):
    """Metadata of a model with one value changed, or no metadata at all."""
    if not isinstance(text, str):  # after an earlier damage
        return text
    if rng.random() < 0.05:
        return rng.choice(("", "[]", "null", "[" * 100_000, "9" * 5_000, text[:-9], '{"config": 1, "provenance": {}}'))
    try:
        about = json.loads(text)
        twist(about, rng)
        return json.dumps(about)
    except (ValueError, RecursionError, TypeError, IndexError):  # after an earlier damage
        return text


def twist(data, rng):
    """Replace, remove or add one value, at any depth."""
    places = [data]
    for place in places:
        places += [
            value
            for value in (place.values() if isinstance(place, dict) else place)
            if value and isinstance(value, dict | list)
        ]
    place = rng.choice(places)
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    how = rng.random()
    if how < 0.1:
        del place[rng.choice(keys)]
    elif how < 0.15 and isinstance(place, dict):
        place[rng.choice(("extra", "segment_length", "\x1b[2J"))] = rng.choice(VALUES)
    else:
        place[rng.choice(keys)] = rng.choice(VALUES)


def edited_graph(content, rng):
    """ONNX whose metadata, constants or nodes are others."""
    proto = onnx.load_from_string(content)
    nodes, constants = proto.graph.node, proto.graph.initializer
    how = rng.randrange(8)
    if how < 3 and proto.metadata_props:
        prop = rng.choice(proto.metadata_props)
        prop.value = edited_metadata(prop.value, rng)
    elif how == 3 and constants:
        constant = rng.choice(constants)
        if constant.dims:
            constant.dims[rng.randrange(len(constant.dims))] = rng.choice((0, 1, 2, 10**6, 2**40, 2**62))
    elif how == 4 and constants:
        constant = rng.choice(constants)
        values = bytearray(constant.raw_data)
        for _ in range(min(4, len(values) // 8)):
            place = 8 * rng.randrange(len(values) // 8)
            values[place : place + 8] = rng.choice(
                (b"\xff" * 8, bytes(8), (2**33).to_bytes(8, "little"), rng.randbytes(8))
            )
        constant.raw_data = bytes(values)
    elif how == 5 and nodes:
        rng.choice(nodes).op_type = rng.choice(OPS)
    elif how == 6 and nodes:
        node = rng.choice(nodes)
        if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(
                ("", "noisy", "enhanced", *rng.choice(nodes).output)
            )
    elif nodes:
        attributes = [attribute for node in nodes for attribute in node.attribute]
        if attributes:
            attribute = rng.choice(attributes)
            attribute.i = rng.choice((0, -1, 1, 7, 2**31, 2**62))
            for i in range(len(attribute.ints)):
                attribute.ints[i] = rng.choice((attribute.ints[i], 0, -1, 2**31, 2**62))
    return proto.SerializeToString()


def attempt(ending, content, folder):
    """Load one model and run it; → its outcome."""
    path = folder / f"model{ending}"
    path.write_bytes(content)
    noisy = (0.1 * np.random.default_rng(0).standard_normal(8_000)).astype(np.float32)
    try:
        with fuzz.at_most(LONGEST_S):
            enhanced = Enhancer(path, device="cpu", threads=1).enhance(noisy, 16_000)
    except SeganError as error:
        text = str(error)
        return "refused" if "\n" not in text and len(text) < 1_000 and path.name in text else f"badly refused: {text}"
    assert np.isfinite(enhanced).all()
    return "run"


def chunk(seed):
    """Try CHUNK inputs of a seed; → their outcomes."""
    onnx_backend.TEST_TIMEOUT_S = onnx_backend.CALL_TIMEOUT_S = 20
    torch.set_num_threads(1)
    rng, outcomes = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = list(corpus(Path(folder)))
        for i in range(CHUNK):
            ending, content = rng.choice(whole)
            content = damaged(ending, content, rng)
            kept = Path(tempfile.gettempdir(), f"fuzzed-{seed}-{i}{ending}")  # stays where it crashes the process
            kept.write_bytes(content)
            outcomes[f"{ending[1:]} {attempt(ending, content, Path(folder))}"] += 1
            kept.unlink()
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        assert resource.getrusage(who).ru_maxrss << 10 < LARGEST
    return outcomes


def run(n, seed=0, processes=2):
    """So many inputs; raises when one crashes its process, takes too long or too much memory."""
    with ProcessPoolExecutor(processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        return sum(pool.map(chunk, range(seed, seed + -(-n // CHUNK))), Counter())


if __name__ == "__main__":
    print(dict(run(int(sys.argv[1]), *map(int, sys.argv[2:]))))
