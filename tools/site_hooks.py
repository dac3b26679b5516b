"""Hooks of the documentation site (mkdocs.yml): pages made of files outside docs/, and links between them."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"models.md": "pretrained/README.md", "changelog.md": "CHANGELOG.md"}  # page of the site: file of the repository


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose files are outside docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](../docs/", "](").replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links at files of the repository to their pages."""
    for page, source in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return markdown
