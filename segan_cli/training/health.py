"""The health of an adversarial training: its vital signs, and the known illnesses in plain words."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segan_cli.training.adversary import Report

MEMORY = 200  # steps that a diagnosis looks back on
WON = 0.98  # accuracy on both kinds from which the discriminator has won …
VANISHED = 0.1  # … if its gradient on the generator's output is less than this share of what it was at most
SMOOTHING = 10  # steps averaged before oscillation is looked for
SWING = 0.5  # separation, in deviations of the logits, that counts as one side being ahead
SWINGS = 4  # changes of the side ahead that make an oscillation
IGNORED = 1e-3  # effect of z, relative to the output, below which it is ignored
ALIKE = 0.1  # spread of the outputs below which they repeat


class Health:
    """Remembers the reports of the last steps and says what is wrong."""

    def __init__(self) -> None:
        self.recent: deque[Report] = deque(maxlen=MEMORY)
        self.strongest = 0.0  # smoothed adversarial gradient at its largest

    def observe(self, report: Mapping[str, float | Tensor]) -> None:
        """Take note of one step."""
        self.recent.append({name: float(value) for name, value in report.items()})
        if sum("adversarial_gradient" in recent for recent in self.recent) >= SMOOTHING:
            self.strongest = max(self.strongest, self._mean("adversarial_gradient", SMOOTHING))

    def state(self) -> dict[str, Any]:
        """What a resumed training needs, as JSON can hold it."""
        return {"recent": list(self.recent), "strongest": self.strongest}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.recent.extend(state["recent"])
        self.strongest = state["strongest"]

    def means(self, steps: int = MEMORY) -> Report:
        """Mean of every number over the last steps, of MEMORY at most."""
        reports = list(self.recent)[-steps:]
        names = sorted({name for report in reports for name in report})
        return {name: float(np.mean([report[name] for report in reports if name in report])) for name in names}

    def diagnose(self, diversity: Report) -> dict[str, str]:
        """The illnesses that the last steps and the generator's present `diversity` show: name → words with a hint."""
        illnesses = {}
        if len(self.recent) == MEMORY:
            real, fake = self._mean("d_real_accuracy", MEMORY), self._mean("d_fake_accuracy", MEMORY)
            push = self._mean("adversarial_gradient", SMOOTHING)
            if min(real, fake) >= WON and push < VANISHED * self.strongest:
                illnesses["discriminator won"] = (
                    f"the discriminator has won: it is right on {real:.0%} of clean and {fake:.0%} of enhanced windows,"
                    f" and its gradient, before any balancing, has shrunk to {push / self.strongest:.1%} of its best;"
                    " lower its learning rate, or set adversarial.r1_weight or adversarial.instance_noise"
                )
            swings = self.swings()
            if swings >= SWINGS:
                illnesses["oscillation"] = (
                    f"the networks chase each other: which candidates the discriminator prefers turned over {swings}"
                    f" times in {MEMORY} steps; lower both learning rates or set adversarial.r1_weight"
                )
        if diversity.get("z_effect", 1.0) < IGNORED:
            illnesses["z ignored"] = (
                f"the generator ignores z: another z changes its output by {diversity['z_effect']:.2%} alone;"
                " harmless for denoising, where one answer is right; set model.generator.latent_channels=0 to save it"
            )
        if diversity.get("spread", 1.0) < ALIKE:
            illnesses["mode collapse"] = (
                "the generator repeats itself: its outputs for different inputs differ by"
                f" {diversity['spread']:.1%} of what unlike sounds do; set adversarial.unrolled_steps, another"
                " adversarial.objective or a lower adversarial.weight"
            )
        return illnesses

    def swings(self) -> int:
        """How often the sign of the discriminator's separation turned over, between clear leads of either side."""
        series = np.array([report["d_separation"] for report in self.recent if "d_separation" in report])
        if len(series) < SMOOTHING:
            return 0
        smooth = np.convolve(series, np.ones(SMOOTHING) / SMOOTHING, "valid")
        leads = np.sign(smooth[np.abs(smooth) > SWING])
        return int(np.count_nonzero(np.diff(leads)))

    def _mean(self, name: str, steps: int) -> float:
        values = [report[name] for report in list(self.recent)[-steps:] if name in report]
        return float(np.mean(values)) if values else 0.0


def diversity(generate: Callable[[Tensor | None], Tensor], latents: tuple[Tensor | None, Tensor | None]) -> Report:
    """How much the outputs [B, …] of `generate` differ from example to example and, for two z, over z.

    `spread` is the RMS difference between neighbours in the batch over √2 of the outputs' RMS: 1 for outputs that have
    nothing in common, 0 for equal ones. `z_effect` is the RMS difference between two z over the outputs' RMS.
    """
    with torch.no_grad():
        first = generate(latents[0])
        level = max(rms(first), 1e-12)
        report = {"spread": rms(first - first.roll(1, 0)) / (math.sqrt(2) * level)}
        if latents[1] is not None:
            report["z_effect"] = rms(first - generate(latents[1])) / level
    return report


def rms(x: Tensor) -> float:
    """Root of the mean square."""
    return float(x.square().mean().sqrt())
