"""Jobs of a source and a target each, and the check that no file is written twice or over an input."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, pairwise
from pathlib import Path

from segan_cli.remote import as_path
from segan_cli.same_file import Use, check_uses


@dataclass(frozen=True)
class Job:
    """One recording to enhance."""

    source: Path  # or STREAM
    target: Path  # or STREAM; its folder is made


class JobList:
    """Jobs in order; their names are kept as bytes, in an eighth of the memory that paths take."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self.names, self.ends = bytearray(), array("Q")
        for job in jobs:
            self.append(job)

    def append(self, job: Job) -> None:
        """Add a job at the end."""
        for path in (job.source, job.target):
            self.names += str(path).encode(errors="surrogatepass")
            self.ends.append(len(self.names))

    def __len__(self) -> int:
        return len(self.ends) // 2

    def __iter__(self) -> Iterator[Job]:
        places = pairwise(chain([0], self.ends))
        paths = (as_path(self.names[start:end].decode(errors="surrogatepass")) for start, end in places)
        return map(Job, paths, paths)

    def kept(self, flags: Sequence[int]) -> "JobList":
        """Return the jobs whose flag is not 0."""
        return self if all(flags) else JobList(compress(self, flags))


def check_paths(jobs: Iterable[Job], others: Sequence[Use] = ()) -> None:
    """Check jobs, which are iterated again to name a conflict; `others` are read or written too.

    Raises SameFileError when two outputs are the same file, or one is a file that is read.
    """

    def uses() -> Iterator[Use]:
        for job in jobs:
            yield Use(job.source, "input")
            yield Use(job.target, str(job.source), written=True)
        yield from others

    check_uses(uses)
