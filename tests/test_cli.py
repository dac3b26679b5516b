"""The command line as a user meets it: real processes on generated audio."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from commands import TINY, command, complaint, segan, without
from conftest import hiss, voice

from segan_cli import cli
from segan_cli.config.presets import PRESETS

PNG = (Path(__file__).parents[1] / "docs" / "figures" / "adversary.png").read_bytes()


@pytest.fixture
def noisy(tmp_path):
    path = tmp_path / "noisy.wav"
    soundfile.write(path, voice(2.0) + hiss(2.0), 16_000)
    return path


def test_help_loads_no_heavy_module():
    program = (
        "import sys; sys.argv = ['segan', '--help']\n"
        "try:\n    from segan_cli.cli import main; main()\n"
        "finally:\n    print(sorted({'torch', 'torchaudio', 'scipy', 'soundfile', 'rich'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Remove noise" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [(), ("enhance",), ("train",), ("evaluate",)])
def test_every_command_has_help_with_an_example(command):
    result = segan(*command, "--help")
    assert result.returncode == 0
    assert "Example" in result.stdout
    assert "\n  segan " in result.stdout.replace("    segan ", "  segan ")


def test_enhance_writes_a_file_of_the_same_shape(noisy, tmp_path):
    result = segan("enhance", noisy, "-o", tmp_path / "clean.wav")
    assert (result.returncode, result.stdout) == (0, "")
    line = r"clean\.wav: 2\.0 s, [\d.]+ × real time, noise in pauses reduced by \d+ dB\n"
    assert re.fullmatch(f".*{line}", result.stderr)
    before, after = soundfile.info(noisy), soundfile.info(tmp_path / "clean.wav")
    assert (after.frames, after.samplerate, after.channels) == (before.frames, before.samplerate, before.channels)
    again = segan("enhance", noisy, "-o", tmp_path / "again.wav", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "clean.wav").read_bytes()


def bad_inputs(tmp_path):
    (tmp_path / "text.wav").write_text("this is no audio\n")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "headeronly.wav", np.zeros(0), 16_000)
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.wav", "no such file"),
        ("folder", "one file cannot contain a folder"),
        ("text.wav", "not a readable audio file"),
        ("empty.wav", "is empty"),
        ("headeronly.wav", "no samples"),
    ],
)
def test_a_bad_input_gets_one_line_and_leaves_nothing(tmp_path, name, says):
    bad_inputs(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = complaint(segan("enhance", tmp_path / name, "-o", tmp_path / "out.wav"))
    assert name in line
    assert says in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("output", "says"),
    [
        pytest.param(
            "/proc/out.wav",
            "cannot be written",
            marks=pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that not even root can write"),
        ),
        ("out.xyz", "audio format"),
        ("noisy.wav", "is the input itself"),
        ("other.wav", "--force"),
    ],
)
def test_a_bad_output_gets_one_line_and_leaves_nothing(noisy, tmp_path, output, says):
    (tmp_path / "other.wav").write_bytes(b"before")
    content, before = noisy.read_bytes(), sorted(tmp_path.iterdir())
    assert says in complaint(segan("enhance", noisy, "-o", tmp_path / output))
    assert sorted(tmp_path.iterdir()) == before
    assert noisy.read_bytes() == content


def test_a_file_named_like_a_standard_stream_is_read_by_its_path(noisy, monkeypatch):
    monkeypatch.chdir(noisy.parent)
    noisy.rename(noisy.with_name("-"))
    result = segan("enhance", "./-", "-o", "./out.wav")
    assert result.returncode == 0, result.stderr
    assert Path("out.wav").exists()


def test_a_full_disk_gets_one_line_and_keeps_the_old_file(noisy, tmp_path):
    """The size limit of the process stands in for the disk: writing fails in the middle, for real."""
    target = tmp_path / "out.wav"
    target.write_bytes(b"before")
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"sys.argv = ['segan', 'enhance', {str(noisy)!r}, '-o', {str(target)!r}, '--force']\n"
        "from segan_cli.cli import main; main()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "cannot be written" in complaint(result)
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noisy.wav", "out.wav"]


def test_the_output_is_beside_the_input_by_default(noisy, tmp_path):
    assert segan("enhance", noisy, "-q").returncode == 0
    assert soundfile.info(tmp_path / "noisy-clean.wav").frames == soundfile.info(noisy).frames
    assert "already exists" in complaint(segan("enhance", noisy))
    assert segan("enhance", noisy, "-y", "-q").returncode == 0


def test_folders_of_the_output_are_created(noisy, tmp_path):
    assert segan("enhance", noisy, "-o", tmp_path / "a" / "b" / "clean.wav").returncode == 0
    assert (tmp_path / "a" / "b" / "clean.wav").is_file()


def test_existing_outputs_are_reported_in_one_line(tmp_path):
    for i in range(12):
        soundfile.write(tmp_path / f"{i}.wav", voice(0.1), 16_000)
        if i != 5:
            (tmp_path / f"{i}-clean.wav").write_bytes(b"before")
    names = [tmp_path / f"{i}.wav" for i in range(12)]
    result = segan("enhance", *names, "--json")
    existing, last = result.stderr.splitlines()
    assert existing.startswith(
        f"segan: 11 of 12 outputs already exist, for example {tmp_path / '0-clean.wav'}; add --force"
    )
    assert (result.returncode, last) == (1, "segan: 1 enhanced (0.1 s of audio), 11 not overwritten")
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(outcomes) == 12
    assert {outcome["seconds"] for outcome in outcomes if outcome["error"]} == {None}
    enhanced = {(outcome["model"], len(outcome["model_sha256"])) for outcome in outcomes if not outcome["error"]}
    others = {(outcome["model"], outcome["model_sha256"]) for outcome in outcomes if outcome["error"]}
    assert (enhanced, others) == ({("default", 64)}, {(None, None)})
    assert (tmp_path / "0-clean.wav").read_bytes() == b"before"


def test_inputs_that_look_like_earlier_results_are_reported(tmp_path):
    for name in ("a.wav", "a-clean.wav", "b-clean.wav"):
        soundfile.write(tmp_path / name, voice(0.2), 16_000)
    result = segan("enhance", tmp_path, "-o", tmp_path / "out")
    assert result.returncode == 0
    assert f"{tmp_path / 'a-clean.wav'}: enhancing 1 earlier result again" in result.stderr
    one = segan("enhance", tmp_path / "b-clean.wav", "-o", tmp_path / "out" / "b-clean.wav", "--skip-existing")
    assert one.stderr == f"{tmp_path / 'out' / 'b-clean.wav'}: exists, skipped\n"


def test_samples_do_not_go_to_a_terminal(noisy):
    main, terminal = os.openpty()
    result = subprocess.run(command("enhance", noisy, "-o", "-"), stdout=terminal, stderr=subprocess.PIPE, text=True,
                            check=False)  # fmt: skip
    os.close(terminal)
    os.close(main)
    assert result.returncode == 2
    assert "terminal" in result.stderr


def test_the_help_has_sections_and_80_columns():
    text = segan("enhance", "--help").stdout
    titles = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Output:", "Enhancement:", "Input:", "Performance:", "Cluster:", "Messages:", "Help:"]
    assert max(map(len, text.splitlines())) <= 80
    for short in ("-o, --output", "-m, --model", "-j, --jobs", "-d, --device", "-y, --force"):
        assert short in text


def test_segan_alone_shows_its_help():
    result = segan()
    assert result.returncode == 2
    assert len((result.stdout + result.stderr).splitlines()) > 10


def test_wrong_usage_gets_one_line_and_exit_code_2(noisy):
    result = segan("enhance", noisy, "-o", "x.wav", "--suffix", "-x")
    assert result.returncode == 2
    assert "--output" in complaint(result)
    result = segan("enhance", noisy, "-o", "x.wav", "--no-such-option")
    assert result.returncode == 2
    assert "segan enhance --help" in complaint(result)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("enhance noisy.wav --format xyz", 2, "Invalid value for --format: xyz; give wav, flac, ogg or mp3."),
        ("enhance noisy.wav -o - --format flac", 2, "Standard output is WAV, or samples with --raw; give -o FILE"),
        ("enhance noisy.wav -o x.flac --format mp3", 2, "x.flac: --format mp3 contradicts this name"),
        ("enhance noisy.wav noisy.wav -o out", 2, "noisy.wav: is given twice; give it once"),
        ("enhance noisy.wav other.wav -o -", 2, "-o -: standard output takes one recording"),
        ("enhance -", 2, "-: standard input has no name for the output; give -o FILE"),
        ("enhance noisy.wav -o x.wav --plot p.jpg", 2, "--plot: the file name must end in .png"),
        ("enhance noisy.wav -o x.wav --residual -", 2, "- is a standard stream; give a file or folder"),
        ("enhance noisy.wav -o x.wav --outcomes x.txt", 2, "must end in .jsonl or .parquet"),
        ("enhance noisy.wav -o x.wav -d foo", 2, "device foo: unknown; use auto, cpu, cuda or mps"),
        ("enhance file://noisy.wav -o x.wav", 1, "is not an absolute path"),
        ("enhance --files-from empty -o out", 1, "empty: the list is empty"),
        ("enhance picture.png -o x.wav", 1, "not a recording in a format that segan reads; if it is one, convert it"),
        ("enhance noisy.wav -o x.wav --model m.onnx --backend torch", 1, "m.onnx: torch does not read ONNX; give the"),
        ("export m.onnx -o x.onnx", 1, "m.onnx: torch does not read ONNX; give the model that it was exported from"),
        ("export default -o x.txt", 2, "x.txt: the file name must end in .onnx"),
        ("export none.onnx -o x.onnx", 1, "none.onnx: no such file"),
        ("evaluate --noisy . --dnsmos --csv -", 2, "- is a standard stream; give a file or folder"),
        ("enhance noisy.wav -o /dev/stdout", 2, "/dev/stdout: is a device; give a file, or -o - for standard output"),
        ("evaluate --noisy . --dnsmos --csv /dev/full", 1, "/dev/full: is a device, not a file; give a file"),
    ],
)
def test_wrong_options_give_exit_code_2_and_wrong_files_1(noisy, monkeypatch, words, code, says):
    monkeypatch.chdir(noisy.parent)
    for name, content in (("empty", b""), ("m.onnx", b"x"), ("other.wav", b"x"), ("picture.png", PNG)):
        Path(name).write_bytes(content)
    before = sorted(noisy.parent.iterdir())
    result = segan(*words.split())
    assert says in complaint(result)
    assert result.stderr.count("\n") == 1
    assert (result.returncode, sorted(noisy.parent.iterdir())) == (code, before)


def test_wrong_names_are_reported_before_missing_packages(noisy, tmp_path):
    result = without({"torch"}, "enhance", noisy, "-o", tmp_path / "out.wav", "--device", "gpu")
    assert complaint(result) == "segan: device gpu: unknown; use auto, cpu, cuda or mps"
    (tmp_path / "m.onnx").write_bytes(b"x")
    exported = without({"torch", "onnx"}, "export", tmp_path / "m.onnx", "-o", tmp_path / "n.onnx")
    assert "m.onnx: torch does not read ONNX" in complaint(exported)


def test_an_unknown_model_is_named_with_the_known_ones(noisy, tmp_path):
    line = complaint(segan("enhance", noisy, "-o", tmp_path / "out.wav", "--model", "nonesuch"))
    assert "nonesuch" in line
    assert "default" in line
    (tmp_path / "bad.safetensors").write_text("no weights")
    line = complaint(segan("enhance", noisy, "-o", tmp_path / "out.wav", "--model", tmp_path / "bad.safetensors"))
    assert "bad.safetensors" in line


def test_enhance_neither_unpickles_nor_reaches_for_the_network(noisy, tmp_path):
    program = (
        "import pickle, socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('pickle or network used')\n"
        "import torch\n"
        "torch.load = pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        f"sys.argv = ['segan', 'enhance', {str(noisy)!r}, '-o', {str(tmp_path / 'out.wav')!r}]\n"
        "from segan_cli.cli import main; main()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out.wav").exists()


def test_train_then_enhance_then_evaluate(pairs, tmp_path):
    """The whole line: a model from a folder of pairs, used and scored."""
    run = tmp_path / "run"
    (tmp_path / "tiny.toml").write_text(TINY)
    options = ["--run-dir", run, "--recipe", tmp_path / "tiny.toml"]
    result = segan("train", "--data", pairs, *options, "--steps", 1)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "4 pairs" in result.stderr

    assert "--resume" in complaint(segan("train", "--data", pairs, *options, "--steps", 2))
    result = segan("train", "--data", pairs, *options, "--steps", 2, "--resume")
    assert result.returncode == 0, result.stderr
    validated = [line for line in (run / "log.jsonl").read_text().splitlines() if "validation" in line]
    assert [json.loads(line)["step"] for line in validated] == [1, 2]

    result = segan(
        "enhance", pairs / "noisy" / "u0.wav", "-o", tmp_path / "u0.wav", "--model", run / "best.safetensors"
    )
    assert result.returncode == 0, result.stderr
    assert soundfile.info(tmp_path / "u0.wav").frames == 32_000

    folders = ["--noisy", pairs / "noisy", "--clean", pairs / "clean", "--cache", tmp_path / "scores"]
    result = segan("evaluate", *folders, "--model", run / "best.safetensors", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["recordings"] == len(report["files"]) == 4
    assert report["systems"] == ["noisy", "best"]
    assert len(report["models"]["best"]) == 64


def test_models_lists_presets_and_shipped_models():
    lines = json.loads(segan("models", "--json").stdout)
    assert [line["name"] for line in lines if not line["shipped"]] == list(PRESETS)
    (default,) = [line for line in lines if line["default"]]
    assert default["shipped"]
    assert default["bytes"] < 10_000_000
    assert default["scores"]["pesq_wb"] > 2
    assert all(line["macs_per_second"] > 1e8 and (line["receptive_field"] or 2e4) > 1e4 for line in lines)
    shown = segan("models")
    assert shown.returncode == 0
    for line in lines:
        assert line["name"] in shown.stdout
    assert max(map(len, (shown.stdout + shown.stderr).splitlines()[:-1])) <= 80


def test_an_output_given_without_o_is_explained(noisy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    says = "segan: out.wav does not exist; to write to it: segan enhance noisy.wav -o out.wav."
    assert complaint(segan("enhance", "noisy.wav", "out.wav")).startswith(says)
    assert list(Path().iterdir()) == [Path("noisy.wav")]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("enhence", "No such command 'enhence'. Did you mean 'enhance'?"),
        ("xyzzy", "No such command 'xyzzy'."),
        ("gone.wav", "'gone.wav' is neither a command nor a file. To enhance a recording: segan enhance FILE"),
        ("here", "'here' is not a command. Did you mean: segan enhance here"),
    ],
)
def test_a_word_that_is_no_command_gets_advice(tmp_path, monkeypatch, word, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    assert complaint(segan(word)).startswith(f"segan: {says}")


def test_options_that_are_not_numbers_are_refused(noisy):
    assert "'44.1k' is not a valid whole number." in complaint(segan("enhance", noisy, "--rate", "44.1k"))
    assert "'much' is not a valid number." in complaint(segan("enhance", noisy, "--strength", "much"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left"), "the operating system reports an error: No space left"),
        (OSError(28, "No space left", "a.wav"), "a.wav: No space left"),
        (RuntimeError("no luck"), "unexpected error: no luck (a bug in segan; --debug prints the traceback)"),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_an_error_that_nothing_else_handles_is_told_in_one_line(monkeypatch, capsys, error, line):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "prepare_streams", lambda: None)
    monkeypatch.setattr(cli.segan, "main", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert (caught.value.code, capsys.readouterr().err) == (1, f"segan: {line}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["enhance", ""], ["enhance", "--files-from", ""], ["enhance", "a.wav", "--model", ""],
        ["enhance", "a.wav", "--residual", ""], ["enhance", "a.wav", "--outcomes", ""], ["evaluate", "--noisy", ""],
        ["evaluate", "--enhanced", ""], ["evaluate", "--cache", ""], ["train", "--data", ""],
        ["train", "--run-dir", ""], ["export", "", "-o", "a.onnx"],
    ],
)  # fmt: skip
def test_an_empty_name_is_not_the_current_folder(arguments):
    result = CliRunner().invoke(cli.segan, arguments)
    assert result.exit_code == 2
    assert "the name is empty; give a file or folder" in result.output
