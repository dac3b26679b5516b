"""Signals at random times over folders, pipes, lists and video: exit codes, nothing left, no traceback.

python tests/stress_signals.py 100 [SEED]   sends N signals and prints the outcomes
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
from conftest import hiss, voice

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_S = 600  # until an end; a busy machine must not reach it
LATEST_S = 4.0  # after the start
SAYS = ("segan: stopped", "segan: stopped; unfinished outputs were removed")


def prepare(place):
    """Recordings to enhance: a folder of six, one long, a video, and ffmpeg under its name."""
    (place / "bin").mkdir()
    (place / "bin" / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    (place / "in").mkdir()
    sound = np.tile(0.5 * (voice(5.0) + hiss(5.0)), 4)
    for i in range(6):
        soundfile.write(place / "in" / f"{i}.{('wav', 'flac', 'ogg')[i % 3]}", sound, 16_000)
    soundfile.write(place / "long.wav", np.tile(sound, 20), 16_000)
    soundfile.write(place / "long.flac", np.tile(sound, 20), 16_000)
    pictures = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=5", "-shortest")
    command = [place / "bin" / "ffmpeg", "-v", "error", "-i", place / "long.wav", *pictures, place / "long.mp4"]
    subprocess.run(command, check=True)


def kinds(place, out):
    """Arguments, standard input and standard output of every way."""
    into = ("-o", out / "out.wav")
    return {
        "folder": (("enhance", place / "in", "-o", out / "all", "--jobs", "1", "--json"), None),
        "folder, two jobs": (("enhance", place / "in", "-o", out / "all", "--jobs", "2"), None),
        "file": (("enhance", place / "long.wav", *into, "--normalize", "-1", "--residual", out / "rest.wav"), None),
        "pipe": (("enhance", "-", "-o", "-"), place / "long.wav"),
        "pipe of flac": (("enhance", "-", *into), place / "long.flac"),
        "video": (("enhance", place / "long.mp4", "-o", out / "out.mp4"), None),
        "scores": (("evaluate", "--noisy", place / "in", "--clean", place / "in", "--no-cache", "--jobs", "1"), None),
    }


def handles_signals(process):
    """Whether a process has installed its signal handlers."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def attempt(place, rng):
    """One command and its signals; → kind, signal, and what is wrong or ''."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    (out / "tmp").mkdir(parents=True)
    kind, (arguments, given) = rng.choice(list(kinds(place, out).items()))
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(out / "tmp")}
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    with (given or Path(os.devnull)).open("rb") as stdin, (out / "stdout").open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "segan_cli", *map(str, arguments)],
            stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
    while process.poll() is None and not handles_signals(process):
        time.sleep(0.002)
    time.sleep(rng.uniform(0, LATEST_S))
    number = rng.choice(STOPS)
    process.send_signal(number)
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return kind, number.name, "hangs"
    return kind, number.name, wrong(process.returncode, number, stderr.decode(), out)


def wrong(code, number, stderr, out):
    """What is not as it should be after a signal."""
    lines = [line for line in stderr.splitlines() if not line.startswith("note: ")]
    if code == 0:
        return "finished"
    left = [
        path.name
        for path in out.rglob("*")
        if path.name[0] == "." or ".part" in path.name or path.parent == out / "tmp"
    ]
    if "Traceback" in stderr or "Error" in stderr:
        return f"traceback: {stderr}"
    if code != 128 + number:
        return f"exit code {code}: {stderr}"
    if left:
        return f"left behind: {left}"
    summary = [line for line in lines if not line.startswith(SAYS[0])]
    return f"says {lines}" if len(lines) - len(summary) != 1 or summary else ""


def main(n, seed=0):
    """So many signals."""
    rng, outcomes, bad = random.Random(seed), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for _ in range(n):
            kind, number, trouble = attempt(Path(folder), rng)
            outcomes[f"{kind}, {number}: {'finished before' if trouble == 'finished' else trouble or 'right'}"] += 1
            if trouble not in ("", "finished"):
                bad.append((kind, number, trouble))
                print(kind, number, trouble, flush=True)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:4} {outcome}")
    print(f"{n} signals, {len(bad)} not answered as they should be")
    return len(bad)


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), *map(int, sys.argv[2:]))))
