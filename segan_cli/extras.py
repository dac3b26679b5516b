"""Optional dependencies: which extra a package belongs to, and how to install it."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from segan_cli.errors import SeganError

PACKAGES = {  # extra → packages, by the names they are imported by
    "train": ("torch", "torchaudio", "safetensors", "scipy", "filelock", "tomli_w", "pesq", "pystoi"),
    "evaluate": ("scipy", "pesq", "pystoi", "platformdirs"),
    "export": ("torch", "safetensors", "onnx"),
    "plot": ("matplotlib",),
    "dnsmos": ("speechmos", "librosa", "requests"),
    "loudness": ("pyloudnorm",),
    "live": ("sounddevice",),
    "tensorboard": ("tensorboard",),
    "cloud": ("fsspec", "s3fs"),
    "ray": ("ray", "pyarrow", "pandas"),
}


class MissingExtraError(SeganError):
    """A feature needs packages that are not installed."""


def require_extra(extra: str, feature: str) -> None:
    """Raise MissingExtraError unless the packages of an extra are installed."""
    if any(find_spec(package) is None for package in PACKAGES[extra]):
        raise MissingExtraError(f"{feature} needs packages that are not installed; run: {install_command(extra)}")


def extra_of(package: str) -> str | None:
    """Return the extra that a package belongs to."""
    return next((extra for extra, packages in PACKAGES.items() if package.partition(".")[0] in packages), None)


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation by pip, pipx or uv."""
    package = f'"segan-cli[{extra}]"'
    parts = Path(sys.prefix).parts
    if "pipx" in parts:
        return f"pipx install --force {package}"
    if "uv" in parts and "tools" in parts:
        return f"uv tool install --reinstall {package}"
    return f"{quoted(sys.executable)} -m pip install {package}"


def quoted(path: str) -> str:
    """Quote a path for the shell of this system."""
    if sys.platform == "win32":
        from subprocess import list2cmdline  # only needed for an error

        return list2cmdline([path])
    return shlex.quote(path)
