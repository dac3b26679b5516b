"""`segan live` with simulated devices: names, sound through the model, errors, the end."""

import gc
import io
import os
import signal
import subprocess
import sys
from threading import Event, Thread
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import hiss, voice
from rich.console import Console

from segan_cli.audio.devices import MAX_MORE, REAL_TIME_PRIORITY, BlockQueue, StreamShape, find_device
from segan_cli.backends.export import export
from segan_cli.cli import segan
from segan_cli.cli.live import meter, watch
from segan_cli.config.presets import PRESETS
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.live import LiveEnhancement
from segan_cli.errors import AudioError, StoppedError
from segan_cli.networks.checkpoint import Model
from segan_cli.networks.families import build_generator

RATE_HZ, BLOCK = 48_000, 768
SHAPE = StreamShape(RATE_HZ, 1, 4, 0.0)
WAITING = 3
UP = "\x1b[1A"  # moves the cursor
DEVICES = [
    ("Built-in microphone", 2, 0), ("USB Audio", 1, 0), ("Loudspeakers", 0, 2), ("USB Audio out", 0, 2),
    ("USB Audio JACK", 1, 0), ("Mixer JACK 1", 1, 1), ("Mixer JACK 2", 1, 1),
]  # fmt: skip


class PortAudioError(Exception):
    """Of the library."""


class Stream:
    """Calls back with the blocks of a microphone, or collects what is played, then ends."""

    def __init__(self, sounds, finished_callback, callback, device, **shape):
        self.sounds, self.finished, self.callback, self.shape = sounds, finished_callback, callback, shape
        if shape["samplerate"] == 11_025:
            raise PortAudioError("Error opening Stream: Invalid sample rate", -9997)
        if shape["samplerate"] == 22_050:
            raise PortAudioError("Error opening Stream: Unanticipated host error", -9999, (8, -5, "Device unavailable"))

    def start(self):
        self.sounds.on_start()
        self.sounds.append(self)
        if len(self.sounds) == 2:
            Thread(target=self.run, args=self.sounds, daemon=True).start()

    def run(self, microphone, loudspeaker):
        shape = self.shape["blocksize"], self.shape["channels"]
        for block in self.sounds.blocks:
            microphone.callback(block, len(block), None, False)
            if not self.sounds.plays:
                continue
            played = np.full(shape, np.nan, np.float32)
            loudspeaker.callback(played, len(played), None, False)
            self.sounds.played.append(played[:, 0])
        if self.sounds.ends:
            microphone.finished()

    def abort(self, ignore_errors):
        self.sounds.ends = False

    def close(self, ignore_errors):
        self.sounds.on_close()
        self.sounds.closed.append(self)


class Sounds(list):
    """Streams, what the microphone records and the loudspeaker plays."""

    blocks, ends, plays = (), True, True

    def __init__(self):
        super().__init__()
        self.on_start = self.on_close = lambda: None
        self.played, self.closed = [], []


@pytest.fixture
def sounds(monkeypatch):
    """A sounddevice with devices that do not exist."""
    sounds = Sounds()
    library = SimpleNamespace(
        __spec__=object(),  # it is installed
        PortAudioError=PortAudioError,
        default=SimpleNamespace(device=(0, 2)),
        query_hostapis=lambda: [{"name": "ALSA"}, {"name": "JACK"}],
        query_devices=lambda: [
            {
                "name": n,
                "hostapi": "JACK" in n,
                "max_input_channels": i,
                "max_output_channels": o,
                "default_samplerate": 48e3 if i else 44.1e3,
            }
            for n, i, o in DEVICES
        ],
        InputStream=lambda **shape: Stream(sounds, **shape),
        OutputStream=lambda **shape: Stream(sounds, **shape),
    )
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    monkeypatch.setattr("os.sched_setscheduler", Mock())
    return sounds


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A causal model as ONNX."""
    config = PRESETS["segan-live"]
    torch.manual_seed(3)
    generator = build_generator(config.generator).eval().requires_grad_(False)
    path = tmp_path_factory.mktemp("live") / "live.onnx"
    export(Model(generator, config, {}), path)
    return path


MESSAGES = """
import os, sys
from segan_cli.process.standard_streams import prepare_streams, without_library_messages
prepare_streams()
with without_library_messages():
    os.write(2, b"of a library")
    print("ours", file=sys.stderr)
