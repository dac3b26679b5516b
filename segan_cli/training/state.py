"""Everything a training carries from step to step, and its way to disk and back."""

import copy
import dataclasses
import io
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segan_cli.checkpoint import write_atomically
from segan_cli.config import ModelConfig, TrainingConfig
from segan_cli.errors import CheckpointError
from segan_cli.losses.reconstruction import Reconstruction
from segan_cli.networks.discriminator import Discriminator
from segan_cli.networks.generator import Generator
from segan_cli.training.adversary import Adversary
from segan_cli.training.health import Health


class TrainState:
    """Networks, optimisers and random draws of a training at one step."""

    def __init__(self, model: ModelConfig, training: TrainingConfig) -> None:
        torch.manual_seed(training.seed)
        self.model, self.training = model, training
        self.generator = Generator(model.generator)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)  # EMA of the generator's weights
        self.discriminator = Discriminator(model.discriminator, model.window, training.reference_windows)
        self.generator_optimizer = optimizer(training.optimizer, self.generator, training.generator_learning_rate)
        self.discriminator_optimizer = optimizer(
            training.optimizer, self.discriminator, training.discriminator_learning_rate
        )
        self.adversary = Adversary(self.discriminator, self.discriminator_optimizer, training.adversarial)
        self.reconstruction = Reconstruction(
            {"l1": training.l1_weight, "spectral": training.spectral_weight, "stft": training.stft_weight}
        )
        self.rng = np.random.default_rng(training.seed)  # of windows and z; torch's own draws are the adversary's
        self.health = Health()
        self.step = 0
        self.best = -math.inf  # validation PESQ of the best checkpoint so far
        self.history: list[dict[str, Any]] = []  # what each start and resumption of this training says of itself

    def adversarial(self) -> bool:
        """Whether the discriminator takes part in this step."""
        return self.training.adversarial.weight > 0 and self.step >= self.training.adversarial.start

    def parts(self) -> dict[str, Any]:
        """The stateful objects by name."""
        return {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def save(self, path: Path) -> None:
        """Write everything that a resumed training needs, atomically."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        about = {
            "model": dataclasses.asdict(self.model),
            "training": dataclasses.asdict(self.training),
            "rng": self.rng.bit_generator.state,
            "step": self.step,
            "best": self.best,
            "history": self.history,
            "health": self.health.state(),
        }
        buffer = io.BytesIO()
        torch.save({**state, "torch_rng": torch.get_rng_state(), "about": json.dumps(about)}, buffer)
        write_atomically(path, buffer.getvalue())

    def load(self, path: Path) -> list[str]:
        """Continue from a saved state; → the fields of the training that are not as they were, a line each.

        Raises CheckpointError when it is not a state of this model.
        """
        try:
            state = torch.load(path, weights_only=True)  # tensors and plain containers only, nothing is executed
            about = json.loads(state["about"])
            if about["model"] != json.loads(json.dumps(dataclasses.asdict(self.model))):
                raise CheckpointError(f"{path}: saved by a training of another model; give its preset or another --run")
            for field in ("optimizer", "reference_windows"):
                if about["training"][field] != getattr(self.training, field):
                    raise CheckpointError(
                        f"{path}: saved with {field} {about['training'][field]}; resume with the same"
                    )
            for name, part in self.parts().items():
                part.load_state_dict(state[name])
            torch.set_rng_state(state["torch_rng"])
        except (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: not a training state that this version of segan wrote") from error
        self.rng.bit_generator.state = about["rng"]
        self.health.restore(about["health"])
        self.step, self.best, self.history = about["step"], about["best"], about["history"]
        before, now = flat(about["training"]), flat(json.loads(json.dumps(dataclasses.asdict(self.training))))
        return [f"{name}: {before.get(name)} before, {now[name]} now" for name in now if before.get(name) != now[name]]


def flat(values: dict[str, Any], prefix: str = "training.") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def optimizer(kind: str, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """RMSprop as in the paper, or AdamW with betas 0.8 and 0.99."""
    if kind == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), learning_rate)
    return torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.8, 0.99), weight_decay=1e-4)
