"""What the file of a model says of itself, be it safetensors or ONNX; nothing of it is believed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segan_cli.config.legacy import renamed_model
from segan_cli.config.model import ModelConfig
from segan_cli.config.schema import from_dict, short_repr
from segan_cli.errors import CheckpointError, ConfigError

FORMAT = 2  # of model files; those of format 1, or without a number, are read too
MOST_BYTES = 2 << 30  # of a file


def check_size(path: Path, name: str) -> None:
    """Raise CheckpointError when a file cannot be looked at or is larger than any model."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read ({error.strerror or error})") from error
    if size > MOST_BYTES:
        raise CheckpointError(f"{name}: {size >> 20} MiB; a model has {MOST_BYTES >> 20} MiB at most")


@dataclass(frozen=True)
class About:
    """What a model's file says of itself."""

    config: ModelConfig
    provenance: dict[str, Any]
    format: int


def parse_metadata(text: str) -> About:
    """A file's metadata.

    Raises ConfigError when that is no model that this segan knows, or one that is larger than any should be.
    """
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"its metadata is no JSON ({error})") from error
    config, provenance = (about.get(key) if isinstance(about, dict) else None for key in ("config", "provenance"))
    if not isinstance(config, dict) or not isinstance(provenance, dict):
        raise ConfigError("its metadata has no config and provenance; export or train it again")
    version = about.get("format", 1)
    if version not in (1, FORMAT):
        raise ConfigError(f"a model of format {short_repr(version)}, and this segan reads {FORMAT}; use another segan")
    for key, kind in (("runs", list), ("steps", int)):
        if not isinstance(provenance.get(key, kind()), kind):
            raise ConfigError(f"its provenance has {key} {short_repr(provenance[key])}; export or train it again")
    return About(from_dict(ModelConfig, renamed_model(config) if version == 1 else config), provenance, version)
