"""The health of an adversarial training: its metrics over the last steps, and known failure modes."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segan_cli.training.adversary import StepMetrics

HISTORY_STEPS = 200  # that a diagnosis looks back on
WON_ACCURACY = 0.98  # on both kinds, from which the discriminator has won …
VANISHED_SHARE = 0.1  # … if its gradient on the generator's output is less than this share of what it was at most
SMOOTHING_STEPS = 10  # averaged before oscillation is looked for
CLEAR_D_PRIME = 0.5  # that counts as one side being ahead
OSCILLATION_CHANGES = 4  # of the side ahead that make an oscillation
LEAST_Z_EFFECT = 1e-3  # effect of z, relative to the output, below which it is ignored
LEAST_DIVERSITY = 0.1  # diversity of the outputs below which they repeat
OVERFITTING_GAP = 0.2  # in accuracy between training and held-out pairs


class Health:
    """Keeps the metrics of the last steps and names known failure modes."""

    def __init__(self) -> None:
        self.recent: deque[StepMetrics] = deque(maxlen=HISTORY_STEPS)
        self.largest_gradient = 0.0  # smoothed adversarial gradient at its largest

    def observe(self, report: Mapping[str, float | Tensor]) -> None:
        """Take note of one step."""
        self.recent.append({name: float(value) for name, value in report.items()})
        if sum("adversarial_gradient" in recent for recent in self.recent) >= SMOOTHING_STEPS:
            self.largest_gradient = max(self.largest_gradient, self._mean("adversarial_gradient", SMOOTHING_STEPS))

    def state(self) -> dict[str, Any]:
        """What a resumed training needs, as JSON can hold it."""
        return {"recent": list(self.recent), "strongest": self.largest_gradient}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.recent.extend(state["recent"])
        self.largest_gradient = state["strongest"]

    def means(self, steps: int = HISTORY_STEPS) -> StepMetrics:
        """Mean of every number over the last steps, of HISTORY_STEPS at most."""
        reports = list(self.recent)[-steps:]
        names = sorted({name for report in reports for name in report})
        return {name: float(np.mean([report[name] for report in reports if name in report])) for name in names}

    def diagnose(self, checkup: StepMetrics) -> dict[str, str]:
        """Failure modes that the last steps and the measurements of a `checkup` show: name → words and a hint."""
        return {**self._from_history(), **_from_checkup(checkup)}

    def _from_history(self) -> dict[str, str]:
        failure_modes = {}
        if len(self.recent) == HISTORY_STEPS:
            real, fake = self._mean("d_real_accuracy", HISTORY_STEPS), self._mean("d_fake_accuracy", HISTORY_STEPS)
            push = self._mean("adversarial_gradient", SMOOTHING_STEPS)
            if min(real, fake) >= WON_ACCURACY and push < VANISHED_SHARE * self.largest_gradient:
                failure_modes["discriminator won"] = (
                    f"the discriminator has won: it is right on {real:.0%} of clean and {fake:.0%} of enhanced windows,"
                    f" and its gradient, before any balancing, has shrunk to {push / self.largest_gradient:.1%} of its"
                    " largest; lower its learning rate, or set adversarial.r1_weight or adversarial.instance_noise"
                )
            sign_changes = self.sign_changes()
            if sign_changes >= OSCILLATION_CHANGES:
                failure_modes["oscillation"] = (
                    f"the networks oscillate: d′ of the discriminator changed its sign {sign_changes} times in"
                    f" {HISTORY_STEPS} steps; lower both learning rates or set adversarial.r1_weight"
                )
        return failure_modes

    def sign_changes(self) -> int:
        """How often d′ changed its sign, counting only clear leads of either side."""
        series = np.array([report["d_prime"] for report in self.recent if "d_prime" in report])
        if len(series) < SMOOTHING_STEPS:
            return 0
        smooth = np.convolve(series, np.ones(SMOOTHING_STEPS) / SMOOTHING_STEPS, "valid")
        leads = np.sign(smooth[np.abs(smooth) > CLEAR_D_PRIME])
        return int(np.count_nonzero(np.diff(leads)))

    def _mean(self, name: str, steps: int) -> float:
        values = [report[name] for report in list(self.recent)[-steps:] if name in report]
        return float(np.mean(values)) if values else 0.0


def _from_checkup(checkup: StepMetrics) -> dict[str, str]:
    failure_modes = {}
    if checkup.get("z_effect", 1.0) < LEAST_Z_EFFECT:
        failure_modes["z ignored"] = (
            f"the generator ignores z: another z changes its output by {checkup['z_effect']:.2%} alone;"
            " harmless for denoising, where one answer is right; set model.generator.latent_channels=0 to save it"
        )
    if checkup.get("output_diversity", 1.0) < LEAST_DIVERSITY:
        failure_modes["mode collapse"] = (
            "the generator repeats itself: its outputs for different inputs differ by"
            f" {checkup['output_diversity']:.1%} of what unlike sounds do; set adversarial.unrolled_steps,"
            " another adversarial.objective or a lower adversarial.weight"
        )
    gap = checkup.get("d_training_accuracy", 0.0) - checkup.get("d_held_out_accuracy", 0.0)
    if gap > OVERFITTING_GAP:
        failure_modes["discriminator overfits"] = (
            f"the discriminator overfits: it is right on {checkup['d_training_accuracy']:.0%} of training pairs but"
            f" on {checkup['d_held_out_accuracy']:.0%} of held-out pairs; train on more speech and noise, set"
            " adversarial.r1_weight or adversarial.instance_noise, or lower its learning rate"
        )
    return failure_modes


def diversity(generate: Callable[[Tensor | None], Tensor], latents: tuple[Tensor | None, Tensor | None]) -> StepMetrics:
    """How much the outputs [B, …] of `generate` differ from example to example and, for two z, over z.

    `output_diversity` is the RMS difference between neighbours in the batch over √2 of the outputs' RMS: 1 for outputs
    that have nothing in common, 0 for equal ones. `z_effect` is the RMS difference between two z over the outputs' RMS.
    """
    with torch.no_grad():
        first = generate(latents[0])
        level = max(rms(first), 1e-12)
        report = {"output_diversity": rms(first - first.roll(1, 0)) / (math.sqrt(2) * level)}
        if latents[1] is not None:
            report["z_effect"] = rms(first - generate(latents[1])) / level
    return report


def rms(x: Tensor) -> float:
    """Root of the mean square."""
    return float(x.square().mean().sqrt())
