"""Plot of a recording before and after enhancement, and of the residual: waveforms and spectrograms."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segan_cli.arrays import Array
from segan_cli.audio.meter import decibels
from segan_cli.audio.sources import open_file
from segan_cli.storage.atomic import atomically
from segan_cli.text import printable

NewSamples = tuple[Array, int]

MAX_COLUMNS = 1_200  # of a spectrogram, however long the recording
FRAME = 1_024
RANGE_DB = 80.0  # below the loudest of the input


@dataclass(frozen=True)
class Picture:
    """Envelope and spectrogram of a signal."""

    rate_hz: int
    hop: int
    lows: Array  # [columns]
    highs: Array  # [columns]
    spectrogram: Array  # dB relative to full scale, [bins, columns]


def plot(before: Path, after: Path, target: Path) -> None:
    """Plot the mean of the channels of two files and their difference to a PNG; raises AudioError, OutputError."""
    from matplotlib.figure import Figure

    pictures = analyse(before, after)
    titles = [f"before: {before.name}", f"after: {after.name}", "removed"][: len(pictures)]
    figure = Figure(figsize=(6 * len(pictures) + 1.5, 7), layout="constrained")
    axes = figure.subplots(2, len(pictures), sharex=True, sharey="row", height_ratios=(1, 2), squeeze=False)
    peak = max(max(float(-p.lows.min()), float(p.highs.max())) for p in pictures) or 1.0
    top = float(pictures[0].spectrogram.max())
    image: Any = None
    for column, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
        seconds = len(picture.lows) * picture.hop / picture.rate_hz
        times = np.arange(len(picture.lows)) * picture.hop / picture.rate_hz
        axes[0, column].fill_between(times, picture.lows, picture.highs, linewidth=0.5)
        axes[0, column].set(title=printable(title).replace("$", r"\$"), xlim=(0, seconds), ylim=(-peak, peak))
        image = axes[1, column].imshow(
            picture.spectrogram, origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE_DB, vmax=top,
            extent=(0, seconds, 0, picture.rate_hz / 2000),
        )  # fmt: skip
        axes[1, column].set(xlabel="time (s)")
    axes[0, 0].set(ylabel="amplitude (full scale: 1)")
    axes[1, 0].set(ylabel="frequency (kHz)")
    figure.colorbar(image, ax=axes[1].tolist(), label="level (dB relative to full scale)")
    with atomically(target, force=True) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def analyse(before: Path, after: Path) -> list[Picture]:
    """Analyse both files and, if their rates are equal, their difference."""
    rates, length = [], 0
    for path in (before, after):
        with open_file(path, allow_truncated=True) as source:
            length = max(length, source.info.n_samples or sum(block.shape[1] for block in source.blocks))
            rates.append(source.info.rate_hz)
    hop = max(FRAME // 4, -(-length // MAX_COLUMNS))
    pictures = [to_picture(frames(path, hop), rate, hop) for path, rate in zip((before, after), rates, strict=True)]
    if rates[0] == rates[1]:
        pairs = zip(frames(before, hop), frames(after, hop), strict=False)  # up to the end of the shorter one
        pictures.append(to_picture((subtracted(*pair) for pair in pairs), rates[0], hop))
    return pictures


def frames(path: Path, hop: int) -> Iterator[NewSamples]:
    """Yield the mean of the channels from every `hop` samples on, a frame at least, and how many of these are new."""
    pending = np.zeros(0, np.float32)
    with open_file(path, allow_truncated=True) as source:
        for block in source.blocks:
            pending = np.concatenate((pending, block.mean(axis=0)))
            while len(pending) >= max(hop, FRAME):
                yield pending[: max(hop, FRAME)], hop
                pending = pending[hop:]
    while len(pending):
        yield np.pad(pending, (0, FRAME)), min(hop, len(pending))
        pending = pending[hop:]


def subtracted(first: NewSamples, second: NewSamples) -> NewSamples:
    """Return the difference of two frames."""
    n = min(len(first[0]), len(second[0]))
    return first[0][:n] - second[0][:n], min(first[1], second[1])


def to_picture(found: Iterable[NewSamples], rate_hz: int, hop: int) -> Picture:
    """Compute the envelope and the spectrogram of frames, a column for each."""
    window = np.hanning(FRAME).astype(np.float32)
    lows, highs, spectra = zip(*(to_column(samples, n, window) for samples, n in found), strict=True)
    return Picture(rate_hz, hop, np.array(lows), np.array(highs), np.stack(spectra, axis=1))


def to_column(samples: Array, hop: int, window: Array) -> tuple[float, float, Array]:
    """Return minimum and maximum of the first `hop` samples, and the spectrum of the first frame in dB."""
    spectrum = np.abs(np.fft.rfft(samples[:FRAME] * window)) * (2 / window.sum())
    level = np.asarray(decibels(np.square(spectrum)), np.float32)
    return float(samples[:hop].min()), float(samples[:hop].max()), level
