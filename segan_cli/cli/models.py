"""`segan models`."""

from typing import Any, get_args

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def models(as_json: bool) -> None:
    """List shipped models and presets.

    Costs are those of the generator: weights, multiply-accumulates (MACs) per second of audio including overlap, and
    receptive field. Use shipped models with segan enhance --model, and presets with segan train --preset.

    \b
    Example:
      segan models
    """
    from segan_cli.cli.console import print_json, print_table, say
    from segan_cli.config.training import ValidationScore

    summaries = summarise_models()
    if as_json:
        print_json(summaries, indent=2)
        return
    tables: dict[bool, list[list[str]]] = {True: [], False: []}  # rows of shipped models and of presets
    for each in summaries:
        field_s, scores = each["receptive_field_s"], each["scores"] or {}
        shown = [f"{scores[name]:.3f}" if name in scores else "" for name in get_args(ValidationScore)]
        shown = shown if each["shipped"] else [f"{field_s * 1e3:.0f} ms" if field_s else "segment"]
        cost = [f"{each['parameters'] / 1e6:.2f} M", f"{each['macs_per_second'] / 1e9:.2f} G"]
        tables[each["shipped"]].append([each["name"] + " *" * each["default"], *cost, *shown])
    print_table("Shipped models", ["model"], ["weights", "MACs/s", "PESQ-WB", "STOI", "SI-SDR (dB)"], tables[True])
    print_table("Presets", ["preset"], ["weights", "MACs/s", "receptive field"], tables[False])
    say(f"* is the default. Scores are for {', '.join(sorted({each['benchmark'] for each in summaries} - {None}))}.")


def summarise_models() -> list[dict[str, Any]]:
    """Return costs and scores of all shipped models, then the costs of all presets; None is for what they lack.

    Parameters are those of the generator, multiply-accumulates include overlapping segments, and a receptive field of
    None is the whole segment.
    """
    from segan_cli.backends.pretrained import find_model, shipped_models
    from segan_cli.config.presets import PRESETS

    default, entries = shipped_models()
    summaries = []
    for name, entry in [*entries.items(), *dict.fromkeys(PRESETS).items()]:
        model = PRESETS[entry["preset"] if entry else name]
        field = model.generator.receptive_field()
        statistics = entry["benchmark"]["enhanced"] if entry else {}
        summaries.append({
            "name": name,
            "shipped": entry is not None,
            "default": entry is not None and name == default,
            "parameters": model.generator_weights,
            "macs_per_second": model.macs_per_second,
            "receptive_field": field,
            "receptive_field_s": field / model.sample_rate_hz if field else None,
            "bytes": find_model(name).stat().st_size if entry else None,
            "scores": {measure: values["mean"] for measure, values in statistics.items()} or None,
            "benchmark": entry["benchmark"]["set"] if entry else None,
        })  # fmt: skip
    return summaries
