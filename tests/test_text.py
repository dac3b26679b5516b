"""Text of others: names, cells, metadata, numbers. It is shown as it is, or refused in a line, and nothing is lost."""

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import soundfile
from commands import TINY, complaint, segan
from conftest import hiss, voice

import segan_cli.cli
from segan_cli.cli.train import unused_folder
from segan_cli.config.recipe import load_recipe
from segan_cli.data.manifest import read_manifest, read_rows
from segan_cli.errors import ConfigError, CorpusError
from segan_cli.evaluation.cases import from_manifest
from segan_cli.evaluation.compare import load_report
from segan_cli.evaluation.report import csv_text, escape_markdown
from segan_cli.evaluation.scoring import ScoreCache
from segan_cli.text import counted, one_line, printable, read_json, utf8, write_json
from segan_cli.training.log import truncate_after

BAD = os.fsdecode(b"caf\xe9")  # no UTF-8
HOSTILE = ("\x1b[31mred", "a\u202egnp", "[b] [", "\x9b2J", BAD, "=1+1", "two\nlines")
UNSEEN = re.compile(r"[^\n -~\xa1-\uffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def speak(folder, names, noisy=True):
    """A short recording under each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        sound = 0.5 * (voice(1.0, seed=i) + (hiss(1.0, seed=i) if noisy else 0))
        soundfile.write(os.fsencode(folder / f"{name}.wav"), sound, 16_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [b]ü 音", "plain [b]ü 音"),
        ("\x1b[31m\r\n", "\\x1b[31m\\x0d\\x0a"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        (BAD, "caf\\xe9"),
        ("\x9b\u00a0\ud800\U000e0001", "\\u009b\\u00a0\\ud800\\U000e0001"),
    ],
)
def test_invisible_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_a_message_is_one_line_of_bounded_length():
    assert one_line("a\n  b\x1b") == "a b\\x1b"
    assert len(one_line("9" * 100_000)) < 1_100
    assert utf8(BAD + "\x1b").encode() == b"caf\\xe9\x1b"


def test_a_folder_of_hostile_names_is_enhanced_and_reported(tmp_path):
    speak(tmp_path / "in", HOSTILE)
    (tmp_path / "in" / "bad\x1b]0;x\x07.wav").write_text("no audio")
    result = segan("enhance", tmp_path / "in", "-o", tmp_path / "out", "--json", "--verbose")
    assert result.returncode == 1
    assert not UNSEEN.search(result.stderr)
    assert "[b] [.wav: 1.0 s" in result.stderr
    assert "caf\\xe9.wav: 1.0 s" in result.stderr
    assert len(result.stderr.splitlines()) == len(HOSTILE) + 2
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(HOSTILE)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert {os.fsencode(line["source"]) for line in told} == {os.fsencode(p) for p in (tmp_path / "in").iterdir()}


def test_progress_bars_show_markup_in_names_literally():
    from segan_cli.cli.console import progress_bar

    bar = progress_bar()
    bar.add_task("[/b]\x1b", total=None, note="[red]")
    name, note = (bar.columns[i].render(bar.tasks[0]).plain for i in (0, -1))
    assert (name, note) == ("[/b]\\x1b", "[red]")


def test_commands_print_only_through_the_console_module():
    paths = sorted(Path(segan_cli.cli.__file__).parent.glob("*.py"))
    assert len(paths) > 8
    for path in paths:
        if path.name not in ("console.py", "__init__.py"):
            assert not re.search(r"click\.echo|\.print\(|\bprint\(|secho|sys\.std(out|err)", path.read_text()), path


@pytest.fixture
def table(tmp_path):
    """A manifest whose cells and headings are hostile."""
    speak(tmp_path / "noisy", "ab")
    speak(tmp_path / "clean", "ab", noisy=False)
    rows = [
        ["noisy", " clean", "room ", "=cmd", "snr"],
        ["noisy/a.wav", " clean/a.wav", "[/b]\x1b", "=1+1", "-5"],
        ["noisy/b.wav", "clean/b.wav", "x|<i>", "@x", "2"],
    ]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "list.csv"


def test_reports_show_cells_of_a_manifest_literally(table, tmp_path):
    outputs = [part for kind in ("csv", "markdown", "html") for part in (f"--{kind}", tmp_path / f"r.{kind}")]
    result = segan("evaluate", "--data", table, "--measure", "stoi", "--no-cache", "--by", "room", *outputs)
    assert result.returncode == 0, result.stderr
    assert "[/b]\\x1b" in result.stdout
    assert "room, =cmd, snr" in result.stderr
    first, second, _ = csv.reader((tmp_path / "r.csv").open(newline=""))
    assert first[:4] == ["name", "room", "'=cmd", "snr"]
    assert second[1:4] == ["[/b]\x1b", "'=1+1", "-5"]
    assert "| x\\|\\<i\\> (1) |" in (tmp_path / "r.markdown").read_text()
    assert '"[/b]\\\\x1b"' in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("cell", "text"),
    [("=1", "'=1"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("\ta", "'\ta"), ("\ra", "'\ra"), ("＝a", "'＝a")]
    + [(number, number) for number in ("-5", "+1.5e3", "-.5", "3")]
    + [("-1+cmd", "'-1+cmd"), ("a=b", "a=b"), ("-nan", "'-nan"), ("-1_0", "'-1_0")],
)
def test_no_cell_of_a_csv_report_is_a_formula(cell, text):
    assert csv_text(cell) == text


def test_markdown_shows_names_literally():
    assert escape_markdown("a|b [x](y) `c` <d>") == "a\\|b [x\\](y) \\`c\\` \\<d\\>"


def test_reports_are_written_when_printing_fails(table, tmp_path):
    arguments = ("evaluate", "--data", table, "--measure", "stoi", "--no-cache", "--csv", tmp_path / "r.csv")
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "segan_cli", *map(str, arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert (tmp_path / "r.csv").read_text().count("\n") == 3


def test_folders_and_files_whose_names_are_not_utf8_are_trained_on(tmp_path):
    speak(tmp_path / BAD, [f"{BAD}{i}" for i in range(4)], noisy=False)
    (tmp_path / "tiny.toml").write_text(TINY)
    run = ("train", "--run-dir", tmp_path / f"run{BAD}")
    result = segan(*run, "--data", tmp_path / BAD, "--recipe", tmp_path / "tiny.toml", "--steps", 1)
    assert result.returncode == 0, result.stderr
    assert not UNSEEN.search(result.stderr)
    assert load_recipe(str(tmp_path / f"run{BAD}" / "recipe.toml")).data.speech == (str(tmp_path / BAD),)


def test_recordings_whose_names_are_not_utf8_are_scored(tmp_path):
    speak(tmp_path / "noisy", [BAD])
    speak(tmp_path / "clean", [BAD], noisy=False)
    outputs = [part for kind in ("csv", "markdown", "html") for part in (f"--{kind}", tmp_path / f"r.{kind}")]
    folders = (
        "--noisy",
        tmp_path / "noisy",
        "--clean",
        tmp_path / "clean",
        "--enhanced",
        f"{BAD}={tmp_path / 'clean'}",
    )
    result = segan("evaluate", *folders, "--measure", "si_sdr_db", "--no-cache", "--json", *outputs)
    assert result.returncode == 0, result.stderr
    assert os.fsencode(json.loads(result.stdout)["files"][0]["name"]) == b"caf\xe9"
    assert result.stdout.isascii()
    for kind in ("csv", "markdown", "html"):
        assert "caf\\" in (tmp_path / f"r.{kind}").read_text(encoding="utf-8")


def test_a_manifest_may_name_files_in_bytes(tmp_path):
    speak(tmp_path, [BAD])
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbfclean\ncaf\xe9.wav\n")
    assert os.fsencode(read_manifest(str(tmp_path / "list.csv"), "training", True).utterances[0].path.name) == (
        b"caf\xe9.wav"
    )


def test_a_list_holds_names_and_no_globs(tmp_path):
    speak(tmp_path, ["a", "b", "[ab]", "*"])
    names = [os.fsencode(tmp_path / name) for name in ("[ab].wav", "*.wav")]
    for ending in (b"\r\n", b"\0"):
        (tmp_path / "list").write_bytes(b"\xef\xbb\xbf" + b"".join(name + ending for name in names))
        result = segan("enhance", "--files-from", tmp_path / "list", "-o", tmp_path / "out", "--force")
        assert result.returncode == 0, result.stderr
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["*.wav", "[ab].wav"]


def test_a_manifest_holds_names_and_no_globs(tmp_path):
    speak(tmp_path, ["a", "b", "[ab]", "*"])
    (tmp_path / "list.csv").write_text("clean\n[ab].wav\n*.wav\n")
    found = read_manifest(str(tmp_path / "list.csv"), "training", True).utterances
    assert [utterance.path.name for utterance in found] == ["[ab].wav", "*.wav"]


def test_an_impossible_file_name_does_not_stop_the_others(tmp_path):
    speak(tmp_path, ["a"])
    (tmp_path / "list").write_text(f"{'x' * 300}.wav\n{tmp_path / 'a.wav'}\n")
    result = segan("enhance", "--files-from", tmp_path / "list", "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "no such file (the name is too long)" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.wav"]


def run_failing_job(error):
    from segan_cli.enhancement import batch
    from segan_cli.enhancement.recording import OutputOptions

    enhancer = Mock(enhance_job=Mock(side_effect=error))
    job = batch.Job(Path("a.wav"), Path("b.wav"))
    return batch.run_job(enhancer, job, OutputOptions(), lambda done, total: None)


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError(), MemoryError(), KeyError("x"), RuntimeError("")])
def test_any_error_becomes_the_outcome_of_its_recording(error):
    assert run_failing_job(error).error.startswith("a.wav: ")


def test_a_stop_is_not_an_outcome_of_the_recording():
    from segan_cli.errors import StoppedError

    for error in (StoppedError("stopped", 15), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            run_failing_job(error)
    assert not issubclass(StoppedError, Exception)


def test_debug_prints_the_traceback(tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    for arguments in (("--debug", "enhance"), ("enhance", "--debug")):
        result = segan(*arguments, tmp_path / "a.wav", "-o", tmp_path / "b.wav")
        assert result.returncode == 1
        assert "Traceback" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("segan: ")
    complaint(segan("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.wav"))


MANIFESTS = [
    ("a.csv", "noisy,clean\na,b,c\n", "line 2: 3 values, but the header has 2 columns"),
    ("a.csv", 'noisy,clean\na,b\n\n"a","b",\n', "line 4: 3 values"),
    ("a.csv", "noisy, noisy\na,b\n", "several columns named noisy"),
    ("a.csv", "noisy,clean,,\na,b,c,d\n", "several columns without a name"),
    ("a.csv", f"noisy\n{'a' * 200_000}\n", "field larger than field limit"),
    ("a.jsonl", "[" * 100_000, "line 1: not JSON (nested too deeply)"),
    ("a.jsonl", '{"noisy": ' + "9" * 5_000 + "}", "line 1: not JSON (Exceeds the limit"),
    ("a.jsonl", '{"noisy": NaN}', "NaN is not a JSON number"),
    ("a.jsonl", "3", "not an object"),
    ("a.jsonl", '{"noisy": [[1]], "clean": "x"}', "none of its"),
    ("a.csv", "noisy,clean\na\0b,c\n", "none of its"),
    ("a.jsonl", '{"noisy": "\\ud800\\u0000", "clean": "x"}', "none of its"),
]


@pytest.mark.parametrize(("name", "text", "message"), MANIFESTS)
def test_an_invalid_manifest_is_refused_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    for read in (from_manifest, lambda path: read_manifest(str(path), "training", True)):
        with pytest.raises(CorpusError, match=re.escape(message)) as caught:
            read(tmp_path / name)
        assert len(one_line(str(caught.value))) < 1_100


def test_spaces_around_names_and_values_of_a_manifest_are_ignored(tmp_path):
    speak(tmp_path, ["c0", "n0"])
    (tmp_path / "a.csv").write_text("clean, noisy , speaker,mood\nc0.wav, n0.wav , s0,sad\n")
    corpus = read_manifest(str(tmp_path / "a.csv"), "training", True)
    assert corpus.utterances[0].noisy == tmp_path / "n0.wav"
    assert corpus.utterances[0].group.endswith(":s0")
    assert corpus.notes == (f"{tmp_path / 'a.csv'}: ignoring unknown columns mood",)
    (tmp_path / "a.jsonl").write_text('{" clean": "c0.wav ", "noisy": "n0.wav", "nosiy": "x"}\n')
    assert read_rows(tmp_path / "a.jsonl") == [(1, {"clean": "c0.wav", "noisy": "n0.wav", "nosiy": "x"})]
    assert "nosiy" in read_manifest(str(tmp_path / "a.jsonl"), "training", True).notes[0]
    (tmp_path / "b.csv").write_text("Noisy,clean\nn0.wav,c0.wav\n")
    with pytest.raises(CorpusError, match="no column noisy; found Noisy, clean"):
        from_manifest(tmp_path / "b.csv")


RECIPES = [
    ('[model]\npreset = ["segan"]', "model.preset: ['segan']"),
    ("a = " + "[" * 100_000, "nested too deeply"),
    ("[model]\npreset = 'segan'\nsegment_length = " + "9" * 5_000, "not a TOML file"),
    ("[model]\npreset = 'segan'\nsegment_length = 0x" + "f" * 5_000, "a whole number of 20000 bits"),
    ("[model]\npreset = 'segan'\nsegment_length." + "a." * 3_000 + "b = 1", "must be a whole number"),
    ("[model]\npreset = 'segan'\n[training]\nseed = 99999999999999999999", "must be below 2"),
    ("[model]\npreset = 'segan'\n[training]\nvalidation_mixes = 1e12", "must be a whole number"),
    ("[model]\npreset = 'segan'\n[training]\nvalidation_mixes = 1_000_000_000_000", "must be 10,000 or less"),
    ("[model]\npreset = 'segan'\n[training]\ngenerator_learning_rate = 1e300", "or less"),
    ("[model]\npreset = 'segan'\n[training]\ngenerator_learning_rate = nan", "must be a number"),
    ("[model]\npreset = 'segan'\n[training.mixing]\nsnr_db = [0.0, 1e9]", "from -200 to 200"),
    ("[model]\npreset = 'segan'\n[training]\nsteps = 9223372036854775807", "or less"),
    ("[model]\npreset = 'segan'\n[training]\nprecision = [1]", "must be one of"),
]


@pytest.mark.parametrize(("text", "message"), RECIPES)
def test_an_invalid_recipe_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_recipe(str(tmp_path / "a.toml"))
    assert len(one_line(str(caught.value))) < 1_100


@pytest.mark.parametrize(
    "arguments",
    [
        ("enhance", "a.wav", "-o", "b.wav", "--threads", 1_000_000),
        ("enhance", "a.wav", "-o", "b.wav", "--jobs", 1_000_000),
        ("enhance", "a.wav", "-o", "b.wav", "--seed", "9" * 5_000),
        ("enhance", "a.wav", "-o", "b.wav", "--seed", 2**64),
        ("enhance", "a.wav", "-o", "b.wav", "--strength", "nan"),
        ("enhance", "a.wav", "-o", "b.wav", "--max-attenuation", "nan"),
        ("enhance", "a.wav", "-o", "b.wav", "--normalize", "nan"),
        ("evaluate", "--clean", ".", "--noise", ".", "--snr", "nan"),
        ("evaluate", "--clean", ".", "--noise", ".", "--snr", "1e300"),
        ("evaluate", "--clean", ".", "--noise", ".", "--seed", 10**30),
        ("evaluate", "--clean", ".", "--noise", ".", "--jobs", 10**9),
        ("train", "--data", ".", "--seed", 10**30),
        ("train", "--data", ".", "--learning-rate", "nan"),
        ("train", "--data", ".", "--learning-rate", "1e300"),
        ("train", "--data", ".", "--snr", "nan", "nan"),
        ("train", "--data", ".", "--width", "nan"),
        ("train", "--data", ".", "--workers", 10**9),
        ("train", "--data", ".", "--steps", 10**30),
        ("train", "--data", ".", "--set", "training.seed=" + "9" * 5_000),
        ("train", "--data", ".", "--set", "training.seed=" + "[" * 100_000),
        ("train", "--data", ".", "--set", "training.mixing.gap_ms=[1, 1e999]"),
    ],
)
def test_absurd_numbers_are_usage_errors(tmp_path, monkeypatch, arguments):
    speak(tmp_path, ["a"])
    monkeypatch.chdir(tmp_path)
    result = segan(*arguments)
    assert result.returncode == 2, result.stderr
    assert len(complaint(result)) < 1_200
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav"]


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("segan-plus", "segan-plus"),
        ("../../x", "______x"),
        ("/etc", "_etc"),
        ("a\0\x1b", "a__"),
        ("", "run"),
        ("..", "__"),
    ],
)
def test_the_name_of_a_preset_cannot_leave_the_run_folder(tmp_path, preset, name):
    assert unused_folder(tmp_path, preset) == tmp_path / name
    assert unused_folder(tmp_path, "x" * 5_000) == tmp_path / ("x" * 64)


def test_an_unknown_column_is_reported_before_scoring(table):
    assert "nope: no such column; choose from room, =cmd, snr" in complaint(
        segan("evaluate", "--data", table, "--by", "nope", "--no-cache")
    )


REPORT = {
    "format": 2,
    "systems": ["noisy", "a"],
    "measures": {"stoi": {"label": "STOI", "unit": "", "higher_is_better": True}},
    "files": [{"name": "x", "scores": {"noisy": {"stoi": 0.5}, "a": {"stoi": None}}}],
}


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"systems": None},
        {"systems": []},
        {"systems": [[]]},
        {"systems": "ab"},
        {"measures": [1]},
        {"measures": {"stoi": {"label": 3}}},
        {"files": 3},
        {"files": [{"name": "x"}]},
        {"files": [{"name": [], "scores": {}}]},
        {"files": [{"name": "x", "scores": {"a": {"stoi": "0.5"}}}]},
        {"files": [{"name": "x", "scores": {"a": {"stoi": 10**400}}}]},
        {"files": [{"name": "x", "scores": {"a": {"stoi": {"undefined": 3}}}}]},
        {"format": True},
    ],
)
def test_an_invalid_report_is_refused_in_one_line(tmp_path, changes):
    (tmp_path / "good.json").write_text(json.dumps(REPORT))
    load_report(tmp_path / "good.json")
    (tmp_path / "a.json").write_text(json.dumps({**REPORT, **changes} if changes else {"format": 1}))
    with pytest.raises(CorpusError, match="segan evaluate --json"):
        load_report(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, '{"format": NaN}', "\ud800", ""])
def test_a_report_that_is_not_json_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogatepass"))
    line = complaint(segan("evaluate", "--compare", tmp_path / "a.json", tmp_path / "a.json"))
    assert "a.json: not JSON" in line


def test_numbers_that_are_not_finite_are_null():
    values = {"a": [float("nan"), float("inf")], "b": (1.5, None)}
    assert write_json(values) == '{"a": [null, null], "b": [1.5, null]}'
    with pytest.raises(ValueError, match="Infinity"):
        read_json("[Infinity]")


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"step": "x"}',
        "3",
        '{"step": 2, "validation": 3}',
        '{"step": 2, "validation": {"a": []}}',
        "\udce9",
    ],
)
def test_a_log_is_read_up_to_a_damaged_line(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line.encode(errors="surrogateescape") + b'\n{"step": 3}\n')
    assert truncate_after(path, 5) == [{"step": 1}]
    assert path.read_text() == '{"step": 1}\n'


def scored(tmp_path, **environment):
    """Scores of two pairs by `segan evaluate`, and what it says beside."""
    speak(tmp_path / "noisy", "ab")
    speak(tmp_path / "clean", "ab", noisy=False)
    folders = ("--noisy", tmp_path / "noisy", "--clean", tmp_path / "clean", "--measure", "si_sdr_db", "--json")
    cache = () if environment else ("--cache", tmp_path / "scores")
    result = segan("evaluate", *folders, *cache, **environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["files"], result.stderr


KEYS, SCORES = {"stoi": "k1", "pesq_wb": "k2"}, {"stoi": 0.5, "pesq_wb": 2.5}


@pytest.mark.parametrize("bad", ["NaN", "[1]", "{", b"\xff", None, "1e300", "[" * 100_000, "9" * 5_000])
def test_a_damaged_score_is_removed_from_the_cache(tmp_path, bad):
    ScoreCache(tmp_path / "scores").put(KEYS, SCORES)
    with sqlite3.connect(tmp_path / "scores") as database:
        database.execute("UPDATE scores SET score = ? WHERE key = 'k1'", (bad,))
    cache = ScoreCache(tmp_path / "scores")
    assert cache.get(KEYS) == {"pesq_wb": 2.5}
    assert cache.notes == (f"{tmp_path / 'scores'}: discarded 1 damaged score, to be computed again",)
    assert ScoreCache(tmp_path / "scores").notes == ()


def test_a_cached_score_out_of_range_is_measured_again(tmp_path):
    ScoreCache(tmp_path / "scores").put(KEYS, {"stoi": 77.5, "pesq_wb": 2.5})
    assert ScoreCache(tmp_path / "scores").get(KEYS) == {"pesq_wb": 2.5}


def test_a_damaged_score_cache_is_rebuilt_and_reported_once(tmp_path):
    first, _ = scored(tmp_path)
    content = (tmp_path / "scores").read_bytes()
    (tmp_path / "scores").write_bytes(content[:5_000])
    again, said = scored(tmp_path)
    assert again == first
    assert said.count("created a new one") == len(said.splitlines()) == 1
    assert (tmp_path / "scores.damaged").read_bytes() == content[:5_000]
    (tmp_path / "scores").write_bytes(content[:100] + bytes(len(content) - 100))
    assert "created a new one" in ScoreCache(tmp_path / "scores").notes[0]
    assert ScoreCache(tmp_path / "scores").notes == ()


def test_a_score_cache_damaged_while_open_is_ignored(tmp_path):
    cache = ScoreCache(tmp_path / "scores")
    (tmp_path / "scores").write_bytes(b"x" * 9_000)
    assert cache.get({"stoi": "key"}) == {}
    cache.put({"stoi": "key"}, {"stoi": 0.5})


def test_commands_work_without_a_writable_home(tmp_path):
    (tmp_path / "file").write_text("")
    files, said = scored(tmp_path, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert len(files) == 2
    assert said.count("scores are not cached") == len(said.splitlines()) == 1


def test_a_recipe_keeps_names_that_are_not_utf8(tmp_path):
    (tmp_path / "a.toml").write_bytes(b'[model]\npreset = "segan"\n[data]\nspeech = ["caf\xe9"]\n')
    assert load_recipe(str(tmp_path / "a.toml")).data.speech == (BAD,)


def test_a_long_name_does_not_hide_the_numbers_of_a_progress_bar():
    from rich.console import Console

    from segan_cli.cli.console import progress_bar

    bar = progress_bar()
    task = bar.add_task("interview-with-a-very-long-name-from-the-archive.wav", total=480.0, note="", unit="s")
    bar.update(task, completed=100.0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(bar.get_renderable())
    (line,) = console.export_text().splitlines()
    assert line.startswith("interview-with-a-")
    assert "… " in line
    assert "1:40 / 8:00" in line


def test_a_number_agrees_with_its_noun():
    assert [counted(n, "other file") for n in (0, 1, 2)] == ["0 other files", "1 other file", "2 other files"]
