"""Models for machines that do not have their files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segan_cli.atomic import scratch_file
from segan_cli.backends.pretrained import is_shipped


@dataclass(frozen=True)
class ModelFile:
    """A model by name, with the content of its file unless it is shipped."""

    name: str
    content: bytes | None

    @classmethod
    def of(cls, model: str) -> "ModelFile":
        """Read a model file; of a shipped model only the name is needed."""
        return cls(model, None if is_shipped(model) else Path(model).read_bytes())

    @contextmanager
    def written(self) -> Iterator[str]:
        """Yield the name of the model on this machine, of a temporary file if it has a content."""
        if self.content is None:
            yield self.name
            return
        with scratch_file(Path(self.name).suffix) as path:
            path.write_bytes(self.content)
            yield str(path)
