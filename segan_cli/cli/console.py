"""Progress bars and tables; results go to standard output, everything else to standard error."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

talk = Console(stderr=True)
results = Console()


def progress_bar(shown: bool = True) -> Progress:
    """A bar with count, elapsed time, time left and a free text, on a terminal alone; it leaves no trace."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=talk,
        transient=True,
        disable=not (shown and talk.is_terminal),
    )


def result_table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """An empty table with columns of words and of numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in names:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
