"""The training state: networks, optimisers and schedules; saving it, loading it, and starting it from a model."""

import io
import json
import math
import warnings
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch

from segan_cli.backends.pretrained import find_model
from segan_cli.config.legacy import renamed, renamed_model, renamed_parts
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import FORMAT
from segan_cli.config.schema import flatten, from_dict, to_dict
from segan_cli.config.training import TrainingConfig
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.losses.reconstruction import Reconstruction
from segan_cli.networks.checkpoint import Model, load_model
from segan_cli.networks.families import Generator, build_discriminator, build_generator
from segan_cli.storage.atomic import write_whole
from segan_cli.training.adversary import Adversary
from segan_cli.training.distributed import Processes
from segan_cli.training.health import Health
from segan_cli.training.metricgan import ReplayBuffer

PARTS = (
    "generator", "ema_generator", "discriminator", "generator_optimizer", "discriminator_optimizer", "generator_scaler",
    "discriminator_scaler", "replay",
)  # fmt: skip
BETAS, WEIGHT_DECAY = (0.8, 0.99), 1e-4  # of AdamW; betas as in HiFi-GAN (arXiv 2010.05646)
LEAST_RATE = 0.01  # of the learning rate, at the end of its decay
CPU = torch.device("cpu")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TrainState:
    """Networks, optimisers and counters at one step; every random draw follows from seed and step."""

    def __init__(self, model: ModelConfig, training: TrainingConfig, processes: Processes | None = None) -> None:
        torch.manual_seed(training.seed)
        self.model_config, self.training, self.processes = model, training, processes or Processes()
        device = self.device = self.processes.device
        self.generator = build_generator(model.generator).to(device)
        self.ema_generator = copied(self.generator).eval().requires_grad_(False)  # moving average of its weights
        self.discriminator = build_discriminator(model, training.reference_segments).to(device)
        self.generator_optimizer = optimizer(training.optimizer, self.generator, training.generator_learning_rate)
        self.discriminator_optimizer = optimizer(
            training.optimizer, self.discriminator, training.discriminator_learning_rate
        )
        scaled = training.precision == "fp16"
        self.generator_scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.discriminator_scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.adversary = Adversary(self.discriminator, self.discriminator_optimizer, training.adversarial)
        self.reconstruction = Reconstruction(training.reconstruction()).to(device)
        if training.compile:
            self.generator.compile()
            if not (training.adversarial.unrolled_steps or training.adversarial.has_gradient_penalty):
                self.discriminator.compile()  # of compiled networks there are no second derivatives
        self.ddp_generator = self.processes.wrap_ddp(self.generator)
        self.ddp_adversary = self.processes.wrap_ddp(self.adversary) if training.adversarial.weight else self.adversary
        self.replay = ReplayBuffer(training.adversarial.replay_size)
        self.health = Health()
        self.step = 0
        self.history: list[dict[str, Any]] = []  # one entry for each start and resumption of this training

    def adversary_is_active(self) -> bool:
        """Whether the discriminator takes part in this step."""
        return self.training.adversarial.weight > 0 and self.step >= self.training.adversarial.start

    def adversarial_ramp(self) -> float:
        """Factor of the adversarial gradient at this step, 0 … 1."""
        config = self.training.adversarial
        return min(1.0, (self.step - config.start) / config.ramp_steps) if config.ramp_steps else 1.0

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast to the precision of the networks."""
        precision = PRECISIONS[self.training.precision]
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    def instance_noise(self) -> float:
        """Standard deviation of the instance noise at this step; it decays linearly to 0 at the last step."""
        return self.training.adversarial.instance_noise * max(0.0, 1 - self.step / max(1, self.training.steps - 1))

    @torch.no_grad()
    def update_ema(self) -> None:
        """Update the average of the generator's weights; its decay rises from 0.1 to `ema_decay`, as in TensorFlow."""
        decay = min(self.training.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema_generator.parameters()), list(self.generator.parameters()), 1 - decay)

    def ema_snapshot(self) -> Model:
        """A copy of the averaged generator as a model."""
        about = {"runs": self.history, "steps": self.step, "training": to_dict(self.training)}
        return Model(copied(self.ema_generator), self.model_config, about)

    def save(self, path: Path) -> None:
        """Save the state atomically."""
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        about = {
            "format": FORMAT,
            "model": to_dict(self.model_config),
            "training": to_dict(self.training),
            "step": self.step,
            "history": self.history,
            "health": self.health.state(),
        }
        buffer = io.BytesIO()
        torch.save({**state, "about": json.dumps(about)}, buffer)
        write_whole(path, buffer.getbuffer())

    def load(self, path: Path) -> list[str]:
        """Load a state; returns a line for each field that has changed. Raises CheckpointError for another model."""
        state, about = read_state(path, self.device)
        try:
            if from_dict(ModelConfig, about["model"]) != self.model_config:
                raise CheckpointError(
                    f"{path}: saved by a training run of another model; give its preset, or another --run-dir"
                )
            for field in ("optimizer", "reference_segments", "precision"):
                if about["training"][field] != getattr(self.training, field):
                    raise CheckpointError(
                        f"{path}: saved with {field} {about['training'][field]}; resume with the same"
                    )
            for name in PARTS:
                getattr(self, name).load_state_dict(state[name])
            self.health.restore(about["health"])
            self.step, self.history = about["step"], about["history"]
            then = from_dict(TrainingConfig, about["training"])
            before, now = (flatten(to_dict(config), "training.") for config in (then, self.training))
        except (RuntimeError, LookupError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(f"{path}: not a complete training state") from error
        return [f"{name}: {before[name]} before, {now[name]} now" for name in now if before[name] != now[name]]

    def start_from(self, init: str) -> None:
        """Begin with weights of a model, or of a state with its discriminator; raises CheckpointError."""
        if is_state(init):
            parts, about = read_state(Path(init), CPU)
            weights, history = parts["ema_generator"], about["history"]
        else:
            parts, model = {}, load_model(find_model(init))
            weights, history = model.generator.state_dict(), model.provenance.get("runs", [])
        try:
            for network in (self.generator, self.ema_generator):
                network.load_state_dict(weights)
            if "discriminator" in parts:
                self.discriminator.load_state_dict(parts["discriminator"])
        except RuntimeError as error:
            raise CheckpointError(
                f"--init {init}: weights of another network; omit --preset, --width and --recipe to train its network"
            ) from error
        self.history = list(history)


def is_state(init: str) -> bool:
    """Whether `--init` names a training state rather than a model."""
    return Path(init).suffix == ".pt"


def model_of(init: str) -> ModelConfig:
    """The model config of a model or a training state; raises CheckpointError if it is neither."""
    if is_state(init):
        return from_dict(ModelConfig, read_state(Path(init), CPU)[1]["model"])
    return load_model(find_model(init)).config


def read_state(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state dicts of a saved state by name, and its metadata; raises CheckpointError if it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of other pickle protocols, in files that are no states
            state = torch.load(path, device, weights_only=True)  # tensors and plain containers, nothing is executed
        about = json.loads(state["about"])
        version, state = about["format"], renamed_parts(state, about["format"])
        about |= {"model": renamed_model(about["model"]), "training": renamed(about["training"], "training")}
    except (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, PickleError) as error:
        raise CheckpointError(f"{path}: not a training state that this version of segan wrote") from error
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(
            f"{path}: a training state of format {version}; this version of segan reads up to {FORMAT}"
        )
    return state, about


def copied(generator: Generator) -> Generator:
    """A copy of a generator; GRU weights are flattened again into one block, as cuDNN requires."""
    copy = deepcopy(generator)
    for module in copy.modules():
        if isinstance(module, torch.nn.RNNBase):
            module.flatten_parameters()
    return copy


def optimizer(kind: str, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """RMSprop as in the paper, or AdamW with betas 0.8 and 0.99."""
    if kind == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), learning_rate)
    return torch.optim.AdamW(network.parameters(), learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY)


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Factor of the learning rate: linear warm-up, then constant, or linear or cosine decay to 0.01 at the last step.

    The decay covers the last `decay_steps`, with a constant rate before, or all steps after the warm-up.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    longest = max(1, config.steps - config.warmup_steps)
    decay_steps = longest if config.decay_steps is None else min(config.decay_steps, longest)
    progress = min(1.0, max(0.0, 1 - (config.steps - 1 - step) / decay_steps))
    remaining = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return LEAST_RATE + (1 - LEAST_RATE) * remaining
