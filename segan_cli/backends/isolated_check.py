"""Testing an ONNX file in a separate process, as it may crash, use all memory or never end."""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from segan_cli.errors import CheckpointError, SeganError

POLL_S = 0.2  # for the end of the parent process
PACKAGES = str(Path(__file__).parents[2])
PROGRAM = f"import sys; sys.path.insert(0, {PACKAGES!r}); from segan_cli.backends.isolated_check import main; main()"


def check_in_process(path: Path, name: str, timeout_s: float) -> None:
    """Test a file on noise in another process, if there is a Python; raises CheckpointError when it fails."""
    if not sys.executable:
        return
    words = [sys.executable, "-c", PROGRAM, str(path), name, str(os.getpid())]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"{name}: the model takes more than {timeout_s:g} s for two seconds of sound; use another"
        ) from error
    if done.returncode == 1:
        raise CheckpointError(done.stdout.decode(errors="replace").strip() or f"{name}: the test of the model failed")
    if done.returncode:
        raise CheckpointError(f"{name}: the model crashes ONNX Runtime (exit code {done.returncode}); use another")


def main() -> None:
    """Test a file: its path, its name in errors, which go to standard output, and the parent process are arguments."""
    from segan_cli.backends.graph import Graph
    from segan_cli.backends.network import check_network

    path, name, parent = sys.argv[1:]
    if sys.platform != "win32":  # where the parent does not change
        Thread(target=exit_with, args=(int(parent),), daemon=True).start()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream
    try:
        graph = Graph(Path(path), name, trusted=False)
        graph.load()
        check_network(name, graph)
    except SeganError as error:
        print(error)
        sys.exit(1)


def exit_with(parent: int) -> None:
    """Exit when the parent process has ended, as a graph may never return."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
