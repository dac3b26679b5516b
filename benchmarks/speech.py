"""Train each family and each adversarial objective on speech for the same steps, data and seed, and compare.

python benchmarks/speech.py --data clean/ --noise noise/ --valid-data valid/ --valid-noise valid-noise/ --run runs/s

Rows that the results hold already, with the same budget, are not trained again. Writes benchmarks/results/speech.json
and the tables in docs/adversarial.md.
"""

import argparse
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import report
import torch

from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS, scaled
from segan_cli.config.training import AdversarialConfig, DataConfig, MixingConfig, ObjectiveName, TrainingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.mixing import NoisyClean, draw_utterances
from segan_cli.data.training_data import TrainingData, load_training_data
from segan_cli.measures.catalog import CORE, measure_all
from segan_cli.measures.score import mean
from segan_cli.process.workers import worker_pool
from segan_cli.training.log import Throughput
from segan_cli.training.loop import train
from segan_cli.training.state import TrainState

FAMILIES = {  # of one class of width: 256 channels in the thought vector
    "segan (width 0.25)": scaled(PRESETS["segan"], 0.25),
    "segan-plus (width 0.25)": scaled(PRESETS["segan-plus"], 0.25),
    "segan-dilated (width 0.25)": scaled(PRESETS["segan-dilated"], 0.25),
}
SHARE = 0.2  # gradient_share, so that objectives differ by the direction of their gradients and not by their scale
GATED = PRESETS["segan-gated"]
REMEDIES = {
    "least-squares, R1 1": AdversarialConfig(r1_weight=1.0),
    "least-squares, spectral norm": AdversarialConfig(),
    "least-squares, mismatched 0.5": AdversarialConfig(mismatched_share=0.5),
    "least-squares, instance noise 0.05": AdversarialConfig(instance_noise=0.05),
}


def rows() -> dict[str, tuple[ModelConfig, AdversarialConfig, int]]:
    """Model, adversarial config and seed of every row: segan-gated by objective, another seed, other families."""
    normed = replace(GATED, discriminator=replace(GATED.discriminator, spectral_norm=True))
    games = {
        "no adversary": AdversarialConfig(weight=0.0),
        **{name: AdversarialConfig(objective=name) for name in get_args(ObjectiveName)},
        **REMEDIES,
    }
    return {
        **{name: (normed if "spectral" in name else GATED, game, 0) for name, game in games.items()},
        **{f"{name}, seed 1": (GATED, games[name], 1) for name in ("no adversary", "least-squares")},
        **{name: (model, AdversarialConfig(), 0) for name, model in FAMILIES.items()},
    }


class Notes:
    """Keeps scores, metrics and failure modes of a training run."""

    def __init__(self) -> None:
        self.scores: dict[str, float | None] = {}
        self.metrics: dict[str, float] = {}
        self.failure_modes: set[str] = set()

    def on_step(self, step: int, metrics: dict[str, float], throughput: Throughput) -> None:
        """Does nothing."""

    def on_validation_start(self, step: int) -> None:
        """Does nothing."""

    def on_diagnostics(self, step: int, metrics: dict[str, float], failure_modes: dict[str, str]) -> None:
        """Keep the last metrics and every failure mode."""
        self.metrics = metrics
        self.failure_modes |= set(failure_modes)

    def on_validation(
        self, step: int, scores: dict[str, float | None], noisy: dict[str, float | None], best: bool
    ) -> None:
        """Keep the last scores."""
        self.scores = scores


def mixes(sources: TrainingData, n: int) -> list[NoisyClean]:
    """The validation utterances of every row, the same for every seed."""
    return [sources.validation.render(spec) for spec in draw_utterances(sources.validation, n, 0)]


def run_row(model: ModelConfig, config: TrainingConfig, sources: TrainingData, run: Path) -> dict[str, Any]:
    """Train and score one row; returns its scores, last metrics, failure modes, time and cost."""
    run.mkdir(parents=True, exist_ok=True)
    notes, began = Notes(), time.monotonic()
    with worker_pool() as pool:
        train(TrainState(model, config), sources.training, mixes(sources, config.validation_mixes), run, pool, notes)
    return {
        **{name: notes.scores[name] for name in CORE},
        "health": notes.metrics,
        "failure_modes": sorted(notes.failure_modes),
        "seconds": round(time.monotonic() - began),
        "parameters": model.generator_weights,
        "macs_per_second": model.macs_per_second,
    }


