"""Peak memory of `segan enhance` by the length of a recording, and how soon sound leaves a pipe.

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
WINDOW = 16_384
HEADER = 44
CHUNK = 1_024  # samples that a pipe gives at a time
COMMAND = (sys.executable, "-m", "segan_cli", "enhance")


def write_recording(path: Path, minutes: float) -> None:
    """Noise with a tone that comes and goes, 16 bit mono."""
    rng, t = np.random.default_rng(0), np.arange(RATE_HZ * 10) / RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 200 * t) * (np.sin(2 * np.pi * 0.5 * t) > 0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(round(minutes * 6)):
            file.write(tone + 0.02 * rng.standard_normal(len(t)))


def measured(arguments: list[str]) -> dict[str, float]:
    """Seconds and peak resident memory of a command."""
    began = time.monotonic()
    process = subprocess.Popen([*COMMAND, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"segan enhance {' '.join(arguments)}: failed")
    return {"seconds": time.monotonic() - began, "peak_mib": usage.ru_maxrss / 1024}


def first_sound() -> dict[str, float]:
    """What a pipe must have taken in before the first samples leave it, and how soon after that they do."""
    process = subprocess.Popen([*COMMAND, "-", "-o", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    sound = 0.02 * np.random.default_rng(0).standard_normal(4 * WINDOW)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, sound, RATE_HZ)
        content = Path(file.name).read_bytes()
    os.set_blocking(process.stdout.fileno(), False)
    process.stdin.write(content[: HEADER + 2 * CHUNK])
    process.stdin.flush()
    began = time.monotonic()
    while not came(process.stdout, HEADER):
        time.sleep(0.01)
    ready = time.monotonic() - began
    given = CHUNK
    while True:
        process.stdin.write(content[HEADER + 2 * given : HEADER + 2 * (given + CHUNK)])
        process.stdin.flush()
        given += CHUNK
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            if came(process.stdout, 1):
                took = time.monotonic() - began
                process.kill()
                return {"start_s": ready, "input_s": given / RATE_HZ, "after_s": took}
            time.sleep(0.002)


def came(stream: IO[bytes], n: int) -> bool:
    """Whether so many bytes lie in a pipe; they are read."""
    return len(stream.read(n) or b"") >= n


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by heading."""
    lengths = {name: result for name, result in results.items() if name != "pipe"}
    least = min(result["peak_mib"] for result in lengths.values())
    rows = [
        [name, f"{result['peak_mib']:.0f} MiB", f"{result['peak_mib'] / least:.2f}", f"{result['seconds']:.0f} s"]
        for name, result in lengths.items()
    ]
    pipe = results["pipe"]
    return {
        "memory": report.table(["length", "peak memory", "ratio to the least", "wall time"], rows),
        "pipe": report.table(
            ["start, to the header", "input before the first sound", "from then to the sound"],
            [[f"{pipe['start_s']:.1f} s", f"{pipe['input_s']:.2f} s", f"{pipe['after_s']:.2f} s"]],
        ),
    }


def main() -> None:
    """Measure, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 180])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in parser.parse_args().minutes:
            noisy = Path(folder, "noisy.wav")
            write_recording(noisy, minutes)
            results[f"{minutes:g} min"] = measured([str(noisy), "-o", f"{folder}/clean.wav", "--force", "-q"])
            print(json.dumps(results), flush=True)
    results["pipe"] = first_sound()
    report.save("memory", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "performance.md", heading, text)


if __name__ == "__main__":
    main()
