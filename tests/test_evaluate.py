"""Pairing by name, rows, summary and JSON."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from segan_cli.errors import CorpusError
from segan_cli.evaluate import evaluate, pair_files, summarise, to_json
from segan_cli.metrics import Undefined


def test_rows_are_scored_against_the_file_of_the_same_name(pairs):
    for path in (pairs / "noisy").glob("*.wav"):  # sorted order no longer pairs wav with flac, names do
        if path.stem in ("u1", "u3"):
            samples, rate_hz = soundfile.read(path)
            soundfile.write(path.with_suffix(".flac"), samples, rate_hz)
            path.unlink()
    rows = evaluate(pairs / "noisy", pairs / "clean", enhanced=pairs / "clean")
    assert [row.name for row in rows] == ["u0", "u1", "u2", "u3"]
    for row in rows:
        assert row.enhanced["pesq_wb"] == pytest.approx(4.644, abs=1e-3)
        assert 5 < row.noisy["si_sdr_db"] < 25


def test_undefined_scores_are_counted_and_shown(pairs):
    soundfile.write(pairs / "noisy" / "u0.wav", np.zeros(32_000), 16_000)
    rows = evaluate(pairs / "noisy", pairs / "clean")
    assert rows[0].noisy["stoi"] == Undefined("silent signal")
    summary = summarise(rows)
    assert summary["noisy"]["stoi"]["undefined"] == 1
    assert summary["noisy"]["stoi"]["mean"] == pytest.approx(np.mean([row.noisy["stoi"] for row in rows[1:]]))
    report = json.loads(to_json(rows, {"model": None}))
    assert report["files"][0]["noisy"]["stoi"] == {"undefined": "silent signal"}
    assert report["files"][0]["enhanced"] is None
    assert set(report["summary"]) == {"noisy"}


def test_unequal_lengths_are_refused(pairs):
    samples, rate_hz = soundfile.read(pairs / "noisy" / "u1.wav")
    soundfile.write(pairs / "noisy" / "u1.wav", samples[:-10], rate_hz)
    with pytest.raises(CorpusError, match="u1"):
        evaluate(pairs / "noisy", pairs / "clean")


def test_twice_the_same_name_is_refused(pairs):
    shutil.copy(pairs / "noisy" / "u1.wav", pairs / "noisy" / "u1.aiff")
    with pytest.raises(CorpusError, match="extension"):
        pair_files(pairs / "noisy", pairs / "clean")
