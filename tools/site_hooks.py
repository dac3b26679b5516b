"""Hooks of the documentation site (mkdocs.yml): pages from files outside docs/, and the command reference."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from segan_cli.cli import segan

ROOT = Path(__file__).parent.parent
PAGES = {  # page of the site: file of the repository
    "index.md": "README.md",
    "models.md": "pretrained/README.md",
    "changelog.md": "CHANGELOG.md",
}
COMMANDS = """# Commands

This is the text of `segan COMMAND --help`. Errors are one line on standard error. The exit code is 0 if everything was
processed, 1 after an error or if files were skipped, 2 for a wrong command line, and 128 + N after signal N (130 for
Ctrl-C).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose files are outside docs/, and the command reference."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = text.replace("](../docs/", "](").replace("](docs/", "](").replace("](pretrained/", "](../pretrained/")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "commands.md", content=command_reference()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links at files of the repository to their pages."""
    for page, source in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return markdown


def command_reference() -> str:
    """Return the help of all commands as Markdown."""
    group = segan.make_context("segan", [], resilient_parsing=True)
    contexts = [
        command.make_context(name, [], parent=group, resilient_parsing=True, terminal_width=76)
        for name in segan.list_commands(group)
        if (command := segan.get_command(group, name)) is not None
    ]
    helps = [f"## {context.command_path}\n\n```text\n{context.get_help()}\n```\n" for context in contexts]
    return "\n".join((COMMANDS, *helps))
