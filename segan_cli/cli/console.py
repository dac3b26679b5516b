"""Progress bars and tables; results go to standard output, everything else to standard error."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
