"""Write a segan-live model to start training from, with the weights of a segan-spectral model.

python tools/causal_start.py pretrained/segan-spectral.safetensors start.safetensors
segan train --recipe segan-live --init start.safetensors --data ...

A convolution gets the tap of the next frame added to that of its own frame, a GRU the units that run forward; its other
units are new, and nothing depends on them at first.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from segan_cli.config.presets import PRESETS
from segan_cli.networks.checkpoint import Model, load_model, save_model
from segan_cli.networks.families import build_generator

GATES = 3  # of a GRU, one after another in its weights


def causal_weight(name: str, new: Tensor, old: Tensor) -> Tensor:
    """A weight of the causal generator, from its new value and that of the weight of the same name."""
    if name.endswith(("convolution.weight", "output_conv.weight")):  # [out, in, frames, bins]
        earlier, own, later = old.unbind(2)
        return torch.stack((torch.zeros_like(own), earlier, own + later), 2)
    if ".gru." in name:  # [gates * units, ...]
        weight, old_gates = new.clone().view(GATES, -1, *new.shape[1:]), old.view(GATES, -1, *old.shape[1:])
        n_units = old_gates.shape[1]
        if "weight_hh" in name:
            weight[:, :n_units] = 0
            weight[:, :n_units, :n_units] = old_gates
        else:
            weight[:, :n_units] = old_gates
        return weight.view_as(new)
    if name.endswith("gru_out.weight"):  # [dim, units]
        n_units = old.shape[1] // 2
        return torch.cat((old[:, :n_units], torch.zeros_like(old[:, n_units:])), 1)
    return old


def main() -> None:
    """Write the model."""
    source, target = map(Path, sys.argv[1:])
    model, config = load_model(source), PRESETS["segan-live"]
    torch.manual_seed(0)
    generator = build_generator(config.generator)
    old = model.generator.state_dict()
    new = {name: causal_weight(name, weight, old[name]) for name, weight in generator.state_dict().items()}
    generator.load_state_dict(new)
    save_model(target, Model(generator, config, model.provenance))


if __name__ == "__main__":
    main()
