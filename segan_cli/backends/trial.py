"""Trying out an ONNX file in a process of its own, which it may crash, fill or keep for ever."""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from segan_cli.errors import CheckpointError, SeganError

CHECK_S = 0.2  # between two looks for the parent
PACKAGES = str(Path(__file__).parents[2])
PROGRAM = f"import sys; sys.path.insert(0, {PACKAGES!r}); from segan_cli.backends.trial import main; main()"


def prove(path: Path, name: str, patience_s: float) -> None:
    """Raise CheckpointError, by the model's name, when a file does not make sound of noise in another process.

    Where Python has no program of its own to start, as in a frozen one, this does nothing.
    """
    if not sys.executable:
        return
    words = [sys.executable, "-c", PROGRAM, str(path), name]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"{name}: the model takes more than {patience_s:g} s for a second; use another"
        ) from error
    if done.returncode == 1:
        raise CheckpointError(done.stdout.decode(errors="replace").strip() or f"{name}: the model cannot be tried out")
    if done.returncode:
        raise CheckpointError(f"{name}: the model crashes what runs it (exit code {done.returncode}); use another")


def main() -> None:
    """Try out the file of the first argument, called by the second; what is wrong with it goes to standard output."""
    from segan_cli.backends.graph import Graph
    from segan_cli.backends.network import try_out

    path, name = sys.argv[1:]
    Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream
    try:
        graph = Graph(Path(path), name, trusted=False)
        graph.load()
        try_out(name, graph.config, graph.run)
    except SeganError as error:
        print(error)
        sys.exit(1)


def end_with(parent: int) -> None:
    """End this process once its parent is no more, as a graph may never end."""
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(1)
