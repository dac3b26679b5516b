"""Signals at any time during a command: its exit code, one line, no leftovers, no traceback."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import soundfile
import stress_signals
from commands import Running, alone, command
from conftest import hiss, voice, write_hours

from segan_cli.enhancement import batch
from segan_cli.errors import StoppedError
from segan_cli.process import workers
from segan_cli.process.stopping import STOPS, RaiseOnSignal, StopAfterStep, listening

LOADING = """
import os, signal, sys
from importlib.abc import MetaPathFinder
class Signal(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Signal())
sys.argv = ["segan", *{arguments!r}]
from segan_cli.__main__ import main
main()
"""


@pytest.fixture(autouse=True)
def _hangups_count():
    """As in a terminal, also where the tests run under nohup, which has their processes ignore hangups."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def long(tmp_path):
    """A recording that takes a while."""
    write_hours(tmp_path / "long.wav")
    return tmp_path / "long.wav"


def test_a_worker_starts_with_signals_blocked_after_the_resource_tracker(monkeypatch):
    blocked = []

    def note(*_):
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(STOPS))

    monkeypatch.setattr(workers.resource_tracker, "ensure_running", note)
    monkeypatch.setattr(workers.SpawnProcess, "start", note)
    workers._Process().start()
    note()
    assert blocked == [False, True, False]


def test_a_worker_that_gets_sigterm_serves_for_a_while_unless_it_is_done(monkeypatch):
    before = threading.enumerate()
    workers._leave_later(signal.SIGTERM, None)
    (timer,) = [thread for thread in threading.enumerate() if thread not in before]
    timer.cancel()
    assert (timer.interval, timer.function, timer.args) == (600.0, os._exit, (143,))
    assert timer.daemon


@pytest.mark.parametrize(("module", "number"), [*zip(["click", "numpy", "onnxruntime"], STOPS, strict=True)])
def test_a_signal_during_loading_ends_in_one_line(tmp_path, module, number):
    soundfile.write(tmp_path / "a.wav", voice(0.2), 16_000)
    arguments = ["enhance", str(tmp_path / "a.wav"), "-o", str(tmp_path / "b.wav")]
    program = LOADING.format(module=module, number=int(number), arguments=arguments)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=alone())
    assert (result.returncode, result.stdout, result.stderr) == (128 + number, "", "segan: stopped\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav"]


@pytest.mark.parametrize("number", STOPS)
def test_each_signal_has_its_exit_code_and_leaves_no_file(long, tmp_path, number):
    running = Running("enhance", long, "-o", tmp_path / "out.wav")
    running.wait_until(lambda: len(list(tmp_path.iterdir())) > 1)
    running.send_signal(number)
    ended = running.end()
    assert ended.returncode == 128 + number
    assert ended.stderr == "segan: stopped; unfinished outputs were removed\n"
    assert list(tmp_path.iterdir()) == [long]


def test_a_second_signal_ends_a_command_that_hangs(tmp_path):
    """Two named pipes stay open and empty, so that the threads of the jobs wait."""
    os.mkfifo(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "b.wav")
    writers = [os.open(tmp_path / name, os.O_RDWR) for name in ("a.wav", "b.wav")]
    running = Running("enhance", tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / "out", "--jobs", 2)
    running.wait_until(lambda: waits(running.process.pid))
    running.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert running.process.is_alive()
    while running.process.is_alive():  # the first two may have come as one
        running.send_signal(signal.SIGINT)
        running.process.join(0.1)
    ended = running.end()
    assert (ended.returncode, ended.stderr) == (130, "segan: stopped\n")
    for writer in writers:
        os.close(writer)


