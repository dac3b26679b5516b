"""A crash in a library, or a kill, ends a batch with a line that names what was done and what was in work."""

import os
import signal
import subprocess
import sys

import pytest
import soundfile
from commands import alone, segan
from conftest import hiss

from segan_cli.process import stopping
from segan_cli.process.crash_reporter import CrashReporter, crash_reporter


def test_the_crash_reporter_counts_finished_recordings_and_names_those_in_progress():
    with crash_reporter() as reporter, reporter.following("a.wav"):
        with reporter.following("b\n.wav"):
            assert "after 0 recordings, while enhancing: a.wav, b .wav;" in reporter.last_line()
        assert "after 1 recording, while enhancing: a.wav;" in reporter.last_line()


CRASH = """
import os, sys
from segan_cli.audio import sinks
real = sinks.open_for_writing
def crash(path, *rest):
    if rest[1].name == "r2.wav":
        os.kill(os.getpid(), {number})
    return real(path, *rest)
sinks.open_for_writing = crash
sys.argv = ["segan", *{arguments}]
from segan_cli.__main__ import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_keeps_finished_outputs_and_the_batch_can_continue(tmp_path):
    for i in range(1, 4):
        soundfile.write(tmp_path / f"r{i}.wav", hiss(0.3), 16_000)
    words = ["enhance", *(str(tmp_path / f"r{i}.wav") for i in range(1, 4)), "-o", str(tmp_path / "out"), "-j", "1"]
    program = CRASH.format(number=int(signal.SIGSEGV), arguments=words)
    crashed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=alone(), check=False)
    assert crashed.returncode == -signal.SIGSEGV
    line = crashed.stderr.strip().splitlines()[-1]
    assert f"after 1 recording, while enhancing: {tmp_path / 'r2.wav'}; to continue, omit" in line
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["r1.wav"]
    result = segan(*words, "--skip-existing")
    assert (result.returncode, "2 enhanced" in result.stderr) == (0, True)
    assert "crashed" not in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["r1.wav", "r2.wav", "r3.wav"]


def test_an_immediate_stop_is_not_reported_as_a_crash(monkeypatch, capfd):
    monkeypatch.setattr(stopping.os, "_exit", lambda code: None)
    with crash_reporter() as reporter:
        stopping.exit_now(signal.SIGTERM, None)
        assert reporter.process.wait() != 0
    assert capfd.readouterr().err == "segan: stopped\n"


def test_the_crash_reporter_reports_when_its_pipe_closes(capfd):
    reporter = CrashReporter()
    context = reporter.following("a.wav")
    context.__enter__()
    reporter.process.stdin.close()
    reporter.process.wait()
    assert "while enhancing: a.wav" in capfd.readouterr().err


def test_a_batch_goes_on_when_the_crash_reporter_is_killed():
    with crash_reporter() as reporter:
        reporter.process.kill()
        reporter.process.wait()
        with reporter.following("a.wav"):
            pass
    assert reporter.n_done == 1
