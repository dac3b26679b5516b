"""The type of options that take a model, which shells complete."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePath

import click
from click.shell_completion import CompletionItem

MAX_FOLDERS = 1_000  # searched for files, down to …
DEPTH = 2  # … the folders in the folders of the one that was typed


class ModelName(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """The name of a shipped model, or a file."""

    name = "model"

    def __init__(self, *extensions: str) -> None:
        """Files with these extensions are completed."""
        self.extensions = extensions

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the shipped models, and the files in or below the folder that was typed."""
        from segan_cli.backends.pretrained import shipped_models

        candidates = ["default", *shipped_models()[1], *sorted(self._files(incomplete))]
        return [CompletionItem(each) for each in candidates if each.startswith(incomplete)]

    def _files(self, incomplete: str) -> Iterator[str]:
        """Yield the files with the extensions, each beginning with the folder as it was typed."""
        typed = incomplete[: len(incomplete) - len(os.path.basename(incomplete))]  # noqa: PTH119  # keeps ./ and //
        root = os.path.expanduser(typed or ".")  # noqa: PTH111
        for place, folders, names in islice(os.walk(root), MAX_FOLDERS):
            inside = PurePath(place).relative_to(root)
            deeper = len(inside.parts) < DEPTH
            folders[:] = sorted(folder for folder in folders if deeper and folder[0] != ".")
            for name in names:
                if name[0] != "." and PurePath(name).suffix in self.extensions:
                    yield f"{typed}{(inside / name).as_posix()}"


MODEL = ModelName(".safetensors", ".onnx")
MODEL_TO_TRAIN = ModelName(".safetensors", ".pt")
