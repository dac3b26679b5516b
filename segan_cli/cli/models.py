"""`segan models`."""

from dataclasses import asdict, dataclass

import click

from segan_cli.config.presets import PRESETS
from segan_cli.plain_json import write_json


@dataclass(frozen=True)
class Line:
    """What there is to say of a preset, or of the shipped model that was trained from it."""

    name: str
    shipped: bool
    default: bool
    parameters: int  # of the generator
    discriminator_parameters: int
    macs_per_second: float  # multiply-accumulates for a second of audio, overlap included
    receptive_field: int | None  # samples of the input that a frame in the middle covers; none: all of a window
    field_of_view_s: float | None
    bytes: int | None  # of the shipped file
    scores: dict[str, float] | None  # on the benchmark that the index names
    benchmark: str | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def models(as_json: bool) -> None:
    """List the presets that segan train takes and the models that segan enhance comes with.

    The cost of each is that of its generator: weights, multiply-accumulate operations (MACs) for a second of audio with
    the overlap of windows, and the receptive field of its thought vector.

    \b
    Example:
      segan models
    """
    from segan_cli.cli.console import print_json, print_table, say

    lines = survey()
    if as_json:
        print_json(write_json([asdict(line) for line in lines], indent=2))
        return
    rows = []
    for line in lines:
        scores = line.scores or {}
        rows.append([
            line.name + " *" * line.default,
            f"{line.parameters / 1e6:.2f} M",
            f"{line.macs_per_second / 1e9:.2f} G",
            f"{line.field_of_view_s * 1e3:.0f} ms" if line.field_of_view_s else "window",
            f"{line.bytes / 1e6:.1f} MB" if line.bytes else "",
            *(f"{scores[name]:.3f}" if name in scores else "" for name in ("pesq_wb", "stoi", "si_sdr_db")),
        ])  # fmt: skip
    print_table("", ["model"], ["weights", "MACs/s", "view", "file", "PESQ-WB", "STOI", "SI-SDR"], rows)
    for line in lines:
        if line.benchmark:
            say(f"{line.name}{' (* the default)' * line.default}: scores on {line.benchmark}.")


def survey() -> list[Line]:
    """All presets in their order, each with the model that is shipped under its name, and other shipped models."""
    from segan_cli.backends.pretrained import find_model, shipped_models
    from segan_cli.networks.checkpoint import load_model
    from segan_cli.networks.summary import macs_per_second, weights

    default, shipped = shipped_models()
    lines = []
    for name in [*PRESETS, *(name for name in shipped if name not in PRESETS)]:
        entry = shipped.get(name)
        path = find_model(name) if entry else None
        model = load_model(path).config if path else PRESETS[name]
        generator, discriminator = weights(model)
        means = entry["benchmark"]["enhanced"] if entry else {}
        view = model.generator.receptive_field()
        lines.append(
            Line(
                name=name,
                shipped=entry is not None,
                default=name == default,
                parameters=generator,
                discriminator_parameters=discriminator,
                macs_per_second=macs_per_second(model),
                receptive_field=view,
                field_of_view_s=view / model.sample_rate_hz if view else None,
                bytes=path.stat().st_size if path else None,
                scores={measure: score["mean"] for measure, score in means.items()} or None,
                benchmark=entry["benchmark"]["set"] if entry else None,
            )
        )
    return lines
