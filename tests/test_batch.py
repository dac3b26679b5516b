"""Folders, pipes, lists and interruptions, in real processes on real files."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import Running, alone, command, complaint, segan, unprivileged
from conftest import assert_same_sound, hiss, voice, write_hours

from segan_cli.cli.outcomes import BatchReporter, open_outcomes
from segan_cli.config.presets import PRESETS
from segan_cli.enhancement.batch import run_batch, run_job
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.plan import Job, read_names
from segan_cli.enhancement.recording import Outcome, OutputOptions, enhance_recording
from segan_cli.errors import OutputError, SeganError
from segan_cli.storage.same_file import STREAM


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """45 recordings and five broken ones, in a tree."""
    place = tmp_path_factory.mktemp("batch") / "in"
    for i in range(45):
        path = place / f"{i % 3}" / "deep" / f"r{i}.{('wav', 'flac')[i % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(0.2, seed=i % 7) + hiss(0.2, seed=i), 16_000)
    (place / "0" / "text.wav").write_text("no audio")
    (place / "0" / "empty.flac").write_bytes(b"")
    soundfile.write(place / "1" / "nothing.wav", np.zeros(0), 16_000)
    soundfile.write(place / "1" / "nan.wav", np.full(9_000, np.nan), 16_000, "FLOAT")
    (place / "2" / "cut.flac").write_bytes((place / "1" / "deep" / "r1.flac").read_bytes()[:60])
    return place


BROKEN = ("0/empty.flac", "0/text.wav", "1/nan.wav", "1/nothing.wav", "2/cut.flac")


def results(place):
    return {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}


def test_a_folder_is_enhanced_except_its_broken_files(folder, tmp_path):
    result = segan("enhance", folder, "-o", tmp_path / "out", "--jobs", 2, "--json")
    assert result.returncode == 1
    assert sorted(results(tmp_path / "out")) == sorted(set(results(folder)) - set(BROKEN))
    *named, last = result.stderr.splitlines()
    assert sorted(line.split(": ")[1] for line in named) == [str(folder / name) for name in BROKEN]
    assert last == "segan: 45 enhanced (9.0 s of audio), 5 failed"
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert sum(line["error"] is not None for line in lines) == 5
    done = [line for line in lines if line["error"] is None]
    assert all(line["seconds"] == 0.2 and line["rate_hz"] == 16_000 and line["channels"] == 1 for line in done)
    assert np.mean([line["level_db"] - line["enhanced_level_db"] for line in done]) > 1


def test_files_and_folders_without_permission_do_not_stop_the_others(tmp_path):
    place, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "secret.wav", "locked/b.wav", "closed/c.wav"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / name, voice(0.2), 16_000)
    for name, mode in (("secret.wav", 0), ("locked", 0), ("closed", 0o444)):
        (place / name).chmod(mode)
    result = unprivileged("enhance", place, "-o", out, "--jobs", 1)
    assert result.stderr.splitlines() == [
        f"segan: {place}/locked: cannot be searched (Permission denied)",
        f"segan: {place}/secret.wav: Permission denied",
        f"segan: {place}/closed/c.wav: Permission denied",
        "segan: 1 enhanced (0.2 s of audio), 3 failed",
    ]
    assert result.returncode == 1
    assert list(results(out)) == ["a.wav"]
    (place / "a.wav").unlink()
    (place / "secret.wav").unlink()
    for result in (unprivileged("enhance", place / "locked"), unprivileged("evaluate", "--noisy", place, "--dnsmos")):
        assert complaint(result) == f"segan: {place}/locked: cannot be searched (Permission denied)"
        assert result.returncode == 1


def test_links_that_lead_nowhere_are_missing_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", voice(0.2), 16_000)
    Path("loop.wav").symlink_to("loop.wav")
    Path("gone.wav").symlink_to("nowhere.wav")
    Path("loop").symlink_to("loop")
    result = segan("enhance", ".", "-o", "out")
    assert result.stderr.splitlines() == [
        "segan: .: 1 other file (1 without extension) left out",
        "segan: gone.wav: no such file; it is a dangling link",
        "segan: loop.wav: no such file; it is a dangling link",
        "segan: 1 enhanced (0.2 s of audio), 2 failed",
    ]
    assert "loop/a.wav: cannot be written (loop is not a folder)" in segan("enhance", ".", "-o", "loop/").stderr
    assert complaint(segan("evaluate", "--noisy", "out", "--dnsmos", "--enhanced", "loop")).startswith("segan: loop: ")


def test_a_killed_batch_continues_with_skip_existing(folder, tmp_path):
    out = tmp_path / "out"
    arguments = ("enhance", folder, "-o", out, "--skip-existing", "--json")
    running = Running(*arguments)
    running.wait_until(lambda: running.streams[0].exists() and running.streams[0].read_text().count("\n") >= 12)
    running.send_signal(signal.SIGKILL)
    told = [json.loads(line) for line in running.end().stdout.splitlines()[:12]]
    before = {name: path.stat().st_mtime_ns for name, path in results(out).items() if ".part." not in name}
    assert len(before) >= sum(line["error"] is None for line in told) > 8
    for path in results(out).values():
        assert ".part." in path.name or soundfile.info(path).frames == 3_200
    result = segan(*arguments)
    assert result.returncode == 1
    again = [json.loads(line) for line in result.stdout.splitlines()]
    assert sum(line["skipped"] for line in again) == len(before)
    assert all(results(out)[name].stat().st_mtime_ns == then for name, then in before.items())
    assert sorted(results(out)) == sorted(set(results(folder)) - set(BROKEN))


@pytest.mark.parametrize(
    ("number", "jobs", "times"), [(signal.SIGINT, 1, 1), (signal.SIGTERM, 2, 1), (signal.SIGINT, 2, 2)]
)
def test_a_signal_leaves_no_partial_file(tmp_path, number, jobs, times):
    for name in "ab":
        write_hours(tmp_path / f"{name}.wav")
    recordings = (tmp_path / "a.wav", tmp_path / "b.wav")
    running = Running("enhance", *recordings, "-o", tmp_path / "out", "--jobs", jobs)
    running.wait_until(lambda: len(list(tmp_path.glob("out/.*.part.wav"))) == jobs)
    for _ in range(times):
        running.send_signal(number)
        time.sleep(0.05)
    ended = running.end()
    assert ended.returncode == 128 + number
    assert len(ended.stderr.splitlines()) == 1
    assert sorted(results(tmp_path)) == ["a.wav", "b.wav"]


def test_a_missing_model_is_reported_once(folder, tmp_path):
    line = complaint(segan("enhance", folder, "-o", tmp_path / "out", "--jobs", 2, "--model", "nonesuch"))
    assert "nonesuch" in line
    assert not list(tmp_path.iterdir())


def test_a_missing_file_does_not_stop_the_others(folder, tmp_path):
    there = next(folder.rglob("*.wav"))
    result = segan("enhance", tmp_path / "missing.wav", there, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "missing.wav: no such file" in result.stderr
    assert list(results(tmp_path / "out")) == [there.name]


def test_a_wav_header_may_arrive_in_pieces(tmp_path):
    process = subprocess.Popen(
        command("enhance", "-", "-o", "-", "--allow-truncated"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    content = io.BytesIO()
    soundfile.write(content, voice(3.0), 16_000, format="WAV")
    for piece in (content.getvalue()[:4], content.getvalue()[4:50], content.getvalue()[50:70_000]):
        process.stdin.write(piece)
        process.stdin.flush()
        time.sleep(0.1)
    assert len(process.stdout.read(44 + 2_000)) == 44 + 2_000
    process.stdin.close()
    process.stdout.read()
    assert process.wait() == 0


def through_pipe(content, *options):
    arguments = command("enhance", "-", "-o", "-", *options)
    result = subprocess.run(arguments, input=content, capture_output=True, check=True, env=alone())
    assert result.stderr == b""
    return result.stdout


def test_a_pipe_gives_the_same_samples_as_a_file(tmp_path):
    path = tmp_path / "in.wav"
    soundfile.write(path, 0.5 * np.stack((voice(2.0), hiss(2.0)), 1), 22_050, "FLOAT")
    assert segan("enhance", path, "-o", tmp_path / "out.wav").returncode == 0
    expected, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    piped, rate_hz = soundfile.read(io.BytesIO(through_pipe(path.read_bytes())), dtype="float32")
    assert rate_hz == 22_050
    np.testing.assert_allclose(piped, expected, atol=1e-6)
    samples, _ = soundfile.read(path, dtype="float32")
    bare = through_pipe(samples.tobytes(), "--raw", "--rate", "22050", "--channels", "2", "--encoding", "f32")
    np.testing.assert_allclose(np.frombuffer(bare, np.float32).reshape(-1, 2), expected, atol=1e-6)
    soundfile.write(tmp_path / "in.flac", samples, 22_050, "PCM_24")
    flac, _ = soundfile.read(io.BytesIO(through_pipe((tmp_path / "in.flac").read_bytes())), dtype="float32")
    np.testing.assert_allclose(flac, expected, atol=1e-3)


@pytest.mark.parametrize("n", [0, 8_000])
def test_a_pipe_that_ends_within_a_sample_is_cut_short(tmp_path, n):
    words = command("enhance", "-", "-o", tmp_path / "out.wav", "--raw", "--rate", 16_000, "--channels", 3)
    samples = np.zeros(3 * n, "<i2").tobytes() + b"12345"
    result = subprocess.run(words, input=samples, capture_output=True, check=False)
    assert result.returncode == 1
    assert b"its last sample is incomplete" in result.stderr
    assert not (tmp_path / "out.wav").exists()
    if n:
        subprocess.run([*words, "--allow-truncated"], input=samples, capture_output=True, check=True)
        assert soundfile.info(tmp_path / "out.wav").frames == n


def test_a_residual_is_written_only_if_the_output_is(tmp_path):
    """The output fails at its very end: meanwhile, another file of its name has appeared."""
    soundfile.write(tmp_path / "a.wav", voice(0.5), 16_000)
    (tmp_path / "rest.wav").write_text("precious")

    def enhance(noisy):
        for block in noisy.blocks:
            yield block, block
        (tmp_path / "out.wav").mkdir()

    options = OutputOptions(force=True, residual=tmp_path / "rest.wav")
    with pytest.raises(OutputError, match="is a folder"):
        enhance_recording(enhance, PRESETS["segan-spectral"], Job(tmp_path / "a.wav", tmp_path / "out.wav"), options)
    assert (tmp_path / "rest.wav").read_text() == "precious"


def test_a_residual_of_what_may_be_skipped_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(0.5), 16_000)
    words = ("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.wav", "--residual", tmp_path / "r.wav")
    assert "--skip-existing may skip" in segan(*words, "--skip-existing").stderr


def test_raw_samples_of_a_file_have_the_requested_rate(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(0.2), 16_000)
    arguments = command("enhance", tmp_path / "in.wav", "-o", "-", "--raw", "--rate", "8000", "--encoding", "u8", "-q")
    assert len(subprocess.run(arguments, capture_output=True, check=True, env=alone()).stdout) == 1_600


@pytest.mark.skipif(shutil.which("sox") is None, reason="no sox on this machine")
def test_sox_can_write_to_and_read_from_a_pipe(tmp_path):
    """As WAV, of whose open end sox warns, and as bare samples."""
    soundfile.write(tmp_path / "in.wav", voice(2.0, 22_050) + hiss(2.0, 22_050), 22_050)
    program = " ".join(command("enhance", "-", "-o", "-"))
    bare = "-t raw -r 22050 -e signed -b 16 -c 1"
    line = (
        f"sox in.wav -t wav - | {program} | sox -V1 -t wav - out.flac;"
        f" sox in.wav {bare} - | {program} --raw --rate 22050 | sox {bare} - raw.flac"
    )
    subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, check=True, env=alone())
    assert segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "file.wav").returncode == 0
    for name in ("out.flac", "raw.flac"):
        assert_same_sound(tmp_path / name, tmp_path / "file.wav")


def test_a_reader_that_closes_the_pipe_ends_the_command_silently(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.tile(voice(5.0), 20), 16_000)
    program = " ".join(command("enhance", "-", "-o", "-"))
    line = f"{program} < in.wav | head -c 1000 | wc -c; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1000", str(128 + signal.SIGPIPE)]
    assert result.stderr == ""


def test_a_pipe_outputs_its_first_samples_after_two_segments(tmp_path):
    process = subprocess.Popen(
        command("enhance", "-", "-o", "-", "--allow-truncated"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    content = io.BytesIO()
    soundfile.write(content, voice(3.0), 16_000, format="WAV")
    process.stdin.write(content.getvalue()[: 44 + 2 * 2 * 16_384])
    process.stdin.flush()
    assert len(process.stdout.read(44 + 2_000)) == 44 + 2_000  # while the input is still open
    process.stdin.close()
    process.stdout.read()
    assert process.wait() == 0


def test_a_live_pipe_outputs_its_samples_with_the_delay_of_the_model_and_waits_for_more():
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)  # as another program may have left it
    options = ("--live", "--raw", "--rate", "16000", "--encoding", "f32")
    process = subprocess.Popen(command("enhance", "-", "-o", "-", *options), stdin=read_end, stdout=subprocess.PIPE)
    os.close(read_end)
    sound = np.float32(voice(0.2) + hiss(0.2))
    with os.fdopen(write_end, "wb", buffering=0) as pipe:
        pipe.write(sound[:1_600].tobytes())
        first = process.stdout.read(4 * 1_280)  # all but 20 ms: the samples of two incomplete frames
        pipe.write(sound[1_600:].tobytes())
    enhanced = np.frombuffer(first + process.stdout.read(), np.float32)
    assert process.wait() == 0
    np.testing.assert_allclose(enhanced, Enhancer("segan-live").enhance(sound, 16_000), atol=1e-6)


@pytest.mark.parametrize("subtype", ["vorbis", "opus"])
def test_an_encoding_that_wav_does_not_have_is_refused_for_standard_output(tmp_path, subtype):
    soundfile.write(tmp_path / "in.wav", voice(0.2), 16_000)
    result = segan("enhance", tmp_path / "in.wav", "-o", "-", "--subtype", subtype)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Standard output is WAV, or samples with --raw" in complaint(result)


def test_a_list_of_files_may_come_from_find(folder, tmp_path):
    find = ["find", str(folder), "-name", "*9.flac", "-print0"]
    listing = subprocess.run(find, capture_output=True, check=True).stdout
    out = tmp_path / "out"
    arguments = command("enhance", "--files-from", "-", "-o", out)
    subprocess.run(arguments, input=listing, capture_output=True, check=True, env=alone())
    assert len(list(out.iterdir())) == len(list(folder.rglob("*9.flac"))) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Nothing to enhance"),
        (["-", "-o", "-", "--raw"], "give --rate"),
        (["-", "-o", "-", "--raw", "--rate", "8000", "--subtype", "float"], "give --encoding"),
        (["-", "-o", "-", "--live", "--model", "default"], "give one"),
        (["-", "-o", "-", "--channels", "3"], "linked or independent"),
        (["-", "-o", "-", "--normalize", "-1"], "give -o FILE"),
        (["-", "-o", "-", "--strength", "0.5", "--max-attenuation", "6"], "give one"),
    ],
)
def test_conflicting_options_are_usage_errors(arguments, says):
    result = segan("enhance", *arguments)
    assert result.returncode == 2
    assert says in complaint(result)


def test_no_message_is_lost_while_mp3_is_decoded():
    program = (
        "import threading\n"
        "import logging, os\n"
        "from segan_cli.audio.libsndfile.reader import quiet_mpg123\n"
        "from segan_cli.cli.outcomes import BatchReporter, say\n"
        "over = threading.Event()\n"
        "def mute():\n"
        "    while not over.is_set():\n"
        "        with quiet_mpg123(True):\n"
        "            os.write(2, b'\\n[src/libmpg123/layer3.c:1] error: chatter\\nNote: Trying to resync...\\n')\n"
        "            over.wait(0.001)\n"
        "threads = [threading.Thread(target=mute) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "reporter = BatchReporter(2, as_json=False, to_stream=False, quiet=False, verbose=False)\n"
        "for i in range(300): (say if i % 2 else logging.error)(f'line {i}')\n"
        "over.set()\n"
        "for thread in threads: thread.join()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=alone())
    lines = [line.removeprefix("ERROR:root:") for line in result.stderr.splitlines()]
    assert sorted(lines) == sorted(f"line {i}" for i in range(300))


def test_progress_bars_of_other_threads_do_not_change_outcome_lines():
    jobs = [Job(Path(f"{i}.wav"), Path(f"out/{i}.wav")) for i in range(2_000)]
    with BatchReporter(len(jobs), as_json=False, to_stream=False, quiet=False, verbose=False) as reporter:

        def run(job, progress):
            progress(0.0, 1.0)
            return Outcome(str(job.source), str(job.target), seconds=1.0)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            run_batch(run, jobs, 8, reporter.on_outcome, reporter.on_progress, lambda: 0)
        finally:
            sys.setswitchinterval(interval)
        assert reporter.counts["enhanced"] == len(jobs)
        assert not reporter.tasks


@pytest.mark.parametrize("name", ["o.jsonl", "o.parquet"])
def test_outcomes_are_written_and_appended(tmp_path, name):
    for i in range(3):
        soundfile.write(tmp_path / f"r{i}.wav", voice(0.2, seed=i), 16_000)
    (tmp_path / "caf\udce9.wav").write_bytes(b"")
    recordings = sorted(tmp_path.glob("*.wav"))
    words = ("enhance", *recordings, "-o", tmp_path / "out", "--outcomes", tmp_path / name)
    assert segan(*words, "--model", "none").returncode == 1
    assert not (tmp_path / "o.parquet").exists()  # nothing was recorded
    assert segan(*words).returncode == 1
    first = read_outcomes(tmp_path / name)
    assert sorted(line["error"] is None for line in first) == [False, True, True, True]
    assert sorted(line["seconds"] for line in first if line["error"] is None) == [0.2, 0.2, 0.2]
    if name == "o.parquet":
        assert "o.parquet: already exists" in complaint(segan(*words, "--skip-existing"))
        assert read_outcomes(tmp_path / name) == first
        return
    assert segan(*words, "--skip-existing").returncode == 1
    again = read_outcomes(tmp_path / name)
    assert again[:4] == first
    assert sorted(line["skipped"] for line in again[4:]) == [False, True, True, True]


def test_outcomes_before_a_failure_are_kept(tmp_path):
    for n in range(2):
        path = tmp_path / f"{n}.parquet"
        with pytest.raises(SeganError, match="disk"), open_outcomes(path, force=False) as record:  # noqa: PT012
            for i in range(n):
                record(Outcome(f"{i}.wav", "out.wav"))
            raise SeganError("disk")
        assert path.exists() == (n > 0)
    assert [outcome["source"] for outcome in read_outcomes(path)] == ["0.wav"]
    with open_outcomes(tmp_path / "none.parquet", force=False):
        pass
    assert read_outcomes(tmp_path / "none.parquet") == []


def read_outcomes(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pytest.importorskip("pyarrow.parquet", reason="needs pyarrow").read_table(path).to_pylist()


def test_a_dry_run_lists_and_writes_nothing(folder, tmp_path):
    result = segan("enhance", folder / "1", "-o", tmp_path / "out", "--dry-run")
    assert result.returncode == 0
    assert result.stderr.endswith("17 recordings; nothing was enhanced (--dry-run)\n")
    assert f"{folder}/1/deep/r1.flac -> {tmp_path}/out/deep/r1.flac" in result.stdout.splitlines()
    assert not list(tmp_path.iterdir())
    (tmp_path / "r1.flac").touch()
    (line,) = segan(
        "enhance", folder / "1" / "deep" / "r1.flac", "-o", tmp_path, "--dry-run", "--json"
    ).stdout.splitlines()
    assert json.loads(line) == {
        "source": f"{folder}/1/deep/r1.flac", "target": f"{tmp_path}/r1.flac", "exists": True
    }  # fmt: skip
    assert [*read_names(b"./-\n-\n")] == [Path.cwd() / "-", STREAM]
    (tmp_path / "list").write_text(f"{tmp_path}/none.flac\n{folder}/1/deep/r1.flac\n")
    result = segan("enhance", "--files-from", tmp_path / "list", "-o", tmp_path / "out", "--dry-run")
    assert (result.returncode, len(result.stdout.splitlines())) == (1, 1)
    assert f"segan: {tmp_path}/none.flac: no such file; " in result.stderr
    assert result.stderr.endswith("segan: 1 recording, 1 refused; nothing was enhanced (--dry-run)\n")


def test_shards_share_a_folder(folder, tmp_path):
    for i in (1, 2, 3):
        result = segan("enhance", folder / "1", "-o", tmp_path / f"{i}", "--shard", f"{i}/3")
        assert result.returncode in (0, 1)
    shares = [set(results(tmp_path / f"{i}")) for i in (1, 2, 3)]
    assert sum(map(len, shares)) == len(set.union(*shares)) == 15
    assert min(map(len, shares)) > 2


def test_residual_and_plot_may_be_written_into_the_input_folder(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", voice(0.5), 16_000)
    extra = ("--residual", tmp_path / "in" / "rest.wav", "--plot", tmp_path / "in" / "p.png")
    result = segan("enhance", tmp_path / "in", "-o", tmp_path / "out", *extra)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "in" / "p.png").exists()


def test_an_overlong_name_does_not_stop_the_others(tmp_path):
    (tmp_path / ("n" * 251 + ".wav")).write_bytes(b"x")
    soundfile.write(tmp_path / "a.wav", voice(0.2), 16_000)
    result = segan("enhance", tmp_path)
    assert result.returncode == 1
    assert (tmp_path / "a-clean.wav").exists()
    assert result.stderr.splitlines()[-1] == "segan: 1 enhanced (0.2 s of audio), 1 failed"


def test_an_output_that_appears_meanwhile_is_skipped_with_skip_existing(tmp_path):
    enhancer = Enhancer(device="cpu", backend="onnx")
    soundfile.write(tmp_path / "a.wav", hiss(0.2), 16_000)
    (tmp_path / "b.wav").write_bytes(b"of another process")
    job = Job(tmp_path / "a.wav", tmp_path / "b.wav")
    outcome = run_job(enhancer, job, OutputOptions(skip_existing=True), lambda *_: None)
    assert (outcome.skipped, outcome.error) == (True, None)
    outcome = run_job(enhancer, job, OutputOptions(), lambda *_: None)
    assert not outcome.skipped
    assert "already exists" in outcome.error
    assert (tmp_path / "b.wav").read_bytes() == b"of another process"
    job = Job(tmp_path / "a.wav", tmp_path / "c.wav")
    options = OutputOptions(skip_existing=True, residual=tmp_path / "b.wav")
    assert "b.wav: already exists" in run_job(enhancer, job, options, lambda *_: None).error
