"""The shipped models: weights for torch, and the same networks as ONNX."""

import hashlib
import json
from pathlib import Path
from typing import Any

from segan_cli.errors import CheckpointError


def pretrained_dir() -> Path:
    """Return the folder of the shipped models: in the installed package, or beside it in a source checkout."""
    package = Path(__file__).parents[1]
    installed = package / "pretrained"
    return installed if installed.is_dir() else package.parent / "pretrained"


def shipped_models() -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the name of the default model, and the entries of the index by name."""
    index = json.loads((pretrained_dir() / "index.json").read_text(encoding="utf-8"))
    return index["default"], index["models"]


def find_model(name: str) -> Path:
    """Return the file of a shipped model, with its SHA-256 checked, or a path.

    Raises CheckpointError when there is no such model or file, or a shipped file was changed.
    """
    entry = _entry(name)
    if entry is not None:
        return _checked(entry)
    path = Path(name)
    if path.is_dir() or path.suffix == ".pt":
        folder = path if path.is_dir() else path.parent
        raise CheckpointError(f"{name}: is not a model; use {folder / 'best.safetensors'} of a training")
    if path.is_file():
        return path
    known = ", ".join(sorted(shipped_models()[1]))
    raise CheckpointError(f"{name}: no such model; give a file or one of: default, {known}")


def find_onnx(name: str) -> Path | None:
    """Return the ONNX file of a shipped model, with its SHA-256 checked, or an .onnx path; None for other models."""
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
