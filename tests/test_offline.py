"""Nothing is looked up, sent, or written but outputs and the caches that the docs name."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from commands import command
from conftest import hiss, voice

from segan_cli.audio.ffmpeg.program import find_ffmpeg
from segan_cli.backends.pretrained import find_onnx

CALLS = "%network,execve,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
TALK = re.compile(r"\b(connect|bind|sendto|sendmsg|sendmmsg)\(")
WRITTEN = re.compile(
    r'\b(?:openat?|creat|mkdir|mkdirat)\((?:AT_FDCWD, |\d+, )?"([^"]+)".*(?:O_WRONLY|O_RDWR|O_CREAT|mkdir)'
)


STARTED = re.compile(r'\bexecve\("([^"]+)"')


def traced(words, tmp_path):
    """Run a command under strace; → its network calls, the files it made or opened for writing, and the programs."""
    if shutil.which("strace") is None or subprocess.run(["strace", "true"], capture_output=True).returncode:
        pytest.skip("strace is not there, or may not trace here")
    (tmp_path / "home").mkdir()
    trace, places = tmp_path / "trace", {"HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))} | places
    watched = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *words]
    result = subprocess.run(watched, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    calls = [line for line in trace.read_text(errors="replace").splitlines() if " = -1 E" not in line]
    written = {place for line in calls for place in WRITTEN.findall(line)} - {"/dev/null"}
    started = [place for line in calls for place in STARTED.findall(line)]
    return [line for line in calls if TALK.search(line) and "AF_UNIX" not in line], written, started


@pytest.fixture
def noisy(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(1.0) + hiss(1.0), 16_000)


@pytest.mark.usefixtures("noisy")
def test_enhancing_writes_only_the_output_and_opens_no_connection(tmp_path):
    connections, written, started = traced(command("enhance", "in.wav", "-o", "out.wav", "--device", "cpu"), tmp_path)
    assert connections == []
    assert {Path(tmp_path, place).parent for place in written} == {tmp_path}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "in.wav", "out.wav", "trace"]
    assert list((tmp_path / "home").iterdir()) == []
    assert started == [sys.executable]


@pytest.mark.usefixtures("noisy")
def test_only_ffmpeg_and_workers_are_started(tmp_path):
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        pytest.skip("needs ffmpeg")
    (tmp_path / "m.onnx").write_bytes(find_onnx("default").read_bytes())
    subprocess.run([ffmpeg, "-v", "error", "-i", tmp_path / "in.wav", tmp_path / "in.m4a"], check=True)
    connections, _, started = traced(command("enhance", "in.wav", "in.m4a", "-o", "out", "-m", "m.onnx"), tmp_path)
    assert connections == []
    assert set(started) == {sys.executable, ffmpeg}
    assert started.count(sys.executable) == 3  # segan, the test of the model, and the reporter of the batch


@pytest.mark.usefixtures("noisy")
def test_evaluating_writes_only_what_is_named_and_opens_no_connection(tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "noisy").mkdir()
    soundfile.write(tmp_path / "clean" / "in.wav", voice(1.0), 16_000)
    (tmp_path / "in.wav").rename(tmp_path / "noisy" / "in.wav")
    options = ("--measure", "si_sdr_db", "--csv", "r.csv", "--cache", "scores.sqlite", "--jobs", "1")
    words = command("evaluate", "--noisy", "noisy", "--clean", "clean", "--model", "default", *options)
    connections, written, started = traced(words, tmp_path)
    assert connections == []
    assert {Path(tmp_path, place).parent for place in written} <= {tmp_path, Path("/dev/shm")}  # semaphores of workers
    assert {path.name for path in tmp_path.iterdir()} == {"clean", "home", "noisy", "r.csv", "scores.sqlite", "trace"}
    assert list((tmp_path / "home").iterdir()) == []
    assert set(started) == {sys.executable}


@pytest.mark.usefixtures("noisy")
def test_an_enhancer_in_python_writes_no_file_and_opens_no_connection(tmp_path):
    program = (
        "import os, soundfile\nbefore = dict(os.environ)\nfrom segan_cli import Enhancer\n"
        "sound, rate = soundfile.read('in.wav')\nEnhancer(device='cpu', backend='onnx').enhance(sound, rate)\n"
        "assert dict(os.environ) == before\n"
    )
    connections, written, started = traced([sys.executable, "-c", program], tmp_path)
    assert connections == []
    assert written == set()
    assert started == [sys.executable]
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("value", [None, "0"])
def test_the_telemetry_variable_is_restored_after_loading(value, monkeypatch):
    """And what the user set there, which would switch the telemetry on, does not count."""
    program = (
        "import os\nfrom segan_cli.runtime import load_onnxruntime\n"
        "seen = []\nimport importlib.abc, sys\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'onnxruntime': seen.append(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Finder())\n"
        "load_onnxruntime(); load_onnxruntime()\n"
        "print(seen, os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
    )
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    environment = {**os.environ} | ({} if value is None else {"ORT_DISABLE_TELEMETRY": value})
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"['1'] {value}"


def test_dnsmos_gives_the_ratings_of_the_reference_program_and_no_other_file_is_written(tmp_path):
    """Those of speechmos.dnsmos.run."""
    pytest.importorskip("speechmos")
    speech = 0.15 * (voice(3.0) + hiss(3.0, level=3e-3))
    for name, level in (("clean", 0), ("noisy", 0.03)):
        soundfile.write(tmp_path / f"{name}.wav", speech + hiss(3.0, seed=1, level=level), 16_000)
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    words = command("evaluate", "--noisy", tmp_path, "--dnsmos", "--json", "--no-cache", "--jobs", 1)
    result = subprocess.run(words, env=environment | {"HOME": str(home)}, capture_output=True, text=True, check=True)
    clean, noisy = (file["scores"]["noisy"] for file in json.loads(result.stdout)["files"])
    names = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
    assert clean == pytest.approx(dict(zip(names, (2.62287, 3.35245, 2.11837, 2.39004), strict=True)), abs=1e-3)
    assert noisy == pytest.approx(dict(zip(names, (1.6764, 1.31473, 1.2378, 2.0459), strict=True)), abs=1e-3)
    assert list(home.iterdir()) == []
