"""The loop: steps, validations, checkpoints."""

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segan_cli.checkpoint import Model, save_model
from segan_cli.data.mixing import Source
from segan_cli.enhance import Enhancer
from segan_cli.errors import TrainingError
from segan_cli.metrics import MEASURES, mean, measure_all
from segan_cli.training.adversary import Report
from segan_cli.training.health import diversity
from segan_cli.training.state import TrainState
from segan_cli.training.step import draw_windows, pesq_judge, train_step

Array = NDArray[np.float32]
Scores = dict[str, float | None]

DIVERSITY_WINDOWS = 4  # on which the generator's diversity is measured


@dataclass(frozen=True)
class Checkup:
    """What a validation found."""

    scores: Scores  # means over the validation utterances
    signs: Report  # means of the steps since the last one, and the generator's diversity
    illnesses: dict[str, str]  # name → what is wrong and what to do


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
    report: Callable[[int, Report, Checkup | None], None],
) -> None:
    """Train to the last step, validating and saving `last.pt`, `best.safetensors` and `log.jsonl` in the run folder.

    `report` hears of every step, and of the check-up at each validation. Raises TrainingError when a loss or a gradient
    is not finite; the checkpoints before stay.
    """
    config = state.training
    if state.step == 0 and state.model.discriminator.norm == "virtual":
        noisy, clean = draw_windows(source, state.rng, config.reference_windows, state.model)
        state.discriminator.set_reference(clean, noisy)
    judge = pesq_judge(pool) if config.adversarial.objective == "metricgan" else None
    health = state.health

    def draw() -> tuple[Tensor, Tensor]:
        return draw_windows(source, state.rng, config.batch_size, state.model)

    while state.step < config.steps:
        checkup, variety = None, None
        due = (state.step + 1) % config.validate_every == 0 or state.step + 1 == config.steps
        try:
            numbers = train_step(state, draw, judge)
            if due:
                variety = measure_diversity(state, source)
        except TrainingError as error:
            kept = f"; {run / 'last.pt'} keeps the last good state" if (run / "last.pt").exists() else ""
            raise TrainingError(f"{error}{kept}") from error
        health.observe(numbers)
        if variety is not None:
            provenance: dict[str, Any] = {"runs": state.history, "steps": state.step}
            model = Model(state.average, state.model, provenance)
            scores = provenance["validation"] = validate(Enhancer(model), validation, pool)
            pesq = -math.inf if scores["pesq_wb"] is None else scores["pesq_wb"]
            if pesq > state.best or not (run / "best.safetensors").exists():
                state.best = pesq
                save_model(run / "best.safetensors", model)
            checkup = Checkup(scores, {**health.summary(), **variety}, health.diagnose(variety))
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                line = {"step": state.step, **checkup.signs, **scores, "illnesses": list(checkup.illnesses)}
                log.write(json.dumps(line, allow_nan=False) + "\n")
            state.save(run / "last.pt")
        report(state.step, numbers, checkup)


def measure_diversity(state: TrainState, source: Source) -> Report:
    """Diversity of the generator on windows and z of their own, the same at every call.

    Raises TrainingError when its output is not finite.
    """
    rng = np.random.default_rng(state.training.seed)
    noisy, _ = draw_windows(source, rng, DIVERSITY_WINDOWS, state.model)
    first, second = (state.generator.draw_latent(rng, len(noisy), state.model.window) for _ in range(2))
    report = diversity(lambda z: state.generator(noisy, z), (first, second))
    if not all(map(math.isfinite, report.values())):
        raise TrainingError(f"step {state.step}: the generator's output is not finite; lower the learning rates")
    return report
