"""Measures the cost of every preset and shipped model for `segan models`, which does not load torch.

python tools/costs.py   writes segan_cli/config/costs.json
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from segan_cli.backends.pretrained import find_model, shipped_models
from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS
from segan_cli.networks.checkpoint import load_model
from segan_cli.networks.summary import macs_per_second, weights

FILE = Path(__file__).parents[1] / "segan_cli" / "config" / "costs.json"


@cache
def cost(model: ModelConfig) -> dict[str, Any]:
    """Weights, multiply-accumulates per second of audio, and receptive field in samples (None: the segment)."""
    generator, discriminator = weights(model)
    return {
        "parameters": generator,
        "discriminator_parameters": discriminator,
        "macs_per_second": macs_per_second(model),
        "receptive_field": model.generator.receptive_field(),
        "sample_rate_hz": model.sample_rate_hz,
    }


def costs() -> dict[str, dict[str, Any]]:
    """Costs of presets and of shipped models by name."""
    return {
        "presets": {name: cost(model) for name, model in PRESETS.items()},
        "shipped": {name: cost(load_model(find_model(name)).config) for name in shipped_models()[1]},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(costs(), indent=1) + "\n")
