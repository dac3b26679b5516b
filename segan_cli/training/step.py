"""One step of training: windows drawn, the discriminator's turn, the generator's turn."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import lfilter, preemphasis

from segan_cli.config import ModelConfig, TrainingConfig
from segan_cli.data.mixing import Source, batch
from segan_cli.errors import TrainingError
from segan_cli.metrics import Undefined, pesq_wb
from segan_cli.networks.layers import level_gain
from segan_cli.training.adversary import Report
from segan_cli.training.state import TrainState

Array = NDArray[np.float32]
UNDEFINED = "quality_undefined"  # in a report: candidates whose quality is not defined

Draw = Callable[[], tuple[Tensor, Tensor]]  # → noisy and clean windows [B, 1, T]
Judge = Callable[[Sequence[Array], Sequence[Array]], Tensor]  # clean and candidate waveforms [T] → quality [B]


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


def pesq_judge(pool: Executor) -> Judge:
    """Wide-band PESQ in worker processes, -0.5 … 4.5 brought to 0 … 1 (arXiv 1905.04874); NaN where undefined."""

    def judge(clean: Sequence[Array], candidates: Sequence[Array]) -> Tensor:
        scores = pool.map(pesq_wb, clean, candidates)
        return torch.tensor([math.nan if isinstance(score, Undefined) else (score + 0.5) / 5 for score in scores])

    return judge


def train_step(state: TrainState, draw: Draw, judge: Judge | None = None) -> Report:
    """The discriminator's steps and one of the generator (arXiv 1703.09452, section 3).

    `judge` measures quality for a metric objective. Raises TrainingError when a loss or a gradient is not finite,
    before a network takes a step by it.
    """
    config, model = state.training, state.model
    game, n_samples = config.adversarial, model.window
    factor = learning_rate_factor(state.step, config)
    undefined = 0.0
    if state.adversarial():
        for _ in range(game.discriminator_steps - 1):
            noisy, clean = draw()
            with torch.no_grad():
                enhanced = state.generator(noisy, state.generator.draw_latent(state.rng, len(noisy), n_samples))
            undefined += discriminator_step(state, noisy, clean, enhanced, factor, judge)[1].get(UNDEFINED, 0.0)
    noisy, clean = draw()
    enhanced = state.generator(noisy, state.generator.draw_latent(state.rng, len(noisy), n_samples))
    output = enhanced.detach().requires_grad_()  # the terms meet here, so the share of each can be told

    result, target = output, clean
    if config.deemphasised_losses:
        result, target = (deemphasise(windows, model.pre_emphasis) for windows in (output, clean))
    reconstruction, terms = state.reconstruction(result, target)
    (gradient,) = torch.autograd.grad(reconstruction, output)
    report: Report = {name: float(term.detach()) for name, term in terms.items()}
    report["reconstruction_gradient"] = float(gradient.norm())
    if state.adversarial():
        quality, opinion = discriminator_step(state, noisy, clean, enhanced.detach(), factor, judge)
        report |= opinion
        if quality is not None:
            report[UNDEFINED] += undefined
        loss = state.adversary.generator_loss(clean, output, noisy, instance_noise(state), quality)
        (push,) = torch.autograd.grad(game.weight * loss, output)
        report |= {"adversarial": float(loss.detach()), "adversarial_gradient": float(push.norm())}
        if game.gradient_share is not None:
            push = push * (game.gradient_share * gradient.norm() / push.norm().clamp_min(1e-12))
        gradient = gradient + push
    state.generator_optimizer.zero_grad(set_to_none=True)
    enhanced.backward(gradient)
    rate = config.generator_learning_rate * factor
    report["generator_gradient"] = descend(state.generator_optimizer, rate, config, state.step + 1, report)
    decay = min(config.ema_decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        torch._foreach_lerp_(list(state.average.parameters()), list(state.generator.parameters()), 1 - decay)
    state.step += 1
    return report


def discriminator_step(
    state: TrainState,
    noisy: Tensor,
    clean: Tensor,
    enhanced: Tensor,
    factor: float,
    judge: Judge | None,
) -> tuple[Tensor | None, Report]:
    """One step of the discriminator on windows [B, 1, T].

    → the quality that was measured for it, if any, and its loss, its gradient and what it thought of the windows.
    """
    config = state.training
    quality = None
    report: Report = {}
    if judge is not None:
        heard = [deemphasise(windows, state.model.pre_emphasis)[:, 0].numpy() for windows in (clean, enhanced, noisy)]
        quality = judge([*heard[0], *heard[0]], [*heard[1], *heard[2]])
        report[UNDEFINED] = float(quality.isnan().sum())
    loss, opinion = state.adversary.discriminator_loss(clean, enhanced, noisy, instance_noise(state), quality)
    report |= {"discriminator": float(loss.detach()), **opinion}
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    rate = config.discriminator_learning_rate * factor
    report["discriminator_gradient"] = descend(state.discriminator_optimizer, rate, config, state.step + 1, report)
    state.adversary.settle()
    return quality, report


def descend(
    optimizer: torch.optim.Optimizer, learning_rate: float, config: TrainingConfig, step: int, losses: Report
) -> float:
    """Take a step down the gradients, their norm clipped; → the norm before clipping.

    Raises TrainingError instead, naming what is wrong, when the norm or one of the `losses` behind it is not finite.
    """
    (group,) = optimizer.param_groups
    norm = float(torch.nn.utils.clip_grad_norm_(group["params"], config.clip_norm))
    wrong = [name for name, value in {**losses, "gradient": norm}.items() if not math.isfinite(value)]
    if wrong:
        raise TrainingError(f"step {step}: {', '.join(wrong)} not finite; lower the learning rates")
    group["lr"] = learning_rate
    optimizer.step()
    return norm


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine from 1 to 0.01 at the last step."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def instance_noise(state: TrainState) -> float:
    """Deviation of the instance noise at this step."""
    return state.training.adversarial.instance_noise * max(0.0, 1 - state.step / state.training.steps)
