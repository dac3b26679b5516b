"""Scores of the shipped models on generated mixes, as they were when a model was shipped or the audio path changed.

python tests/goldens.py   writes golden/scores.json anew
"""

import json
from pathlib import Path

import numpy as np
from conftest import hiss, voice

from segan_cli.backends.pretrained import find_model, shipped_models
from segan_cli.data.noise import generate
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.measures.catalog import measure_all
from segan_cli.networks.checkpoint import load_model

FILE = Path(__file__).parent / "golden" / "scores.json"
RATE_HZ = 16_000
SECONDS = 4.0
NOTHING = np.zeros(0, np.float32)


def noise(kind, seed=0, level=0.01):
    """A generated noise of four seconds, [n]."""
    return level * generate(kind, seed, round(SECONDS * RATE_HZ), RATE_HZ, NOTHING)


def mixes():
    """Noisy and clean [n] by name."""
    clean = {seed: voice(SECONDS, seed=seed) for seed in range(3)}
    multi_speaker = sum(voice(SECONDS, seed=seed) for seed in range(10, 15))
    return {
        "voice and white noise": (clean[0] + hiss(SECONDS, level=0.02), clean[0]),
        "voice and pink noise": (clean[1] + noise("pink", level=0.01), clean[1]),
        "voice and voices": (clean[2] + 0.1 * multi_speaker, clean[2]),
        "voice alone": (clean[0], clean[0]),
    }


def scores(name):
    """What a shipped model makes of every mix."""
    enhancer = Enhancer(load_model(find_model(name)))
    return {mix: measure_all(clean, enhancer.enhance(noisy, RATE_HZ)) for mix, (noisy, clean) in mixes().items()}


def main():
    FILE.write_text(json.dumps({name: scores(name) for name in shipped_models()[1]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
