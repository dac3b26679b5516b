"""Folders that a command creates for its outputs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segan_cli.storage.remote import is_remote


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder, its parents and its subfolders at the end if they are empty and the folder did not exist."""
    places: list[Path] = [] if is_remote(folder) else [folder, *folder.parents]
    made = [place for place in places if not os.path.exists(place)]  # noqa: PTH110  # raises for overlong names
    try:
        yield
    finally:
        below = [Path(path) for path, _, _ in os.walk(folder, topdown=False)] if made else []
        for place in [*below, *made[1:]]:
            with suppress(OSError):  # not empty
                os.rmdir(place)  # noqa: PTH106  # as above