def waits(pid):
    """Whether a process has both pipes open."""
    open_files = [fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    return sum(place.suffix == ".wav" for place in open_files) == 2


def test_nohup_is_respected(long, tmp_path):
    words = ["nohup", *command("enhance", long, "-o", tmp_path / "out.wav")]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while len(list(tmp_path.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def test_a_stopped_evaluation_reports_it(tmp_path):
    for side in ("noisy", "clean"):
        (tmp_path / side).mkdir()
        for i in range(40):
            noise = hiss(4.0, seed=i, level=0.01 * (side == "noisy"))
            soundfile.write(tmp_path / side / f"{i}.wav", voice(4.0) + noise, 16_000)
    cache = tmp_path / "scores"
    folders = ("--noisy", tmp_path / "noisy", "--clean", tmp_path / "clean")
    running = Running("evaluate", *folders, "--jobs", 1, "--cache", cache, "--csv", tmp_path / "a.csv")
    running.wait_until(lambda: cache.exists() and cache.stat().st_size > 8_192)
    running.send_signal(signal.SIGHUP)
    ended = running.end()
    assert ended.returncode == 128 + signal.SIGHUP
    assert ended.stderr == "segan: stopped; unfinished outputs were removed\n"
    assert not (tmp_path / "a.csv").exists()


def test_except_exception_does_not_catch_a_stop():
    def handles_all():
        with listening(RaiseOnSignal()):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(3_600)
            except Exception:
                pytest.fail("swallowed")

    with pytest.raises(StoppedError):
        handles_all()


def test_a_stop_is_reported_even_if_the_library_that_it_interrupts_fails():
    def interrupted():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(3_600)
        finally:
            raise RuntimeError("cannot release un-acquired lock")

    with pytest.raises(StoppedError, match="unfinished outputs were removed"), listening(RaiseOnSignal()):
        interrupted()
    with pytest.raises(RuntimeError, match="lock"), listening(RaiseOnSignal()):
        raise RuntimeError("cannot release un-acquired lock")


def test_a_stop_raised_in_a_finaliser_is_raised_again(capfd):
    class Fragile:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)

    def loses_it():
        with listening(RaiseOnSignal()):
            Fragile()
            time.sleep(3_600)

    with pytest.raises(StoppedError) as caught:
        loses_it()
    assert caught.value.signal_number == signal.SIGTERM
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_caused_by_a_signal_is_not_an_outcome_of_the_recording(n_threads):
    def run(job, progress):
        return batch.Outcome(str(job.source), str(job.target), error="damaged")

    told, jobs = [], [batch.Job(Path("a.wav"), Path("b.wav"))] * 2
    with pytest.raises(StoppedError) as caught:
        batch.run_batch(run, jobs, n_threads, told.append, lambda *_: None, lambda: signal.SIGHUP)
    assert (caught.value.signal_number, told) == (signal.SIGHUP, [])


def test_a_signal_ends_a_batch_of_which_one_recording_waits_for_data(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", voice(1.0), 16_000)
    running = Running("enhance", tmp_path / "a.wav", tmp_path / "b.wav", "-o", tmp_path / "out", "--jobs", 2)
    running.wait_until(lambda: (tmp_path / "out" / "b.wav").exists())
    running.send_signal(signal.SIGTERM)
    result = running.end()
    assert result.returncode == 143
    assert "stopped; unfinished outputs were removed" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.wav"]


def test_a_signal_in_training_is_kept_until_the_step_ends():
    before = [signal.getsignal(number) for number in STOPS]
    with listening(StopAfterStep()) as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop()
    assert stop.signal_number == signal.SIGHUP
    assert [signal.getsignal(number) for number in STOPS] == before


def test_a_signal_sent_twice_at_once_stops_a_training_like_one(monkeypatch):
    """As by `timeout`, to the process and to its group; a later one ends it."""
    now_s, ended = [50.0], []
    monkeypatch.setattr("segan_cli.process.stopping.time.monotonic", lambda: now_s[0])
    monkeypatch.setattr("segan_cli.process.stopping.exit_now", lambda number, frame: ended.append(number))
    stop = StopAfterStep()
    for now_s[0] in (50.0, 50.9):
        stop.handle(signal.SIGTERM, None)
    assert (stop.signal_number, ended) == (signal.SIGTERM, [])
    now_s[0] = 51.0
    stop.handle(signal.SIGINT, None)
    assert ended == [signal.SIGINT]


def test_commands_answer_random_signals_correctly():
    """A few of them; tests/stress_signals.py sends more."""
    assert stress_signals.main(2, seed=5) == 0
