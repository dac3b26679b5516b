"""One step of training: the discriminator's turns, then the generator's."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchaudio.functional import fftconvolve, preemphasis

from segan_cli.config import TrainingConfig
from segan_cli.data.loader import Key, window_rng
from segan_cli.errors import TrainingError
from segan_cli.measures.score import Undefined
from segan_cli.measures.standard import pesq_wb
from segan_cli.networks.layers import level_gain
from segan_cli.training.adversary import Report
from segan_cli.training.state import TrainState

Array = NDArray[np.float32]
UNDEFINED = "quality_undefined"  # in a report: candidates whose quality is not defined
INAUDIBLE = 1e-9  # of an impulse response
LATENT = 1  # purpose of the draws of z, beside those of the window

Draw = Callable[[], "Batch"]
Rate = Callable[[Sequence[Array], Sequence[Array]], Tensor]  # clean and candidate waveforms [T] → quality [B]


@dataclass(frozen=True)
class Batch:
    """Windows as the generator gets them: pre-emphasised, levelled, with a z for each where it takes one."""

    noisy: Tensor  # [B, 1, T]
    clean: Tensor  # [B, 1, T]
    z: Tensor | None = None  # [B, C, T / stride]

    def slices(self, n: int) -> list["Batch"]:
        """The batch in n equal parts."""
        latents: Sequence[Tensor | None] = [None] * n if self.z is None else self.z.chunk(n)
        return [Batch(*part) for part in zip(self.noisy.chunk(n), self.clean.chunk(n), latents, strict=True)]


def prepare(state: TrainState, noisy: Tensor, clean: Tensor, keys: Sequence[Key]) -> Batch:
    """Audio noisy, clean [B, 1, window + 1] as a batch on the state's device."""
    model, device = state.model, state.device
    sides = (preemphasis(side.to(device, non_blocking=True), model.pre_emphasis)[..., 1:] for side in (noisy, clean))
    noisy, clean = sides
    if model.generator.input_rms:
        gain = level_gain(noisy, model.generator.input_rms)
        noisy, clean = noisy * gain, clean * gain
    latents = [
        model.generator.draw_latent(window_rng(state.training.seed, key, LATENT), 1, model.window) for key in keys
    ]
    drawn = [torch.from_numpy(z) for z in latents if z is not None]
    return Batch(noisy, clean, torch.cat(drawn).to(device) if drawn else None)


def deemphasise(windows: Tensor, pre_emphasis: float) -> Tensor:
    """Windows [B, 1, T] as they will be heard: low frequencies as loud again as they were before pre-emphasis.

    The recursion's impulse response, up to where single precision sees nothing, is convolved by FFT: a recursion sample
    by sample is slow on a GPU.
    """
    audible = math.log(INAUDIBLE) / math.log(pre_emphasis) if pre_emphasis else 1
    taps = 1 + 2048 * math.ceil(audible / 2048)  # so many that the transform has a length that is fast
    response = pre_emphasis ** torch.arange(taps, device=windows.device, dtype=windows.dtype)
    return fftconvolve(windows, response[None, None])[..., : windows.shape[-1]]  # type: ignore[no-any-return]


def rate_by_pesq(pool: Executor) -> Rate:
    """Wide-band PESQ in worker processes, -0.5 … 4.5 brought to 0 … 1 (arXiv 1905.04874); NaN where undefined."""

    def rate(clean: Sequence[Array], candidates: Sequence[Array]) -> Tensor:
        scores = pool.map(pesq_wb, clean, candidates)
        return torch.tensor([math.nan if isinstance(score, Undefined) else (score + 0.5) / 5 for score in scores])

    return rate


