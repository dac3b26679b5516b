"""Files appear whole or not at all, whoever else writes in their folder."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import Running, alone, command, complaint, segan
from conftest import hiss, voice

from segan_cli.audio.files import AudioInfo
from segan_cli.audio.sinks import open_target
from segan_cli.errors import OutputError
from segan_cli.storage.atomic import atomically, check_place, write_whole

HOLD = "import sys, time; from pathlib import Path; from segan_cli.storage.atomic import atomically\n"
HOLD += "with atomically(Path(sys.argv[1])): print('held', flush=True); time.sleep(3_600)\n"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def holder(tmp_path):
    """A process that is writing `out.wav`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "out.wav"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_outputs_with_a_common_prefix_do_not_overwrite_each_other(tmp_path):
    recordings = ("rec.wav", "rec.2023-01-02.wav", "rec.2024-05-01.wav", "rec.99999999.wav")
    for name in recordings:
        soundfile.write(tmp_path / name, voice(0.3) + hiss(0.3), 16_000)
    for _ in range(2):
        result = segan("enhance", tmp_path, "-o", tmp_path / "out", "--jobs", 2, "--force")
        assert (result.returncode, names(tmp_path / "out")) == (0, sorted(recordings)), result.stderr


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    flushed, target, flush = [], tmp_path / "out.wav", os.fsync

    def seen(descriptor):
        flush(descriptor)
        flushed.append((os.fstat(descriptor).st_size, target.exists()))

    monkeypatch.setattr("os.fsync", seen)
    with open_target(target, AudioInfo(16_000, 1, 1_000, "WAV", "PCM_16")) as write:
        write(np.zeros((1, 1_000), np.float32))
    assert flushed == [(2_044, False)]
    assert target.stat().st_size == 2_044


def test_a_temporary_file_of_another_writer_is_kept(tmp_path):
    with atomically(tmp_path / "rec.2023-01-02.wav") as other:
        write_whole(tmp_path / "rec.wav", b"one")
        assert other.exists()
    assert names(tmp_path) == ["rec.2023-01-02.wav", "rec.wav"]


def test_the_second_writer_of_a_file_is_refused(tmp_path, holder):
    soundfile.write(tmp_path / "in.wav", voice(0.5), 16_000)
    before = names(tmp_path)
    line = complaint(segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav"))
    assert "out.wav: is being written by another process" in line
    assert names(tmp_path) == before


def test_temporary_files_of_a_killed_writer_are_removed_by_the_next_one(tmp_path, holder):
    assert len(names(tmp_path)) == 2  # part and lock
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    write_whole(tmp_path / "out.wav", b"whole")
    assert names(tmp_path) == ["out.wav"]


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    done, refused = [], []

    def write(number):
        for _ in range(20):
            try:
                write_whole(tmp_path / "a.json", bytes([number]) * 1000)
                done.append(number)
            except OutputError:
                refused.append(number)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(refused) == 80
    content = (tmp_path / "a.json").read_bytes()
    assert len(content) == 1000
    assert len(set(content)) == 1
    assert names(tmp_path) == ["a.json"]


def test_links_under_guessable_names_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "m.onnx.part").symlink_to(victim)
    with atomically(tmp_path / "m.onnx") as beside:
        lock = next(path for path in tmp_path.iterdir() if path.suffix == ".lock")
        beside.write_text("new")
    assert (tmp_path / "m.onnx").read_text() == "new"
    lock.symlink_to(victim)
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "m.onnx", b"other")
    assert victim.read_text() == "precious"


def test_export_follows_no_link_beside_its_target(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "m.onnx.part").symlink_to(victim)
    assert segan("export", "default", "-o", tmp_path / "m.onnx").returncode == 0
    assert victim.read_text() == "precious"
    assert (tmp_path / "m.onnx").stat().st_size > 10_000


def test_the_name_of_an_unfinished_file_shows_the_plain_characters_of_its_own(tmp_path):
    with atomically(tmp_path / "Tälk [1]-a_b.wav") as temporary:
        assert temporary.name.startswith(".Tlk1-a_b.")
        temporary.write_bytes(b"")


