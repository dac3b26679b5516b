"""Write the manual pages in man/ from the help of the commands: python tools/man_pages.py."""

from pathlib import Path

import click

from segan_cli import __version__
from segan_cli.cli import segan

FOLDER = Path(__file__).parent.parent / "man"
WIDTH = 76


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    group = segan.make_context("segan", [], resilient_parsing=True, terminal_width=WIDTH)
    contexts = [group]
    for name in segan.list_commands(group):
        command = segan.get_command(group, name)
        assert command is not None
        contexts.append(command.make_context(name, [], parent=group, resilient_parsing=True, terminal_width=WIDTH))
    return {f"{context.command_path.replace(' ', '-')}.1": page(context) for context in contexts}


def page(context: click.Context) -> str:
    """Return the manual page of a command, whose sections are those of its help, as they are."""
    title = context.command_path.replace(" ", "-")
    usage, *lines = context.get_help().splitlines()
    description = context.command.get_short_help_str(limit=200).rstrip(".")
    parts = [f'.TH {title.upper()} 1 "" "segan {__version__}"', ".SH NAME", f"{escaped(title)} \\- {description}"]
    parts += [".SH SYNOPSIS", escaped(usage.removeprefix("Usage: ")), ".SH DESCRIPTION", ".nf"]
    for line in lines:
        if line.endswith(":") and not line.startswith(" "):
            parts += [".fi", f".SH {line[:-1].upper()}", ".nf"]
        else:
            parts.append(escaped(line.removeprefix("  ")))
    return "\n".join((*parts, ".fi", ""))


def escaped(line: str) -> str:
    """Escape what troff takes for a request."""
    return ("\\&" if line.startswith((".", "'")) else "") + line.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
