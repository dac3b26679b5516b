"""Help in sections, and commands that are imported when they are used."""

import os
import shlex
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def section(title: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds options, in this order, under a heading of the help."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", []))
        for option in reversed(options):
            function = option(function)
        for parameter in function.__click_params__[before:]:  # type: ignore[attr-defined]
            parameter.section = title
        return function

    return decorate


class SectionedCommand(click.Command):
    """A command whose help lists its options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, those that all commands have last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Help"), []).append(record)
        sections["Help"] = sections.pop("Help")
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class CommandGroup(click.Group):
    """A group that imports a command when it is used, and suggests one for a typo or a file name."""

    def __init__(
        self, summaries: Mapping[str, str], decorate: Callable[[click.Command], click.Command], **attributes: Any
    ) -> None:
        """Takes the summary of each command, which is in the module `segan_cli.cli.NAME`, and a decorator for them."""
        super().__init__(**attributes)
        self.summaries, self.decorate = summaries, decorate

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in self.summaries and cmd_name not in self.commands:
            command = getattr(import_module(f"segan_cli.cli.{cmd_name}"), cmd_name)
            command.context_settings = self.context_settings  # also where it is used without the group
            self.commands[cmd_name] = self.decorate(command)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raises UsageError with a suggestion when there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            name = args[0]
            if Path(name).exists() or name == "-":
                raise click.UsageError(
                    f"{name!r} is not a command. Did you mean: segan enhance {shlex.quote(name)}", ctx
                ) from error
            if Path(name).suffix or os.sep in name:
                message = f"{name!r} is neither a command nor a file. To enhance a recording: segan enhance FILE"
                raise click.UsageError(message, ctx) from error
            from difflib import get_close_matches  # only needed for an error

            close = get_close_matches(name, self.list_commands(ctx), 1)
            if close:
                raise click.UsageError(f"No such command {name!r}. Did you mean {close[0]!r}?", ctx) from error
            raise
