"""This machine and installation: cores, limits, optional packages."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from segan_cli.errors import SeganError

MAX_JOBS = 1_024  # processes or threads that a user may request
MAX_BATCH, MAX_SEED = 4_096, 2**32 - 1  # of an enhancement
MAX_LEVEL_DB = 200.0  # above it, amplitudes overflow
PACKAGES = {  # extra → packages, by the names they are imported by
    "train": ("torch", "torchaudio", "safetensors", "scipy", "tomli_w", "pesq", "pystoi"),
    "evaluate": ("scipy", "pesq", "pystoi", "platformdirs"),
    "export": ("torch", "safetensors", "onnx"),
    "plot": ("matplotlib",),
    "dnsmos": ("speechmos",),
    "loudness": ("pyloudnorm",),
    "live": ("sounddevice",),
    "tensorboard": ("tensorboard",),
    "cloud": ("fsspec", "s3fs"),
    "ray": ("ray", "pyarrow", "pandas"),
}


def data_dir(name: str) -> Path:
    """A folder of the package's data: in the installed package, or beside it in a source checkout."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def cpu_count() -> int:
    """Number of cores available to this process, respecting its CPU affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_file_limit() -> int | None:
    """Number of files that this process may have open; None if there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def require_extra(extra: str, feature: str) -> None:
    """Raise SeganError unless the packages of an extra are installed."""
    if any(find_spec(package) is None for package in PACKAGES[extra]):
        raise SeganError(f"{feature} needs packages that are not installed; run: {install_command(extra)}")


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
    python = shlex.quote(sys.executable)
    if sys.platform == "win32":
        from subprocess import list2cmdline  # only needed for an error

        python = list2cmdline([sys.executable])
    return f"{python} -m pip install {package}"