os.write(2, b"later")
"""


def test_messages_of_libraries_are_left_out_of_standard_error():
    done = subprocess.run([sys.executable, "-c", MESSAGES], capture_output=True, check=True)
    assert done.stderr.split() == [b"ours", b"later"]


def live(*arguments):
    return CliRunner().invoke(segan, ["live", *map(str, arguments)])


def test_devices_are_listed_with_their_defaults(sounds):
    lines = [line.split() for line in live("--list-devices").stdout.splitlines()]
    assert ["Built-in", "microphone", "(ALSA)", "0", "2", "*", "48000"] in lines
    assert ["Loudspeakers", "(ALSA)", "2", "2", "*", "44100"] in lines


@pytest.mark.parametrize(
    ("wanted", "direction", "number"),
    [(None, "input", 0), ("1", "input", 1), ("phone", "input", 0), ("usb", "output", 3), ("usb", "input", 1)],
)
def test_device_is_found_by_number_or_part_of_its_name_first_on_the_default_host(sounds, wanted, direction, number):
    assert find_device(wanted, direction).number == number


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("2", "no such input device"), ("u", "several"), ("mixer", "several"), ("xyz", "no such input"),
        ("", "the name of the input device is empty"), (" ", "the name of the input device is empty"),
    ],
)  # fmt: skip
def test_device_that_is_not_clear_is_rejected(sounds, wanted, message):
    with pytest.raises(AudioError, match=message):
        find_device(wanted, "input")


def test_sound_of_the_microphone_is_played_enhanced(sounds, model):
    sound = 0.3 * (voice(1.0, RATE_HZ) + hiss(1.0, RATE_HZ))[: 62 * BLOCK]
    sounds.blocks = sound.reshape(-1, BLOCK, 1)
    result = live("--model", model, "--quiet")
    assert result.exit_code == 1
    assert isinstance(result.exception, AudioError)
    assert "a device has stopped" in str(result.exception)
    expected = Enhancer(model).enhance(sound, RATE_HZ)
    played = np.concatenate(sounds.played)
    delay = BLOCK + (WAITING - 1) * BLOCK  # the device records a block before it asks for one
    np.testing.assert_allclose(played[delay:], expected[: len(played) - delay], atol=1e-6)
    assert sounds.closed == [*reversed(sounds)]


def test_device_that_cannot_be_opened_is_named(sounds, model):
    result = live("--model", model, "--rate", 11_025)
    assert str(result.exception) == (
        "Built-in microphone (ALSA): cannot be opened at 11025 Hz with 1 channels (Invalid sample rate); try another"
        " --rate, --channels or device"
    )
    assert "(Device unavailable)" in str(live("--model", model, "--rate", 22_050).exception)


@pytest.mark.parametrize("arguments", [(), ("--list-devices",)])
def test_a_machine_without_sound_devices_is_reported(sounds, monkeypatch, arguments):
    monkeypatch.setattr(sys.modules["sounddevice"], "query_devices", list)
    assert "there are no sound devices; plug one in" in str(live(*arguments).exception)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("OSError('PortAudio library not found')", "PortAudio is not installed; on Debian"),
        ("Exception('Host error')", "PortAudio cannot be started (Host error); start the sound server"),
        ("ModuleNotFoundError('no cffi', name='cffi')", "no cffi"),  # the same for all packages, in segan_cli.cli
    ],
)
def test_portaudio_that_is_missing_or_does_not_start_is_reported(tmp_path, monkeypatch, error, message):
    (tmp_path / "sounddevice.py").write_text(f"raise {error}")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert message in str(live("--list-devices").exception)


def test_a_signal_while_devices_open_stops_the_command(sounds, model):
    sounds.on_start = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(StoppedError):
        live("--model", model)
    assert len(sounds.closed) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_what_was_done(sounds, model, monkeypatch, number):
    watched = Event()
    monkeypatch.setattr("segan_cli.cli.live.lost", lambda queue: watched.set() or "nothing was lost")

    def blocks():
        watched.wait()
        yield from np.zeros((125, BLOCK, 1), np.float32)
        os.kill(os.getpid(), number)

    sounds.blocks, sounds.ends = blocks(), False
    if number == signal.SIGINT:
        result = live("--model", model)
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "2.0 s of audio; nothing was lost")
    else:
        with pytest.raises(StoppedError, match=r"^stopped after 2\.0 s of audio; nothing was lost$") as caught:
            live("--model", model)
        assert caught.value.signal_number == number


def test_a_sound_server_that_hangs_ends_the_command(sounds, model, monkeypatch):
    ended, codes = Event(), []
    monkeypatch.setattr("segan_cli.audio.devices.ANSWER_S", 0.1)
    monkeypatch.setattr("segan_cli.process.stopping.os._exit", lambda code: (codes.append(code), ended.set()))
    sounds.on_close = ended.wait
    result = live("--model", model)
    assert "segan: the sound server does not respond; restart it, then try again" in result.stderr
    assert set(codes) == {1}


def test_time_in_which_the_program_is_stopped_is_not_taken_for_a_device_that_stalls():
    checks = []
    enhancement = SimpleNamespace(n_blocks=0, ended=SimpleNamespace(wait=checks.append))
    with pytest.raises(AudioError, match="no sound for 3 s"):
        watch(enhancement, BlockQueue(SHAPE), "a to b", None)
    assert sum(checks) == pytest.approx(3, abs=0.11)  # seconds that were waited for, whatever the clock says


def test_an_output_that_plays_nothing_is_reported(sounds, model, monkeypatch):
    monkeypatch.setattr("segan_cli.cli.live.STALLED_S", 0.2)
    sounds.blocks, sounds.plays = iter(np.zeros((3_000, BLOCK, 1), np.float32)), False
    sounds.on_close = lambda: [*sounds.blocks]
    assert "no sound for 0.2 s" in str(live("--model", model).exception)


def test_real_time_scheduling_is_requested_but_not_required(sounds, model, monkeypatch):
    request = Mock(side_effect=PermissionError)
    monkeypatch.setattr("os.sched_setscheduler", request)
    assert "a device has stopped" in str(live("--model", model).exception)
    request.assert_called_once_with(0, os.SCHED_RR, os.sched_param(REAL_TIME_PRIORITY))


def test_devices_that_give_nothing_are_reported(sounds, model, monkeypatch):
    monkeypatch.setattr("segan_cli.cli.live.STALLED_S", 0.2)
    sounds.ends = False
    result = live("--model", model)
    assert "no sound for 0.2 s" in str(result.exception)
    assert result.stderr.splitlines()[0] == (
        "Built-in microphone (ALSA) to Loudspeakers (ALSA): 48000 Hz, delay about 160 ms; press Ctrl-C to stop"
    )


def test_the_meter_shows_the_levels_before_and_after_as_bars():
    levels = SimpleNamespace(levels_db=lambda: (-30.0, -75.0))
    assert meter(levels) == "before █████░░░░░  -30 dB  after ░░░░░░░░░░  -75 dB"


@pytest.mark.parametrize("columns", [20, 80])
def test_the_meter_stays_on_one_line(sounds, model, monkeypatch, columns):
    console = Console(file=io.StringIO(), force_terminal=True, width=columns)
    monkeypatch.setattr("segan_cli.cli.console.stderr_console", console)
    monkeypatch.setattr("segan_cli.cli.live.STALLED_S", 0.3)
    sounds.ends = False
    live("--model", model)
    shown = console.file.getvalue()
    assert ("nothing was lost" in shown, "…" in shown) == (columns == 80, columns == 20)
    assert shown.count(UP) == 1  # at the end


def test_output_is_silent_after_an_error_and_the_error_is_raised(sounds, model):
    sounds.blocks = np.full((3, BLOCK, 1), np.nan, np.float32)
    sounds.ends = False
    result = live("--model", model)
    assert str(result.exception) == (
        "Built-in microphone (ALSA) to Loudspeakers (ALSA): some samples are NaN, infinite or far beyond full scale;"
        " repair them first"
    )
    assert not np.concatenate(sounds.played).any()


def test_model_that_is_not_causal_is_rejected(sounds):
    assert "use segan-live" in str(live("--model", "segan-spectral").exception)


def test_levels_are_those_before_and_after(model):
    enhancement = LiveEnhancement(Enhancer(model), RATE_HZ, 1)
    for _ in range(200):
        enhancement.process(np.full((1, BLOCK), 0.1, np.float32))
    assert enhancement.levels_db()[0] == pytest.approx(-20, abs=0.01)
    assert enhancement.seconds == pytest.approx(3.2)


def test_objects_are_not_searched_for_garbage_while_sound_is_live(sounds, model):
    gc.unfreeze()
    live("--model", model, "--quiet")
    assert gc.get_freeze_count()
    gc.unfreeze()


def blocks_of(numbers):
    return [np.full((1, 4), number, np.float32) for number in numbers]


def test_silence_is_played_until_enough_blocks_wait_and_after_none_was_there():
    queue = BlockQueue(SHAPE)
    for start in (1, 10):
        played = []
        for block in blocks_of(range(start, start + WAITING + 1)):
            queue.push(block)
            played.append(queue.pop()[0, 0])
        assert played == [0] * (WAITING - 1) + [start, start + 1]
        assert queue.n_lost == (start == 10)
        assert [queue.pop()[0, 0] for _ in range(WAITING)] == [start + 2, start + 3, 0]
    assert queue.n_lost == 2


def test_oldest_blocks_are_lost_when_too_many_wait():
    queue = BlockQueue(SHAPE)
    for block in blocks_of(range(20)):  # before the other device has begun
        queue.push(block)
    assert queue.n_lost == 0
    assert queue.pop()[0, 0] == 20 - WAITING
    for block in blocks_of(range(20, 20 + WAITING + MAX_MORE)):  # while it stands still
        queue.push(block)
    assert queue.n_lost == 1
    assert queue.pop()[0, 0] == 20 + MAX_MORE


@pytest.mark.parametrize(("buffer_ms", "n_blocks"), [(5, 3), (40, 3), (48, 3), (49, 4), (100, 7)])
def test_a_larger_buffer_queues_more_blocks_between_the_devices(buffer_ms, n_blocks):
    shape = StreamShape(RATE_HZ, 1, BLOCK, buffer_ms / 1e3)
    queue = BlockQueue(shape)
    played = []
    for number in range(1, 12):
        queue.push(np.full((1, BLOCK), number, np.float32))
        played.append(queue.pop()[0, 0])
    assert shape.waiting == n_blocks
    assert played == [0] * (n_blocks - 1) + list(range(1, 13 - n_blocks))


@pytest.mark.parametrize("drift", [-5e-4, 5e-4])
def test_clocks_that_drift_apart_cause_neither_losses_nor_jumps(drift):
    queue, size, n_blocks = BlockQueue(StreamShape(RATE_HZ, 1, 64, 0.004)), 64, 20_000
    sound = np.sin(2 * np.pi * np.arange(n_blocks * size) / (10 * size)).astype(np.float32)
    played, ready = [], 0.0
    for block in sound.reshape(-1, 1, size):
        queue.push(block)
        ready += 1 + drift
        while ready >= 1:
            played.append(queue.pop())
            ready -= 1
    assert queue.n_lost == 0
    assert len(queue.blocks) in range(1, WAITING + 3)
    steps = np.abs(np.diff(np.concatenate(played, axis=1)))
    assert steps.max() < 3 * 2 * np.pi / (10 * size)
