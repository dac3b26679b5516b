"""`segan evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from segan_cli.evaluate import Row

LABELS = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "si_sdr_db": "SI-SDR (dB)"}


@click.command()
@click.option("--noisy", required=True, type=click.Path(path_type=Path), help="Folder of noisy files.")
@click.option("--clean", required=True, type=click.Path(path_type=Path), help="Folder of clean files, same names.")
@click.option("--enhanced", type=click.Path(path_type=Path), help="Folder of enhanced files, same names.")
@click.option("--model", help="Shipped model or model file that enhances the noisy files.")
@click.option("--json", "as_json", is_flag=True, help="Print summary and every file's scores as JSON.")
def evaluate(noisy: Path, clean: Path, enhanced: Path | None, model: str | None, as_json: bool) -> None:
    """Score noisy and enhanced speech against clean speech: wide-band PESQ, STOI and SI-SDR.

    Files are paired by name. Without --enhanced and --model only the noisy files are scored.

    \b
    Example:
      segan evaluate --noisy test/noisy --clean test/clean --model default
    """
    if enhanced and model:
        raise click.UsageError("--enhanced and --model exclude each other.")
    from segan_cli.cli.console import progress_bar
    from segan_cli.evaluate import evaluate as run
    from segan_cli.evaluate import to_json

    enhancer = None
    if model:
        from segan_cli.checkpoint import find_model, load_model
        from segan_cli.enhance import Enhancer

        enhancer = Enhancer(load_model(find_model(model)))
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None, note="")
        rows = run(noisy, clean, enhanced, enhancer, lambda total: bar.update(task, advance=1, total=total))
    about = {"noisy": str(noisy), "clean": str(clean), "enhanced": str(enhanced) if enhanced else None, "model": model}
    if as_json:
        click.echo(to_json(rows, about))
    else:
        print_table(rows)


def print_table(rows: "list[Row]") -> None:
    """Print one line per system: means over the defined scores, with the number of undefined ones beside."""
    from rich.table import Table

    from segan_cli.cli.console import results
    from segan_cli.evaluate import summarise

    table = Table(title=f"Means over {len(rows)} pairs")
    table.add_column("system")
    for label in LABELS.values():
        table.add_column(label, justify="right")
    for system, scores in summarise(rows).items():
        cells = []
        for name in LABELS:
            value, undefined = scores[name]["mean"], scores[name]["undefined"]
            cell = "undefined" if value is None else f"{value:.3f}"
            cells.append(f"{cell} ({undefined} undefined)" if undefined and value is not None else cell)
        table.add_row(system, *cells)
    results.print(table)
