"""All output of the commands: results to standard output, everything else to standard error.

Names and metadata are not trusted: everything printed here is escaped first, and nothing is taken for markup.
"""

import io
import os
import sys
from collections.abc import Sequence
from typing import IO, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column, Table
from rich.text import Text

from segan_cli.system import open_file_limit
from segan_cli.text import one_line, printable, write_json

for _size in ("COLUMNS", "LINES"):
    _value = os.environ.get(_size, "1")
    if not (_value.isdecimal() and len(_value) < 6 and int(_value)):  # rich prints nothing in a width of 0
        del os.environ[_size]

stderr_console = Console(stderr=True)
OTHER_FILES = 40  # open files of a process that do not belong to its jobs
TABLE_WIDTH = 10_000  # no limit


class TextColumn(ProgressColumn):
    """The description of a task, or one of its fields, never taken for markup."""

    def __init__(self, field: str = "") -> None:
        super().__init__()
        self.field = field

    def render(self, task: Task) -> Text:
        """Render the text."""
        text = printable(str(task.fields[self.field] if self.field else task.description))
        return Text(text, no_wrap=True, overflow="ellipsis")


class StatusColumn(ProgressColumn):
    """Progress in numbers: `120/800 · 3:01 left`, and for tasks with the unit s `1:58 / 30:00 · 10 × · 3:01 left`."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))  # a long name gives way

    def render(self, task: Task) -> Text:
        """Render the numbers that are known."""
        if task.fields.get("unit") == "s":
            done = duration(task.completed) + (f" / {duration(task.total)}" if task.total else "")
            parts = [done, f"{task.completed / task.elapsed:.0f} ×" if task.elapsed and task.completed else ""]
        else:
            parts = [f"{task.completed:.0f}/{task.total:.0f}" if task.total else f"{task.completed:.0f}"]
        remaining = task.time_remaining
        return Text(" · ".join(filter(None, [*parts, f"{duration(remaining)} left" if remaining else ""])))


def duration(seconds: float) -> str:
    """Format a duration as 1:58, or 2:05:11 from an hour on; below ten seconds as 3.2 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_bar(shown: bool = True) -> Progress:
    """Return a transient progress bar with numbers and a note; hidden if standard error is not a terminal."""
    columns = (TextColumn(), BarColumn(20), StatusColumn(), TextColumn("note"))
    hidden = not (shown and stderr_console.is_terminal)
    return Progress(*columns, console=stderr_console, transient=True, disable=hidden)


def standard_output() -> IO[str]:
    """Return the present standard output, for results that are printed while it is redirected."""
    return sys.stdout


def say(line: str) -> None:
    """Print a line to standard error, above the progress bars, with its indentation."""
    text = line.lstrip(" ")
    stderr_console.print(Text(" " * (len(line) - len(text)) + one_line(text)), highlight=False, soft_wrap=True)


def limit_jobs(n: int, files_each: int, quiet: bool) -> int:
    """Return how many of `n` parallel jobs the limit of open files allows, and say so if they are fewer."""
    limit = open_file_limit()
    fitting = n if limit is None else max(1, min(n, (limit - OTHER_FILES) // files_each))
    if fitting < n and not quiet:
        say(f"segan: {fitting} at a time instead of {n}, because only {limit} files may be open (ulimit -n)")
    return fitting


def print_line(text: str) -> None:
    """Print a line to standard output."""
    click.echo(one_line(text))


def print_json(value: Any, indent: int | None = None, stdout: IO[str] | None = None, to_stderr: bool = False) -> None:
    """Print a value as ASCII JSON to standard output, or with `to_stderr` to standard error."""
    text = write_json(value, indent)
    if to_stderr:
        stderr_console.out(text, highlight=False)
    else:
        click.echo(text, stdout)


def print_table(
    title: str, text_columns: Sequence[str], number_columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table to standard output, never cut, whatever the width of the terminal."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in (*text_columns, *number_columns):
        table.add_column(Text(printable(heading)), no_wrap=True, justify="left" if heading in text_columns else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(file=io.StringIO(), width=TABLE_WIDTH)
    console.print(table)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]  # StringIO
    click.echo("\n".join([*([printable(title)] if title else []), *lines, ""]))
