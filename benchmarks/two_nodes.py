"""Two torchrun nodes in two network namespaces of this machine against one process: losses, gradients and weights.

python benchmarks/two_nodes.py

Needs Linux, root and the program ip. The corpus is generated. Prints the largest relative differences, and fails if one
is above a thousandth.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import soundfile
import torch

STEPS = 3
TOLERANCE = 1e-3
SETTINGS = (
    "--preset", "segan-gated", "--width", "0.25", "--batch-size", "4", "--steps", str(STEPS), "--workers", "0",
    "--seed", "5", "--device", "cpu", "--set", "training.log_every=1", "--set", "training.validate_every=3",
    "--set", "training.validation_mixes=1", "--set", "training.warmup_steps=1", "--set", "training.ema_decay=0",
    "--set", "training.adversarial.weight=1", "--set", "training.adversarial.start=0",
)  # fmt: skip
METRICS = ("l1", "spectral", "generator_gradient", "reconstruction_gradient", "discriminator_gradient")


def write_corpus(folder: Path) -> None:
    """Tones with harmonics for a few speakers."""
    rng, t = np.random.default_rng(0), np.arange(48_000) / 16_000
    for speaker in range(4):
        (folder / f"s{speaker}").mkdir(parents=True)
        for i in range(3):
            pitch = 100 + 40 * speaker + 10 * i
            tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 8)) * (np.sin(2 * np.pi * 2 * t) > 0)
            soundfile.write(
                folder / f"s{speaker}" / f"{i}.wav", 0.1 * tone + 1e-3 * rng.standard_normal(len(t)), 16_000
            )


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces, 10.77.0.1 and 10.77.0.2, joined by a virtual cable."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    names = (f"segan-a{os.getpid()}", f"segan-b{os.getpid()}")
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1", "netns", names[1])
        for i, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", f"cable{i}")
            ip("-n", name, "link", "set", f"cable{i}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names


def train(place: Path, name: str, prefix: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a training run, or a node of one."""
    words = ["train", "--data", str(place / "corpus"), "--run-dir", str(place / name), "--cache", str(place / "cache")]
    return subprocess.Popen(
        [*prefix, "-m", "segan_cli", *words, *SETTINGS],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def losses(run: Path) -> list[dict[str, float]]:
    """The metrics of each step."""
    return [line for text in (run / "log.jsonl").read_text().splitlines() if "l1" in (line := json.loads(text))]


def main() -> None:
    """Train both ways and compare."""
    with tempfile.TemporaryDirectory() as folder, namespaces() as names:
        place = Path(folder)
        write_corpus(place / "corpus")
        if train(place, "one", [sys.executable], {}).wait():
            raise SystemExit("the training in one process failed")
        nodes = [
            train(
                place, "two",
                ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2",
                 "--node-rank", str(rank), "--master-addr", "10.77.0.1", "--master-port", "29500"],
                {"GLOO_SOCKET_IFNAME": f"cable{rank}"},
            )
            for rank, name in enumerate(names)
        ]  # fmt: skip
        codes = [node.wait() for node in nodes]
        if any(codes):
            raise SystemExit("the training on two nodes failed")
        worst = 0.0
        for one, two in zip(losses(place / "one"), losses(place / "two"), strict=True):
            differences = {name: abs(one[name] - two[name]) / abs(one[name]) for name in METRICS}
            worst = max(worst, *differences.values())
            print(f"step {one['step']}: " + ", ".join(f"{name} {value:.1e}" for name, value in differences.items()))
        states = [torch.load(place / name / "last.pt", weights_only=True)["generator"] for name in ("one", "two")]
        both = [
            torch.cat([value.flatten() for value in state.values() if value.is_floating_point()]) for state in states
        ]
        difference = float((both[0] - both[1]).norm() / both[0].norm())
        print(f"weights of the generator after {STEPS} steps: {difference:.1e}")
        if max(worst, difference) > TOLERANCE:
            raise SystemExit(f"differs by more than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
