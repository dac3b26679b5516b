"""Models on disk: safetensors files with config and provenance in their metadata; nothing is unpickled."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from segan_cli.config.legacy import renamed_weight
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import check_size, format_metadata, parse_metadata
from segan_cli.errors import CheckpointError, ConfigError
from segan_cli.networks.families import Generator, build_generator
from segan_cli.storage.atomic import write_whole

DTYPES = ("F32", "F16", "BF16")  # that weights may be stored as


@dataclass(frozen=True)
class Model:
    """A generator ready to run, with its config and the provenance of its training."""

    generator: Generator
    config: ModelConfig
    provenance: dict[str, Any]


def save_model(path: Path, model: Model, dtype: torch.dtype = torch.float32) -> None:
    """Write a model atomically, its weights as `dtype`; float16 halves the file, and loading restores float32."""
    weights = {name: tensor.detach().to(dtype).contiguous() for name, tensor in model.generator.state_dict().items()}
    write_whole(path, save(weights, metadata={"segan": format_metadata(model.config, model.provenance)}))


def load_model(path: Path) -> Model:
    """Rebuild a model from its file, whose header is checked first; raises CheckpointError."""
    check_size(path, str(path))
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("segan")
            if text is None:
                raise CheckpointError("a safetensors file, but not written by segan; give a model that segan trained")
            config, provenance, version = parse_metadata(text)
            names = {renamed_weight(name) if version == 1 else name: name for name in file.keys()}  # noqa: SIM118
            with torch.device("meta"):
                expected = build_generator(config.generator).state_dict()
            check_names(expected, names)
            for name, tensor in expected.items():
                check_kind(name, tensor, file.get_slice(names[name]))
            weights = {name: file.get_tensor(names[name]).float() for name in expected}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from error
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds weights that are not numbers; use another model")
    generator = build_generator(config.generator)
    generator.load_state_dict(weights)
    return Model(generator.eval().requires_grad_(False), config, provenance)


def check_names(expected: Iterable[str], found: Iterable[str]) -> None:
    """Raise CheckpointError unless a file has exactly the weights that its config expects."""
    for kind, names in (("missing", set(expected) - set(found)), ("unknown", set(found) - set(expected))):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{min(names)}{more}: weights that are {kind}; use the file as it was written")


def check_kind(name: str, expected: torch.Tensor, found: Any) -> None:
    """Raise CheckpointError unless a file's header declares a tensor of the expected shape and a supported type."""
    if found.get_dtype() not in DTYPES:
        raise CheckpointError(f"{name}: weights of type {found.get_dtype()}; they must be {', '.join(DTYPES)}")
    if found.get_shape() != list(expected.shape):
        raise CheckpointError(f"{name}: weights {found.get_shape()}, but the config has {list(expected.shape)}")
