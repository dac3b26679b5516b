"""One training: its state, a step, a validation, and the loop."""

import copy
import dataclasses
import io
import json
import math
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import lfilter, preemphasis

from segan_cli.checkpoint import Model, save_model, write_atomically
from segan_cli.config import ModelConfig, TrainingConfig
from segan_cli.data.mixing import Source, batch
from segan_cli.enhance import Enhancer
from segan_cli.errors import CheckpointError, TrainingError
from segan_cli.losses import CompressedSpectrum, l1, least_squares_discriminator, least_squares_generator
from segan_cli.metrics import MEASURES, mean, measure_all
from segan_cli.networks.discriminator import Discriminator
from segan_cli.networks.generator import Generator
from segan_cli.networks.layers import level_gain

Array = NDArray[np.float32]
Losses = dict[str, float]
Scores = dict[str, float | None]


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
        self.spectral = CompressedSpectrum()
        self.rng = np.random.default_rng(training.seed)
        self.step = 0
        self.best = -math.inf  # validation PESQ of the best checkpoint so far
        self.history: list[dict[str, Any]] = []  # what each start and resumption of this training says of itself

    def adversarial(self) -> bool:
        """Whether the discriminator takes part in this step."""
        return self.training.adversarial_weight > 0 and self.step >= self.training.adversarial_start

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
        }
        buffer = io.BytesIO()
        torch.save({**state, "about": json.dumps(about)}, buffer)
        write_atomically(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Continue from a saved state; raises CheckpointError when it is not one of this model."""
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
        except (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: not a training state that this version of segan wrote") from error
        self.rng.bit_generator.state = about["rng"]
        self.step, self.best, self.history = about["step"], about["best"], about["history"]


def optimizer(kind: str, network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """RMSprop as in the paper, or AdamW with betas 0.8 and 0.99."""
    if kind == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), learning_rate)
    return torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.8, 0.99), weight_decay=1e-4)


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine from 1 to 0.01 at the last step."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def draw_windows(source: Source, rng: np.random.Generator, n: int, model: ModelConfig) -> tuple[Tensor, Tensor]:
    """Noisy and clean windows [n, 1, window] as the generator gets them when enhancing: pre-emphasised, levelled."""
    noisy, clean = (
        preemphasis(torch.from_numpy(side), model.pre_emphasis)[..., 1:]
        for side in batch(source, rng, n, model.window + 1)
    )
    if model.generator.input_rms:
        gain = level_gain(noisy, model.generator.input_rms)
        return noisy * gain, clean * gain
    return noisy, clean


def deemphasise(windows: Tensor, pre_emphasis: float) -> Tensor:
    """Windows [B, 1, T] as they will be heard: low frequencies as loud again as they were before pre-emphasis."""
    denominator, numerator = torch.tensor([1.0, -pre_emphasis]), torch.tensor([1.0, 0.0])
    return lfilter(windows, denominator, numerator, clamp=False)  # type: ignore[no-any-return]


def draw_latent(state: TrainState, n_windows: int) -> Tensor | None:
    """z ~ N(0, I) for a batch, from the training's own random draws."""
    shape = state.generator.latent_shape(n_windows, state.model.window)
    return None if shape is None else torch.from_numpy(state.rng.standard_normal(shape, dtype=np.float32))


def train_step(state: TrainState, noisy: Tensor, clean: Tensor) -> Losses:
    """One step of the discriminator and one of the generator on windows [B, 1, T] (arXiv 1703.09452, section 3).

    Raises TrainingError when a loss is not finite.
    """
    config = state.training
    factor = learning_rate_factor(state.step, config)
    enhanced = state.generator(noisy, draw_latent(state, len(noisy)))
    losses: dict[str, Tensor] = {}
    adversarial = state.adversarial()

    if adversarial:
        candidates, conditions = torch.cat((clean, enhanced.detach())), torch.cat((noisy, noisy))
        real, fake = state.discriminator(candidates, conditions).chunk(2)
        losses["discriminator"] = least_squares_discriminator(real, fake)
        descend(
            state.discriminator_optimizer, losses["discriminator"], config.discriminator_learning_rate * factor, config
        )

    result, target = enhanced, clean
    if config.deemphasised_losses:
        result, target = (deemphasise(windows, state.model.pre_emphasis) for windows in (enhanced, clean))
    losses["l1"] = l1(result, target)
    total = config.l1_weight * losses["l1"]
    if config.spectral_weight:
        losses["spectral"] = state.spectral(result, target)
        total = total + config.spectral_weight * losses["spectral"]
    if adversarial:
        state.discriminator.requires_grad_(False)
        losses["adversarial"] = least_squares_generator(state.discriminator(enhanced, noisy))
        state.discriminator.requires_grad_(True)
        total = total + config.adversarial_weight * losses["adversarial"]
    descend(state.generator_optimizer, total, config.generator_learning_rate * factor, config)

    decay = min(config.ema_decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        torch._foreach_lerp_(list(state.average.parameters()), list(state.generator.parameters()), 1 - decay)
    state.step += 1
    report = {name: float(loss.detach()) for name, loss in losses.items()}
    if not all(math.isfinite(value) for value in report.values()):
        raise TrainingError(f"step {state.step}: a loss is not finite ({report}); lower the learning rates")
    return report


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float, config: TrainingConfig) -> None:
    """One step down a loss, the gradient's norm clipped."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        torch.nn.utils.clip_grad_norm_(group["params"], config.clip_norm)
    optimizer.step()


def validate(enhancer: Enhancer, pairs: Sequence[tuple[Array, Array]], pool: Executor) -> Scores:
    """Mean of every measure over (noisy, clean) utterances at the model's rate."""
    rate_hz = enhancer.model.config.sample_rate_hz
    jobs = [pool.submit(measure_all, clean, enhancer.enhance(noisy, rate_hz)) for noisy, clean in pairs]
    rows = [job.result() for job in jobs]
    return {name: mean([row[name] for row in rows]) for name in MEASURES}


def fit(
    state: TrainState,
    source: Source,
    validation: Sequence[tuple[Array, Array]],
    run: Path,
    pool: Executor,
    report: Callable[[int, Losses, Scores | None], None],
) -> None:
    """Train to the last step, validating and saving `last.pt`, `best.safetensors` and `log.jsonl` in the run folder.

    `report` hears of every step, and of the scores at each validation.
    """
    config = state.training
    if state.step == 0 and state.model.discriminator.virtual_batch_norm:
        noisy, clean = draw_windows(source, state.rng, config.reference_windows, state.model)
        state.discriminator.set_reference(clean, noisy)
    while state.step < config.steps:
        noisy, clean = draw_windows(source, state.rng, config.batch_size, state.model)
        losses = train_step(state, noisy, clean)
        scores: Scores | None = None
        if state.step % config.validate_every == 0 or state.step == config.steps:
            provenance: dict[str, Any] = {"runs": state.history, "steps": state.step}
            model = Model(state.average, state.model, provenance)
            scores = provenance["validation"] = validate(Enhancer(model), validation, pool)
            pesq = -math.inf if scores["pesq_wb"] is None else scores["pesq_wb"]
            if pesq > state.best or not (run / "best.safetensors").exists():
                state.best = pesq
                save_model(run / "best.safetensors", model)
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": state.step, **losses, **scores}) + "\n")
            state.save(run / "last.pt")
        report(state.step, losses, scores)