def train_step(state: TrainState, draw: Draw, rate: Rate | None = None) -> Report:
    """The discriminator's steps and one of the generator (arXiv 1703.09452, section 3).

    `rate` measures quality for a metric objective. Raises TrainingError when a loss or a gradient is not finite, before
    a network takes a step by it.
    """
    game = state.training.adversarial
    seed = np.random.SeedSequence((state.training.seed, state.step, state.processes.rank)).generate_state(1)
    torch.manual_seed(int(seed[0]))  # of what the adversary draws
    undefined = 0.0
    if state.adversarial():
        for _ in range(game.discriminator_steps - 1):
            undefined += discriminator_turn(state, draw().slices(state.training.accumulate), None, rate)[0].get(
                UNDEFINED, 0.0
            )
    slices = draw().slices(state.training.accumulate)
    held = enhance(state, slices[0], state.joined_generator) if len(slices) == 1 else None  # serves both turns
    report: Report = {}
    qualities: list[Tensor | None] = [None] * len(slices)
    if state.adversarial():
        report, qualities = discriminator_turn(state, slices, held, rate)
        if rate is not None:
            report[UNDEFINED] += undefined
    report |= generator_turn(state, slices, held, qualities)
    decay = min(state.training.ema_decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        torch._foreach_lerp_(list(state.average.parameters()), list(state.generator.parameters()), 1 - decay)
    state.step += 1
    return report


def enhance(state: TrainState, batch: Batch, network: nn.Module) -> Tensor:
    """Enhanced windows [B, 1, T], float32, by the generator or what it is wrapped in."""
    with state.autocast():
        enhanced: Tensor = network(batch.noisy, batch.z)
    return enhanced.float()


def discriminator_turn(
    state: TrainState, slices: Sequence[Batch], held: Tensor | None, rate: Rate | None
) -> tuple[Report, list[Tensor | None]]:
    """One step of the discriminator; `held` is the enhanced side of a single slice where it is known already.

    → its loss, its gradient and what it thought of the windows; and the quality that was measured of each slice.
    """
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    qualities: list[Tensor | None] = []
    reports: list[dict[str, Tensor]] = []
    for batch, sync in last_in_sync(slices, state.joined_adversary):
        with torch.no_grad():
            enhanced = enhance(state, batch, state.generator) if held is None else held.detach()
        quality = None if rate is None else measure(state, batch, enhanced, rate)
        qualities.append(quality)
        with sync:
            with state.autocast():
                loss, opinion = state.joined_adversary(
                    batch.clean, enhanced, batch.noisy, instance_noise(state), quality
                )
            state.discriminator_scaler.scale(loss / len(slices)).backward()
        reports.append({"discriminator": loss.detach(), **opinion})
    rate_now = state.training.discriminator_learning_rate
    report = descend(state, state.discriminator_optimizer, state.discriminator_scaler, rate_now, averaged(reports))
    report["discriminator_gradient"] = report.pop("gradient")
    state.adversary.settle()
    if rate is not None:
        report[UNDEFINED] = float(sum(int(quality.isnan().sum()) for quality in qualities if quality is not None))
    return report, qualities


def generator_turn(
    state: TrainState, slices: Sequence[Batch], held: Tensor | None, qualities: Sequence[Tensor | None]
) -> Report:
    """One step of the generator on reconstruction and adversary; → losses and gradients.

    The terms meet at the generator's output, so the share of each can be told and set.
    """
    config, game = state.training, state.training.adversarial
    state.generator_optimizer.zero_grad(set_to_none=True)
    reports: list[dict[str, Tensor]] = []
    for (batch, sync), quality in zip(last_in_sync(slices, state.joined_generator), qualities, strict=True):
        with sync:
            enhanced = enhance(state, batch, state.joined_generator) if held is None else held
            output = enhanced.detach().requires_grad_()
            result, target = output, batch.clean
            if config.deemphasised_losses:
                result, target = (deemphasise(windows, state.model.pre_emphasis) for windows in (output, batch.clean))
            reconstruction, terms = state.reconstruction(result, target)
            (gradient,) = torch.autograd.grad(reconstruction, output)
            report = {name: term.detach() for name, term in terms.items()}
            report["reconstruction_gradient"] = norm(state, gradient)
            if state.adversarial():
                with state.autocast():
                    loss = state.adversary.generator_loss(
                        batch.clean, output, batch.noisy, instance_noise(state), quality
                    )
                (push,) = torch.autograd.grad(game.weight * loss, output)
                report |= {"adversarial": loss.detach(), "adversarial_gradient": norm(state, push)}
                if game.gradient_share is not None:
                    own = report["adversarial_gradient"].clamp_min(1e-12)
                    push = push * (game.gradient_share * report["reconstruction_gradient"] / own)
                gradient = gradient + push
            enhanced.backward(state.generator_scaler.scale(gradient / len(slices)))  # type: ignore[no-untyped-call]
        reports.append(report)
    rate = config.generator_learning_rate
    report_now = descend(state, state.generator_optimizer, state.generator_scaler, rate, averaged(reports))
    report_now["generator_gradient"] = report_now.pop("gradient")
    return report_now


def last_in_sync(slices: Sequence[Batch], network: nn.Module) -> Iterator[tuple[Batch, AbstractContextManager[None]]]:
    """Slices, each with a context in which gradients stay with this process until the last one."""
    for number, batch in enumerate(slices, 1):
        alone = number < len(slices) and isinstance(network, DistributedDataParallel)
        yield batch, network.no_sync() if alone else nullcontext()  # type: ignore[operator]


def norm(state: TrainState, gradient: Tensor) -> Tensor:
    """Norm of the gradient on the windows of all processes, each of which knows that of the mean over its own."""
    return (state.processes.mean(gradient.square().sum()) / state.processes.size).sqrt()


def measure(state: TrainState, batch: Batch, enhanced: Tensor, rate: Rate) -> Tensor:
    """Quality [2 B] of enhanced and of noisy windows as they are heard."""
    clean, ours, noisy = (
        [*deemphasise(windows, state.model.pre_emphasis)[:, 0].cpu().numpy()]
        for windows in (batch.clean, enhanced, batch.noisy)
    )
    return rate([*clean, *clean], [*ours, *noisy]).to(state.device)


def averaged(reports: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each number over slices."""
    return {name: torch.stack([report[name].float() for report in reports]).mean() for name in reports[0]}


def descend(
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    learning_rate: float,
    losses: dict[str, Tensor],
) -> Report:
    """Take a step down the gradients, their norm clipped; → the losses, and `gradient`, the norm before clipping.

    Raises TrainingError instead, naming what is wrong, when the norm or a loss is not finite. In fp16 a gradient may
    overflow: the step is then left out, and the next is scaled less.
    """
    config = state.training
    (group,) = optimizer.param_groups
    scaler.unscale_(optimizer)
    total = torch.nn.utils.get_total_norm([p.grad for p in group["params"] if p.grad is not None])
    if config.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(group["params"], config.clip_norm, total)
    names = [*losses, "gradient"]
    numbers = dict(zip(names, torch.stack([*losses.values(), total]).tolist(), strict=True))
    wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
    overflow = scaler.get_scale() > 1 and all("gradient" in name for name in wrong)
    if wrong and not overflow:
        raise TrainingError(f"step {state.step + 1}: {', '.join(wrong)} not finite; lower the learning rates")
    group["lr"] = learning_rate * learning_rate_factor(state.step, config)
    scaler.step(optimizer)
    scaler.update()
    return {name: 0.0 if name in wrong else value for name, value in numbers.items()}


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then level, or from 1 to 0.01 at the last step along a line or a cosine.

    The fall takes the last `decay_steps`, before which the rate is level, or all steps after the warm-up.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    longest = max(1, config.steps - config.warmup_steps)
    decay_steps = longest if config.decay_steps is None else min(config.decay_steps, longest)
    progress = min(1.0, max(0.0, 1 - (config.steps - step) / decay_steps))
    left = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return 0.01 + 0.99 * left


def instance_noise(state: TrainState) -> float:
    """Deviation of the instance noise at this step."""
    return state.training.adversarial.instance_noise * max(0.0, 1 - state.step / state.training.steps)
