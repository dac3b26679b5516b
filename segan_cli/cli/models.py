"""`segan models`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from segan_cli.text import write_json

COSTS = Path(__file__).parents[1] / "config" / "costs.json"  # measured by tools/costs.py
SCORES = ("pesq_wb", "stoi", "si_sdr_db")


@dataclass(frozen=True)
class ModelSummary:
    """Cost of a preset or shipped model, and the scores of the latter."""

    name: str
    shipped: bool
    default: bool
    parameters: int  # of the generator
    discriminator_parameters: int
    macs_per_second: float  # multiply-accumulates per second of audio, including overlap
    receptive_field: int | None  # samples; None: the whole segment
    receptive_field_s: float | None
    bytes: int | None  # of the shipped file
    scores: dict[str, float] | None  # on the benchmark
    benchmark: str | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def models(as_json: bool) -> None:
    """List shipped models and presets.

    The cost is that of the generator: weights, multiply-accumulates (MACs) per second of audio including overlap, and
    receptive field. segan enhance --model takes shipped models, segan train --preset takes presets.

    \b
    Example:
      segan models
    """
    from segan_cli.cli.console import print_json, print_table, say

    summaries = summarise_models()
    if as_json:
        print_json(write_json([asdict(summary) for summary in summaries], indent=2))
        return
    shipped = [summary for summary in summaries if summary.shipped]
    rows = [[summary.name + " *" * summary.default, *cost_cells(summary), *score_cells(summary)] for summary in shipped]
    print_table("Shipped models", ["model"], ["weights", "MACs/s", "PESQ-WB", "STOI", "SI-SDR (dB)"], rows)
    rows = [
        [summary.name, *cost_cells(summary), receptive_field(summary)] for summary in summaries if not summary.shipped
    ]
    print_table("Presets", ["preset"], ["weights", "MACs/s", "receptive field"], rows)
    benchmarks = {summary.benchmark for summary in shipped if summary.benchmark}
    say(f"* is the default. Scores are on {', '.join(sorted(benchmarks))}.")


def cost_cells(summary: ModelSummary) -> list[str]:
    """Format the cost of a model."""
    return [f"{summary.parameters / 1e6:.2f} M", f"{summary.macs_per_second / 1e9:.2f} G"]


def score_cells(summary: ModelSummary) -> list[str]:
    """Format the scores of a shipped model."""
    scores = summary.scores or {}
    return [f"{scores[name]:.3f}" if name in scores else "" for name in SCORES]


def receptive_field(summary: ModelSummary) -> str:
    """Format the receptive field."""
    return f"{summary.receptive_field_s * 1e3:.0f} ms" if summary.receptive_field_s else "segment"


def summarise_models() -> list[ModelSummary]:
    """Summarise all shipped models, then all presets."""
    from segan_cli.backends.pretrained import find_model, shipped_models

    default, entries = shipped_models()
    summaries = []
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    for kind in ("shipped", "presets"):
        for name, cost in costs[kind].items():
            entry = entries[name] if kind == "shipped" else None
            field, rate_hz = cost["receptive_field"], cost.pop("sample_rate_hz")
            statistics = entry["benchmark"]["enhanced"] if entry else {}
            summaries.append(
                ModelSummary(
                    name=name,
                    shipped=entry is not None,
                    default=entry is not None and name == default,
                    **cost,
                    receptive_field_s=field / rate_hz if field else None,
                    bytes=find_model(name).stat().st_size if entry else None,
                    scores={measure: values["mean"] for measure, values in statistics.items()} or None,
                    benchmark=entry["benchmark"]["set"] if entry else None,
                )
            )
    return summaries
