"""Cost of live enhancement: time of each block on one thread, and memory over an hour of sound.

python benchmarks/live.py [--seconds 3600] [--rate 48000]

Prints a Markdown table. A ratio below 1 is faster than real time; the block has 16 ms.
"""

import argparse
import resource
import time

import numpy as np
import report

from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.live import LiveEnhancement


def main() -> None:
    """Push blocks of noise through a live stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="segan-live")
    parser.add_argument("--rate", type=int, default=48_000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    live = LiveEnhancement(Enhancer(arguments.model, threads=1), arguments.rate, arguments.channels)
    rng, block_s = np.random.default_rng(0), live.block / arguments.rate
    n_blocks = round(arguments.seconds / block_s)
    times, memory = np.zeros(n_blocks), []
    for i in range(n_blocks):
        block = 0.05 * rng.standard_normal((arguments.channels, live.block)).astype(np.float32)
        begin = time.perf_counter()
        live.process(block)
        times[i] = time.perf_counter() - begin
        if i in (n_blocks // 10, n_blocks - 1):
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if live.error is not None:
        raise live.error
    cells = [
        f"{arguments.rate} Hz, {arguments.channels} channels", f"{arguments.seconds:.0f} s",
        f"{times.mean() / block_s:.3f}",
        *(f"{1e3 * np.percentile(times, p):.2f} ms" for p in (50, 99, 99.9)), f"{(times > block_s).mean():.3%}",
        " → ".join(f"{megabytes:.0f} MB" for megabytes in memory),
    ]  # fmt: skip
    headings = ["sound", "duration", "time / real time", "median block", "p99", "p99.9", "late", "memory at 10 %, end"]
    print(report.table(headings, [cells]))


if __name__ == "__main__":
    main()
