"""Write the weighted mean of two models of the same network, one trained on from the other.

python tools/average_models.py before.safetensors after.safetensors --share 0.67 mean.safetensors

Between the weights before and after a fine-tuning lie models that keep more of the first (Wortsman et al. 2022,
arXiv 2109.01903). The result has the config and the history of the second model, and no validation scores.
"""

import argparse
from pathlib import Path

import torch

from segan_cli.networks.checkpoint import load_model, save_model


def main() -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--share", type=float, required=True, help="weight of the second model, 0 to 1")
    arguments = parser.parse_args()
    before, model = load_model(arguments.before), load_model(arguments.after)
    old, new = before.generator.state_dict(), model.generator.state_dict()
    model.generator.load_state_dict({name: torch.lerp(old[name], new[name], arguments.share) for name in new})
    files = f"{arguments.before.name} {arguments.after.name} {arguments.target.name}"
    command = f"python tools/average_models.py {files} --share {arguments.share}"
    run = {"command": command, "data": [], "from_step": model.provenance["steps"]}
    model.provenance["runs"].append(run)
    model.provenance["validation"] = {}
    save_model(arguments.target, model)


if __name__ == "__main__":
    main()
