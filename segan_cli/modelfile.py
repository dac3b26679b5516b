"""What the file of a model says of itself, be it safetensors or ONNX; nothing of it is believed."""

import json
from pathlib import Path
from typing import Any

from segan_cli.architecture import ModelConfig
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.schema import from_dict, short

FORMAT = 1  # of model files; files without a number are of format 1
MOST_BYTES = 2 << 30  # of a file


def check_size(path: Path, name: str) -> None:
    """Raise CheckpointError when a file cannot be looked at or is larger than any model."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read ({error.strerror or error})") from error
    if size > MOST_BYTES:
        raise CheckpointError(f"{name}: {size >> 20} MiB; a model has {MOST_BYTES >> 20} MiB at most")


def read_about(text: str) -> tuple[ModelConfig, dict[str, Any]]:
    """A file's metadata → the model's config and its provenance.

    Raises ConfigError when that is no model that this segan knows, or one that is larger than any should be.
    """
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"its metadata is no JSON ({error})") from error
    config, provenance = (about.get(key) if isinstance(about, dict) else None for key in ("config", "provenance"))
    if not isinstance(config, dict) or not isinstance(provenance, dict):
        raise ConfigError("its metadata has no config and provenance; export or train it again")
    if about.get("format", FORMAT) != FORMAT:
        raise ConfigError(
            f"a model of format {short(about['format'])}, and this segan reads {FORMAT}; use another segan"
        )
    for key, kind in (("runs", list), ("steps", int)):
        if not isinstance(provenance.get(key, kind()), kind):
            raise ConfigError(f"its provenance has {key} {short(provenance[key])}; export or train it again")
    return from_dict(ModelConfig, config), provenance
