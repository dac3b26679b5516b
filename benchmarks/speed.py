"""Startup time, real-time factor and overhead of `segan enhance`, its share of peak speed, and other denoisers.

python benchmarks/speed.py [--minutes 60]

Everything is measured in one run on generated recordings, so that ratios are comparable. Writes
benchmarks/results/speed.json and the tables in docs/performance.md.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import report
import soundfile
from imageio_ffmpeg import get_ffmpeg_exe
from memory import COMMAND, RATE_HZ, write_recording

from segan_cli.backends.choice import open_network
from segan_cli.backends.network import Network
from segan_cli.backends.pretrained import find_onnx, shipped_models
from segan_cli.enhancement.enhancer import AHEAD

REPEATS = 7
SEGMENTS = 16  # per run of a network
MATRIX = 1_024  # size of the matrix product that measures peak speed
PEERS = {  # name → command of another denoiser, and the program or package that it needs
    "ffmpeg afftdn": (("ffmpeg", "-v", "error", "-y", "-i", "{0}", "-af", "afftdn", "{1}"), "ffmpeg"),
    "noisereduce": (
        (
            sys.executable, "-c",
            "import sys, soundfile, noisereduce\n"
            "x, rate = soundfile.read(sys.argv[1])\n"
            "soundfile.write(sys.argv[2], noisereduce.reduce_noise(y=x, sr=rate), rate)",
            "{0}", "{1}",
        ),
        "noisereduce",
    ),
    "pyrnnoise": (
        (
            sys.executable, "-c",
            "import sys, numpy, soundfile, pyrnnoise\n"
            "x, rate = soundfile.read(sys.argv[1], dtype='int16')\n"
            "frames = pyrnnoise.RNNoise(rate).denoise_chunk(x[None], True)\n"
            "soundfile.write(sys.argv[2], numpy.concatenate([y[0] for _, y in frames]), rate)",
            "{0}", "{1}",
        ),
        "pyrnnoise",
    ),
}  # fmt: skip


def median_s(words: list[str], times: int = REPEATS, threads: int = 1) -> float:
    """Median wall time of a command."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def starts(noisy: Path, folder: str) -> dict[str, float]:
    """Wall times of whole processes, interleaved so that changes of machine speed affect all alike."""
    clean = f"{folder}/clean.wav"
    enhance = [*COMMAND, str(noisy), "-o", clean, "--force", "-q"]
    commands = {
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "segan enhance, 3 s of audio": enhance,
        "the same, --backend torch": [*enhance, "--backend", "torch"],
        "segan --help": [*COMMAND[:-1], "--help"],
        "segan enhance --help": [*COMMAND, "--help"],
    }
    turns = [{name: median_s(words, 1) for name, words in commands.items()} for _ in range(REPEATS)]
    return {name: statistics.median(turn[name] for turn in turns) for name in commands}


