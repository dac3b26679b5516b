"""The report as a self-contained HTML page with tables, plots and a player for the recordings."""

import base64
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from segan_cli.evaluation.report import Report, input_notes
from segan_cli.evaluation.run import NOISY, CaseScores, EvaluationResult, System, scores_of
from segan_cli.evaluation.scoring import load_pair
from segan_cli.evaluation.statistics import differences
from segan_cli.measures.catalog import MEASURES, RATE_HZ
from segan_cli.measures.score import Undefined
from segan_cli.plain_json import write_json
from segan_cli.printable import printable

Array = NDArray[np.float32]

FOLDER = Path(__file__).with_name("html")
SCRIPTS = ("tables.js", "plots.js", "spectrograms.js", "player.js", "main.js")  # in order of execution
N_EXTREMES = 3  # worst and best recordings of each system, which are embedded first
MAX_SOUND_S = 20.0  # longer recordings are cut
MAX_SOUND_BYTES = 24_000_000  # of all embedded audio, as base64; e-mail attachments are often limited to 25 MB


def to_html(report: Report, result: EvaluationResult, models: Mapping[str, System]) -> str:
    """Format a report as HTML; the embedded recordings are read and enhanced again."""
    data = make_printable({**report, "notes": input_notes(report), "max_sound_s": MAX_SOUND_S})
    for file, versions in zip(data["files"], embed_sounds(result, models), strict=True):
        file["sound"] = versions
    return fill_template(write_json(data).replace("<", "\\u003c"))


def fill_template(content: str) -> str:
    """The page with its style, its script and the report; its security policy allows no script but this one."""
    script = "\n".join(read_asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = read_asset("page.html").replace("__STYLE__", read_asset("style.css")).replace("__SCRIPT__", script)
    return page.replace("__SCRIPT_HASH__", digest).replace("__REPORT__", content)


def read_asset(name: str) -> str:
    """Text of a file of the page."""
    return (FOLDER / name).read_text(encoding="utf-8")


def make_printable(value: Any) -> Any:
    """Escape control characters in all texts of nested data."""
    if isinstance(value, dict):
        return {printable(key): make_printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [make_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def embed_sounds(result: EvaluationResult, models: Mapping[str, System]) -> list[list[dict[str, str]] | None]:
    """The encoded versions of each recording; None for the recordings that exceed MAX_SOUND_BYTES."""
    sounds: list[list[dict[str, str]] | None] = [None] * len(result.cases)
    total = 0
    for i in rank_for_listening(result):
        versions = encode_versions(result, result.cases[i], models)
        total += sum(len(version["audio"]) for version in versions)
        if total > MAX_SOUND_BYTES:
            break
        sounds[i] = versions
    return sounds


def rank_for_listening(result: EvaluationResult) -> list[int]:
    """Indices of all cases: the worst and best of each system by the first measure, then the others in order."""
    extremes: list[int] = []
    for system in result.systems[1:] or (NOISY,):
        order = worst_to_best(result, system)
        extremes += order[:N_EXTREMES] + order[::-1][:N_EXTREMES]
    return list(dict.fromkeys([*extremes, *range(len(result.cases))]))


def worst_to_best(result: EvaluationResult, system: str) -> list[int]:
    """Indices of the cases sorted by a system's improvement in the first measure, or by the noisy signal's score."""
    measure = result.measures[0]
    scores = scores_of(result.cases, system, measure)
    if system != NOISY:
        scores = differences(scores, scores_of(result.cases, NOISY, measure))
    values = {i: score for i, score in enumerate(scores) if not isinstance(score, Undefined)}
    return sorted(values, key=lambda i: values[i] if MEASURES[measure].higher_is_better else -values[i])


def encode_versions(result: EvaluationResult, scored: CaseScores, models: Mapping[str, System]) -> list[dict[str, str]]:
    """Name and audio of each version of a recording: noisy, every system that has scores for it, clean."""
    case = scored.case
    clean, noisy = (signal.samples for signal in load_pair(case.clean, case.noisy))
    versions: dict[str, Array] = {NOISY: noisy}
    for system in result.systems[1:]:
        if system not in scored.scores:
            continue
        if system in models:
            versions[system] = models[system].enhance(noisy, RATE_HZ)
        else:
            versions[system] = load_pair(case.clean, result.files[system][case.name])[1].samples
    if case.clean is not None:
        versions["clean"] = clean
    n = round(MAX_SOUND_S * RATE_HZ)
    return [{"name": printable(name), "audio": encode_flac(samples[:n])} for name, samples in versions.items()]


def encode_flac(samples: Array) -> str:
    """Encode samples [n] at 16 kHz as base64 FLAC."""
    content = io.BytesIO()
    soundfile.write(content, np.clip(samples, -1.0, 1.0), RATE_HZ, "PCM_16", format="FLAC")
    return base64.b64encode(content.getvalue()).decode()
