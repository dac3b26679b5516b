"""The training log, `log.jsonl` and, optionally, TensorBoard event files; and the throughput."""

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.arrays import Array
from segan_cli.config.schema import to_dict
from segan_cli.data.loader import Key, MixDataset
from segan_cli.measures.catalog import CORE
from segan_cli.storage.atomic import write_whole, writing
from segan_cli.text import read_json, write_json

T = TypeVar("T")

RECENT_STEPS = 50  # over which the throughput is measured
FRAME, HOP = 512, 128  # of spectrogram images, samples
FLOOR_DB = -80.0  # black in spectrogram images, relative to the maximum


class TrainingLog:
    """Lines of metrics by step; a resumed run discards the lines written after its saved step."""

    def __init__(self, run_dir: Path, step: int, tensorboard: bool = False, segments: bool = False) -> None:
        self.path, self.segments = run_dir / "log.jsonl", run_dir / "segments.jsonl"
        self.lines = truncate_after(self.path, step)
        if segments:
            truncate_after(self.segments, step)
        self.board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)

    @property
    def noisy(self) -> dict[str, float | None] | None:
        """The scores of the noisy validation utterances, or None if they are not in the log yet."""
        return next((line["noisy"] for line in self.lines if "noisy" in line), None)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; its numbers become TensorBoard scalars."""
        self.lines.append(line)
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(write_json(line) + "\n")
        if self.board is not None:
            for name, value in {**line, **line.get("validation", {})}.items():
                if name != "step" and isinstance(value, int | float):
                    group = "validation" if name in line.get("validation", {}) else "training"
                    self.board.add_scalar(f"{group}/{name}", value, line["step"])
            self.board.flush()

    def write_specs(self, dataset: MixDataset, keys: Sequence[Key]) -> None:
        """Write the specs that the segments of a batch are rendered from to `segments.jsonl`."""
        with writing(self.segments), self.segments.open("a", encoding="utf-8") as file:
            for key in keys:
                file.write(json.dumps({"step": key[0] + 1, "key": key, **to_dict(dataset.spec(key))}) + "\n")

    def show(self, step: int, sounds: Sequence[tuple[str, Array]], rate_hz: int) -> None:
        """Add sounds [n] to TensorBoard, as audio and as spectrogram images."""
        if self.board is None:
            return
        for name, samples in sounds:
            if not np.isfinite(samples).all():
                continue
            self.board.add_audio(name, samples[None], step, sample_rate=rate_hz)
            self.board.add_image(name, spectrogram_image(samples), step)
        self.board.flush()


def truncate_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Remove the lines of a log after a step; returns the remaining lines."""
    lines = [line for line in read_lines(path) if line["step"] <= step]
    write_whole(path, "".join(write_json(line) + "\n" for line in lines))
    return lines


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log up to the first that is truncated or damaged."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = read_json(text)
        except ValueError:
            break
        if not is_line(line):
            break
        lines.append(line)
    return lines


def is_line(line: Any) -> bool:
    """Whether a JSON value is a line of a training log."""
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        return False
    scores = [line[name] for name in ("validation", "noisy") if name in line]
    return all(
        isinstance(each, dict) and all(type(each.get(name, "")) in (int, float, NoneType) for name in CORE)
        for each in scores
    )


def spectrogram_image(samples: Array) -> NDArray[np.float32]:
    """Log spectrogram of a sound [n] as a grey image [1, F, N], 0 … 1, low frequencies at the bottom."""
    window = torch.hann_window(FRAME)
    magnitude = torch.stft(torch.from_numpy(samples), FRAME, HOP, window=window, return_complex=True).abs()
    level = 20 * torch.log10(magnitude / magnitude.max().clamp_min(1e-9) + 1e-9)
    grey: NDArray[np.float32] = (1 - level.clamp_min(FLOOR_DB) / FLOOR_DB).flip(0)[None].numpy()
    return grey


@dataclass(frozen=True)
class Throughput:
    """Throughput over the last steps."""

    steps_per_s: float
    audio_per_s: float  # seconds of audio per second
    waiting: float  # share of time spent waiting for data


class ThroughputMeter:
    """Measures the throughput of a training loop."""

    def __init__(self, batch_s: float) -> None:
        self.batch_s = batch_s  # seconds of segments in a step
        self.waited_s = 0.0
        self.marks = deque([(time.monotonic(), 0.0)], RECENT_STEPS + 1)

    def wait_for(self, batches: Iterator[T]) -> T:
        """The next batch; the time until it is ready counts as waiting."""
        start_s = time.monotonic()
        batch = next(batches)
        self.waited_s += time.monotonic() - start_s
        return batch

    def step(self) -> Throughput:
        """Count one step; returns the throughput over the last steps."""
        self.marks.append((time.monotonic(), self.waited_s))
        (start_s, waited_before_s), *_, (end_s, waited_s) = self.marks
        seconds = max(end_s - start_s, 1e-9)
        rate = (len(self.marks) - 1) / seconds
        return Throughput(rate, rate * self.batch_s, (waited_s - waited_before_s) / seconds)
