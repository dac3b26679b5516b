"""Nothing is written where it must not be: outside of an output folder, over a file that is read, or half a line."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest
import soundfile
from commands import alone, command, complaint, segan
from conftest import hiss, voice

from segan_cli.cli.outcomes import open_outcomes
from segan_cli.cli.train import check_run_folder
from segan_cli.enhancement.plan import Shard, make_plan, read_names
from segan_cli.enhancement.recording import Outcome
from segan_cli.errors import AudioError, OutputError, SameFileError, SeganError, TrainingError
from segan_cli.storage.atomic import remove_scratch, scratch_file
from segan_cli.storage.new_folders import new_folder
from segan_cli.storage.remote import RemotePath, as_path, join

TESTS = Path(__file__).parent
OUTCOME = Outcome("a.wav", "b.wav")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with a.wav under three names and a list of it."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", voice(0.2) + hiss(0.2), 16_000)
    Path("soft.jsonl").symlink_to("a.wav")
    Path("hard.wav").hardlink_to("a.wav")
    Path("list.jsonl").write_text("a.wav\n")
    Path("list.wav").write_text("a.wav\n")
    Path("m.onnx").write_bytes(b"model")
    return tmp_path


CAN_MOUNT = not subprocess.run(["sh", "-c", "unshare -rm mount -t tmpfs none /mnt"], check=False).returncode


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shell(line, **environment):
    """Run a line of shell code in which SEGAN is the command."""
    line = line.replace("SEGAN", " ".join(command()))
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=alone(**environment))


@pytest.mark.parametrize("name", ["tmp/x.wav", "/tmp/x.wav", "//tmp/x.wav", "./tmp//x.wav", "tmp/./x.wav"])
def test_empty_parts_of_a_path_are_left_out(name):
    assert join(Path("out"), PurePosixPath(name)) == Path("out/tmp/x.wav")
    assert str(join(as_path("memory://out"), PurePosixPath(name))) == "memory://out/tmp/x.wav"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *((Path("out"), name) for name in ("../x.wav", "a/../../x.wav", "..", "", "/", "a\0.wav")),
        *((RemotePath("s3://out"), name) for name in ("../x.wav", "%2e%2E/x.wav", "..%2fx.wav", "a%2f..%2fx", "%00")),
        *((PureWindowsPath("out"), name) for name in ("C:/x.wav", "C:x.wav", "..\\x.wav", "a\\..\\..\\x", "\\x.wav")),
        *((PureWindowsPath("out"), name) for name in ("a. /x.wav", "a./x.wav", ".. /x.wav", "x.wav ", "a.wav:b.wav")),
        *(
            (PureWindowsPath("out"), name)
            for name in ("nul.wav", "Con", "com1.tar.gz", "aux .wav", "a?.wav", "LPT\xb9")
        ),
    ],
)
def test_a_path_that_leaves_the_output_folder_is_refused(folder, name):
    with pytest.raises(AudioError, match="cannot be written to"):
        join(folder, PurePosixPath(name))


def test_percent_encoded_names_of_local_files_are_not_decoded():
    assert join(Path("out"), PurePath("%2e%2e/50%.wav")) == Path("out/%2e%2e/50%.wav")


def test_keys_of_a_bucket_stay_in_the_output_folder(place):
    bucket = pytest.importorskip("fsspec", reason="needs fsspec").filesystem("memory")
    bucket.store.clear()
    for key in ("raw/a.wav", f"raw/{place}/b.wav", "raw//c.wav", "raw/d//e.wav"):
        bucket.pipe(f"/{key}", (place / "a.wav").read_bytes())
    result = [job.target for job in make_plan([as_path("memory://raw")], Path("out"), None, ".flac")]
    inner = str(place).strip("/")
    assert sorted(map(str, result)) == ["out/a.flac", "out/c.flac", "out/d/e.flac", f"out/{inner}/b.flac"]
    bucket.pipe("/raw/../../x.wav", b"x")  # hidden, as its name begins with a dot
    assert [job.target for job in make_plan([as_path("memory://raw")], Path("out"), None, ".flac")] == result
    bucket.pipe("/raw/%2e%2e/x.wav", b"x")
    plan = make_plan([as_path("memory://raw")], as_path("memory://out"), None, None)
    assert len(plan) == len(result)
    ((name, why),) = plan.refused.items()
    assert name == "memory://raw/%2e%2e/x.wav"
    assert why.startswith("%2e%2e/x.wav: cannot be written to memory://out with this name; rename it or ")
    parts = [
        make_plan([as_path("memory://raw")], as_path("memory://out"), None, None, shard=Shard(i, 3)) for i in (1, 2, 3)
    ]
    assert sorted(len(part.refused) for part in parts) == [0, 0, 1]


def test_names_of_a_list_stay_in_the_output_folder():
    with pytest.raises(AudioError, match="cannot be written to memory://out"):
        make_plan([], as_path("memory://out"), None, None, read_names(b"https://h/..%2f..%2fx.wav"), slash=True)


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("a.wav -o new/deep/x.mp3 --rate 5000", None),
        ("a.wav -o new/deep/ --format mp3 --rate 5000", None),
        ("a.wav -o there/deep/x.mp3 --rate 5000", "there"),
        ("a.wav -o new/x.wav", "new"),
    ],
)
def test_the_new_folder_of_an_output_is_removed_if_nothing_is_written(place, words, made):
    Path("there").mkdir()
    assert segan("enhance", *words.split()).returncode == (made != "new")
    assert Path("new").exists() == (made == "new")
    assert [*Path("there").iterdir()] == []


def test_only_new_and_empty_folders_are_removed(tmp_path):
    with new_folder(tmp_path / "a" / "b" / "c"):
        assert (tmp_path / "a" / "b" / "c").is_dir()
        (tmp_path / "a" / "other").mkdir()
    assert [*tmp_path.rglob("*")] == [tmp_path / "a", tmp_path / "a" / "other"]
    with new_folder(tmp_path / "a" / "other"):
        pass
    assert (tmp_path / "a" / "other").is_dir()


def test_warnings_about_standard_input_name_it(place):
    content = Path("a.wav").read_bytes()
    Path("in.wav").write_bytes(2 * content)
    result = shell("SEGAN enhance - -o out.wav < in.wav")
    assert result.stderr.splitlines()[-1].startswith("segan: standard input: contains several recordings")


def test_a_refused_name_does_not_stop_the_others(place):
    """And all are reported: on standard error, as JSON and in the file of outcomes."""
    Path("list.txt").write_text(f"{place}/a.wav\n{place}/hard.wav/..\n")
    enhance = ("enhance", "--files-from", "list.txt", "-o", "out/", "--json", "--outcomes", "o.jsonl")
    why = "..: cannot be written to out with this name; rename it or enhance it with -o FILE"
    dry = segan(*enhance, "--dry-run")
    assert (dry.returncode, len(dry.stdout.splitlines())) == (1, 1)
    assert dry.stderr == f"segan: {why}\nsegan: 1 recording, 1 refused; nothing was enhanced (--dry-run)\n"
    result = segan(*enhance)
    assert result.returncode == 1
    assert result.stderr == f"segan: {why}\nsegan: 1 enhanced (0.2 s of audio), 1 failed\n"
    assert Path("o.jsonl").read_text() == result.stdout
    assert [(one["target"], one["error"]) for one in map(json.loads, result.stdout.splitlines())] == [
        ("", why), ("out/a.wav", None)
    ]  # fmt: skip


def test_a_name_is_never_a_chain_of_urls():
    """Of which fsspec would read the last, a file of this machine."""
    with pytest.raises(SeganError, match="contains ::"):
        (as_path("memory://raw") / "x::file:///etc/passwd").read_bytes()


@pytest.mark.parametrize("scheme", ["file://", "FILE://localhost", "local://", "LOCAL://", "Local://localhost"])
def test_every_spelling_of_a_local_url_is_its_path(place, scheme):
    assert as_path(f"{scheme}{place}/%61.wav") == place / "a.wav"
    for source, target in ((f"{scheme}{place}/a.wav", "a.wav"), ("hard.wav", f"{scheme}{place}/./a.wav")):
        with pytest.raises(SameFileError, match="is the input itself"):
            make_plan([as_path(source)], as_path(target), None, None)


@pytest.mark.parametrize("name", ["local://a.wav", "file://a.wav", "local:///a%00.wav"])
def test_a_url_of_no_absolute_path_is_refused(name):
    with pytest.raises(SeganError, match="is not an absolute path; write "):
        as_path(name)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("a.wav -o b.wav --outcomes soft.jsonl", "soft.jsonl: is the input itself; give another output"),
        ("a.wav -o b.wav -y --residual hard.wav", "hard.wav: is the input itself; give another output"),
        ("--files-from list.jsonl -o o/ --outcomes list.jsonl", "list.jsonl: is the list itself; give another output"),
        ("--files-from list.wav -o list.wav -y", "list.wav: is the list itself; give another output"),
        ("a.wav -o b.wav -m m.onnx --plot ./m.onnx -y", "m.onnx: is the model itself; give another output"),
        ("a.wav -o b.wav --plot p --residual p", "p: both --residual and --plot would be written to this file"),
        ("- -o a.wav -y < hard.wav", "a.wav: is the input itself; give another output"),
        ("a.wav -o - >> a.wav", "standard output: is the input itself; give another output"),
        ("a.wav -o b.wav --json >> a.wav", "standard output: is the input itself; give another output"),
        ("a.wav -o b.wav --dry-run >> hard.wav", "standard output: is the input itself; give another output"),
    ],
)  # fmt: skip
def test_enhance_never_overwrites_its_inputs(place, arguments, says):
    before = contents(place)
    words, _, redirected = arguments.partition(" <" if "<" in arguments else " >>")
    result = shell(f"SEGAN enhance {arguments}") if redirected else segan("enhance", *words.split())
    assert (result.returncode, result.stderr) == (2, f"segan: {says}\n")
    assert contents(place) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--noisy n --clean c --csv n/a.wav", "n/a.wav: is one of the recordings; give another output"),
        ("--noisy n --clean c --html n/alone.wav", "n/alone.wav: is one of the recordings; give another output"),
        ("--noisy n --clean c --csv log_testset.txt", "log_testset.txt: is one of the tables; give another output"),
        ("--noisy n --clean c --enhanced e --csv e/a.wav", "e/a.wav: is one of the recordings; give another output"),
        ("--data pairs.csv --markdown pairs.csv", "pairs.csv: is the manifest itself; give another output"),
        ("--data pairs.csv --cache c/a.wav", "c/a.wav: is one of the recordings; give another output"),
        ("--data pairs.csv -m M=m.onnx --csv m.onnx", "m.onnx: is the model itself; give another output"),
        ("--data pairs.csv --csv x --html ./x", "x: both --csv and --html would be written to this file"),
    ],
)
def test_evaluate_never_overwrites_its_inputs(place, arguments, says):
    for name in ("n/a.wav", "n/alone.wav", "c/a.wav", "e/a.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(Path("a.wav").read_bytes())
    Path("pairs.csv").write_text("noisy,clean\nn/a.wav,c/a.wav\n")
    Path("log_testset.txt").write_text("a cafe 7.5\n")
    before = contents(place)
    result = segan("evaluate", *arguments.split(), "--measure", "si_sdr_db", "-y")
    assert (result.returncode, result.stderr) == (2, f"segan: {says}\n")
    assert contents(place) == before


def test_export_never_overwrites_its_model(place):
    Path("m.safetensors").write_bytes(bytes(8) + b"{}")
    Path("n.onnx").hardlink_to("m.safetensors")
    result = segan("export", "m.safetensors", "-o", "n.onnx", "-y")
    assert (result.returncode, result.stderr) == (2, "segan: n.onnx: is the model itself; give another output\n")
    assert Path("m.safetensors").read_bytes() == bytes(8) + b"{}"


@pytest.mark.parametrize("name", [
    "best.safetensors", "step-0000010.safetensors", "log.jsonl", "validation.jsonl", "last.pt", "data.json",
    "split.json",
])  # fmt: skip
def test_a_new_training_refuses_a_folder_whose_files_it_would_overwrite(tmp_path, name):
    check_run_folder(tmp_path, resume=False)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(TrainingError, match=f"contains {name}, which would be overwritten; give another --run-dir"):
        check_run_folder(tmp_path, resume=False)


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("", ""),
        ('{"source": "x"}\n', '{"source": "x"}\n'),
        ('{"source": "x"}', '{"source": "x"}\n'),
        ('{"source": "x"}\n{"source": "y", "tar', '{"source": "x"}\n'),
        ('{"source": "x"}\n{"so', '{"source": "x"}\n'),
    ],
)
def test_an_incomplete_last_outcome_is_removed_before_the_next(tmp_path, before, kept):
    path = tmp_path / "o.jsonl"
    path.write_text(before)
    with open_outcomes(path, force=False) as record:
        record(OUTCOME)
    assert path.read_text().startswith(kept + '{"source": "a.wav"')
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == kept.count("\n") + 1


@pytest.mark.parametrize("content", ["notes\nmore notes", "a.wav\n", '{"clean": "a.wav"}\n', "{\n"])
def test_a_file_that_holds_no_outcomes_is_not_appended_to(tmp_path, content):
    (tmp_path / "o.jsonl").write_text(content)
    with (
        pytest.raises(OutputError, match=r"o\.jsonl: its last line is not an outcome; give another file"),
        open_outcomes(tmp_path / "o.jsonl", force=False),
    ):
        pass
    assert (tmp_path / "o.jsonl").read_text() == content


def test_outcomes_on_a_full_disk_stay_whole_lines(tmp_path):
    """The size limit of the process stands in for the disk."""
    path = tmp_path / "o.jsonl"
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with open_outcomes(path, force=False) as record:
            record(OUTCOME)
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
            with pytest.raises(OutputError, match=r"o\.jsonl: cannot be written \(the file would exceed"):
                record(OUTCOME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    (line,) = path.read_text().splitlines(keepends=True)
    assert line.endswith("}\n")


def test_temporary_files_of_killed_processes_are_removed_later(place, tmp_path, monkeypatch):
    tmp_path = tmp_path / "temporary"
    tmp_path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = "import sys, time; from segan_cli.storage.atomic import scratch_file\n"
    program += "with scratch_file('.wav'): print('made', flush=True); time.sleep(3_600)\n"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=alone(TMPDIR=str(tmp_path)))
    with process:
        assert process.stdout.readline() == b"made\n"
        process.kill()
    (left,) = tmp_path.iterdir()
    remove_scratch()
    assert left.exists()  # as new as a file that is not locked yet
    other = tmp_path / "segan-notes-of-mine.wav"
    with scratch_file() as living:
        assert living.stat().st_mode & 0o777 == 0o600
        for path in (left, other, living):
            path.touch()
            os.utime(path, (time.time() - 3_600,) * 2)
        assert segan("enhance", "a.wav", TMPDIR=str(tmp_path)).returncode == 0
        assert sorted(tmp_path.glob("segan-*")) == sorted([other, living])
    assert list(tmp_path.glob("segan-*")) == [other]


@pytest.mark.skipif(not CAN_MOUNT, reason="cannot mount a small disk here")
@pytest.mark.parametrize(
    "words", ["- -o b.wav < a.flac", "a.flac -o b.wav --normalize 0", "a.flac -o memory://b/b.wav"]
)
def test_a_full_temporary_folder_is_named(place, words):
    Path("small").mkdir()
    soundfile.write("a.flac", voice(2.0) + hiss(2.0), 16_000)
    line = f"unshare -rm bash -c 'mount -t tmpfs -o size=8k none small && SEGAN enhance {words}'"
    result = shell(line, TMPDIR=str(place / "small"))
    assert complaint(result) == f"segan: {place / 'small'}: the temporary folder is full; set TMPDIR to another one"
    assert not Path("b.wav").exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("SEGAN enhance a.wav -o b.wav --json > /dev/full", "the disk is full"),
        ("SEGAN enhance a.wav -o b.wav --dry-run > /dev/full", "the disk is full"),
        ("SEGAN models --json >&-", "it is closed"),
    ],
)
def test_results_that_cannot_be_printed_give_one_line_and_exit_code_1(place, line, why):
    result = shell(line)
    assert result.returncode == 1
    assert result.stderr == f"segan: standard output: cannot be written ({why})\n"


@pytest.mark.parametrize("stderr", ["2> /dev/full", "2>&-"])
def test_messages_that_cannot_be_printed_change_nothing(place, stderr):
    assert shell(f"SEGAN enhance a.wav -o b.wav {stderr} <&- >&-").returncode == 0
    assert soundfile.info("b.wav").frames == 3_200
    assert shell(f"SEGAN enhance none.wav -o b.wav {stderr}").returncode == 1


@pytest.mark.parametrize("columns", ["0", "²", "9" * 5_000])
def test_messages_are_printed_whatever_the_width_of_the_terminal(place, columns):
    Path("b.wav").touch()
    result = segan("enhance", "a.wav", "-o", "b.wav", "--dry-run", COLUMNS=columns)
    assert result.stdout == "a.wav -> b.wav (exists)\n"
    assert result.stderr == "1 recording; nothing was enhanced (--dry-run)\n"


def test_jobs_are_limited_by_the_number_of_open_files(place):
    for i in range(6):
        Path(f"r{i}.wav").write_bytes(Path("a.wav").read_bytes())
    first, last = shell("ulimit -n 90; SEGAN enhance r?.wav -o out --jobs 1000").stderr.splitlines()
    assert first == "segan: 4 at a time instead of 6, because only 90 files may be open (ulimit -n)"
    assert last == "6 enhanced (1.2 s of audio)"


def test_results_of_an_earlier_run_are_skipped_and_counted(place):
    for name in (
        "in/a.wav",
        "in/b.flac",
        "in/a-clean.flac",
        "in/b-clean.flac",
        "in/a-clean-clean.wav",
        "in/c-clean.wav",
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    plan = make_plan([Path("in")], None, "-clean", None)
    assert [job.source.name for job in plan] == ["a.wav", "b.flac", "c-clean.wav"]
    assert plan.notes == ["3 results of an earlier run (-clean) left out"]
    assert [job.source.name for job in make_plan([Path("in/a-clean.flac")], None, "-clean", None)] == ["a-clean.flac"]
    assert make_plan([Path("in")], None, "-x", None).notes == []


def test_random_commands_write_only_their_outputs():
    arguments = [sys.executable, TESTS / "stress_outputs.py", "40", "7"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, env=alone())
    assert result.stdout.splitlines()[-1] == "40 commands, 0 of which violated a rule", result.stdout


@pytest.mark.parametrize(
    ("kind", "written"),
    [("enhance", ("-o", "out")), ("enhance", ("--outcomes", "out.jsonl")), ("evaluate", ("--cache", "out"))],
)
def test_standard_output_is_not_another_output(tmp_path, kind, written):
    soundfile.write(tmp_path / "n.wav", voice(0.5) + hiss(0.5), 16_000)
    (tmp_path / "clean").mkdir()
    soundfile.write(tmp_path / "clean" / "n.wav", voice(0.5), 16_000)
    inputs = ("n.wav",) if kind == "enhance" else ("--noisy", "clean", "--clean", "clean")
    if written[0] == "-o":
        written = ("-o", "out.wav")
    with (tmp_path / written[1]).open("wb") as out:
        words = command(kind, *inputs, *written, "--json", *(["--force"] if kind == "enhance" else []))
        result = subprocess.run(words, cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode != 0
    assert f"{written[1]}: is standard output itself" in result.stderr


def test_the_default_score_cache_is_not_a_report(tmp_path, monkeypatch):
    (tmp_path / "clean").mkdir()
    soundfile.write(tmp_path / "clean" / "n.wav", voice(0.5), 16_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = ("evaluate", "--noisy", tmp_path / "clean", "--clean", tmp_path / "clean", "--measure", "si_sdr_db")
    report = tmp_path / "segan" / "scores.sqlite"
    report.parent.mkdir()
    assert "both --csv and --cache would be written" in complaint(segan(*words, "--csv", report, "--force"))
