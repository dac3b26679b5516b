"""Delay and dropouts of `segan live` through a PulseAudio server of its own, with two null sinks.

python benchmarks/round_trip.py [--seconds 600] [--buffer 40]

Noise is played into one sink, whose monitor is the microphone; `segan live --strength 0`, which leaves the sound as it
is but runs the model, plays into the other one, whose monitor is recorded. The delay is where recording and noise
correlate, second by second; a second whose delay is not that of the one before, or that does not correlate, has a
dropout.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from threading import Thread

import numpy as np
import report
from numpy.typing import NDArray

Array = NDArray[np.float32]

RATE_HZ = 48_000
PLAYED, RECORDED = "microphone", "loudspeaker"  # sinks
FORMAT = ("--format=float32le", f"--rate={RATE_HZ}", "--channels=1", "--latency-msec=20")
MAX_DELAY_S = 2.0
MIN_CORRELATION = 0.9


def start_server(folder: str) -> "subprocess.Popen[bytes]":
    """Start a server with both sinks; the environment of this process then names it."""
    os.environ |= {"XDG_RUNTIME_DIR": folder, "PULSE_SERVER": f"unix:{folder}/socket"}
    sinks = [f"--load=module-null-sink sink_name={name} rate={RATE_HZ} channels=1" for name in (PLAYED, RECORDED)]
    socket = f"--load=module-native-protocol-unix socket={folder}/socket auth-anonymous=1"
    options = ["--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-n", socket, *sinks]
    server = subprocess.Popen(["pulseaudio", *options], stderr=subprocess.DEVNULL)
    while subprocess.run(["pactl", "info"], capture_output=True, check=False).returncode:
        time.sleep(0.1)
    return server


def delays(noise: Array, recorded: Array) -> tuple[Array, Array]:
    """Delay of each second of noise [n] in a recording [m], in samples, and its correlation there."""
    lags, peaks = [], []
    span = round(MAX_DELAY_S * RATE_HZ)
    for first in range(0, len(recorded) - RATE_HZ - span, RATE_HZ):
        piece, place = noise[first : first + RATE_HZ], recorded[first : first + RATE_HZ + span]
        size = 2 ** int(np.ceil(np.log2(len(place) + len(piece))))
        correlation = np.fft.irfft(np.fft.rfft(place, size) * np.fft.rfft(piece, size).conj())[:span]
        lag = int(correlation.argmax())
        there = place[lag : lag + RATE_HZ]
        lags.append(lag)
        peaks.append(correlation[lag] / (np.linalg.norm(piece) * np.linalg.norm(there) + 1e-9))
    return np.array(lags), np.array(peaks)


def main() -> None:
    """Play, enhance, record, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--buffer", type=float, default=40.0)
    arguments = parser.parse_args()
    noise = (0.1 * np.random.default_rng(0).standard_normal(arguments.seconds * RATE_HZ)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(folder)
        options = ["--input", "pulse", "--output", "pulse", "--rate", str(RATE_HZ), "--buffer", str(arguments.buffer)]
        devices = {"PULSE_SOURCE": f"{PLAYED}.monitor", "PULSE_SINK": RECORDED}
        words = [sys.executable, "-m", "segan_cli", "live", "--strength", "0", *options]
        live = subprocess.Popen(words, env=os.environ | devices, stderr=subprocess.PIPE)
        time.sleep(5)  # until it runs
        recorder = subprocess.Popen(["parec", f"--device={RECORDED}.monitor", *FORMAT], stdout=subprocess.PIPE)
        player = subprocess.Popen(["pacat", f"--device={PLAYED}", *FORMAT], stdin=subprocess.PIPE)
        assert recorder.stdout is not None
        assert player.stdin is not None
        Thread(target=player.communicate, args=(noise.tobytes(),)).start()
        recorded = np.frombuffer(recorder.stdout.read(4 * len(noise)), np.float32)
        recorder.kill()
        live.send_signal(signal.SIGINT)
        said = live.communicate()[1].decode().splitlines()
        server.terminate()
    lags, peaks = delays(noise, recorded)
    bad = (np.abs(np.diff(lags, prepend=lags[:1])) > 1) | (peaks < MIN_CORRELATION)
    cells = [f"{arguments.buffer:g} ms", f"{len(lags)} s", f"{1e3 * np.median(lags) / RATE_HZ:.0f} ms", str(bad.sum())]
    print(report.table(["buffer", "duration", "delay, of the players too", "seconds with a dropout"], [cells]))
    print(*said, sep="\n")


if __name__ == "__main__":
    main()
