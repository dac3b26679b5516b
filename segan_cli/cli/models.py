"""`segan models`."""

from dataclasses import asdict, dataclass

import click

from segan_cli.config.presets import PRESETS
from segan_cli.plain_json import write_json


@dataclass(frozen=True)
class ModelSummary:
    """Cost of a preset, and scores of the shipped model trained from it."""

    name: str
    shipped: bool
    default: bool
    parameters: int  # of the generator
    discriminator_parameters: int
    macs_per_second: float  # multiply-accumulates per second of audio, including overlap
    receptive_field: int | None  # samples; None: the whole segment
    field_of_view_s: float | None
    bytes: int | None  # of the shipped file
    scores: dict[str, float] | None  # on the benchmark
    benchmark: str | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def models(as_json: bool) -> None:
    """List presets and shipped models with their cost and scores.

    The cost is that of the generator: weights, multiply-accumulates (MACs) per second of audio including overlap, and
    receptive field.

    \b
    Example:
      segan models
    """
    from segan_cli.cli.console import print_json, print_table, say

    summaries = summarise_models()
    if as_json:
        print_json(write_json([asdict(summary) for summary in summaries], indent=2))
        return
    rows = []
    for summary in summaries:
        scores = summary.scores or {}
        rows.append([
            summary.name + " *" * summary.default,
            f"{summary.parameters / 1e6:.2f} M",
            f"{summary.macs_per_second / 1e9:.2f} G",
            f"{summary.field_of_view_s * 1e3:.0f} ms" if summary.field_of_view_s else "segment",
            f"{summary.bytes / 1e6:.1f} MB" if summary.bytes else "",
            *(f"{scores[name]:.3f}" if name in scores else "" for name in ("pesq_wb", "stoi", "si_sdr_db")),
        ])  # fmt: skip
    headings = ["weights", "MACs/s", "receptive field", "file", "PESQ-WB", "STOI", "SI-SDR"]
    print_table("", ["model"], headings, rows)
    for summary in summaries:
        if summary.benchmark:
            say(f"{summary.name}{' (*, the default)' * summary.default}: scores on {summary.benchmark}.")


def summarise_models() -> list[ModelSummary]:
    """All presets, with the shipped model of the same name if there is one, then other shipped models."""
    from segan_cli.backends.pretrained import find_model, shipped_models
    from segan_cli.networks.checkpoint import load_model
    from segan_cli.networks.summary import macs_per_second, weights

    default, shipped = shipped_models()
    summaries = []
    for name in [*PRESETS, *(name for name in shipped if name not in PRESETS)]:
        entry = shipped.get(name)
        path = find_model(name) if entry else None
        model = load_model(path).config if path else PRESETS[name]
        generator, discriminator = weights(model)
        statistics = entry["benchmark"]["enhanced"] if entry else {}
        receptive_field = model.generator.receptive_field()
        summaries.append(
            ModelSummary(
                name=name,
                shipped=entry is not None,
                default=name == default,
                parameters=generator,
                discriminator_parameters=discriminator,
                macs_per_second=macs_per_second(model),
                receptive_field=receptive_field,
                field_of_view_s=receptive_field / model.sample_rate_hz if receptive_field else None,
                bytes=path.stat().st_size if path else None,
                scores={measure: summary["mean"] for measure, summary in statistics.items()} or None,
                benchmark=entry["benchmark"]["set"] if entry else None,
            )
        )
    return summaries
