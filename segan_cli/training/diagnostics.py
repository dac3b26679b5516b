"""Measurements at a validation: diversity of the generator, accuracy of the discriminator on held-out pairs."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from segan_cli.data.loader import SamplingPlan, draw_extra
from segan_cli.data.mixing import ExampleSource, NoisyClean
from segan_cli.errors import TrainingError
from segan_cli.training.adversary import StepMetrics, add_instance_noise, discriminator_stats, mean_over_patches
from segan_cli.training.batch import Batch, prepare
from segan_cli.training.state import TrainState
from segan_cli.training.step import enhance

DIVERSITY_SEGMENTS = 4
ACCURACY_SEGMENTS = 64  # of either set: two accuracies of ½ then differ by 0.06 at random (one standard deviation)


def measure_diagnostics(
    state: TrainState, source: ExampleSource, plan: SamplingPlan, validation: Sequence[NoisyClean]
) -> StepMetrics:
    """Diversity of the generator and, where the discriminator classifies, its accuracy on training and held-out pairs.

    Segments and latents are the same at every call and belong to no step. Raises TrainingError when the generator's
    output is not finite.
    """
    batch = prepare(state, *draw_extra(source, plan, DIVERSITY_SEGMENTS))
    metrics = diversity(partial(state.generator, batch.noisy), batch.z)
    if not all(map(math.isfinite, metrics.values())):
        raise TrainingError(f"step {state.step}: the generator's output is not finite; lower the learning rates")
    classifies = state.adversary_is_active() and not state.adversary.objective.metric
    held_out = cut_segments(validation, plan.length, ACCURACY_SEGMENTS) if classifies else None
    if held_out is not None:
        noisy, clean, keys = draw_extra(source, plan, ACCURACY_SEGMENTS)  # both sets get the latents of these keys
        metrics["d_training_accuracy"] = discriminator_accuracy(state, prepare(state, noisy, clean, keys))
        metrics["d_held_out_accuracy"] = discriminator_accuracy(state, prepare(state, *held_out, keys))
    return metrics


@torch.no_grad()
def diversity(generate: Callable[[Tensor | None], Tensor], z: Tensor | None) -> StepMetrics:
    """How much the outputs [B, …] of `generate` vary between examples and, where there is one, with z [B, …].

    `output_diversity` is the RMS difference between neighbours in the batch over √2 times the RMS of the outputs: 1 for
    uncorrelated outputs, 0 for equal ones. `z_effect` is the RMS difference between outputs for two z over their RMS.
    """
    outputs = generate(z)
    level = max(rms(outputs), 1e-12)
    metrics = {"output_diversity": rms(outputs - outputs.roll(1, 0)) / (math.sqrt(2) * level)}
    if z is not None:
        metrics["z_effect"] = rms(outputs - generate(z.roll(1, 0))) / level
    return metrics


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.square().mean().sqrt())


def cut_segments(pairs: Sequence[NoisyClean], length: int, n: int) -> tuple[Tensor, Tensor] | None:
    """n segments at random places of the utterances in turn: noisy, clean [n, 1, length].

    None where every utterance is shorter than a segment.
    """
    long_enough = [pair for pair in pairs if len(pair[0]) >= length]
    if not long_enough:
        return None
    rng = np.random.default_rng(0)
    segments = []
    for i in range(n):
        pair = np.stack(long_enough[i % len(long_enough)])
        start = int(rng.integers(pair.shape[1] - length + 1))
        segments.append(torch.from_numpy(pair[:, None, start : start + length]))
    noisy, clean = torch.stack(segments, 1)
    return noisy, clean


@torch.no_grad()
def discriminator_accuracy(state: TrainState, batch: Batch) -> float:
    """Mean of the discriminator's accuracies on clean and on enhanced, with the instance noise of this step."""
    config, std = state.training, state.instance_noise()
    size = config.batch_size // (config.gradient_accumulation_steps * state.processes.world_size)
    answers: list[list[Tensor]] = []
    state.discriminator.eval()  # no phase shuffle, and spectral norm stays as it is
    for part in batch.micro_batches(math.ceil(len(batch.clean) / size)):
        candidates = (part.clean, enhance(state, part))
        with state.autocast():
            judged = (state.adversary.discriminate(add_instance_noise(x, std), part.noisy) for x in candidates)
            answers.append([*map(mean_over_patches, judged)])
    state.discriminator.train()
    on_real, on_fake = (torch.cat(side) for side in zip(*answers, strict=True))
    stats = discriminator_stats({"real": on_real, "fake": on_fake}, state.adversary.objective)
    return float(stats["d_real_accuracy"] + stats["d_fake_accuracy"]) / 2
