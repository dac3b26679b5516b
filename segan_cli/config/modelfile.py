"""Metadata of model files, safetensors or ONNX. The files are not trusted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segan_cli.config.legacy import renamed_model
from segan_cli.config.model import ModelConfig
from segan_cli.config.schema import from_dict, short_repr
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.text import read_json

FORMAT = 3  # of model files and training states; 1, in model files also without a number, and 2 can still be read
MAX_BYTES = 2 << 30


def check_size(path: Path, name: str) -> None:
    """Raise CheckpointError if a file cannot be accessed or is too large for a model."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read ({error.strerror or error})") from error
    if size > MAX_BYTES:
        raise CheckpointError(f"{name}: {size >> 20} MiB; the limit for models is {MAX_BYTES >> 20} MiB")


def format_metadata(config: ModelConfig, provenance: dict[str, Any]) -> str:
    """Return the metadata of a model file."""
    return json.dumps({"format": FORMAT, "config": asdict(config), "provenance": provenance})


def parse_metadata(text: str) -> tuple[ModelConfig, dict[str, Any], int]:
    """Return config, provenance and format of the metadata of a model file; raises ConfigError if it is invalid."""
    try:
        values = read_json(text)
    except ValueError as error:
        raise ConfigError(f"its metadata is not JSON ({error})") from error
    config, provenance = (values.get(key) if isinstance(values, dict) else None for key in ("config", "provenance"))
    if not isinstance(config, dict) or not isinstance(provenance, dict):
        raise ConfigError("its metadata has no config and provenance; export or train it again")
    version = values.get("format", 1)
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ConfigError(
            f"model format {short_repr(version)} is not supported; this version of segan reads up to {FORMAT}"
        )
    for key, kind in (("runs", list), ("steps", int)):
        if type(provenance.get(key, kind())) is not kind:
            raise ConfigError(
                f"its provenance has invalid {key} {short_repr(provenance[key])}; export or train it again"
            )
    return from_dict(ModelConfig, renamed_model(config)), provenance, version
