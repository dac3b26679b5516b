"""`segan export`."""

from pathlib import Path

import click

from segan_cli.atomic import check_place
from segan_cli.errors import ConfigError

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model")
@click.option("-o", "--output", required=True, type=PATH, metavar="FILE.onnx", help="File to write.")
@click.option("--half", is_flag=True, help="Store large weights as float16, for a smaller file.")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def export(model: str, output: Path, half: bool, force: bool) -> None:
    """Write a model as ONNX, for segan enhance without torch, and for other programs.

    MODEL is a shipped model's name or a file that segan train wrote. The graph takes `noisy` [n, 1, 16384] at 16 kHz
    and gives `enhanced` of the same shape. Outside it stay what the config in the metadata names: pre_emphasis before
    and its inverse after, and input_rms, the level that each window is brought to and back from.

    \b
    Example:
      segan export runs/first/best.safetensors -o mine.onnx
      segan enhance noisy.wav -o clean.wav --model mine.onnx
    """
    if output.suffix != ".onnx":
        raise ConfigError(f"{output}: give a name that ends in .onnx")
    check_place(output, force)
    from segan_cli.backends.export import export as write
    from segan_cli.backends.pretrained import find_model
    from segan_cli.cli.console import say
    from segan_cli.networks.checkpoint import load_model
    from segan_cli.stopping import Leave, listening

    loaded = load_model(find_model(model))
    with listening(Leave()):
        difference = write(loaded, output, half)
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB, differs from torch by {difference:.1e}")
