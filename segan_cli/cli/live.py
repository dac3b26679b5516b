"""`segan live`."""

import gc
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from segan_cli.cli.options import MODEL, Finite, Whole, flag, option
from segan_cli.system import require_extra
from segan_cli.text import counted

if TYPE_CHECKING:
    from rich.status import Status

    from segan_cli.audio.devices import BlockQueue, Device
    from segan_cli.enhancement.live import LiveEnhancement

METER_S = 0.1  # between updates
STALLED_S = 3.0  # without a block, after which the devices are taken to be gone
LOWEST_DB, BAR_WIDTH = -60, 10  # of the meter, which fits into 80 columns


@click.command()
@option("--input DEVICE", "Input device: its number or part of its name.  [default: the system default]", name="source")
@option(
    "--output DEVICE", "Output device: its number or part of its name.  [default: the system default]", name="target"
)
@flag("--list-devices", "List sound devices.")
@option("-m --model MODEL", "Causal model.  [default: segan-live]", MODEL, default="segan-live")
@option("--strength S", "Amount of enhancement, 0 to 1.  [default: 1]", Finite(0, 1), default=1.0)
@option("--rate HZ", "Sampling rate.  [default: rate of the input device]", Whole(8_000, 192_000))
@option("--channels N", "Number of channels, 1 or 2.  [default: 1]", Whole(1, 2), default=1)
@option(
    "--buffer MS",
    "Length of the buffers of both devices and of the queue between them.  [default: 40]",
    Finite(5, 1_000),
    default=40.0,
)
@flag("-q --quiet", "Hide the level meter.")
def live(
    source: str | None, target: str | None, list_devices: bool, model: str, strength: float, rate: int | None,
    channels: int, buffer: float, quiet: bool,
) -> None:  # fmt: skip
    """Remove noise from a microphone signal in real time.

    The sound goes to an output device, about 160 ms later (see --buffer). Other programs can record it from a virtual
    device (docs/live.md). Press Ctrl-C to stop.

    \b
    Examples:
      segan live --list-devices
      segan live --input "USB Microphone" --output "CABLE Input"
    """
    require_extra("live", "segan live")
    from segan_cli.audio.devices import find_device

    if list_devices:
        print_devices()
        return
    devices = find_device(source, "input"), find_device(target, "output")
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.enhancement.live import LiveEnhancement

    rate_hz = rate or devices[0].rate_hz
    enhancer = Enhancer(model, strength=strength, threads=1)
    run(LiveEnhancement(enhancer, rate_hz, channels), *devices, channels, buffer / 1e3, quiet)


def print_devices() -> None:
    """Print all devices; * is the default."""
    from segan_cli.audio import devices
    from segan_cli.cli.console import print_table

    def cell(device: "Device", direction: "devices.Direction") -> str:
        return f"{device.channels[direction] or ''}{' *' if device.is_default[direction] else ''}"

    rows = [
        [device.name, str(device.number), cell(device, "input"), cell(device, "output"), str(device.rate_hz)]
        for device in devices.list_devices()
    ]
    print_table("", ["device"], ["number", "inputs", "outputs", "Hz"], rows)


def run(
    enhancement: "LiveEnhancement", source: "Device", target: "Device", channels: int, buffer_s: float, quiet: bool
) -> None:
    """Enhance until Ctrl-C; raises AudioError when a device stops."""
    from segan_cli.audio.devices import StreamShape, open_devices
    from segan_cli.cli.console import duration, say, stderr_console
    from segan_cli.errors import AudioError, StoppedError
    from segan_cli.process.standard_streams import without_library_messages
    from segan_cli.process.stopping import RaiseOnSignal, listening

    names = f"{source.name} to {target.name}"
    shape = StreamShape(enhancement.rate_hz, channels, enhancement.block, buffer_s)
    delay_s = enhancement.delay_s + shape.waiting * enhancement.block / enhancement.rate_hz + 2 * buffer_s
    gc.collect()
    gc.freeze()  # a search of all objects for garbage takes 20 ms, and longer on a busy machine, and stops the sound
    with (
        listening(RaiseOnSignal()),
        without_library_messages(),  # PortAudio and ALSA report underruns, which are counted
        open_devices(source, target, shape, enhancement.process, enhancement.ended.set) as queue,
    ):
        try:
            with nullcontext() if quiet else stderr_console.status("") as status:
                if not quiet:
                    say(f"{names}: {shape.rate_hz} Hz, delay about {1e3 * delay_s:.0f} ms; press Ctrl-C to stop")
                watch(enhancement, queue, names, status)
        except StoppedError as error:
            summary = f"{duration(enhancement.seconds)} of audio; {lost(queue)}"
            if error.signal_number != signal.SIGINT:
                raise StoppedError(f"stopped after {summary}", error.signal_number) from error
            if not quiet:
                say(summary)
            return
    if isinstance(enhancement.error, AudioError):
        raise AudioError(f"{names}: {enhancement.error}") from enhancement.error
    raise enhancement.error or AudioError(f"{names}: a device has stopped; plug it in and start again")


def watch(enhancement: "LiveEnhancement", queue: "BlockQueue", names: str, status: "Status | None") -> None:
    """Show levels until a device stops; raises AudioError when one gives or takes no sound."""
    from rich.text import Text

    from segan_cli.errors import AudioError

    before, stalled_s = (0, 0), 0.0  # blocks recorded and played; without the time of Ctrl-Z or a sleeping computer
    while not enhancement.ended.wait(METER_S):
        now = enhancement.n_blocks, queue.n_played
        if now[0] != before[0] and now[1] != before[1]:
            before, stalled_s = now, 0.0
        else:
            stalled_s += METER_S
        if stalled_s > STALLED_S:
            raise AudioError(
                f"{names}: no sound for {STALLED_S:g} s; plug in the device or start the sound server, then try again"
            )
        if status is not None:
            line = Text(f"{meter(enhancement)}  {lost(queue)}")
            line.truncate(max(1, status.console.width - 2), overflow="ellipsis")  # 2 are for the spinner
            status.update(line)


def meter(enhancement: "LiveEnhancement") -> str:
    """Return a line with the levels before and after."""
    bars = []
    for level_db in enhancement.levels_db():
        filled = round(BAR_WIDTH * min(1.0, max(0.0, 1 - level_db / LOWEST_DB)))
        bars.append(f"{'█' * filled}{'░' * (BAR_WIDTH - filled)} {level_db:4.0f} dB")
    return f"before {bars[0]}  after {bars[1]}"


def lost(queue: "BlockQueue") -> str:
    """Say how often sound was lost between the devices."""
    return "nothing was lost" if not queue.n_lost else f"sound was lost {counted(queue.n_lost, 'time')}"
