"""The log of a training: `log.jsonl` and, optionally, TensorBoard event files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.atomic import write_whole
from segan_cli.plain_json import read_json, write_json

Array = NDArray[np.float32]

FRAME, HOP = 512, 128  # of spectrogram images, samples
FLOOR_DB = -80.0  # black in spectrogram images, relative to the maximum


class TrainingLog:
    """Lines of metrics by step; a resumed training discards the lines written after its saved step."""

    def __init__(self, run: Path, step: int, tensorboard: bool = False) -> None:
        self.path = run / "log.jsonl"
        self.lines = truncate_after(self.path, step)
        self.board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    @property
    def noisy(self) -> dict[str, float | None] | None:
        """The scores of the noisy validation utterances, or None if they are not in the log yet."""
        return next((line["noisy"] for line in self.lines if "noisy" in line), None)

    def best(self, measure: str) -> float:
        """The highest validation score of a measure so far."""
        scores = [line["validation"].get(measure) for line in self.lines if "validation" in line]
        return max((score for score in scores if score is not None), default=-math.inf)

    def validated(self, step: int) -> bool:
        """Whether the log has the validation scores of a step."""
        return any(line["step"] == step and "validation" in line for line in self.lines)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; its numbers become TensorBoard scalars."""
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(write_json(line) + "\n")
        if self.board is not None:
            for name, value in {**line, **line.get("validation", {})}.items():
                if name != "step" and isinstance(value, int | float):
                    group = "validation" if name in line.get("validation", {}) else "training"
                    self.board.add_scalar(f"{group}/{name}", value, line["step"])
            self.board.flush()

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
    write_whole(path, "".join(write_json(line) + "\n" for line in lines).encode())
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
    scores = [line.get(name, {}) for name in ("validation", "noisy")] if isinstance(line, dict) else None
    return scores is not None and type(line.get("step")) is int and all(
        isinstance(each, dict) and all(score is None or type(score) in (int, float) for score in each.values())
        for each in scores
    )  # fmt: skip


def spectrogram_image(samples: Array) -> NDArray[np.float32]:
    """Log spectrogram of a sound [n] as a grey image [1, F, N], 0 … 1, low frequencies at the bottom."""
    window = torch.hann_window(FRAME)
    magnitude = torch.stft(torch.from_numpy(samples), FRAME, HOP, window=window, return_complex=True).abs()
    level = 20 * torch.log10(magnitude / magnitude.max().clamp_min(1e-9) + 1e-9)
    grey: NDArray[np.float32] = (1 - level.clamp_min(FLOOR_DB) / FLOOR_DB).flip(0)[None].numpy()
    return grey
