"""Move the initial states of a spectral model towards those that it has after two seconds of noisy speech.

python tools/start_states.py --data speech/ --noise noise/ --share 0.5 model.safetensors moved.safetensors

Training begins every segment within speech or just before it, so the learned states suit both. Nearer to a typical
state, more noise is removed before the first words.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segan_cli.config.recipe import load_recipe
from segan_cli.data.cache import Cache
from segan_cli.data.mixing import ExampleSource
from segan_cli.data.recordings import CorpusLoader, Recordings
from segan_cli.networks.checkpoint import load_model, save_model
from segan_cli.networks.families import Generator
from segan_cli.networks.spectral import Block

N_MIXES, LENGTH = 128, 32_768  # samples


def mean_states(generator: Generator, blocks: list[Block], noisy: Tensor) -> list[Tensor]:
    """Mean states of the GRU of each block at the end of noisy signals [B, 1, T]: [directions, bands, hidden]."""
    states: list[Tensor] = []
    for block in blocks:
        block.gru.register_forward_hook(lambda _, __, output: states.append(output[1]))
    with torch.inference_mode():
        generator(noisy)
    shapes = [block.initial_state.shape for block in blocks]
    return [state.view(shape[0], -1, *shape[1:]).mean(1) for state, shape in zip(states, shapes, strict=True)]


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--data", action="append", required=True, help="clean speech of the training")
    parser.add_argument("--noise", action="append", required=True, help="noise of the training")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--share", type=float, required=True, help="0 keeps the learned states, 1 replaces them")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    data = CorpusLoader(Cache(arguments.cache, model.config.sample_rate_hz), None).load(
        arguments.data, arguments.noise, (), "training"
    )
    mixing = load_recipe("segan-live").training.mixing
    source = ExampleSource(data.speech, data.noise, Recordings(()), mixing, model.config.sample_rate_hz)
    rng = np.random.default_rng(0)
    mixes = [source.render(source.draw(rng, LENGTH))[0] for _ in range(N_MIXES)]
    blocks = [module for module in model.generator.modules() if isinstance(module, Block)]
    means = mean_states(model.generator, blocks, torch.from_numpy(np.stack(mixes))[:, None])
    for block, mean in zip(blocks, means, strict=True):
        block.initial_state.data.lerp_(mean, arguments.share)
    command = f"python tools/start_states.py {arguments.model.name} {arguments.target.name} --share {arguments.share}"
    run = {"command": command, "data": [*arguments.data, *arguments.noise], "from_step": model.provenance["steps"]}
    model.provenance["runs"].append(run)
    model.provenance["validation"] = {}
    save_model(arguments.target, model)


if __name__ == "__main__":
    main()
