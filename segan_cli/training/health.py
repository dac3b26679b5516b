"""The health of adversarial training: metrics of recent steps, and known failure modes."""

import math
from collections import deque
from typing import Any

import numpy as np

from segan_cli.training.adversary import StepMetrics

HISTORY_STEPS = 200  # used for a diagnosis
WON_ACCURACY = 0.98  # accuracy on both sides from which the discriminator has won, if its gradient has vanished
VANISHED_SHARE = 0.1  # of its maximum, below which the gradient at the generator's output has vanished
SMOOTHING_STEPS = 10  # of the moving average in which oscillation is detected
CLEAR_D_PRIME = 0.5  # magnitude of d′ at which one network is clearly ahead
OSCILLATION_CHANGES = 4  # sign changes of d′ that count as oscillation
LEAST_Z_EFFECT = 1e-3  # relative effect on the output below which z counts as ignored
LEAST_DIVERSITY = 0.1  # output diversity below which the generator has collapsed
OVERFITTING_GAP = 0.2  # between the accuracy on training pairs and on held-out pairs


class Health:
    """Keeps the metrics of recent steps and diagnoses known failure modes."""

    def __init__(self) -> None:
        self.recent: deque[StepMetrics] = deque(maxlen=HISTORY_STEPS)
        self.largest_gradient = 0.0  # maximum of the smoothed adversarial gradient norm

    def observe(self, metrics: StepMetrics) -> None:
        """Add the metrics of one step, without those of gradients that overflowed in fp16."""
        self.recent.append({name: value for name, value in metrics.items() if math.isfinite(value)})
        if sum("adversarial_gradient" in recent for recent in self.recent) >= SMOOTHING_STEPS:
            gradient = self.means(SMOOTHING_STEPS).get("adversarial_gradient", 0.0)
            self.largest_gradient = max(self.largest_gradient, gradient)

    def state(self) -> dict[str, Any]:
        """The state for a resumed training, as plain JSON data."""
        return {"recent": list(self.recent), "strongest": self.largest_gradient}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.recent.extend(state["recent"])
        self.largest_gradient = state["strongest"]

    def means(self, steps: int = HISTORY_STEPS) -> StepMetrics:
        """Mean of every metric over the last steps, at most HISTORY_STEPS."""
        reports = list(self.recent)[-steps:]
        names = sorted({name for report in reports for name in report})
        return {name: float(np.mean([report[name] for report in reports if name in report])) for name in names}

    def diagnose(self, diagnostics: StepMetrics) -> dict[str, str]:
        """Failure modes evident from recent steps and from `diagnostics`: name → description and remedy."""
        return {**self._from_history(), **_from_diagnostics(diagnostics)}

    def _from_history(self) -> dict[str, str]:
        failure_modes = {}
        if len(self.recent) >= SMOOTHING_STEPS and self.means(SMOOTHING_STEPS).get("generator_gradient", 1.0) == 0:
            failure_modes["generator stopped"] = (
                "the generator has stopped learning: its gradient is 0, because its activations are saturated; start"
                " again with more training.warmup_steps or a lower --learning-rate"
            )
        if len(self.recent) == HISTORY_STEPS:
            means, gradient = self.means(), self.means(SMOOTHING_STEPS).get("adversarial_gradient", 0.0)
            real, fake = means.get("d_real_accuracy", 0.0), means.get("d_fake_accuracy", 0.0)
            if min(real, fake) >= WON_ACCURACY and gradient < VANISHED_SHARE * self.largest_gradient:
                failure_modes["discriminator won"] = (
                    f"the discriminator has won: it is right on {real:.0%} of clean and {fake:.0%} of enhanced"
                    f" segments, and its gradient, before any balancing, has shrunk to"
                    f" {gradient / self.largest_gradient:.1%} of its largest; lower its learning rate, or set"
                    " training.adversarial.r1_weight or training.adversarial.instance_noise"
                )
            sign_changes = self.sign_changes()
            if sign_changes >= OSCILLATION_CHANGES:
                failure_modes["oscillation"] = (
                    f"the networks oscillate: d′ of the discriminator changed sign {sign_changes} times in"
                    f" {HISTORY_STEPS} steps; lower both learning rates or set training.adversarial.r1_weight"
                )
        return failure_modes

    def sign_changes(self) -> int:
        """Number of sign changes of the smoothed d′, where it is clearly above or below 0."""
        series = np.array([report["d_prime"] for report in self.recent if "d_prime" in report])
        if len(series) < SMOOTHING_STEPS:
            return 0
        smooth = np.convolve(series, np.ones(SMOOTHING_STEPS) / SMOOTHING_STEPS, "valid")
        leads = np.sign(smooth[np.abs(smooth) > CLEAR_D_PRIME])
        return int(np.count_nonzero(np.diff(leads)))


def _from_diagnostics(diagnostics: StepMetrics) -> dict[str, str]:
    failure_modes = {}
    if diagnostics.get("z_effect", 1.0) < LEAST_Z_EFFECT:
        failure_modes["z ignored"] = (
            f"the generator ignores z: another z changes its output by only {diagnostics['z_effect']:.2%};"
            " harmless for denoising, which has one right answer; set model.generator.latent_channels=0 to remove z"
        )
    if diagnostics.get("output_diversity", 1.0) < LEAST_DIVERSITY:
        failure_modes["mode collapse"] = (
            "the generator repeats itself: its outputs for different inputs differ by"
            f" {diagnostics['output_diversity']:.1%} of what unrelated sounds would; set"
            " training.adversarial.unrolled_steps, another training.adversarial.objective or a lower"
            " training.adversarial.weight"
        )
    gap = diagnostics.get("d_training_accuracy", 0.0) - diagnostics.get("d_held_out_accuracy", 0.0)
    if gap > OVERFITTING_GAP:
        failure_modes["discriminator overfits"] = (
            f"the discriminator overfits: it is right on {diagnostics['d_training_accuracy']:.0%} of training pairs but"
            f" only on {diagnostics['d_held_out_accuracy']:.0%} of held-out pairs; train on more speech and noise, set"
            " training.adversarial.r1_weight or training.adversarial.instance_noise, or lower its learning rate"
        )
    return failure_modes
