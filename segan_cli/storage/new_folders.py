"""Folders that a command creates for its output."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents if possible, and remove those created here at the end if they are empty."""
    made: list[Path] = []
    with suppress(OSError):  # who writes to it reports why it cannot be created
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                with suppress(FileExistsError):  # another process was faster
                    place.mkdir()
                    made.append(place)
    try:
        yield
    finally:
        with suppress(OSError):  # not empty
            for place in reversed(made):
                place.rmdir()
