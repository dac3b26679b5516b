"""Models on disk: safetensors with the config and the provenance in its metadata; nothing is unpickled."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from segan_cli.architecture import ModelConfig
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.networks.families import AnyGenerator, build_generator
from segan_cli.schema import from_dict
from segan_cli.stopping import UNFINISHED

FORMAT = 1  # of model files; files without a number are of format 1


@dataclass(frozen=True)
class Model:
    """A generator ready to run, with the config that built it and the facts of its training."""

    generator: AnyGenerator
    config: ModelConfig
    provenance: dict[str, Any]


def save_model(path: Path, model: Model, dtype: torch.dtype = torch.float32) -> None:
    """Write a model atomically, its weights as `dtype` (float16 halves the file; loading gives float32 again)."""
    weights = {name: tensor.detach().to(dtype).contiguous() for name, tensor in model.generator.state_dict().items()}
    about = {"format": FORMAT, "config": dataclasses.asdict(model.config), "provenance": model.provenance}
    write_atomically(path, save(weights, metadata={"segan": json.dumps(about)}))


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside its place and rename it; raises CheckpointError, and leaves what was there, when it fails."""
    beside = path.with_name(path.name + ".part")
    UNFINISHED.add(beside)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)
        UNFINISHED.discard(beside)


def load_model(path: Path) -> Model:
    """Rebuild a model from its file alone.

    Raises CheckpointError when the file is no segan model, or names the weights that are unknown, missing or misshapen.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  # no dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if "segan" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not written by segan; give a model that segan trained")
    try:
        about = json.loads(metadata["segan"])
        if about.get("format", FORMAT) != FORMAT:
            raise CheckpointError(
                f"a model of format {about['format']}, and this segan reads {FORMAT}; use another segan"
            )
        config, provenance = from_dict(ModelConfig, about["config"]), about["provenance"]
        generator = build_generator(config.generator)
        generator.load_state_dict(weights)
    except (RuntimeError, LookupError, TypeError, ValueError, ConfigError, CheckpointError) as error:
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from error
    return Model(generator.eval().requires_grad_(False), config, provenance)