def folders(description: str) -> argparse.ArgumentParser:
    """A parser of the options that name the folders of a training on speech."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--noise", "--valid-data", "--valid-noise", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def open_folders(arguments: argparse.Namespace) -> TrainingData:
    """The audio in the folders that the options name, decoded into a cache in the run folder."""
    data = DataConfig(
        speech=(str(arguments.data),),
        noise=(str(arguments.noise),),
        valid_speech=(str(arguments.valid_data),),
        valid_noise=(str(arguments.valid_noise),),
    )
    return load_training_data(data, MixingConfig(), 0, Cache(arguments.run / "cache", 16_000))


def noisy_scores(validation: Sequence[NoisyClean]) -> dict[str, float | None]:
    """Mean scores of the noisy utterances themselves."""
    with worker_pool() as pool:
        scores = list(pool.map(measure_all, *zip(*((clean, noisy) for noisy, clean in validation), strict=True)))
    return {name: mean([row[name] for row in scores]) for name in CORE}


def main() -> None:
    """Train what is missing, write the tables."""
    parser = folders(__doc__ or "")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", action="append", help="a row's name; repeatable")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    base = TrainingConfig(steps=arguments.steps, log_every=arguments.steps, validate_every=arguments.steps)
    base = replace(base, validation_mixes=32)
    sources = open_folders(arguments)
    results = report.load("speech")
    budget = {
        "steps": base.steps,
        "batch_size": base.batch_size,
        "share": SHARE,
        "data": [f"{f.utterances} files, {f.seconds / 3600:.2f} h of {f.kind}" for f in sources.corpora[:2]],
    }
    if results.get("budget") != budget:
        results = {"budget": budget, "noisy": noisy_scores(mixes(sources, base.validation_mixes))}
    for name, (model, game, seed) in rows().items():
        if name in results or (arguments.only and name not in arguments.only):
            continue
        config = replace(base, seed=seed, adversarial=replace(game, gradient_share=SHARE))
        results[name] = run_row(model, config, sources, arguments.run / re.sub(r"[^a-z0-9]+", "-", name.lower()))
        report.save("speech", results)
        print(name, results[name], flush=True)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown tables of families and of objectives."""

    def scores(name: str) -> list[str]:
        row = results[name]
        return [f"{row['pesq_wb']:.3f}", f"{row['stoi']:.3f}", f"{row['si_sdr_db']:.2f}"]

    def health(name: str) -> list[str]:
        row = results[name]["health"]
        if "adversarial_gradient" not in row:
            return ["", "", ""]
        share = row["adversarial_gradient"] / row["reconstruction_gradient"]
        right = [f"{row[side]:.0%}" for side in ("d_real_accuracy", "d_fake_accuracy") if name != "metricgan"]
        return [*(right or ["", ""]), f"{share:.1g}"]

    families = [["noisy", "", "", *scores("noisy"), ""]]
    for name in (*FAMILIES, "least-squares"):
        row = results[name]
        cost = [f"{row['parameters'] / 1e6:.2f} M", f"{row['macs_per_second'] / 1e9:.2f} G"]
        families.append(
            ["segan-gated" if name == "least-squares" else name, *cost, *scores(name), f"{row['seconds']} s"]
        )
    objectives = [
        [name, *scores(name), *health(name), f"{results[name]['seconds']} s"] for name in rows() if name not in FAMILIES
    ]
    return {
        "speech families": report.table(
            ["family, least squares", "weights", "MACs/s", "PESQ-WB", "STOI", "SI-SDR (dB)", "wall"], families
        ),
        "speech objectives": report.table(
            ["objective, segan-gated", "PESQ-WB", "STOI", "SI-SDR (dB)", "right on clean", "right on enhanced",
             "gradient at weight 1", "wall"],
            objectives,
        ),
    }  # fmt: skip


if __name__ == "__main__":
    main()
