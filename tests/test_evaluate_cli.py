"""`segan evaluate` as a user meets it: real processes on generated audio."""

import json
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from commands import Running, complaint, segan
from conftest import hiss, voice

from segan_cli.backends.pretrained import pretrained_dir, shipped_models
from segan_cli.cli import console, evaluation_run
from segan_cli.measures.catalog import WITH_REFERENCE

N = 6  # recordings of a longer evaluation


@pytest.fixture
def folders(pairs, tmp_path):
    return ("--noisy", pairs / "noisy", "--clean", pairs / "clean", "--cache", tmp_path / "scores")


def test_every_report_shows_systems_side_by_side(pairs, folders, tmp_path):
    for path in pairs.glob("*/u[23].wav"):
        path.unlink()
    files = {kind: tmp_path / f"report.{kind}" for kind in ("csv", "markdown", "html")}
    outputs = [part for kind, path in files.items() for part in (f"--{kind}", path)]
    systems = ("--enhanced", f"itself={pairs / 'clean'}", "--enhanced", f"same={pairs / 'noisy'}")
    result = segan("evaluate", *folders, *systems, *outputs, "--align", COLUMNS="40")
    assert result.returncode == 0
    assert [line for line in result.stderr.splitlines() if line.startswith("itself")] == [
        "itself, in all recordings: PESQ-WB, PESQ-NB, STOI, ESTOI, CSIG, CBAK, COVL: the highest possible value, as for"
        " any copy of the clean recordings",
        "itself, in all recordings: SI-SDR undefined: no distortion, as for any copy of the clean recordings",
        "itself, in all recordings: LSD: the lowest possible value, as for any copy of the clean recordings",
    ]
    for words in ("Means over 2 recordings", "PESQ-WB", "4.644", "itself - noisy", "COVL"):
        assert words in result.stdout, words
    assert all(path.stat().st_size > 200 for path in files.values())
    assert files["csv"].read_text().count("\n") == 3
    again = complaint(segan("evaluate", *folders, "--csv", files["csv"]))
    assert "--force" in again


