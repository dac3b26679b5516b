"""`segan export`."""

from pathlib import Path

import click

from segan_cli.cli.options import MODEL, PATH, flag, option
from segan_cli.errors import ConfigError
from segan_cli.storage.atomic import check_place
from segan_cli.storage.same_file import Use, check_uses
from segan_cli.system import require_extra


@click.command()
@click.argument("model", type=MODEL)
@option("-o --output FILE.onnx", "File to write.", PATH, required=True)
@flag("--half", "Store large weights as float16 to halve the file size.")
@flag("-y --force", "Overwrite an existing file.")
def export(model: str, output: Path, half: bool, force: bool) -> None:
    """Export a model to ONNX.

    MODEL is a shipped model or a file written by segan train. The graph maps `noisy` [n, 1, 16384] at 16 kHz to
    `enhanced` of the same shape. It does not include pre-emphasis and de-emphasis (pre_emphasis) or the level
    normalisation of each segment (input_rms); their values are in the config in the metadata. The graph of a causal
    model such as segan-live maps `spectra` and `state` to `mask` and `next_state`, frame by frame.

    \b
    Example:
      segan export runs/first/best.safetensors -o mine.onnx
      segan enhance noisy.wav -o clean.wav --model mine.onnx
    """
    from segan_cli.backends.pretrained import check_model, find_model, model_files

    check_model(model, onnx=False)
    require_extra("export", "segan export")
    if output.suffix != ".onnx":
        raise ConfigError(f"{output}: the file name must end in .onnx")
    check_place(output, force)
    from segan_cli.backends.export import export as write_onnx
    from segan_cli.cli.console import say, stderr_console
    from segan_cli.networks.checkpoint import load_model
    from segan_cli.process.stopping import RaiseOnSignal, listening

    uses = [*(Use(path, "model") for path in model_files(model)), Use(output, "--output", written=True)]
    check_uses(lambda: uses)
    loaded = load_model(find_model(model))
    with listening(RaiseOnSignal()), stderr_console.status("exporting and comparing with torch"):
        difference = write_onnx(loaded, output, half)
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB, largest difference from torch {difference:.1e}")
