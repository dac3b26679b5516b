"""The shipped models: weights for torch, and the same networks as ONNX."""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from segan_cli.errors import CheckpointError
from segan_cli.storage.remote import is_url
from segan_cli.system import data_dir

MODEL_EXTENSIONS = (".safetensors", ".onnx")


def pretrained_dir() -> Path:
    """Return the folder of the shipped models."""
    return data_dir("pretrained")


def shipped_models() -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the name of the default model, and the entries of the index by name."""
    index = _index(pretrained_dir())
    return index["default"], index["models"]


def find_model(name: str) -> Path:
    """Return a path, or the file of a shipped model; raises CheckpointError when it is missing or was changed."""
    check_model(name)
    entry = _entry(name)
    return Path(name) if entry is None else _checked(entry)


def check_model(name: str, onnx: bool = True) -> None:
    """Raise CheckpointError unless a name is that of a shipped model, or of a file that looks like a model.

    Without `onnx`, the model must be one that torch reads.
    """
    if is_shipped(name):
        return
    path = Path(name)
    if is_url(name):
        raise CheckpointError(f"{name}: models are not read from URLs; give a local file")
    if not os.path.exists(path):
        raise CheckpointError(f"{name}: {_missing(name)}")
    if path.is_dir() or path.suffix == ".pt":
        what, folder = ("a folder", path) if path.is_dir() else ("a training state", path.parent)
        best = folder / "best.safetensors"
        advice = f"use {best}" if best.is_file() else "give a .safetensors or .onnx file"
        raise CheckpointError(f"{name}: is {what}, not a model; {advice}")
    if not path.is_file():
        raise CheckpointError(f"{name}: is a device or pipe, not a model; give a file")
    if path.suffix.lower() == ".onnx" and not onnx:
        raise CheckpointError(f"{name}: torch does not read ONNX; give the model that it was exported from")
    if path.suffix.lower() != ".onnx" and not _is_safetensors(path):
        kind = "a readable safetensors file" if path.suffix == ".safetensors" else "a model"
        raise CheckpointError(f"{name}: not {kind}; give a .safetensors file from segan train, or an .onnx file")


def find_onnx(name: str) -> Path | None:
    """Return the ONNX file of a shipped model, with its SHA-256 checked, or an .onnx path; None for other models."""
    entry = _entry(name)
    if entry is not None:
        return _checked(entry["onnx"]) if "onnx" in entry else None
    return Path(name) if Path(name).suffix.lower() == ".onnx" and os.path.isfile(name) else None


def find_high_band() -> Path:
    """Return the file of the network above the band of the models, with its SHA-256 checked."""
    return _checked(_index(pretrained_dir())["high_band"])


def model_files(name: str) -> list[Path]:
    """Return the files of a shipped model, or a path; nothing is checked."""
    entry = _entry(name)
    if entry is None:
        return [Path(name)]
    return [pretrained_dir() / str(each["file"]) for each in (entry, entry.get("onnx")) if each]


def is_shipped(name: str) -> bool:
    """Whether a name is that of a shipped model."""
    return _entry(name) is not None


def _missing(name: str) -> str:
    """Say that there is no such file or model, and what is closest to it."""
    from difflib import get_close_matches  # only needed for an error

    from segan_cli.audio.files import suggestion
    from segan_cli.config.presets import PRESETS

    if Path(name).suffix in MODEL_EXTENSIONS or Path(name).name != name:
        return f"no such file; {suggestion(Path(name))}"
    known = ["default", *sorted(shipped_models()[1])]
    close = get_close_matches(name, known, 1)
    preset = ", but a preset of segan train" if name in PRESETS else ""
    guess = f"did you mean {close[0]}? Otherwise " if close and not preset else ""
    return f"no such model{preset}; {guess}give a file or one of: {', '.join(known)}"


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins like safetensors: the size of its header, then the header, which is JSON."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=1)
def _index(folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return index


def _entry(name: str) -> dict[str, Any] | None:
    default, shipped = shipped_models()
    return shipped.get(default if name == "default" else name)


def _checked(entry: dict[str, Any]) -> Path:
    path = pretrained_dir() / str(entry["file"])
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{path}: missing or changed since it was shipped; install segan again")
    return path
