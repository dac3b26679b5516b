"""How a training begins: weights to start from."""

from pathlib import Path

import torch

from segan_cli.backends.pretrained import find_model
from segan_cli.config.model import ModelConfig
from segan_cli.config.schema import from_dict
from segan_cli.networks.checkpoint import load_model
from segan_cli.training.state import TrainState, read_state

CPU = torch.device("cpu")


def is_state(init: str) -> bool:
    """Whether a name is that of a saved training state, not of a model."""
    return Path(init).suffix == ".pt"


def model_of(init: str) -> ModelConfig:
    """The networks of a model or of a training state; raises CheckpointError when it is neither."""
    if is_state(init):
        return from_dict(ModelConfig, read_state(Path(init), CPU)[1]["model"])
    return load_model(find_model(init)).config


def start_from(state: TrainState, init: str) -> None:
    """Give a new training the weights of a model, or of a training state with its discriminator.

    Raises CheckpointError when they are of other networks.
    """
    if is_state(init):
        parts, about = read_state(Path(init), CPU)
        networks = {"generator": parts["ema_generator"], "discriminator": parts["discriminator"]}
        state.start_from(networks, about["history"])
    else:
        model = load_model(find_model(init))
        state.start_from({"generator": model.generator.state_dict()}, model.provenance.get("runs", []))
