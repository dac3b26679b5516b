"""A picture of a recording before and after: waveforms and spectrograms."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.atomic import atomically
from segan_cli.audio.sources import Source, open_file
from segan_cli.errors import AudioError
from segan_cli.printable import printable

Array = NDArray[np.float32]

COLUMNS = 1_200  # of a picture, however long the recording
FRAME = 1_024  # samples of a spectrum
LOWEST_DB = -100.0


def check_plot() -> None:
    """Raise AudioError unless there is a library to draw with."""
    try:
        import matplotlib  # noqa: F401  # whether it is there
    except ImportError as error:
        raise AudioError("--plot needs matplotlib; pip install 'segan-cli[plot]'") from error


def plot(before: Path, after: Path, picture: Path) -> None:
    """Draw the mean of the channels of both files into a PNG; raises AudioError when one cannot be used."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, (title, path) in enumerate((("before", before), ("after", after))):
        with open_file(path, allow_truncated=True) as source:
            length = source.info.n_samples or sum(map(len, source.blocks))
        with open_file(path, allow_truncated=True) as source:
            hop = max(FRAME // 4, -(-length // COLUMNS))
            lows, highs, spectra = zip(*columns(source, hop), strict=True)
            seconds = len(lows) * hop / source.info.rate_hz
            top_khz = source.info.rate_hz / 2000
        times = np.arange(len(lows)) * hop / source.info.rate_hz
        axes[0, column].fill_between(times, lows, highs, linewidth=0.5)
        axes[0, column].set(title=f"{title}: {printable(path.name)}".replace("$", r"\$"), ylim=(-1, 1))
        image = np.clip(np.stack(spectra, 1), LOWEST_DB, 0.0)
        axes[1, column].imshow(
            image, origin="lower", aspect="auto", extent=(0, seconds, 0, top_khz), vmin=LOWEST_DB, vmax=0.0
        )
        axes[1, column].set(xlabel="s")
    axes[0, 0].set(ylabel="amplitude")
    axes[1, 0].set(ylabel="kHz")
    with atomically(picture) as beside:
        figure.savefig(beside, format="png", dpi=100)


def columns(source: Source, hop: int) -> Iterator[tuple[float, float, Array]]:
    """For every `hop` samples: lowest and highest of them, and the spectrum of their beginning in dB."""
    window = np.hanning(FRAME).astype(np.float32)
    rest = np.zeros(0, np.float32)
    for block in source.blocks:
        rest = np.concatenate((rest, block.mean(axis=1)))
        while len(rest) >= max(hop, FRAME):
            yield column(rest, hop, window)
            rest = rest[hop:]
    if len(rest):
        yield column(np.pad(rest, (0, max(hop, FRAME))), min(hop, len(rest)), window)


def column(samples: Array, hop: int, window: Array) -> tuple[float, float, Array]:
    """One of `columns`."""
    spectrum = np.abs(np.fft.rfft(samples[:FRAME] * window)) * (2 / window.sum())
    return float(samples[:hop].min()), float(samples[:hop].max()), 20 * np.log10(np.maximum(spectrum, 1e-6))
