"""Put a trained model into pretrained/: its weights, scored as they ship, and an entry in index.json.

python tools/ship_model.py segan-spectral runs/one/best.safetensors --default --licences tools/licences.json \\
    --noisy bench/noisy --clean bench/clean --benchmark "name of the set"
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

from segan_cli.backends.export import export
from segan_cli.backends.pretrained import pretrained_dir
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.evaluation.cases import NOISY, from_folders
from segan_cli.evaluation.report import summarise_system
from segan_cli.evaluation.run import evaluate
from segan_cli.measures.catalog import WITH_REFERENCE
from segan_cli.networks.checkpoint import load_model, save_model


def main() -> None:
    """Write the weights, score them, write the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("model", type=Path)
    parser.add_argument("--licences", type=Path, required=True, help="JSON: source of training data to licence")
    parser.add_argument("--noisy", type=Path, required=True, help="benchmark folder, used for nothing but this score")
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--benchmark", required=True, help="what the benchmark is")
    parser.add_argument("--default", action="store_true", help="make it the model that enhance takes unasked")
    parser.add_argument("--half", action="store_true", help="weights in half precision, for a smaller file")
    arguments = parser.parse_args()

    folder = pretrained_dir()
    model = load_model(arguments.model)
    target = folder / f"{arguments.name}.safetensors"
    save_model(target, model, torch.float16 if arguments.half else torch.float32)
    cases = from_folders(arguments.noisy, arguments.clean)
    result = evaluate(cases, tuple(WITH_REFERENCE), {"enhanced": Enhancer(load_model(target))})
    scores = {system: summarise_system(result.cases, system, result.measures) for system in (NOISY, "enhanced")}
    onnx = target.with_suffix(".onnx")
    export(load_model(target), onnx, arguments.half)
    index_file = folder / "index.json"
    index = json.loads(index_file.read_text())
    if arguments.default:
        index["default"] = arguments.name
    index["models"][arguments.name] = {
        "file": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "onnx": {"file": onnx.name, "sha256": hashlib.sha256(onnx.read_bytes()).hexdigest()},
        "preset": model.config.preset,
        "steps": model.provenance["steps"],
        "runs": model.provenance["runs"],
        "licences": json.loads(arguments.licences.read_text()),
        "validation": model.provenance["validation"],
        "benchmark": {"set": arguments.benchmark, **scores},
    }
    index_file.write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
