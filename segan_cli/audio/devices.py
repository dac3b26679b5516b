"""Microphones and loudspeakers, through PortAudio."""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from segan_cli.arrays import Array
from segan_cli.errors import AudioError
from segan_cli.process.standard_streams import without_library_messages
from segan_cli.process.stopping import time_limit

Direction = Literal["input", "output"]

MIN_WAITING, MAX_MORE = 3, 5  # blocks between the devices: least number, and how many more may wait
SMOOTHING = 0.998  # per block, of their number
OPEN_S = 60.0  # time limit for opening devices; the system may have to ask its user
REAL_TIME_PRIORITY = 5  # of PulseAudio
ANSWER_S = 10.0  # time limit for other calls of a sound server
NO_ANSWER = "the sound server does not respond; restart it, then try again"


@dataclass(frozen=True)
class Device:
    """A sound device."""

    number: int
    name: str
    host: int  # number of the system's interface for sound, such as ALSA; on Windows, each device is listed for several
    channels: dict[Direction, int]
    rate_hz: int  # its own sampling rate
    is_default: dict[Direction, bool]


@dataclass(frozen=True)
class StreamShape:
    """Format of the sound that passes through devices."""

    rate_hz: int
    channels: int
    block: int  # samples
    buffer_s: float  # of each device, and between them

    @property
    def waiting(self) -> int:
        """Number of blocks between the devices, at first and on average."""
        return max(MIN_WAITING, math.ceil(self.buffer_s * self.rate_hz / self.block))


def load_sounddevice() -> Any:
    """Import sounddevice; raises AudioError when there is no PortAudio."""
    try:
        with without_library_messages(), time_limit(ANSWER_S, NO_ANSWER):  # PortAudio starts, and asks for all devices
            import sounddevice
    except OSError as error:  # its wheels for Linux have no PortAudio
        raise AudioError("PortAudio is not installed; on Debian and Ubuntu: sudo apt install libportaudio2") from error
    except ImportError:
        raise
    except Exception as error:  # a PortAudioError: importing starts PortAudio
        raise AudioError(f"PortAudio cannot be started ({error}); start the sound server, then try again") from error
    return sounddevice


def list_devices() -> list[Device]:
    """Return all sound devices; raises AudioError when there are none."""
    sounddevice = load_sounddevice()
    defaults: dict[Direction, int] = dict(zip(("input", "output"), sounddevice.default.device, strict=True))
    hosts = sounddevice.query_hostapis()
    devices = [
        Device(
            number,
            f"{device['name']} ({hosts[device['hostapi']]['name']})",
            device["hostapi"],
            {"input": device["max_input_channels"], "output": device["max_output_channels"]},
            round(device["default_samplerate"]),
            {direction: number == default for direction, default in defaults.items()},
        )
        for number, device in enumerate(sounddevice.query_devices())
    ]
    if not devices:
        raise AudioError("there are no sound devices; plug one in or start the sound server, then try again")
    return devices


def find_device(wanted: str | None, direction: Direction) -> Device:
    """Return the input or output with a number or a part of its name, or the default one.

    Of devices with the same name, those of the default device's host are preferred. Raises AudioError when there is
    none, or several.
    """
    devices = [device for device in list_devices() if device.channels[direction]]
    defaults = [device for device in devices if device.is_default[direction]]
    if wanted is None:
        found = defaults
    elif not wanted.strip():
        raise AudioError(f"the name of the {direction} device is empty; give one listed by segan live --list-devices")
    elif wanted.isdecimal():
        found = [device for device in devices if device.number == int(wanted)]
    else:
        found = [device for device in devices if wanted.lower() in device.name.lower()]
        found = [device for device in found if device.name.lower() == wanted.lower()] or found
        found = [device for device in found if device.host in {default.host for default in defaults}] or found
    if len(found) == 1:
        return found[0]
    if wanted is None:
        raise AudioError(f"there is no default {direction} device; choose one listed by segan live --list-devices")
    problem = "several devices have this name" if found else f"there is no such {direction} device"
    raise AudioError(f"{wanted}: {problem}; give a number listed by segan live --list-devices")


