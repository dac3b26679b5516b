"""A report as one HTML page that needs nothing else: tables, plots, and players for the best and the worst."""

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

from segan_cli.evaluation.report import Report, account
from segan_cli.evaluation.run import NOISY, Row, Run, System, scores_of
from segan_cli.evaluation.scoring import signals
from segan_cli.evaluation.statistics import differences
from segan_cli.measures.catalog import MEASURES, RATE_HZ
from segan_cli.measures.score import Undefined
from segan_cli.plain_json import write_json
from segan_cli.printable import printable

Array = NDArray[np.float32]

TEMPLATE = Path(__file__).with_name("page.html")
EACH = 3  # recordings that can be heard of the best and of the worst
LONGEST_S = 20.0  # of what can be heard of each
BINS, COLUMNS = 128, 400  # of a spectrogram, at most
RANGE_DB = 70.0  # of a spectrogram, below the loudest of the clean signal


def to_html(report: Report, run: Run, models: Mapping[str, System]) -> str:
    """The page of a report; recordings are read, and enhanced by `models`, once more to be heard."""
    about = {**report, "notes": account(report), "heard": heard(run, models)}
    content = write_json(all_printable(about)).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("__REPORT__", content)


def all_printable(value: Any) -> Any:
    """Nested data with all its texts as a browser may show them."""
    if isinstance(value, dict):
        return {printable(key): all_printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def heard(run: Run, models: Mapping[str, System]) -> dict[str, Any]:
    """The worst and the best by the first measure: by its gain over the noisy where there is a system."""
    measure = run.measures[0]
    system = run.systems[1] if len(run.systems) > 1 else NOISY
    scores = scores_of(run.rows, system, measure)
    if system != NOISY:
        scores = differences(scores, scores_of(run.rows, NOISY, measure))
    good = {i: score for i, score in enumerate(scores) if not isinstance(score, Undefined)}
    order = sorted(good, key=lambda i: good[i] if MEASURES[measure].higher_is_better else -good[i])
    worst = order[: min(EACH, (len(order) + 1) // 2)]
    best = order[::-1][: min(EACH, len(order) // 2)]
    return {
        "measure": measure,
        "system": system,
        "worst": [recording(run, run.rows[i], models) for i in worst],
        "best": [recording(run, run.rows[i], models) for i in best],
    }


def recording(run: Run, row: Row, models: Mapping[str, System]) -> dict[str, Any]:
    """Sounds and spectrograms of one case."""
    case = row.case
    clean, noisy = (signal.samples for signal in signals(case.clean, case.noisy))
    versions: dict[str, Array] = {NOISY: noisy}
    for system in run.systems[1:]:
        if system in models:
            versions[system] = models[system].enhance(noisy, RATE_HZ)
        elif case.name in run.files[system]:
            versions[system] = signals(case.clean, run.files[system][case.name])[1].samples
    if case.clean is not None:
        versions["clean"] = clean
    n = round(LONGEST_S * RATE_HZ)
    top = max(float(spectrum(clean[:n]).max()), 1e-9)
    return {
        "name": case.name,
        "versions": [
            {"name": name, "sound": sound(samples[:n]), "spectrogram": spectrogram(samples[:n], top)}
            for name, samples in versions.items()
        ],
    }


def sound(samples: Array) -> str:
    """Samples [n] at 16 kHz as FLAC, base64."""
    content = io.BytesIO()
    soundfile.write(content, np.clip(samples, -1.0, 1.0), RATE_HZ, "PCM_16", format="FLAC")
    return base64.b64encode(content.getvalue()).decode()


def spectrum(samples: Array) -> NDArray[np.float64]:
    """Power [257, frames] in frames of 512."""
    transform = ShortTimeFFT(hann(512, sym=False), 128, RATE_HZ)
    padded = np.pad(np.asarray(samples, np.float64), (0, max(0, 512 - len(samples))))
    return np.asarray(np.abs(transform.stft(padded)) ** 2)


def spectrogram(samples: Array, top: float) -> dict[str, Any]:
    """Level in dB below `top` as bytes, 255 the loudest, row by row from the highest frequency down."""
    power = spectrum(samples)[: 2 * BINS]
    power = power.reshape(BINS, 2, -1).mean(axis=1)
    power = pooled(power, COLUMNS)
    level = 1 + 10 * np.log10(np.maximum(power / top, 1e-12)) / RANGE_DB
    pixels = np.round(255 * np.clip(level, 0.0, 1.0)).astype(np.uint8)[::-1]
    return {"width": pixels.shape[1], "height": BINS, "pixels": base64.b64encode(pixels.tobytes()).decode()}


def pooled(power: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Means of neighbouring frames, so that there are no more than `columns`."""
    edges = np.unique(np.linspace(0, power.shape[1], columns + 1).astype(int))
    return np.add.reduceat(power, edges[:-1], axis=1) / np.diff(edges)
