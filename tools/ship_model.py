"""Put a trained model into pretrained/: half-precision weights and an entry in index.json.

After segan evaluate ... --model runs/first/best.safetensors --json > scores.json:
python tools/ship_model.py segan-gated runs/first/best.safetensors --scores scores.json
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from segan_cli.checkpoint import load_model, pretrained_dir, save_model

DATA = {
    "Edinburgh DataShare 56-speaker set, by MS-SNSD": "CC BY 4.0",
    "LibriSpeech": "CC BY 4.0",
    "VCTK": "CC BY 4.0",
    "speechocean762": "free for commercial and non-commercial use",
    "Picovoice wake-word and speech-to-intent benchmarks": "Apache-2.0",
    "MS-SNSD noise": "CC0 (Freesound) or CC BY-SA 3.0 (DEMAND)",
    "moodist": "Pixabay content licence or CC0",
    "ESC-10, Speech Commands background, music": "CC BY or public domain",
    "keystroke": "MIT",
    "timgrau": "own recordings",
}


def means(report: dict[str, Any], system: str) -> dict[str, float]:
    """The mean of every measure of one system, rounded."""
    return {name: round(score["mean"], 4) for name, score in report["summary"][system].items()}


def main() -> None:
    """Write the weights and the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("model", type=Path)
    parser.add_argument("--scores", type=Path, required=True, help="JSON of segan evaluate on the benchmark")
    parser.add_argument("--benchmark", default="VoiceBank-DEMAND test set, speaker p232, 200 pairs drawn at random")
    arguments = parser.parse_args()

    folder = pretrained_dir()
    model = load_model(arguments.model)
    target = folder / f"{arguments.name}.safetensors"
    save_model(target, model, torch.float16)
    report = json.loads(arguments.scores.read_text())
    index_file = folder / "index.json"
    index = json.loads(index_file.read_text()) if index_file.exists() else {"models": {}}
    index["default"] = arguments.name
    index["models"][arguments.name] = {
        "file": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "preset": model.config.preset,
        "data": model.provenance["data"],
        "licences": DATA,
        "command": model.provenance["command"],
        "steps": model.provenance["steps"],
        "scores": {
            "validation": model.provenance["validation"],
            "benchmark": {
                "set": arguments.benchmark,
                "noisy": means(report, "noisy"),
                "enhanced": means(report, "enhanced"),
            },
        },
    }
    index_file.write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
