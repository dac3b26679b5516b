"""Training speed: steps per second, time waiting for data, memory, and decoding of a corpus.

python benchmarks/training.py

Each row is a run of `segan train` on a generated corpus. Writes benchmarks/results/training.json and the tables in
docs/training.md; results of other devices are kept.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
import soundfile
import torch

from segan_cli.backends.pytorch import choose_device
from segan_cli.data.cache import Cache

MINUTES = 20.0  # of the generated corpus
RATE_HZ = 48_000
ROWS = {  # name → options of `segan train`
    "segan-gated": ["--recipe", "segan-gated", "--batch-size", "16"],
    "segan-gated, no worker": ["--recipe", "segan-gated", "--batch-size", "16", "--workers", "0"],
    "segan-gated, bf16": ["--recipe", "segan-gated", "--batch-size", "16", "--precision", "bf16"],
    "segan-gated, compiled": ["--recipe", "segan-gated", "--batch-size", "16", "--set", "training.compile=true"],
    "segan": ["--recipe", "segan-2017", "--batch-size", "16", "--set", "training.gradient_accumulation_steps=1"],
}
STEPS = {"segan": 12, "segan-gated, bf16": 12}
DEFAULT_STEPS = 60
COMMON_OPTIONS = ["--set", "training.validation_mixes=1", "--set", "training.adversarial.start=0"]


def write_corpus(folder: Path) -> None:
    """Write ten-second files of modulated noise as 48 kHz FLAC, in folders of ten speakers."""
    rng = np.random.default_rng(0)
    for number in range(round(MINUTES * 6)):
        t = np.arange(10 * RATE_HZ) / RATE_HZ
        sound = 0.05 * rng.standard_normal(len(t)) * np.clip(np.sin(2 * np.pi * 3 * t + number) + 0.3, 0, 1)
        path = folder / f"speaker{number % 10}" / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE_HZ)


def measure_decoding(folder: Path) -> dict[str, float]:
    """Minutes of audio that the cache decodes per second, and duration of a second start in seconds."""
    paths = sorted(folder.rglob("*.flac"))
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place), 16_000)
        began = time.monotonic()
        cache.read(paths)
        first, began = time.monotonic() - began, time.monotonic()
        cache.read(paths)
        return {"minutes_per_s": MINUTES / first, "again_s": time.monotonic() - began, "minutes": MINUTES}


def measure_training(name: str, folder: Path, run: Path) -> dict[str, float]:
    """Steps and seconds of audio per second, fraction of time waiting for data, and memory of a training run."""
    steps = STEPS.get(name, DEFAULT_STEPS)
    command = [sys.executable, "-m", "segan_cli", "train", "--data", str(folder), "--run-dir", str(run), *ROWS[name]]
    command += ["--steps", str(steps), *COMMON_OPTIONS, "--set", f"training.log_every={steps}"]
    with (run.parent / "stderr.txt").open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((run.parent / "stderr.txt").read_text())
    (line,) = [line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "waiting" in line]
    return {
        "steps_per_s": line["audio_per_s"] / 16 / 1.024,
        "audio_per_s": line["audio_per_s"],
        "waiting": line["waiting"],
        "memory_gib": usage.ru_maxrss / 2**20,
    }


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="measure only this row; repeatable")
    arguments = parser.parse_args()
    results = report.load("training")
    device = choose_device("auto")
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores, {cpu()}"
    here = results.setdefault(device_name, {})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "corpus"
        write_corpus(folder)
        here["decoding"] = measure_decoding(folder)
        for name in arguments.only or ROWS:
            here[name] = measure_training(name, folder, Path(place) / name.replace(" ", ""))
            report.save("training", results)
            print(name, here[name], flush=True)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "training.md", heading, text)


def cpu() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    rows, decoded = [], []
    for device, here in results.items():
        base = here["segan-gated"]["steps_per_s"]
        for name in ROWS:
            if name in here:
                r = here[name]
                speed = f"{r['steps_per_s']:.2f}"
                ratio = f"{r['steps_per_s'] / base:.2f}"
                audio = f"{r['audio_per_s']:.0f}"
                rows.append([name, device, speed, ratio, audio, f"{r['waiting']:.1%}", f"{r['memory_gib']:.1f}"])
        d = here["decoding"]
        decoded.append([device, f"{60 * d['minutes_per_s']:.0f}", f"{d['again_s']:.2f}"])
    return {
        "training speed": report.table(
            ["training, batch 16", "device", "steps/s", "ratio", "h of audio/h", "waiting for data", "memory (GiB)"],
            rows,
        ),
        "decoding speed": report.table(["device", "decoding, s of audio/s", "second start of 20 minutes (s)"], decoded),
    }


if __name__ == "__main__":
    main()
