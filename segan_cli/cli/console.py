"""All that commands print goes through here; results to standard output, everything else to standard error.

Names and metadata are of others: every text is made printable here and nowhere else, and none is taken for markup.
"""

from collections.abc import Sequence
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from segan_cli.printable import one_line, printable

stderr_console = Console(stderr=True)
results = Console()


class Words(ProgressColumn):
    """A text of a task: its description, or one of its fields."""

    def __init__(self, field: str = "") -> None:
        super().__init__()
        self.field = field

    def render(self, task: Task) -> Text:
        """The text as it is."""
        return Text(printable(str(task.fields[self.field] if self.field else task.description)))


def progress_bar(shown: bool = True) -> Progress:
    """A bar with count, elapsed time, time left and a free text, on a terminal alone; it leaves no trace."""
    return Progress(
        Words(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        Words("note"),
        console=stderr_console,
        transient=True,
        disable=not (shown and stderr_console.is_terminal),
    )


def say(line: str) -> None:
    """A line to the user, above the bars."""
    stderr_console.print(Text(one_line(line)), highlight=False, soft_wrap=True)


def print_json(text: str, aside: bool = False) -> None:
    """JSON, which is ASCII, to standard output or, where samples go there, `aside`."""
    if aside:
        stderr_console.out(text, highlight=False)
    else:
        click.echo(text)


def print_table(title: str, names: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with columns of words and of numbers, to standard output."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in (*names, *numbers):
        options: dict[str, Any] = {} if heading in names else {"justify": "right"}
        table.add_column(Text(printable(heading)), no_wrap=True, **options)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if title:
        results.print(Text(printable(title)))
    results.print(table)
