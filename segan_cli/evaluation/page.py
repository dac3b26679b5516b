"""The report as a self-contained HTML page with tables, plots and a player for the recordings."""

import base64
import hashlib
import io
from pathlib import Path

import numpy as np
import soundfile

from segan_cli.evaluation.cases import NOISY
from segan_cli.evaluation.report import Report, input_notes
from segan_cli.evaluation.run import CaseScores, EvaluationResult, scores_of
from segan_cli.evaluation.signals import Loader, SignalSource
from segan_cli.evaluation.statistics import differences
from segan_cli.measures.catalog import MEASURES, rate_for
from segan_cli.measures.score import Undefined
from segan_cli.text import converted, printable, write_json

FOLDER = Path(__file__).with_name("html")
SCRIPTS = ("tables.js", "plots.js", "spectrograms.js", "player.js", "main.js")  # in order of execution
N_EXTREMES = 3  # worst and best recordings of each system, which are embedded first
MAX_SOUND_S = 20.0  # longer recordings are cut
MAX_SOUND_BYTES = 24_000_000  # of all embedded audio, as base64; e-mail attachments are often limited to 25 MB


def to_html(report: Report, result: EvaluationResult) -> str:
    """Format a report as HTML; the embedded recordings are read and enhanced again."""
    rate_hz = rate_for(result.measures)
    data = {**report, "notes": input_notes(report), "max_sound_s": MAX_SOUND_S, "rate_hz": rate_hz}
    data = converted(data, lambda text: printable(text) if isinstance(text, str) else text)
    for file, versions in zip(data["files"], embed_sounds(result, rate_hz), strict=True):
        file["sound"] = versions
    return fill_template(write_json(data).replace("<", "\\u003c"))


def fill_template(content: str) -> str:
    """The page with its style, its script and the report; its security policy allows no script but this one."""
    page, style, *scripts = (
        (FOLDER / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", *SCRIPTS)
    )
    script = "\n".join(scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    for place, text in {"STYLE": style, "SCRIPT": script, "SCRIPT_HASH": digest, "REPORT": content}.items():
        page = page.replace(f"__{place}__", text)
    return page


def embed_sounds(result: EvaluationResult, rate_hz: int) -> list[list[dict[str, str]] | None]:
    """The encoded versions of each recording; None from the first on that exceeds MAX_SOUND_BYTES."""
    sounds: list[list[dict[str, str]] | None] = [None] * len(result.cases)
    load, total = Loader(result.models), 0
    for i in rank_for_listening(result):
        versions = encode_versions(result.cases[i], load, rate_hz)
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
    higher_is_better = MEASURES[measure].higher_is_better
    scores = scores_of(result.cases, system, measure)
    baseline = [0.0] * len(scores) if system == NOISY else scores_of(result.cases, NOISY, measure)
    changes = enumerate(differences(scores, baseline, higher_is_better))
    values = {i: change for i, change in changes if not isinstance(change, Undefined)}
    return sorted(values, key=lambda i: values[i] if higher_is_better else -values[i])


def encode_versions(scored: CaseScores, load: Loader, rate_hz: int) -> list[dict[str, str]]:
    """Name and audio of each version of a recording: noisy, every system that has scores for it, clean."""
    sources: dict[str, SignalSource | None] = {name: scored.case.signals[name] for name in scored.results}
    sources["clean"] = scored.case.clean
    versions = []
    for name, source in sources.items():
        if source is not None:
            samples, content = load(source, rate_hz).samples[: round(MAX_SOUND_S * rate_hz)], io.BytesIO()
            soundfile.write(content, np.clip(np.nan_to_num(samples), -1.0, 1.0), rate_hz, "PCM_16", format="FLAC")
            versions.append({"name": printable(name), "audio": base64.b64encode(content.getvalue()).decode()})
    return versions
