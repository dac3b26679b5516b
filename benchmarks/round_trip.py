"""Delay and dropouts of `segan live` through the PulseAudio or PipeWire server that runs.

python benchmarks/round_trip.py [--seconds 600] [--buffer 40]

Noise is played into the left channel of a null sink, used as the microphone; `segan live --strength 0`, which runs
the model without changing the sound, plays into the right one. A recording of both channels shows, on the same clock,
the delay and the dropouts: a second has a dropout if the channels do not correlate in it, or if its delay differs
from that of the second before. Meanwhile, this process sleeps on each core; where a sleep lasts too long, the core
was unavailable.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import report
from numpy.typing import NDArray

Array = NDArray[np.float32]

RATE_HZ = 48_000
FORMAT = ("--format=float32le", f"--rate={RATE_HZ}", "--latency-msec=500")  # long, so that the players have no dropouts
MAX_DELAY_S = 2.0
MIN_CORRELATION = 0.999  # a gap of 2 ms in a second
SLEEP_S, PAUSE_S = 0.01, 0.03  # what this process sleeps, and what is too long
SIDE = "channels=1 channel_map=mono remix=no master_channel_map"
MODULES = (
    f"module-null-sink sink_name=line rate={RATE_HZ} channels=2 channel_map=front-left,front-right",
    f"module-remap-sink sink_name=player master=line {SIDE}=front-left",
    f"module-remap-source source_name=microphone master=line.monitor {SIDE}=front-left",
    f"module-remap-sink sink_name=loudspeaker master=line {SIDE}=front-right",
)


def delays(noise: Array, recorded: Array) -> tuple[Array, Array]:
    """Delay of each second of noise [n] in a recording [m], in samples, and its correlation there."""
    lags, peaks = [], []
    span = round(MAX_DELAY_S * RATE_HZ)
    for first in range(0, min(len(recorded) - span, len(noise)) - RATE_HZ, RATE_HZ):
        piece, place = noise[first : first + RATE_HZ], recorded[first : first + RATE_HZ + span]
        size = 2 ** int(np.ceil(np.log2(len(place) + len(piece))))
        correlation = np.fft.irfft(np.fft.rfft(place, size) * np.fft.rfft(piece, size).conj())[:span]
        lag = int(correlation.argmax())
        there = place[lag : lag + RATE_HZ]
        lags.append(lag)
        peaks.append(correlation[lag] / (np.linalg.norm(piece) * np.linalg.norm(there) + 1e-9))
    return np.array(lags), np.array(peaks)


def dropouts(lags: Array, peaks: Array) -> set[int]:
    """Return the seconds with a dropout."""
    return set(np.flatnonzero((np.diff(lags, prepend=lags[:1]) != 0) | (peaks < MIN_CORRELATION)).tolist())


def play(noise: Array) -> list[float]:
    """Play noise; returns when a sleep on a core was too long, in seconds from the start."""
    words = ["pacat", "--device=player", "--channels=1", *FORMAT]
    pauses: list[float] = []
    with tempfile.TemporaryFile() as file:
        file.write(noise.tobytes())
        file.seek(0)
        player, began = subprocess.Popen(words, stdin=file), time.monotonic()

        def sleep(core: int) -> None:
            os.sched_setaffinity(0, {core})  # of this thread
            while player.poll() is None:
                before = time.monotonic()
                time.sleep(SLEEP_S)
                if time.monotonic() - before > PAUSE_S:
                    pauses.append(before - began)

        threads = [threading.Thread(target=sleep, args=(core,)) for core in os.sched_getaffinity(0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sorted(pauses)


def measure(noise: Array, buffer_ms: float) -> tuple[Array, list[float], list[str]]:
    """Play noise to segan; returns a recording of both [2, m], pauses, and what segan said."""
    options = ["--input", "pulse", "--output", "pulse", "--rate", str(RATE_HZ), "--buffer", str(buffer_ms)]
    words = [sys.executable, "-m", "segan_cli", "live", "--strength", "0", *options]
    devices = {"PULSE_SOURCE": "microphone", "PULSE_SINK": "loudspeaker"}
    with tempfile.TemporaryFile() as file:
        live = subprocess.Popen(words, env=os.environ | devices, stderr=subprocess.PIPE, text=True)
        assert live.stderr is not None
        said = [live.stderr.readline()]  # it runs
        recorder = subprocess.Popen(["parec", "--device=line.monitor", "--channels=2", *FORMAT], stdout=file)
        time.sleep(1)
        pauses = play(noise)
        time.sleep(MAX_DELAY_S + 1)
        recorder.terminate()
        recorder.wait()
        live.send_signal(signal.SIGINT)
        said += live.communicate()[1].splitlines()
        file.seek(0)
        recorded = np.frombuffer(file.read(), np.float32)
    return recorded[: len(recorded) // 2 * 2].reshape(-1, 2).T, pauses, said


def main() -> None:
    """Play, enhance, record, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--buffer", type=float, default=40.0)
    arguments = parser.parse_args()
    noise = (0.1 * np.random.default_rng(0).standard_normal(arguments.seconds * RATE_HZ)).astype(np.float32)
    loaded = []
    try:
        for module in MODULES:
            words = ["pactl", "load-module", *module.split()]
            loaded.append(subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout.strip())
        (left, right), pauses, said = measure(noise, arguments.buffer)
    finally:
        for number in reversed(loaded):
            subprocess.run(["pactl", "unload-module", number], check=True)
    before = delays(noise, left)
    start = before[0][0]
    lags, peaks = delays(left[start : start + len(noise)], right[start:])
    bad, bad_before = dropouts(lags, peaks), dropouts(*before)
    paused = {int(pause) + near for pause in pauses for near in (-1, 0, 1)}
    headings = ["buffer", "duration", "delay", "seconds with a dropout", "of these, in a pause", "or before segan"]
    counts = [str(len(seconds)) for seconds in (bad, bad & paused, bad & bad_before)]
    cells = [f"{arguments.buffer:g} ms", f"{len(lags)} s", f"{1e3 * np.median(lags) / RATE_HZ:.1f} ms", *counts]
    print(report.table(headings, [cells]))
    print(
        "pauses at", *(f"{pause:.1f}" for pause in pauses), "dropouts at", *sorted(bad), "before", *sorted(bad_before)
    )
    print(*said, sep="\n")


if __name__ == "__main__":
    main()
