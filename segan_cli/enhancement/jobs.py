"""Jobs of a source and a target each, and the check that no file is written twice or over an input."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segan_cli.same_file import Use, check_uses


@dataclass(frozen=True)
class Job:
    """One recording to enhance."""

    source: Path  # or STREAM
    target: Path  # or STREAM
    make_folder: bool = False  # create the folder of the target


def check_paths(jobs: Iterable[Job], others: Sequence[Use] = ()) -> int:
    """Return the number of jobs, which are iterated again to name a conflict; `others` are read or written too.

    Raises SameFileError when two outputs are the same file, or one is a file that is read.
    """

    def uses() -> Iterator[Use]:
        for job in jobs:
            yield Use(job.source, "input")
            yield Use(job.target, str(job.source), written=True)
        yield from others

    return (check_uses(uses) - len(others)) // 2
