"""Measurements at a validation: diversity of the generator, accuracy of the discriminator on held-out pairs."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segan_cli.data.loader import Key, SamplingPlan, draw_extra
from segan_cli.data.mixing import ExampleSource
from segan_cli.errors import TrainingError
from segan_cli.training.adversary import (
    Logits,
    Side,
    StepMetrics,
    add_instance_noise,
    discriminator_stats,
    mean_over_patches,
)
from segan_cli.training.batch import Batch, prepare
from segan_cli.training.health import diversity
from segan_cli.training.state import TrainState
from segan_cli.training.step import enhance

Array = NDArray[np.float32]
Pairs = Sequence[tuple[Array, Array]]  # whole utterances, noisy and clean [n]

DIVERSITY_SEGMENTS = 4
ACCURACY_SEGMENTS = 64  # of either set: two accuracies of ½ then differ by 0.06 at random (one standard deviation)


def examine(state: TrainState, source: ExampleSource, plan: SamplingPlan, validation: Pairs) -> StepMetrics:
    """Diversity of the generator and, where the discriminator classifies, its accuracy on training and held-out pairs.

    Segments are the same at every call. Raises TrainingError when the generator's output is not finite.
    """
    metrics = measure_diversity(state, source, plan)
    classifies = state.adversarial() and not state.adversary.objective.metric
    held_out = cut_segments(validation, plan.length, ACCURACY_SEGMENTS) if classifies else None
    if held_out is not None:
        training = prepare(state, *draw_extra(source, plan, ACCURACY_SEGMENTS))
        metrics["d_training_accuracy"] = discriminator_accuracy(state, training)
        metrics["d_held_out_accuracy"] = discriminator_accuracy(state, prepare(state, *held_out))
    return metrics


def measure_diversity(state: TrainState, source: ExampleSource, plan: SamplingPlan) -> StepMetrics:
    """Diversity of the generator on segments and latents that belong to no step.

    Raises TrainingError when its output is not finite.
    """
    batch = prepare(state, *draw_extra(source, plan, DIVERSITY_SEGMENTS))
    other = None if batch.z is None else batch.z.roll(1, 0)
    metrics = diversity(lambda z: state.generator(batch.noisy, z), (batch.z, other))
    if not all(map(math.isfinite, metrics.values())):
        raise TrainingError(f"step {state.step}: the generator's output is not finite; lower the learning rates")
    return metrics


def cut_segments(pairs: Pairs, length: int, n: int) -> tuple[Tensor, Tensor, list[Key]] | None:
    """n segments at random places of the utterances in turn: noisy, clean [n, 1, length], and a key for each.

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
    return noisy, clean, [(0, 0, i) for i in range(n)]


@torch.no_grad()
def discriminator_accuracy(state: TrainState, batch: Batch) -> float:
    """Mean of the discriminator's accuracies on clean and on enhanced, with the instance noise of this step."""
    config, std = state.training, state.instance_noise()
    size = config.batch_size // (config.gradient_accumulation_steps * state.processes.world_size)
    parts: list[Logits] = []
    state.discriminator.eval()  # no phase shuffle, and spectral norm stays as it is
    for part in batch.micro_batches(math.ceil(len(batch.clean) / size)):
        candidates: dict[Side, Tensor] = {"real": part.clean, "fake": enhance(state, part, state.generator)}
        with state.autocast():
            parts.append(
                {
                    side: mean_over_patches(
                        state.adversary.discriminate(add_instance_noise(candidate, std), part.noisy)
                    )
                    for side, candidate in candidates.items()
                }
            )
    state.discriminator.train()
    logits: Logits = {side: torch.cat([part[side] for part in parts]) for side in parts[0]}
    stats = discriminator_stats(logits, state.adversary.objective)
    return float(stats["d_real_accuracy"] + stats["d_fake_accuracy"]) / 2
