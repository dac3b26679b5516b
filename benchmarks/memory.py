"""Peak memory of `segan enhance` by length of the recording, and latency in a pipe.

python benchmarks/memory.py [--minutes 1 10 180]

The recordings are generated. Writes benchmarks/results/memory.json and the tables in docs/performance.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import report
import soundfile

RATE_HZ = 16_000
SEGMENT = 16_384
HEADER = 44
CHUNK = 1_024  # samples per write to the pipe
COMMAND = (sys.executable, "-m", "segan_cli", "enhance")


def write_recording(path: Path, minutes: float) -> None:
    """Write noise with an intermittent tone, 16-bit mono."""
    rng, t = np.random.default_rng(0), np.arange(RATE_HZ * 10) / RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 200 * t) * (np.sin(2 * np.pi * 0.5 * t) > 0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(round(minutes * 6)):
            file.write(tone + 0.02 * rng.standard_normal(len(t)))


def measure(arguments: list[str]) -> dict[str, float]:
    """Seconds and peak resident memory of a command."""
    began = time.monotonic()
    process = subprocess.Popen([*COMMAND, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"segan enhance {' '.join(arguments)}: failed")
    return {"seconds": time.monotonic() - began, "peak_mib": usage.ru_maxrss / 1024}


def pipe_latency() -> dict[str, float]:
    """Input that a pipe needs before its first output, and the delay from then to that output."""
    process = subprocess.Popen([*COMMAND, "-", "-o", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    sound = 0.02 * np.random.default_rng(0).standard_normal(4 * SEGMENT)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, sound, RATE_HZ)
        content = Path(file.name).read_bytes()
    os.set_blocking(process.stdout.fileno(), False)
    process.stdin.write(content[: HEADER + 2 * CHUNK])
    process.stdin.flush()
    began = time.monotonic()
    while not read_exactly(process.stdout, HEADER):
        time.sleep(0.01)
    ready = time.monotonic() - began
    written = CHUNK
    while True:
        process.stdin.write(content[HEADER + 2 * written : HEADER + 2 * (written + CHUNK)])
        process.stdin.flush()
        written += CHUNK
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            if read_exactly(process.stdout, 1):
                delay = time.monotonic() - began
                process.kill()
                return {"start_s": ready, "input_s": written / RATE_HZ, "after_s": delay}
            time.sleep(0.002)


def read_exactly(stream: IO[bytes], n: int) -> bool:
    """Whether n bytes could be read from a non-blocking pipe."""
    return len(stream.read(n) or b"") >= n


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    lengths = {name: result for name, result in results.items() if name != "pipe"}
    lowest = min(result["peak_mib"] for result in lengths.values())
    rows = [
        [name, f"{result['peak_mib']:.0f} MiB", f"{result['peak_mib'] / lowest:.2f}", f"{result['seconds']:.0f} s"]
        for name, result in lengths.items()
    ]
    pipe = results["pipe"]
    return {
        "memory": report.table(["length", "peak memory", "ratio", "wall time"], rows),
        "pipe": report.table(
            ["startup, to the header", "input before the first output", "delay from then"],
            [[f"{pipe['start_s']:.1f} s", f"{pipe['input_s']:.2f} s", f"{pipe['after_s']:.2f} s"]],
        ),
    }


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 180])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in parser.parse_args().minutes:
            noisy = Path(folder, "noisy.wav")
            write_recording(noisy, minutes)
            results[f"{minutes:g} min"] = measure([str(noisy), "-o", f"{folder}/clean.wav", "--force", "-q"])
            print(json.dumps(results), flush=True)
    results["pipe"] = pipe_latency()
    report.save("memory", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "performance.md", heading, text)


if __name__ == "__main__":
    main()
