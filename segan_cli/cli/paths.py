"""The type of options that take a file, a folder or a URL."""

from pathlib import Path
from typing import Any

import click

from segan_cli.errors import SeganError
from segan_cli.remote import as_path, is_url


class PathOrUrl(click.Path):
    """A path, - for a standard stream, or a URL such as s3://bucket/folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text to a path; fails if a URL cannot be used."""
        if not (isinstance(value, str) and is_url(value)):
            return super().convert(value, param, ctx)
        try:
            return as_path(value)
        except SeganError as error:
            raise click.ClickException(str(error)) from error


class LocalPath(click.Path):
    """A path, not a URL."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text to a path; fails for a URL."""
        if isinstance(value, str) and is_url(value):
            self.fail(f"{value} is a URL; give a local file", param, ctx)
        return super().convert(value, param, ctx)


LOCAL_PATH = LocalPath()
PATH_OR_URL = PathOrUrl()