def test_unusable_files_are_skipped_and_the_rest_is_scored(pairs, folders):
    (pairs / "clean" / "u2.wav").unlink()
    (pairs / "noisy" / "u1.wav").write_text("no audio")
    result = segan("evaluate", *folders, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["recordings"] == 2
    lines = result.stderr.splitlines()
    assert sum(line.startswith("skipped: ") for line in lines) == 2
    assert lines[-1] == "segan: 2 of 4 recordings had skipped files; --json lists all"


def test_a_file_that_one_system_lacks_is_counted_once(pairs, folders, tmp_path):
    (tmp_path / "out").mkdir()
    for i in range(3):
        (tmp_path / "out" / f"u{i}.wav").write_bytes((pairs / "clean" / f"u{i}.wav").read_bytes())
    systems = [part for name in "ab" for part in ("--enhanced", f"{name}={tmp_path / 'out'}")]
    result = segan("evaluate", *folders, *systems, "--measure", "lsd_db", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["recordings"] == 4
    assert result.stderr.splitlines()[-1] == "segan: 1 of 4 recordings had skipped files; --json lists all"


def test_existing_files_and_folders_may_have_an_equals_sign_in_their_names(pairs, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (pairs / "clean").rename(tmp_path / "lr=0.1")
    (pairs / "clean").symlink_to(tmp_path / "lr=0.1")
    default, shipped = shipped_models()
    onnx = shipped[default]["onnx"]
    shutil.copy(pretrained_dir() / onnx["file"], "x=0.1.onnx")
    places = ("--enhanced", "lr=0.1", "--enhanced", "b=lr=0.1", "--model", "x=0.1.onnx", "--model", "a=default")
    result = segan("evaluate", *folders, *places, "--measure", "lsd_db", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["systems"] == ["noisy", "lr=0.1", "b", "x=0.1", "a"]
    assert report["models"] == {"x=0.1": onnx["sha256"], "a": onnx["sha256"]}  # the ONNX file was run
    assert "a=: no such folder" in complaint(segan("evaluate", *folders, "--enhanced", "a="))


def test_two_runs_are_compared(pairs, folders, tmp_path):
    for name in ("a", "b"):
        result = segan("evaluate", *folders, "--measure", "si_sdr_db", "--json")
        (tmp_path / f"{name}.json").write_text(result.stdout)
        for path in (pairs / "noisy").iterdir():
            samples, rate_hz = soundfile.read(path)
            soundfile.write(path, samples + hiss(2.0, seed=5, level=0.05), rate_hz)
    result = segan("evaluate", "--compare", tmp_path / "a.json", tmp_path / "b.json")
    assert result.returncode == 0, result.stderr
    assert "SI-SDR (dB)" in result.stdout
    assert " -" in result.stdout
    assert "warning: 4 recordings have different noisy inputs" in result.stderr
    more = segan("evaluate", *folders, "--measure", "si_sdr_db", "--measure", "lsd_db", "--json")
    (tmp_path / "c.json").write_text(more.stdout)
    less = segan("evaluate", *folders, "--measure", "si_sdr_db", "--json")
    (tmp_path / "d.json").write_text(less.stdout)
    assert "warning" not in segan("evaluate", "--compare", tmp_path / "c.json", tmp_path / "d.json").stderr


def test_mixes_of_a_seed_are_scored_alike(pairs, tmp_path):
    soundfile.write(tmp_path / "noise.wav", hiss(3.0, level=0.1), 16_000)
    (tmp_path / "noises").mkdir()
    (tmp_path / "noise.wav").rename(tmp_path / "noises" / "hiss.wav")
    mixes = ("--clean", pairs / "clean", "--noise", tmp_path / "noises", "--snr", 0, "--snr", 15, "--seed", 4)
    first, second = (
        segan("evaluate", *mixes, "--measure", "si_sdr_db", "--json", "--cache", tmp_path / "scores") for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert [group["value"] for group in json.loads(first.stdout)["breakdown"]["snr_db"]] == ["0", "15"]


def test_the_full_band_option_adds_measures_of_the_output_above_8_khz(pairs, tmp_path):
    for path in pairs.rglob("*.wav"):
        soundfile.write(
            path, voice(1.0, 48_000) + hiss(1.0, 48_000, level=0.01 + 0.01 * ("noisy" in str(path))), 48_000
        )
    folders = ("--noisy", pairs / "noisy", "--clean", pairs / "clean", "--no-cache")
    page = tmp_path / "page.html"
    result = segan(
        "evaluate", *folders, "--model", "default", "--full-band", "--measure", "lsd_db", "--html", page, "--json"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert list(report["measures"]) == ["lsd_db", "high_lsd_db", "high_lsd_speech_db", "high_pause_db"]
    noisy, enhanced = (report["summary"][system]["high_lsd_db"]["mean"] for system in ("noisy", "default"))
    assert noisy == pytest.approx(6.02, abs=0.01)
    assert abs(enhanced - noisy) > 1
    assert report["summary"]["noisy"]["high_pause_db"]["why"] == "no pauses"
    assert '"rate_hz":48000' in page.read_text().replace(" ", "")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "Nothing to score"),
        (("--data", "set", "--noisy", "x"), 2, "--data cannot be combined with"),
        (("--data", "none"), 1, "none: no such folder; give a folder with noisy and clean files, or a manifest"),
        (("--data", "mixed.txt"), 1, "mixed.txt: is a file; give a folder with noisy and clean files, or a manifest"),
        (("--noisy", "mixed.txt", "--clean", "clean"), 1, "mixed.txt: is a file; give a folder of audio files"),
        (("--noise", "x"), 2, "--noise needs --clean"),
        (("--noisy", "noisy", "--clean", "clean", "--snr", "3"), 2, "--snr needs --noise"),
        (("--noisy", "noisy", "--clean", "clean", "--seed", "3"), 2, "--seed needs --noise"),
        (
            ("--noisy", "noisy", "--clean", "clean", "--cache", "a", "--no-cache"),
            2,
            "--cache cannot be combined",
        ),
        (("--noisy", "noisy", "--clean", "clean", "--measure", "mos"), 2, "choose from pesq_wb"),
        (("--noisy", "noisy"), 2, "only DNSMOS is available"),
        (("--noisy", "noisy", "--measure", "stoi"), 2, "stoi needs --clean"),
        (("--noisy", "noisy", "--full-band"), 2, "high_lsd_db needs --clean"),
        (("--noisy", "noisy", "--clean", "empty"), 1, "no audio files found, such as .wav, .flac, .mp3 or .opus"),
        (("--noisy", "noisy", "--clean", "clean", "--enhanced", "clean", "--enhanced", "clean"), 2, "NAME="),
        (("--noisy", "noisy", "--clean", "clean", "--enhanced", "none"), 1, "none: no such folder"),
        (("--noisy", "noisy", "--clean", "clean", "--model", "none"), 1, "no such model"),
        (("--noisy", "noisy", "--clean", "clean", "--csv", "none/a.csv"), 1, "cannot be written"),
        (("--compare", "a.json", "b.json"), 1, "a.json: cannot be read"),
        (("--compare", "a.json", "b.json", "--by", "noise"), 2, "no other options"),
        (("--data", ".", "--snr", "5"), 2, "--snr needs --noise"),
    ],
)
def test_invalid_evaluation_options_get_one_line(pairs, monkeypatch, arguments, code, says):
    (pairs / "empty").mkdir()
    (pairs / "mixed.txt").write_text("noisy,clean\nnoisy/u0.wav,clean/u0.wav\nnoisy/u1.wav,\n")
    monkeypatch.chdir(pairs)
    result = segan("evaluate", *arguments)
    assert says in complaint(result)
    assert result.returncode == code
    assert len(result.stderr.splitlines()) == 1


def test_a_resumed_evaluation_gives_the_same_scores(tmp_path):
    """After a kill, the next run computes the missing scores, and reports what an uninterrupted run reports."""
    for side in ("clean", "noisy"):
        (tmp_path / side).mkdir()
    for i in range(N):
        clean = voice(2.0, seed=i % 4)
        soundfile.write(tmp_path / "clean" / f"{i}.wav", clean, 16_000)
        soundfile.write(tmp_path / "noisy" / f"{i}.wav", clean + hiss(2.0, seed=i), 16_000)
    folders = ("--noisy", tmp_path / "noisy", "--clean", tmp_path / "clean", "--json")
    cache = tmp_path / "scores"
    running = Running("evaluate", *folders, "--cache", cache, "--jobs", 1)
    running.wait_until(lambda: cache.exists() and kept(cache) > 0)
    running.send_signal(signal.SIGKILL)
    running.end()
    resumed = segan("evaluate", *folders, "--cache", cache)
    whole = segan("evaluate", *folders, "--no-cache", "--jobs", 2)
    assert resumed.returncode == whole.returncode == 0, resumed.stderr
    reports = [json.loads(result.stdout) for result in (resumed, whole)]
    for report in reports:
        del report["command"]
    assert reports[0] == reports[1]
    assert kept(cache) == N * len(WITH_REFERENCE)
    assert np.isfinite(reports[0]["summary"]["noisy"]["covl"]["mean"])


def kept(cache):
    import sqlite3

    try:
        with sqlite3.connect(cache) as database:
            return database.execute("SELECT count(*) FROM scores").fetchone()[0]
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize(("jobs", "fitting"), [(7, 3), (2, 2)])
def test_an_evaluation_has_as_many_workers_as_files_may_be_open(monkeypatch, jobs, fitting):
    monkeypatch.setattr(console, "open_file_limit", lambda: console.OTHER_FILES + 3 * evaluation_run.FILES_PER_WORKER)
    monkeypatch.setattr(evaluation_run, "evaluate", lambda *_, jobs, **options: jobs)
    arguments = SimpleNamespace(quiet=True, no_cache=True, ray=None, jobs=jobs, align=False)
    assert evaluation_run.score(arguments, None, (), {}) == fitting


def test_a_row_without_a_clean_recording_is_skipped(pairs):
    rows = [f"noisy/u{i}.wav,clean/u{i}.wav" for i in range(3)]
    (pairs / "m.csv").write_text("\n".join(["noisy,clean", *rows, "noisy/u3.wav,"]) + "\n")
    result = segan("evaluate", "--data", pairs / "m.csv", "--measure", "si_sdr_db", "--no-cache", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["recordings"] == 3
    assert "skipped: noisy/u3: no clean recording is given for it" in result.stderr
