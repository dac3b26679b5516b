"""`segan-dilated` without its dilation or its skip connections, over several seeds: quality and its spread.

python benchmarks/ablation.py --data clean/ --noise noise/ --valid-data valid/ --valid-noise valid-noise/ --run runs/a

Runs that the results hold already, with the same budget, are not trained again. Writes benchmarks/results/ablation.json
and the table in docs/adversarial.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import report
import torch
from speech import SHARE, folders, mixes, noisy_scores, open_folders, run_row

from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.training import AdversarialConfig, TrainingConfig
from segan_cli.data.loader import draw_extra
from segan_cli.data.training_data import TrainingData
from segan_cli.training.batch import deemphasise, prepare
from segan_cli.training.loop import sampling_plan
from segan_cli.training.state import TrainState
from segan_cli.training.step import train_step

DILATED = scaled(PRESETS["segan-dilated"], 0.25)
OVERFIT_STEPS = 200
SCORES = {"pesq_wb": ("PESQ-WB", 3), "stoi": ("STOI", 3), "si_sdr_db": ("SI-SDR (dB)", 2)}


def changed(**fields: Any) -> ModelConfig:
    """`segan-dilated` at a quarter of its width with other fields of its generator."""
    return replace(DILATED, generator=replace(DILATED.generator, **fields))


MODELS = {
    "dilated": DILATED,
    "not dilated": changed(dilations=(1,) * 5),
    "dilated, no skips": changed(skip_merge="none"),
}


def overfit(model: ModelConfig, seed: int, sources: TrainingData) -> dict[str, float]:
    """L1 after training on the same few segments without an adversary, and that of the noisy segments themselves."""
    config = TrainingConfig(
        steps=OVERFIT_STEPS, batch_size=4, optimizer="adamw", generator_learning_rate=2e-3, warmup_steps=10, seed=seed,
        adversarial=AdversarialConfig(weight=0.0),
    )  # fmt: skip
    state = TrainState(model, config)
    drawn = draw_extra(
        sources.training, sampling_plan(config, model.segment_length, state.processes), config.batch_size
    )
    batch = prepare(state, *drawn)
    noisy, clean = (deemphasise(side, model.pre_emphasis) for side in (batch.noisy, batch.clean))
    losses = [train_step(state, lambda: batch)["l1"] for _ in range(config.steps)]
    return {"l1": float(np.mean(losses[-10:])), "noisy": float((noisy - clean).abs().mean())}


def main() -> None:
    """Train what is missing, write the table."""
    parser = folders(__doc__ or "")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sources = open_folders(arguments)
    game = AdversarialConfig(gradient_share=SHARE)
    base = TrainingConfig(
        steps=arguments.steps, warmup_steps=arguments.steps // 5, log_every=arguments.steps, adversarial=game,
        validate_every=arguments.steps, validation_mixes=32,
    )  # fmt: skip
    results = report.load("ablation")
    budget = {"steps": base.steps, "batch_size": base.batch_size, "share": SHARE}
    if results.get("budget") != budget:
        noisy = noisy_scores(mixes(sources, base.validation_mixes))
        results = {"budget": budget, "noisy": noisy, **{name: {} for name in MODELS}}
    for seed in map(str, range(arguments.seeds)):  # every model once before any twice
        for number, (name, model) in enumerate(MODELS.items()):
            if seed not in results[name]:
                config = replace(base, seed=int(seed))
                results[name][seed] = run_row(model, config, sources, arguments.run / f"{number}-{seed}")
                report.save("ablation", results)
                print(name, seed, results[name][seed], flush=True)
            few = results.setdefault(f"{name}, overfit", {})
            if seed not in few:
                few[seed] = overfit(model, int(seed), sources)
                report.save("ablation", results)
                print(name, seed, few[seed], flush=True)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown table: mean over seeds, and the lowest and the highest score."""

    def cell(values: Sequence[float], digits: int) -> str:
        low, mean, high = (f"{value:.{digits}f}" for value in (min(values), float(np.mean(values)), max(values)))
        return mean if len(values) == 1 else f"{mean} ({low} … {high})"

    noisy = [cell([results["noisy"][name]], digits) for name, (_, digits) in SCORES.items()]
    lines = [["noisy", "", "", *noisy, "100 %"]]
    for name, model in MODELS.items():
        cost = [f"{model.generator_weights / 1e6:.2f} M", f"{model.macs_per_second / 1e9:.3f} G"]
        runs = results[name].values()
        scores = [cell([run[key] for run in runs], digits) for key, (_, digits) in SCORES.items()]
        again = results[f"{name}, overfit"].values()
        share = cell([100 * run["l1"] / run["noisy"] for run in again], 0)
        lines.append([name, *cost, *scores, f"{share} %"])
    headings = ["generator", "weights", "MACs/s", *(heading for heading, _ in SCORES.values()), "L1 left, 4 segments"]
    return {"ablation": report.table(headings, lines)}


if __name__ == "__main__":
    main()
