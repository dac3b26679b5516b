"""`segan enhance`."""

from pathlib import Path

import click

from segan_cli.errors import AudioError


@click.command()
@click.argument("noisy", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--model", default="default", show_default=True, help="Shipped model or a file that segan train wrote.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Start of the draw of the latent z.")
@click.option("--force", is_flag=True, help="Overwrite the output if it exists.")
def enhance(noisy: Path, output: Path, model: str, seed: int, force: bool) -> None:
    """Write NOISY without its noise: same length, rate and channels.

    \b
    Example:
      segan enhance noisy.wav -o clean.wav
    """
    from segan_cli.audio import check_writable, probe

    probe(noisy)
    if output.exists() and not output.is_dir() and not force:
        raise AudioError(f"{output}: exists already; add --force to overwrite it")
    check_writable(output)

    from segan_cli.checkpoint import find_model, load_model
    from segan_cli.enhance import Enhancer

    Enhancer(load_model(find_model(model)), seed=seed).enhance_file(noisy, output)