class BlockQueue:
    """Blocks between two devices; as their clocks drift apart, two are faded into one, or one is repeated."""

    def __init__(self, shape: StreamShape) -> None:
        self.waiting = shape.waiting
        self.silence = self.last = np.zeros((shape.channels, shape.block), np.float32)
        self.blocks: deque[Array] = deque()
        self.filling = True  # up to `waiting` blocks, at first and after there were none
        self.mean: float = self.waiting  # number of blocks, smoothed
        self.n_lost = 0  # times that sound was missing, or there was too much of it
        self.n_played = 0  # blocks that the output device has requested

    def push(self, block: Array) -> None:
        """Append a block; the oldest ones are lost when there are too many."""
        self.blocks.append(block)
        if len(self.blocks) > self.waiting + MAX_MORE:
            self.restart_filling()
        while self.filling and len(self.blocks) > self.waiting:
            self.blocks.popleft()

    def pop(self) -> Array:
        """Return the next block, or silence until there are enough."""
        self.n_played += 1
        if len(self.blocks) < (self.waiting if self.filling else 1):
            if not self.filling:
                self.restart_filling()
            return self.silence
        self.filling = False
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * len(self.blocks)
        block = self.blocks.popleft()
        if self.mean > self.waiting + 1 and self.blocks:
            self.mean -= 1
            block = fade(block, self.blocks.popleft())
        elif self.mean < self.waiting - 1:
            self.mean += 1
            self.blocks.appendleft(block)
            block = fade(block, self.last)
        self.last = block
        return block

    def restart_filling(self) -> None:
        """Count a loss, and queue `waiting` blocks before the next one is played."""
        self.n_lost += 1
        self.filling, self.mean = True, self.waiting


def fade(first: Array, second: Array) -> Array:
    """Return a block [channels, n] that begins as the first and ends as the second one."""
    return first + np.linspace(0, 1, first.shape[1], dtype=np.float32) * (second - first)


@contextmanager
def open_devices(
    source: Device, target: Device, shape: StreamShape, process: Callable[[Array], Array], on_end: Callable[[], None]
) -> Iterator[BlockQueue]:
    """Pass blocks of sound from one device through a function to another, each device in its own thread.

    `process` gets and returns [channels, block] and raises no error. `on_end` is called when a device stops by itself.
    Raises AudioError when a device cannot be opened.
    """
    sounddevice = load_sounddevice()
    request_real_time()
    queue = BlockQueue(shape)

    def record(samples: Array, _n: int, _time: Any, overflow: Any) -> None:
        queue.n_lost += bool(overflow)
        queue.push(process(np.ascontiguousarray(samples.T)))

    def play(samples: Array, _n: int, _time: Any, underflow: Any) -> None:
        queue.n_lost += bool(underflow)
        samples[:] = queue.pop().T

    kinds = (source, sounddevice.InputStream, record), (target, sounddevice.OutputStream, play)
    streams = ExitStack()
    try:
        with time_limit(OPEN_S, NO_ANSWER):
            for device, kind, callback in kinds:
                try:
                    stream = kind(
                        samplerate=shape.rate_hz, blocksize=shape.block, device=device.number, channels=shape.channels,
                        dtype="float32", latency=shape.buffer_s, callback=callback, finished_callback=on_end,
                    )  # fmt: skip
                    streams.callback(stream.close, ignore_errors=True)
                    stream.start()
                    streams.callback(stream.abort, ignore_errors=True)
                except (sounddevice.PortAudioError, ValueError) as error:
                    raise AudioError(
                        f"{device.name}: cannot be opened at {shape.rate_hz} Hz with {shape.channels} channels"
                        f" ({reason(error)}); try another --rate, --channels or device"
                    ) from error
        yield queue
    finally:
        with time_limit(ANSWER_S, NO_ANSWER):
            streams.close()


def request_real_time() -> None:
    """Run this thread, and those that it starts, before all other programs, if the system allows it."""
    if sys.platform == "linux":  # elsewhere, the threads of PortAudio run like this anyway
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME_PRIORITY))


def reason(error: Exception) -> str:
    """Return why PortAudio failed, in the words of the sound system if it gave any."""
    of_system = error.args[2][2] if len(error.args) > 2 else ""
    return of_system or str(error.args[0]).rpartition(":")[2].strip()
