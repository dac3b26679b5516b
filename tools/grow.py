"""Write a model of a preset to start training from, with the weights of a smaller or a non-causal spectral model.

python tools/grow.py segan-live pretrained/segan-spectral.safetensors start.safetensors
segan train --recipe segan-live --init start.safetensors --data ...

New GRU units and new blocks have no effect at first, so the output of a model that is causal, or not, like the preset
stays as it is. When a model becomes causal, a convolution gets the tap of the next frame added to that of its own
frame, and a GRU the units that run forward.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from segan_cli.config.presets import PRESETS
from segan_cli.networks.checkpoint import Model, load_model, save_model
from segan_cli.networks.families import build_generator

GATES = 3  # of a GRU, one after another in its weights
BLOCK_OUTPUTS = ("gru_out", "attention_out", "ffn_out")  # layers whose outputs a block adds to its input


def causal_weight(name: str, weight: Tensor) -> Tensor:
    """A weight of a generator that becomes causal."""
    if name.endswith(("convolution.weight", "output_conv.weight")):  # [out, in, frames, bins]
        earlier, own, later = weight.unbind(2)
        return torch.stack((torch.zeros_like(own), earlier, own + later), 2)
    if name.endswith("gru_out.weight"):  # [dim, units]; those that run backward come last
        return weight[:, : weight.shape[1] // 2]
    return weight


def grown_weight(name: str, new: Tensor, old: Tensor | None, directions: int) -> Tensor:
    """A weight of the larger generator, from its new value and the `old` weight of that name, if there is one."""
    if old is None:
        return torch.zeros_like(new) if name.split(".")[-2] in BLOCK_OUTPUTS else new
    if ".gru." in name:  # [gates * units, ...]
        weight, old_gates = new.clone().view(GATES, -1, *new.shape[1:]), old.view(GATES, -1, *old.shape[1:])
        n_units = old_gates.shape[1]
        if "weight_hh" in name:
            weight[:, :n_units] = 0
            weight[:, :n_units, :n_units] = old_gates
        else:
            weight[:, :n_units] = old_gates
        return weight.view_as(new)
    if name.endswith("initial_state"):  # [directions, bands, units]
        return torch.cat((old, torch.zeros_like(new[..., old.shape[2] :])), 2)
    if name.endswith("gru_out.weight"):  # [dim, directions * units]
        parts = new.chunk(directions, 1), old.chunk(directions, 1)
        grown = [
            torch.cat((one, torch.zeros_like(all_[:, one.shape[1] :])), 1) for all_, one in zip(*parts, strict=True)
        ]
        return torch.cat(grown, 1)
    return old


def main() -> None:
    """Write the model."""
    preset, source, target = sys.argv[1:]
    model, config = load_model(Path(source)), PRESETS[preset]
    causal, was_causal = (bool(each.generator.state_size()) for each in (config, model.config))
    torch.manual_seed(0)
    generator = build_generator(config.generator)
    old = model.generator.state_dict()
    if causal and not was_causal:
        old = {name: causal_weight(name, weight) for name, weight in old.items()}
    weights = {
        name: grown_weight(name, new, old.get(name), 1 if causal else 2) for name, new in generator.state_dict().items()
    }
    generator.load_state_dict(weights)
    save_model(Path(target), Model(generator, config, model.provenance))


if __name__ == "__main__":
    main()