def network_s(network: Network, segments: int) -> float:
    """Wall time of the bare network, with the batch size and queue depth of segan enhance."""
    n = network.batch
    noisy = (0.05 * np.random.default_rng(0).standard_normal((n, 1, network.config.segment_length))).astype(np.float32)
    z = network.config.generator.draw_latent(np.random.default_rng(0), n, network.config.segment_length)
    network(noisy, z)
    batches = -(-segments // n)
    queue = deque()
    began = time.perf_counter()
    for _ in range(batches):
        queue.append(network.start(noisy, z))
        if len(queue) > AHEAD:
            queue.popleft()()
    for wait in queue:
        wait()
    return (time.perf_counter() - began) * segments / (batches * n)


def matrix_rate() -> float:
    """Multiply-accumulates per second of a large matrix product on one thread."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    a @ b
    began = time.perf_counter()
    a @ b
    return float(MATRIX**3 / (time.perf_counter() - began))


def long_files(minutes: float, folder: str) -> dict[str, dict[str, float]]:
    """Wall time and overhead by length and threads, the faster of two runs."""
    results: dict[str, dict[str, float]] = {}
    for length in (1.0, minutes):
        noisy = Path(folder, "long.wav")
        write_recording(noisy, length)
        seconds = 60 * length
        times: dict[int, list[float]] = {1: [], 2: []}
        bare: dict[int, list[float]] = {1: [], 2: []}
        for threads in (1, 2, 1, 2):
            words = [*COMMAND, str(noisy), "-o", f"{folder}/clean.wav", "--force", "-q", "--threads", str(threads)]
            times[threads].append(median_s(words, 1, threads))
            network = open_network("default", "cpu", "onnx", threads=threads)
            bare[threads].append(network_s(network, round(seconds * RATE_HZ / network.config.hop) + 1))
        for threads in times:
            best = min(times[threads])
            results[f"{length:g} min, {threads} thread{'s' * (threads > 1)}"] = {
                "seconds": best, "factor": best / seconds, "times": min(times[1]) / best,
                "overhead": best / min(bare[threads]) - 1,
            }  # fmt: skip
        print(times, bare, flush=True)
    return results


def limits(folder: str) -> dict[str, dict[str, float]]:
    """Speed of each shipped network relative to the matrix product, on one thread, in interleaved runs.

    The default model also with 8-bit weights and in bfloat16.
    """
    networks: dict[str, Network] = {}
    for name in shipped_models()[1]:
        networks[f"{name}, onnx"] = open_network(name, "cpu", "onnx", threads=1)
        networks[f"{name}, torch"] = open_network(name, "cpu", "torch", threads=1)
    default = shipped_models()[0]
    networks[f"{default}, onnx, 8 bits"] = open_network(quantise(default, folder), "cpu", "onnx", threads=1)
    networks[f"{default}, torch, bfloat16"] = open_network(default, "cpu", "torch", "bf16", 1)
    turns = [
        (matrix_rate(), {name: network_s(network, SEGMENTS) / SEGMENTS for name, network in networks.items()})
        for _ in range(REPEATS)
    ]
    rate, results = max(rate for rate, _ in turns), {}
    for name, network in networks.items():
        macs = network.config.macs_per_second * network.config.hop / network.config.sample_rate_hz
        seconds = min(turn[name] for _, turn in turns)
        results[name] = {"macs": macs, "segment_s": seconds, "share": macs / seconds / rate}
    return results


def quantise(name: str, folder: str) -> Path:
    """Quantise a shipped model dynamically to 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = Path(folder, "quantised.onnx")
    quantize_dynamic(find_onnx(name), path, op_types_to_quantize=["MatMul", "Conv"], weight_type=QuantType.QUInt8)
    return path


def peers(folder: str) -> dict[str, float]:
    """Wall times of the available denoisers for one minute at 48 kHz."""
    noisy, clean = Path(folder, "minute.wav"), f"{folder}/clean.wav"
    rng = np.random.default_rng(0)
    soundfile.write(noisy, 0.05 * rng.standard_normal(60 * 48_000), 48_000)
    found = {"segan enhance": median_s([*COMMAND, str(noisy), "-o", clean, "--force", "-q", "--threads", "1"], 3)}
    for name, (words, needs) in PEERS.items():
        if needs == "ffmpeg" and not shutil.which(needs):
            words = (get_ffmpeg_exe(), *words[1:])
        elif needs != "ffmpeg" and not find_spec(needs):
            continue
        found[name] = median_s([word.format(noisy, clean) if word in ("{0}", "{1}") else word for word in words], 3)
    return found


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    unit, ours = results["starts"]["python -c 'import torch'"], results["peers"]["segan enhance"]
    return {
        "starts": report.table(
            ["process", "wall time", "ratio to importing torch"],
            [[name, f"{s:.2f} s", f"{s / unit:.2f}"] for name, s in results["starts"].items()],
        ),
        "long": report.table(
            ["recording", "wall time", "real-time factor", "speedup over one thread", "overhead over the bare network"],
            [
                [name, f"{r['seconds']:.1f} s", f"{r['factor']:.4f}", f"{r['times']:.2f}", f"{r['overhead']:+.0%}"]
                for name, r in results["long"].items()
            ],
        ),
        "limits": report.table(
            ["network", "multiply-accumulates per segment", "time per segment", "share of matrix product speed"],
            [
                [name, f"{r['macs'] / 1e6:.0f} M", f"{1e3 * r['segment_s']:.1f} ms", f"{r['share']:.0%}"]
                for name, r in results["limits"].items()
            ],
        ),
        "peers": report.table(
            ["denoiser, one minute at 48 kHz", "wall time", "ratio to ours"],
            [[name, f"{s:.2f} s", f"{s / ours:.2f}"] for name, s in results["peers"].items()],
        ),
    }


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of the long recording")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder, "short.wav")
        write_recording(short, 1 / 6)
        samples, _ = soundfile.read(short, frames=3 * RATE_HZ)
        soundfile.write(short, samples, RATE_HZ)
        results: dict[str, Any] = {"starts": starts(short, folder), "limits": limits(folder), "peers": peers(folder)}
        print(results, flush=True)
        results["long"] = long_files(minutes, folder)
    report.save("speed", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "performance.md", heading, text)


if __name__ == "__main__":
    main()
