"""The report as a self-contained HTML page: tables, plots and players for the best and worst recordings."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from segan_cli.evaluation.report import Report, input_notes
from segan_cli.evaluation.run import NOISY, CaseScores, EvaluationResult, System, scores_of
from segan_cli.evaluation.scoring import load_pair
from segan_cli.evaluation.statistics import differences
from segan_cli.measures.catalog import MEASURES, RATE_HZ
from segan_cli.measures.score import Undefined
from segan_cli.plain_json import write_json
from segan_cli.printable import printable

Array = NDArray[np.float32]

TEMPLATE = Path(__file__).with_name("page.html")
N_EXAMPLES = 3  # best and worst recordings to show, each
MAX_EXAMPLE_S = 20.0  # longer examples are cut
BINS, MAX_FRAMES = 128, 400  # size of a spectrogram image
RANGE_DB = 70.0  # of a spectrogram, below the peak of the clean signal


def to_html(report: Report, result: EvaluationResult, models: Mapping[str, System]) -> str:
    """Format a report as HTML; the example recordings are read and enhanced again."""
    data = {**report, "notes": input_notes(report), "examples": select_examples(result, models)}
    content = write_json(make_printable(data)).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("__REPORT__", content)


def make_printable(value: Any) -> Any:
    """Escape control characters in all texts of nested data."""
    if isinstance(value, dict):
        return {printable(key): make_printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [make_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def select_examples(result: EvaluationResult, models: Mapping[str, System]) -> dict[str, Any]:
    """The worst and best recordings by the first measure: its improvement by the first system, if there is one."""
    measure = result.measures[0]
    system = result.systems[1] if len(result.systems) > 1 else NOISY
    scores = scores_of(result.cases, system, measure)
    if system != NOISY:
        scores = differences(scores, scores_of(result.cases, NOISY, measure))
    values = {i: score for i, score in enumerate(scores) if not isinstance(score, Undefined)}
    order = sorted(values, key=lambda i: values[i] if MEASURES[measure].higher_is_better else -values[i])
    worst = order[: min(N_EXAMPLES, (len(order) + 1) // 2)]
    best = order[::-1][: min(N_EXAMPLES, len(order) // 2)]
    return {
        "measure": measure,
        "system": system,
        "worst": [render_example(result, result.cases[i], models) for i in worst],
        "best": [render_example(result, result.cases[i], models) for i in best],
    }


def render_example(result: EvaluationResult, scored: CaseScores, models: Mapping[str, System]) -> dict[str, Any]:
    """Audio and spectrogram of each version of a recording."""
    case = scored.case
    clean, noisy = (signal.samples for signal in load_pair(case.clean, case.noisy))
    versions: dict[str, Array] = {NOISY: noisy}
    for system in result.systems[1:]:
        if system in models:
            versions[system] = models[system].enhance(noisy, RATE_HZ)
        elif case.name in result.files[system]:
            versions[system] = load_pair(case.clean, result.files[system][case.name])[1].samples
    if case.clean is not None:
        versions["clean"] = clean
    n = round(MAX_EXAMPLE_S * RATE_HZ)
    peak = max(float(power_spectrogram(clean[:n]).max()), 1e-9)
    return {
        "name": case.name,
        "versions": [
            {"name": name, "audio": encode_flac(samples[:n]), "spectrogram": encode_spectrogram(samples[:n], peak)}
            for name, samples in versions.items()
        ],
    }


def encode_flac(samples: Array) -> str:
    """Encode samples [n] at 16 kHz as base64 FLAC."""
    content = io.BytesIO()
    soundfile.write(content, np.clip(samples, -1.0, 1.0), RATE_HZ, "PCM_16", format="FLAC")
    return base64.b64encode(content.getvalue()).decode()


def power_spectrogram(samples: Array) -> NDArray[np.float64]:
    """Power spectrogram [257, frames] with frames of 512 samples."""
    transform = ShortTimeFFT(hann(512, sym=False), 128, RATE_HZ)
    padded = np.pad(np.asarray(samples, np.float64), (0, max(0, 512 - len(samples))))
    return np.asarray(np.abs(transform.stft(padded)) ** 2)


def encode_spectrogram(samples: Array, peak: float) -> dict[str, Any]:
    """A spectrogram as base64 bytes, highest frequency first; 0 … 255 is RANGE_DB below `peak` … `peak`."""
    power = power_spectrogram(samples)[: 2 * BINS]
    power = power.reshape(BINS, 2, -1).mean(axis=1)
    power = average_frames(power, MAX_FRAMES)
    level = 1 + 10 * np.log10(np.maximum(power / peak, 1e-12)) / RANGE_DB
    pixels = np.round(255 * np.clip(level, 0.0, 1.0)).astype(np.uint8)[::-1]
    return {"width": pixels.shape[1], "height": BINS, "pixels": base64.b64encode(pixels.tobytes()).decode()}


def average_frames(power: NDArray[np.float64], max_frames: int) -> NDArray[np.float64]:
    """Average neighbouring frames so that at most `max_frames` remain."""
    edges = np.unique(np.linspace(0, power.shape[1], max_frames + 1).astype(int))
    return np.add.reduceat(power, edges[:-1], axis=1) / np.diff(edges)