def test_a_file_created_while_writing_is_kept(tmp_path):
    def meanwhile():
        with atomically(tmp_path / "a", force=False) as beside:
            beside.write_text("mine")
            (tmp_path / "a").write_text("somebody else's")

    with pytest.raises(OutputError, match="already exists"):
        meanwhile()
    assert (tmp_path / "a").read_text() == "somebody else's"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["x" * 251 + ".wav", "[a]*.wav", "ä\udcff.wav", "a." + "b" * 200, ".wav"])
def test_any_name_that_a_file_can_have_can_be_written(tmp_path, name):
    write_whole(tmp_path / name, b"x")
    write_whole(tmp_path / name, b"y")
    assert names(tmp_path) == [name]


def odd(path, kind):
    """Something that is no regular file, under a name."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    elif kind == "device":
        path.symlink_to("/dev/full")
    else:
        path.symlink_to(path.parent / "nowhere.wav")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pipe", "is a named pipe"),
        ("socket", "is a socket"),
        ("device", "is a device"),
        ("link", "is a link to a file"),
    ],
)
def test_an_output_that_is_not_a_regular_file_is_refused_and_kept(tmp_path, monkeypatch, kind, says):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    soundfile.write("in.wav", voice(0.3), 16_000)
    target = odd(tmp_path / "o.wav", kind)
    before = target.lstat()
    for options in ((), ("--force",), ("--residual", target, "--force")):
        out = "r.wav" if "--residual" in options else target
        line = complaint(segan("enhance", "in.wav", "-o", out, *options))
        assert "o.wav: " in line
        assert says in line
    for place in ("check", "write"):
        with pytest.raises(OutputError, match=says):
            check_place(target, force=True) if place == "check" else write_whole(target, b"x")
    assert os.path.samestat(before, target.lstat())
    assert names(tmp_path) == ["in.wav", "o.wav"]


@pytest.mark.parametrize(
    ("output", "says"), [("/dev/full", "is a device"), ("/dev/null", "is a device"), ("", "is empty")]
)
def test_a_device_or_empty_name_as_output_is_refused(tmp_path, output, says):
    soundfile.write(tmp_path / "in.wav", voice(0.3), 16_000)
    assert says in complaint(segan("enhance", tmp_path / "in.wav", "-o", output))
    assert names(tmp_path) == ["in.wav"]


def test_a_slash_at_the_end_means_a_folder(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(0.3), 16_000)
    assert segan("enhance", tmp_path / "in.wav", "-o", f"{tmp_path}/clean.2024/").returncode == 0
    assert names(tmp_path / "clean.2024") == ["in.wav"]


def test_an_existing_file_without_extension_is_not_taken_for_a_folder(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(0.3), 16_000)
    (tmp_path / "notes").write_text("kept")
    assert "audio format" in complaint(segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "notes", "--force"))
    assert (tmp_path / "notes").read_text() == "kept"


@pytest.mark.parametrize("raw", [(), ("--raw", "--rate", "16000")])
def test_standard_output_on_a_full_disk_is_an_error(tmp_path, raw):
    soundfile.write(tmp_path / "in.wav", voice(0.5), 16_000)
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        source = (tmp_path / "in.wav").read_bytes()
        arguments = command("enhance", "-", "-o", "-", *raw)
        result = subprocess.run(arguments, input=source, stdout=full, stderr=subprocess.PIPE, check=False, env=alone())
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == ["segan: standard output: cannot be written (the disk is full)"]


@pytest.mark.parametrize("ending", ["wav", "aiff"])
def test_a_full_disk_is_reported_by_its_message(tmp_path, ending):
    """The size limit of the process stands in for the disk."""
    soundfile.write(tmp_path / "in.wav", np.tile(voice(5.0), 4), 16_000)
    program = (
        "import resource, signal\nfrom segan_cli.cli import main\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\nmain()\n"
    )
    arguments = [sys.executable, "-c", program, "enhance", "in.wav", "-o", f"out.{ending}"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, env=alone(), cwd=tmp_path)
    assert result.returncode == 1
    assert f"out.{ending}: cannot be written (the file would exceed the size limit)" in result.stderr
    assert names(tmp_path) == ["in.wav"]


@pytest.mark.parametrize(("subtype", "channels"), [("PCM_U8", 1), ("PCM_24", 3)])
def test_a_wav_written_to_a_seekable_standard_output_has_its_size(tmp_path, channels, subtype):
    source = tmp_path / "in.wav"
    soundfile.write(source, np.stack([0.3 * voice(1.0)[:-1]] * channels, 1), 16_000, subtype)
    arguments = command("enhance", "-", "-o", "-")
    for mode, before in (("wb", b""), ("r+b", b"some bytes")):
        (tmp_path / "out.wav").write_bytes(before)
        with source.open("rb") as noisy, (tmp_path / "out.wav").open(mode) as out:
            out.seek(len(before))
            subprocess.run(arguments, stdin=noisy, stdout=out, check=True, env=alone())
        content = (tmp_path / "out.wav").read_bytes()[len(before) :]
        size = content.index(b"data") + 4
        n_bytes = 15_999 * channels * (1 if subtype == "PCM_U8" else 3)
        assert int.from_bytes(content[size : size + 4], "little") == n_bytes
        assert int.from_bytes(content[4:8], "little") == len(content) - 8
        assert len(content) == size + 4 + n_bytes + n_bytes % 2


def test_appending_a_wav_leaves_the_earlier_bytes_unchanged(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(0.5), 16_000)
    (tmp_path / "out").write_bytes(b"before")
    with (tmp_path / "in.wav").open("rb") as noisy, (tmp_path / "out").open("ab") as out:
        subprocess.run(command("enhance", "-", "-o", "-"), stdin=noisy, stdout=out, check=True, env=alone())
    content = (tmp_path / "out").read_bytes()
    assert content.startswith(b"beforeRIFF")
    assert len(content) == 6 + 44 + 16_000


def test_two_commands_with_one_output_do_not_mix_their_bytes(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(3.0) + hiss(3.0), 16_000)
    content = (tmp_path / "in.wav").read_bytes()
    os.mkfifo(tmp_path / "slow.wav")
    first = Running("enhance", tmp_path / "slow.wav", "-o", tmp_path / "out.wav", "--force")
    with os.fdopen(os.open(tmp_path / "slow.wav", os.O_RDWR), "wb", buffering=0) as pipe:
        pipe.write(content[:30_000])
        first.wait_until(lambda: list(tmp_path.glob(".out*.part.wav")))
        second = segan("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--force")
        pipe.write(content[30_000:])
    assert (second.returncode, first.end().returncode) == (1, 0), second.stderr
    assert "is being written by another process" in second.stderr
    assert soundfile.info(tmp_path / "out.wav").frames == 3 * 16_000
    assert names(tmp_path) == ["in.wav", "out.wav", "slow.wav"]


def test_a_child_that_inherits_the_lock_leaves_no_lock_file(tmp_path):
    """As between fork and exec of an ffmpeg that another thread starts."""
    reader, writer = os.pipe()
    with atomically(tmp_path / "a.wav"):
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)  # until the parent is done
            os._exit(0)
    left = [path.name for path in tmp_path.iterdir()]
    os.close(writer)
    os.waitpid(child, 0)
    assert left == ["a.wav"]


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "private.wav").touch(mode=0o600)
    write_whole(tmp_path / "private.wav", b"new")
    assert stat.S_IMODE((tmp_path / "private.wav").stat().st_mode) == 0o600


@pytest.mark.skipif(not os.path.lexists("/dev/stderr"), reason="no device files")
def test_a_link_among_the_devices_is_not_replaced():
    """It may lead to a file, as in `2> messages.txt`, and whoever is root could replace it."""
    with pytest.raises(OutputError, match="is a device"), atomically(Path("/dev/stderr"), force=True):
        pass
