"""How fast trainings run here: steps, waiting for data, memory, and the decoding of a corpus.

python benchmarks/training.py

Every row is a real `segan train` on a generated corpus. Writes benchmarks/results/training.json and the tables in
docs/training.md; a row of another device stands beside those that are there.
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

from segan_cli.backends.device import choose_device
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
MOST = 60  # steps of the other rows
BOUNDS = ["--set", "training.validation_mixes=1", "--set", "training.adversarial.start=0"]


def corpus(folder: Path) -> None:
    """Files of ten seconds: noise in syllables, 48 kHz FLAC, ten speakers."""
    rng = np.random.default_rng(0)
    for number in range(round(MINUTES * 6)):
        t = np.arange(10 * RATE_HZ) / RATE_HZ
        sound = 0.05 * rng.standard_normal(len(t)) * np.clip(np.sin(2 * np.pi * 3 * t + number) + 0.3, 0, 1)
        path = folder / f"speaker{number % 10}" / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE_HZ)


def decoding(folder: Path) -> dict[str, float]:
    """Minutes of audio a second that the cache decodes and resamples, and seconds that a second start takes."""
    paths = sorted(folder.rglob("*.flac"))
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place), 16_000)
        began = time.monotonic()
        cache.read(paths)
        first, began = time.monotonic() - began, time.monotonic()
        cache.read(paths)
        return {"minutes_per_s": MINUTES / first, "again_s": time.monotonic() - began, "minutes": MINUTES}


def row(name: str, folder: Path, run: Path) -> dict[str, float]:
    """One training: steps and seconds of audio a second, share of waiting, memory of the process."""
    steps = STEPS.get(name, MOST)
    command = [sys.executable, "-m", "segan_cli", "train", "--data", str(folder), "--run-dir", str(run), *ROWS[name]]
    command += ["--steps", str(steps), *BOUNDS, "--set", f"training.log_every={steps}"]
    with (run.parent / "said.txt").open("w") as stats:
        process = subprocess.Popen(command, stderr=stats)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((run.parent / "said.txt").read_text())
    (line,) = [line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "waiting" in line]
    return {
        "steps_per_s": line["audio_per_s"] / 16 / 1.024,
        "audio_per_s": line["audio_per_s"],
        "waiting": line["waiting"],
        "memory_gib": usage.ru_maxrss / 2**20,
    }


def main() -> None:
    """Measure what is asked for, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="a row's name; repeatable")
    arguments = parser.parse_args()
    results = report.load("training")
    device = choose_device("auto")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores, {cpu()}"
    here = results.setdefault(where, {})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "corpus"
        corpus(folder)
        here["decoding"] = decoding(folder)
        for name in arguments.only or ROWS:
            here[name] = row(name, folder, Path(place) / name.replace(" ", ""))
            report.save("training", results)
            print(name, here[name], flush=True)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "training.md", heading, text)


def cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown tables of speeds."""
    rows, decoded = [], []
    for where, here in results.items():
        base = here["segan-gated"]["steps_per_s"]
        for name in ROWS:
            if name in here:
                r = here[name]
                speed = f"{r['steps_per_s']:.2f}"
                ratio = f"{r['steps_per_s'] / base:.2f}"
                heard = f"{r['audio_per_s']:.0f}"
                rows.append([name, where, speed, ratio, heard, f"{r['waiting']:.1%}", f"{r['memory_gib']:.1f}"])
        d = here["decoding"]
        decoded.append([where, f"{60 * d['minutes_per_s']:.0f}", f"{d['again_s']:.2f}"])
    return {
        "training speed": report.table(
            ["training, batch 16", "device", "steps/s", "ratio", "h of audio/h", "waiting for data", "memory (GiB)"],
            rows,
        ),
        "decoding speed": report.table(["device", "decoding, s of audio/s", "second start of 20 minutes (s)"], decoded),
    }


if __name__ == "__main__":
    main()
