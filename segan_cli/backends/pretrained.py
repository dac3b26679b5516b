"""The models that come with the package: weights for torch, and the same network as ONNX."""

import hashlib
import json
from pathlib import Path
from typing import Any

from segan_cli.errors import CheckpointError


def pretrained_dir() -> Path:
    """The folder of shipped models: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).parents[1]
    installed = package / "pretrained"
    return installed if installed.is_dir() else package.parent / "pretrained"


def shipped_models() -> tuple[str, dict[str, dict[str, Any]]]:
    """Name of the default model, and what the index says of every shipped one by name."""
    index = json.loads((pretrained_dir() / "index.json").read_text(encoding="utf-8"))
    return index["default"], index["models"]


def find_model(name: str) -> Path:
    """The file of a shipped model's name (its sha256 checked) or of a path.

    Raises CheckpointError when there is neither, or when the shipped file is not the one that was measured.
    """
    entry = _entry(name)
    if entry is not None:
        return _checked(entry)
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(sorted(shipped_models()[1]))
    raise CheckpointError(f"{name}: no such model; give a file or one of: default, {known}")


def find_onnx(name: str) -> Path | None:
    """The ONNX file of a shipped model's name (its sha256 checked) or of a path that ends so; none for other models."""
    entry = _entry(name)
    if entry is not None:
        return _checked(entry["onnx"]) if "onnx" in entry else None
    return Path(name) if Path(name).suffix == ".onnx" and Path(name).is_file() else None


def is_shipped(name: str) -> bool:
    """Whether a name is that of a shipped model."""
    return _entry(name) is not None


def _entry(name: str) -> dict[str, Any] | None:
    default, shipped = shipped_models()
    return shipped.get(default if name == "default" else name)


def _checked(entry: dict[str, Any]) -> Path:
    path = pretrained_dir() / str(entry["file"])
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{path}: missing or changed since it was shipped; install segan again")
    return path
