"""Initial weights of a training, from a model or a training state."""

from pathlib import Path

import torch

from segan_cli.backends.pretrained import find_model
from segan_cli.config.model import ModelConfig
from segan_cli.config.schema import from_dict
from segan_cli.networks.checkpoint import load_model
from segan_cli.training.state import TrainState, read_state

CPU = torch.device("cpu")


def is_state(init: str) -> bool:
    """Whether `--init` names a training state rather than a model."""
    return Path(init).suffix == ".pt"


def model_of(init: str) -> ModelConfig:
    """The model config of a model or a training state; raises CheckpointError if it is neither."""
    if is_state(init):
        return from_dict(ModelConfig, read_state(Path(init), CPU)[1]["model"])
    return load_model(find_model(init)).config


def start_from(state: TrainState, init: str) -> None:
    """Load the weights of a model, or of a training state with its discriminator, into a new training.

    Raises CheckpointError if they belong to other networks.
    """
    if is_state(init):
        parts, about = read_state(Path(init), CPU)
        networks = {"generator": parts["ema_generator"], "discriminator": parts["discriminator"]}
        state.start_from(networks, about["history"])
    else:
        model = load_model(find_model(init))
        state.start_from({"generator": model.generator.state_dict()}, model.provenance.get("runs", []))
