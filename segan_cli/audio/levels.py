"""Levels of outputs: normalisation, and what happens to samples above full scale."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Literal

import numpy as np

from segan_cli.arrays import Array
from segan_cli.audio.filters import Limiter, TruePeaks, peak_levels
from segan_cli.audio.meter import LoudnessMeter
from segan_cli.storage.atomic import scratch_file
from segan_cli.text import counted

Write = Callable[[Array], object]  # takes the next samples [channels, n]
Warn = Callable[[str], None]  # takes a message about something that could not be kept
Clip = Literal["limit", "scale", "clip"]

FLOATS = ("FLOAT", "DOUBLE")  # encodings that hold samples above full scale
MAX_TRUE_PEAK_DB = -1.0  # dBTP (EBU R 128)
MARGIN_DB = 0.3  # of the limiter, as other meters oversample by other filters
PASSES = 8  # of the search for the gain before the limiter
LOWEST_SLOPE = 0.1  # of loudness over gain
MAX_LIMITING_DB = 60.0  # by which peaks may exceed full scale before the limiter
TOLERANCE_LU = 0.1
READ_BYTES = 1 << 20  # of a temporary file at a time, per channel


@dataclass(frozen=True)
class TargetOptions:
    """How a recording is written."""

    subtype: str | None = None  # libsndfile's encoding; None: that of the original
    force: bool = False  # overwrite an existing file
    clip: Clip = "limit"  # for samples that the encoding cannot store
    releveled: bool = False  # whether the level may change, so that tags about it are left out
    warn: Warn = lambda message: None  # gets a message about what could not be kept


@contextmanager
def normalised_peak(peak_db: float, channels: int, write: Write) -> Iterator[Write]:
    """Write samples, when the block ends, with the gain that brings their peak to a level relative to full scale."""
    with _collected() as (file, collect):
        peak = 0.0

        def measure(samples: Array) -> None:
            nonlocal peak
            peak = max(peak, float(np.abs(samples).max(initial=0.0)))
            collect(samples)

        yield measure
        gain = np.float32(10 ** (peak_db / 20) / peak if peak else 1.0)
        gain = np.nextafter(gain, np.float32(0)) if gain * np.float32(peak) > 1 else gain
        for block in _read(file, channels):
            write(gain * block)


@contextmanager
def normalised_loudness(
    target_lufs: float, rate_hz: int, weights: Sequence[float], write: Write, warn: Warn
) -> Iterator[Write]:
    """Write samples, when the block ends, at an integrated loudness in LUFS; a limiter keeps true peaks below -1 dB."""
    channels = len(weights)
    with _collected() as (file, collect):
        meter, peaks, peak = LoudnessMeter(rate_hz, weights), TruePeaks(channels), 0.0

        def measure(samples: Array, last: bool = False) -> None:
            nonlocal peak
            peak = max(peak, float(peaks.push(samples, last).max(initial=0.0)))
            if not last:
                meter.push(samples)
                collect(samples)

        yield measure
        measure(np.zeros((channels, 0), np.float32), last=True)
        loudness = meter.loudness()
        if peak and not np.isfinite(loudness):
            warn("its loudness cannot be measured, so its level is unchanged")
        gain_db = target_lufs - loudness if np.isfinite(loudness) else 0.0
        if not np.isfinite(loudness) or gain_db + 20 * np.log10(peak) <= MAX_TRUE_PEAK_DB:
            for block in _read(file, channels):
                write(np.float32(10 ** (gain_db / 20)) * block)
            return

        def limited() -> Iterator[Array]:
            limiter = Limiter(rate_hz, channels, 10 ** ((MAX_TRUE_PEAK_DB - MARGIN_DB) / 20), true_peak=True)
            for block in _read(file, channels):
                yield limiter.push(np.float32(10 ** (gain_db / 20)) * block)
            yield limiter.push(np.zeros((channels, 0), np.float32), last=True)

        highest_db = MAX_LIMITING_DB - 20 * np.log10(peak)
        missing, slope = 0.0, 1.0  # loudness missing in LU, and LU gained per dB of gain, which the limiter reduces
        for n in range(PASSES):
            meter, before = LoudnessMeter(rate_hz, weights), missing
            step_db = min(missing / slope, highest_db - gain_db)
            gain_db += step_db
            for block in limited():
                meter.push(block)
            missing = target_lufs - meter.loudness()
            if abs(missing) < TOLERANCE_LU or not np.isfinite(missing) or gain_db >= highest_db:
                break
            slope = max(LOWEST_SLOPE, (before - missing) / step_db) if n else slope
        for block in limited():
            write(block)
    if abs(missing) >= TOLERANCE_LU:
        warn(
            f"its loudness is {target_lufs - missing:.1f} LUFS instead of {target_lufs:g}: its peaks do not allow more"
        )


@contextmanager
def full_scale(clip: Clip, rate_hz: int, channels: int, write: Write, warn: Warn) -> Iterator[Write]:
    """Write samples to a target that cannot store samples above full scale, 0 dB or 1.

    "limit" turns peaks down, "scale" all of the recording, and "clip" cuts peaks off. If any exist, `warn` is called.
    """
    peak, n_over = 1.0, 0

    def measured(samples: Array) -> Array:
        nonlocal peak, n_over
        highest = float(np.abs(samples).max(initial=0.0))
        if highest > 1:
            peak, n_over = max(peak, highest), n_over + int((peak_levels(samples) > 1).sum())
        return samples

    if clip == "clip":
        yield lambda samples: write(np.clip(measured(samples), -1, 1))
        done = "cut off (--clip limit turns peaks down instead)"
    elif clip == "limit":
        limiter = Limiter(rate_hz, channels)
        yield lambda samples: write(limiter.push(measured(samples)))
        write(limiter.push(np.zeros((channels, 0), np.float32), last=True))
        done = "limited (--clip scale turns the whole recording down instead; float encodings keep its level)"
    else:
        with _collected() as (file, collect):
            yield lambda samples: collect(measured(samples))
            for block in _read(file, channels):
                write(np.clip(block / np.float32(peak), -1, 1))
        done = "the whole recording is turned down by that much"
    if n_over:
        above = f"{counted(n_over, 'sample')} above full scale"
        warn(f"{above} (by up to {20 * np.log10(peak):.1f} dB): {done}")


@contextmanager
def _collected() -> Iterator[tuple[IO[bytes], Write]]:
    """Open a temporary file, and return it with what appends samples to it."""
    with scratch_file() as path, path.open("w+b") as file:
        yield file, lambda samples: file.write(samples.T.astype(np.float32).tobytes())


def _read(file: IO[bytes], channels: int) -> Iterator[Array]:
    """Yield the samples of a temporary file as blocks [channels, n]."""
    file.seek(0)
    while content := file.read(channels * READ_BYTES):
        yield np.frombuffer(content, np.float32).reshape(-1, channels).T
