"""Make the picture of the README from full-band recordings, and the demo page of the documentation from samples/.

python tools/pictures.py --speech FILE --noise FILE [--snr 10]

Writes docs/figures/before-after.png, for recordings of 44.1 or 48 kHz, and docs/figures/demo.html. Run it again when
the default model changes.
"""

import argparse
import shutil
import sys
from contextlib import chdir
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from click.testing import CliRunner
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from segan_cli import Enhancer
from segan_cli.audio.sources import read_mono
from segan_cli.cli import segan

Array = NDArray[np.float32]

ROOT = Path(__file__).parent.parent
NOISY, CLEAN = ROOT / "samples" / "noisy", ROOT / "samples" / "clean"
SAMPLE = "street.wav"
RATE_HZ, FRAME, HOP = 48_000, 1_536, 192
RANGE_DB = 70.0  # below the loudest point of the noisy recording


def main() -> None:
    """Write the picture and the demo page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--snr", type=float, default=10.0)
    arguments = parser.parse_args()
    speech, noise = (read_mono(path, RATE_HZ)[0] for path in (arguments.speech, arguments.noise))
    noise = np.resize(noise, len(speech))
    noisy = speech + np.float32(10 ** (-arguments.snr / 20) * speech.std() / noise.std()) * noise
    enhanced = Enhancer()(noisy, RATE_HZ)
    draw({"Before": noisy, "After": enhanced}, RATE_HZ, ROOT / "docs" / "figures" / "before-after.png")
    make_demo(ROOT / "docs" / "figures" / "demo.html")


def draw(signals: dict[str, Array], rate_hz: int, target: Path) -> None:
    """Draw the spectrograms of signals side by side, with one colour scale."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, len(signals), sharey=True)
    top = max(spectrogram(signal).max() for signal in signals.values())
    for axis, (title, signal) in zip(axes, signals.items(), strict=True):
        image = axis.imshow(
            spectrogram(signal), origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE_DB, vmax=top,
            extent=(0, len(signal) / rate_hz, 0, rate_hz / 2000),
        )  # fmt: skip
        axis.set(title=title, xlabel="Time (s)")
    axes[0].set(ylabel="Frequency (kHz)")
    figure.colorbar(image, ax=axes.tolist(), label="Level (dB)")
    png = BytesIO()
    figure.savefig(png, dpi=120)
    Image.open(png).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE).save(target, optimize=True)


def spectrogram(signal: Array) -> Array:
    """Return the level of each frequency and frame in dB, [bins, frames]."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP] * np.hanning(FRAME)
    return np.asarray(20 * np.log10(np.abs(np.fft.rfft(frames)).T + 1e-4), np.float32)


def make_demo(target: Path) -> None:
    """Write a page with players for a noisy, an enhanced and a clean recording."""
    with TemporaryDirectory() as folder, chdir(folder):  # the page names files as they are named here
        for side in (NOISY, CLEAN):
            Path(side.name).mkdir()
            shutil.copy(side / SAMPLE, side.name)
        measures = [f"--measure={measure}" for measure in ("pesq_wb", "stoi", "si_sdr_db")]
        arguments = ["evaluate", "--noisy", "noisy", "--clean", "clean", "--model", "segan-spectral", *measures]
        options = ["--html", str(target), "--force", "--no-cache", "--quiet"]
        sys.argv[1:] = arguments  # the page shows them as its command
        CliRunner().invoke(segan, [*arguments, *options], catch_exceptions=False)


if __name__ == "__main__":
    main()
