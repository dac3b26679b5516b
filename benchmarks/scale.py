"""Throughput of `segan enhance --ray` against `--jobs` on the same cores, and memory to plan a million jobs.

python benchmarks/scale.py

All recordings are generated. Throughput is measured between the outcomes at a tenth and at nine tenths of a batch, so
without the start of Python, Ray and the models; the wall time has all of it. Writes benchmarks/results/scale.json and
the tables in docs/scale.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from memory import RATE_HZ, write_recording

from segan_cli.system import cpu_count

BATCHES = {3: 1_500, 60: 80}  # seconds of a recording → recordings
PLANNED = 1_000_000
TURNS = 2


def write_batch(folder: Path, seconds: int, n: int) -> None:
    """Write recordings, links to one file."""
    import soundfile

    folder.mkdir()
    long = folder.with_suffix(".wav")
    write_recording(long, 1)
    first = folder / "r00000.wav"
    soundfile.write(first, soundfile.read(long, frames=seconds * RATE_HZ)[0], RATE_HZ)
    for i in range(1, n):
        os.link(first, folder / f"r{i:05}.wav")


def run(words: list[str], n: int) -> tuple[float, float]:
    """Recordings per second of a batch, and its wall time."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "segan_cli", "enhance", *words, "--json", "-q"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    times = [time.perf_counter() for _ in process.stdout]
    if process.wait() or len(times) != n:
        raise SystemExit(f"segan enhance {' '.join(words)}: failed")
    low, high = n // 10, n - n // 10
    return (high - low) / (times[high - 1] - times[low - 1]), time.perf_counter() - began


def throughputs(place: Path) -> dict[str, dict[str, float]]:
    """The better of two turns of each way, by length of the recordings."""
    results = {}
    cores = cpu_count()
    ways = {"--jobs": ["--jobs", str(cores)], "--ray local": ["--ray", "local", "--ray-actors", str(cores)]}
    for seconds, n in BATCHES.items():
        folder = place / f"in{seconds}"
        write_batch(folder, seconds, n)
        measured: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for turn in range(TURNS):
            for way, words in ways.items():
                measured[way].append(run([str(folder), "-o", str(place / f"out{seconds}{turn}{way}"), *words], n))
                print(seconds, way, measured[way][-1], flush=True)
        baseline = max(rate for rate, _ in measured["--jobs"])
        for way, turns in measured.items():
            rate, wall_s = max(rate for rate, _ in turns), min(wall_s for _, wall_s in turns)
            results[f"{n} recordings of {seconds} s, {way}"] = {
                "rate": rate, "ratio": rate / baseline, "wall_s": wall_s,
            }  # fmt: skip
    return results


def planning(place: Path) -> dict[str, float]:
    """Seconds and peak memory of a dry run."""
    names = place / "names.txt"
    names.write_text("".join(f"in/part-{i % 1000:03}/utterance-{i:07}.wav\n" for i in range(PLANNED)))
    began = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "segan_cli",
            "enhance",
            "--files-from",
            str(names),
            "-o",
            f"{place}/planned/",
            "--dry-run",
        ],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("segan enhance --dry-run: failed")
    return {"jobs": PLANNED, "seconds": time.monotonic() - began, "peak_mib": usage.ru_maxrss / 1024}


def main() -> None:
    """Measure, write the tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = {"throughput": throughputs(Path(folder)), "planning": planning(Path(folder))}
    report.save("scale", results)
    page = report.ROOT / "docs" / "scale.md"
    rows = [
        [name, f"{r['rate']:.1f}", f"{r['ratio']:.3f}", f"{r['wall_s']:.0f} s"]
        for name, r in results["throughput"].items()
    ]
    report.insert(
        page,
        "throughput",
        report.table(["batch", "recordings/s", "ratio to --jobs", "wall time, start included"], rows),
    )
    plan = results["planning"]
    report.insert(
        page, "planning",
        report.table(
            ["jobs planned (--dry-run)", "seconds", "peak memory"],
            [[f"{plan['jobs']:,}", f"{plan['seconds']:.0f}", f"{plan['peak_mib']:.0f} MiB"]],
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
