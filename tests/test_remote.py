"""Recordings at URLs: in memory, and on an S3 server through the command line."""

import io
import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from cluster import s3_server
from commands import complaint, segan
from conftest import hiss, voice

pytest.importorskip("fsspec", reason="needs fsspec")

from segan_cli.audio.sources import open_file
from segan_cli.cli.enhance_batch import ExistingTargets
from segan_cli.enhancement import plan as plan_module
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.plan import make_plan
from segan_cli.errors import AudioError, ExistsError, OutputError, SameFileError, SeganError, TruncatedError
from segan_cli.evaluation.cases import from_folders, from_manifest, from_set
from segan_cli.storage import remote
from segan_cli.storage.atomic import atomically, check_place, write_whole
from segan_cli.storage.remote import RemotePath, as_path, download, find_files, is_remote, is_url, upload

RATE_HZ = 16_000


@pytest.fixture
def memory():
    """The file system memory://, empty."""
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return fs


@pytest.fixture(scope="module")
def fs():
    """The file system s3:// of a server with a bucket."""
    with s3_server("corpus") as fs:
        yield fs


def wav(n=3_200, format="WAV", seed=0, subtype="PCM_16", **tags):
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, subtype, format=format) as sound:
        for tag, text in tags.items():
            setattr(sound, tag, text)
        sound.write(0.1 * np.random.default_rng(seed).standard_normal(n))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "url"),
    [("a.wav", False), ("C://a.wav", False), ("s3://b/a.wav", True), ("-", False), ("in/x:y.wav", False)],
)
def test_urls_and_paths_are_told_apart(name, url):
    assert is_url(name) == url


def test_a_url_of_a_local_file_is_its_path(tmp_path):
    assert as_path(f"file://{tmp_path}/a%20b.wav") == tmp_path / "a b.wav"
    assert as_path("FILE://localhost/tmp/take#2?.wav") == Path("/tmp/take#2?.wav")
    assert not is_remote(as_path(f"file://{tmp_path}"))
    with pytest.raises(SeganError, match="is not an absolute path"):
        as_path("file://sub/c.wav")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("S3://b/a.wav", "s3://b/a.wav"),
        ("s3a://b/a.wav/", "s3://b/a.wav"),
        ("gcs://b/a.wav", "gs://b/a.wav"),
        ("memory:///in/a.wav", "memory://in/a.wav"),
        ("sftp://host//srv/a.wav", "sftp://host//srv/a.wav"),
    ],
)
def test_different_urls_of_one_file_are_equal(name, url):
    assert RemotePath(name) == RemotePath(url)
    assert str(RemotePath(name)) == url


def test_the_parts_of_a_url_are_found():
    path = RemotePath("s3://b/in/talk.de.wav")
    assert (path.name, path.stem, path.suffix, str(path.parent)) == ("talk.de.wav", "talk.de", ".wav", "s3://b/in")
    assert str(path.with_stem("x")) == "s3://b/in/x.wav"
    assert str(path.parent / PurePosixPath("y", "z.wav")) == "s3://b/in/y/z.wav"
    assert path.relative_to(RemotePath("s3://b")) == PurePosixPath("in/talk.de.wav")
    assert RemotePath("https://h/a.wav?sig=x/y").suffix == ".wav"
    assert RemotePath("s3://b/what?.wav").name == "what?.wav"


def test_an_input_is_not_overwritten_under_another_name(memory):
    memory.pipe("/in/a.wav", wav())
    with pytest.raises(SameFileError, match="is the input itself"):
        Enhancer().enhance_file("memory://in/a.wav", "MEMORY:///in/a.wav", force=True)


@pytest.mark.parametrize(
    ("output", "suffix", "says"),
    [("https://h/out", None, "is read-only"), (None, "-clean", "is read-only")],
)
def test_writing_to_http_is_refused(output, suffix, says, monkeypatch):
    monkeypatch.setattr(plan_module, "find_kind", lambda path: "file")
    with pytest.raises(OutputError, match=says):
        make_plan([as_path("https://h/a.wav")], None if output is None else as_path(output), suffix, None)


@pytest.mark.parametrize(
    ("url", "says"), [("nonesuch://a/b.wav", "Protocol not known"), ("hdfs://a/b.wav", "hdfs://a/b.wav: ")]
)
def test_a_url_that_cannot_be_used_is_refused(url, says):
    with pytest.raises(SeganError, match=says):
        download(as_path(url), None)


def test_a_remote_folder_is_listed_and_mirrored(memory):
    names = [".c.wav", ".d/e.wav", "a.wav", "deep/b.flac", "notes.txt", "out/a.wav"]
    for name in (*(f"in/{name}" for name in names), "else/x.wav"):
        memory.pipe(f"/{name}", b"x")
    assert find_files(as_path("memory://in")) == names[2:]
    assert find_files(as_path("memory://in"), recursive=False) == ["a.wav", "notes.txt"]
    assert find_files(as_path("memory://nothing")) == []
    plan = make_plan([as_path("memory://in")], as_path("memory://in/out"), None, ".wav")
    assert [(str(job.source), str(job.target)) for job in plan] == [
        ("memory://in/a.wav", "memory://in/out/a.wav"), ("memory://in/deep/b.flac", "memory://in/out/deep/b.wav")
    ]  # fmt: skip
    assert plan.notes == ["memory://in: 1 other file (1 .txt) left out"]
    existing = ExistingTargets(plan.folder)
    assert [job.target in existing for job in plan] == [True, False]
    found = make_plan([as_path("memory://in/*.wav"), as_path("memory://else/x.wav")], None, "-clean", None)
    assert [str(job.target) for job in found] == ["memory://in/a-clean.wav", "memory://else/x-clean.wav"]
    memory.pipe("/else/x-clean.wav", b"x")
    existing = ExistingTargets(found.folder)
    assert [job.target in existing for job in found] == [False, True]
    memory.pipe("/else/.h-clean.wav", b"x")
    hidden = make_plan([as_path("memory://else/.h.wav"), as_path("memory://else/x.wav")], None, "-clean", None)
    existing = ExistingTargets(hidden.folder)
    assert all(job.target in existing for job in hidden)
    memory.pipe("/in/talk [1].wav", b"x")
    odd = make_plan([as_path("memory://in/talk [1].wav")], as_path("memory://o"), None, None)
    assert [str(job.source) for job in odd] == ["memory://in/talk [1].wav"]
    folders = make_plan([as_path("memory://i*")], as_path("memory://o"), None, None)
    assert "memory://o/deep/b.flac" in [str(job.target) for job in folders]
    memory.pipe("/empty/notes.txt", b"x")
    with pytest.raises(AudioError, match=r"^memory://empty: the folder contains no recordings"):
        make_plan([as_path("memory://empty")], as_path("memory://o"), None, None)
    assert make_plan([as_path("memory://in")], as_path("memory://my.bucket"), None, None).folder is not None
    for missing in ("memory://in/x.wav", "memory://none"):
        with pytest.raises(AudioError, match="no such file"):
            make_plan([as_path(missing)], as_path("memory://out"), None, None)


def test_a_remote_file_is_read_as_a_local_one(memory, tmp_path):
    cases = {"bare.wav": wav(), "tagged.wav": wav(title="a"), "c.flac": wav(format="FLAC")}
    cases["padded.wav"] = wav(3_201, subtype="PCM_U8")
    for name, content in cases.items():
        memory.pipe(f"/{name}", content)
        (tmp_path / name).write_bytes(content)
        with open_file(as_path(f"memory://{name}")) as remote, open_file(tmp_path / name) as local:
            assert remote.name == f"memory://{name}"
            assert remote.info == local.info
            assert not remote.live
            assert np.array_equal(np.concatenate(list(remote.blocks), 1), np.concatenate(list(local.blocks), 1))


def test_a_call_of_s3_is_tried_again_by_botocore_rather_than_by_s3fs():
    assert remote._filesystem(as_path("s3://bucket/a.wav"))[0].retries == remote.S3_TRIES == 2


def test_a_truncated_remote_file_is_refused(memory):
    for name, content in {"cut.wav": wav()[:-700], "cut.flac": wav(90_000, "FLAC")[:-700]}.items():
        memory.pipe(f"/{name}", content)
        with (
            pytest.raises(TruncatedError, match=f"memory://{name}: truncated"),
            open_file(as_path(f"memory://{name}")) as file,
        ):
            list(file.blocks)


def test_a_remote_output_appears_whole_or_not_at_all(memory, monkeypatch):
    target = as_path("memory://out/a.wav")

    def fail(path):
        with atomically(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(target)
    assert not memory.exists("/out/a.wav")
    write_whole(target, b"whole")
    assert memory.cat("/out/a.wav") == b"whole"
    with pytest.raises(ExistsError), atomically(target, force=False):
        pass
    with pytest.raises(ExistsError):
        check_place(target, force=False)

    def another(path):
        with atomically(path, force=False):
            write_whole(path, b"of another")

    with pytest.raises(ExistsError):
        another(as_path("memory://out/b.wav"))
    assert memory.cat("/out/b.wav") == b"of another"
    monkeypatch.setattr(type(memory), "put_file", lambda *arguments: (_ for _ in ()).throw(PermissionError("denied")))
    with pytest.raises(OutputError, match=r"memory://out/a.wav: cannot be written \(access denied\)"):
        write_whole(target, b"new")
    assert memory.cat("/out/a.wav") == b"whole"


def test_servers_without_atomic_writes_get_a_temporary_name_first(memory, monkeypatch):
    from segan_cli.storage import remote

    monkeypatch.setattr(remote, "WHOLE", set())
    seen = []
    put = type(memory).put_file
    monkeypatch.setattr(type(memory), "put_file", lambda fs, local, name: (seen.append(name), put(fs, local, name)))
    write_whole(as_path("memory://new/folder/a.txt"), b"x")
    assert len(seen) == 1
    assert seen[0].startswith("/new/folder/.")
    assert memory.find("/") == ["/new/folder/a.txt"]

    def fail(fs, local, name):
        put(fs, local, name)
        raise OSError("the connection was lost")

    monkeypatch.setattr(type(memory), "put_file", fail)
    with pytest.raises(OutputError, match="the connection was lost"):
        write_whole(as_path("memory://new/folder/b.txt"), b"x")
    assert memory.find("/") == ["/new/folder/a.txt"]


def test_an_enhancer_accepts_urls(memory, tmp_path):
    memory.pipe("/noisy.wav", wav(9_000))
    (tmp_path / "noisy.wav").write_bytes(wav(9_000))
    enhancer = Enhancer()
    outcome = enhancer.enhance_file("memory://noisy.wav", "memory://clean.flac")
    enhancer.enhance_file(tmp_path / "noisy.wav", tmp_path / "clean.flac")
    assert outcome.source == "memory://noisy.wav"
    assert memory.cat("/clean.flac") == (tmp_path / "clean.flac").read_bytes()
    with pytest.raises(ExistsError):
        enhancer.enhance_file("memory://noisy.wav", "memory://clean.flac")


def test_evaluation_finds_recordings_at_urls(memory):
    for name in ("clean/p1/a.wav", "noisy/p1/a.wav", "clean/p2/b.wav", "noisy/p2/b.wav"):
        memory.pipe(f"/set/{name}", wav())
    memory.pipe("/set/list/list.csv", b"noisy,clean,kind\n../noisy/p1/a.wav,memory://set/clean/p1/a.wav,fan\n")
    memory.pipe("/set/log_testset.txt", b"a cafe 7.5\nb bus 2.5\n")
    for cases in (
        from_set(as_path("memory://set")),
        from_folders(*(as_path(f"memory://set/{n}") for n in ("noisy", "clean"))),
    ):
        assert [(case.name, str(case.noisy), case.labels["speaker"]) for case in cases.all] == [
            ("p1/a", "memory://set/noisy/p1/a.wav", "p1"), ("p2/b", "memory://set/noisy/p2/b.wav", "p2")
        ]  # fmt: skip
        assert [case.labels["snr_db"] for case in cases.all] == ["7.5", "2.5"]
    (case,) = from_manifest(as_path("memory://set/list/list.csv")).all
    assert (str(case.noisy), str(case.clean)) == ("memory://set/noisy/p1/a.wav", "memory://set/clean/p1/a.wav")
    assert case.labels == {"kind": "fan"}


def test_a_failed_multipart_upload_leaves_no_object_and_no_parts(tmp_path, monkeypatch, fs):
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    call, parts = s3fs.S3FileSystem._call_s3, []

    async def lose_the_second_part(fs, method, *arguments, **options):
        if method == "upload_part":
            parts.append(options["PartNumber"])
            if options["PartNumber"] == 2:
                raise OSError("the connection was lost")
        return await call(fs, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", lose_the_second_part)
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    (tmp_path / "long.wav").write_bytes(bytes(11 << 20))
    fs.mkdir("parts")
    fs.pipe("parts/long.wav", b"of an earlier run")
    for name in ("long", "new"):
        with pytest.raises(OutputError, match=rf"s3://parts/{name}.wav: cannot be written \(the connection was lost"):
            upload(tmp_path / "long.wav", as_path(f"s3://parts/{name}.wav"))
    assert {1, 2} <= set(parts)
    assert fs.find("parts") == ["parts/long.wav"]
    assert fs.cat("parts/long.wav") == b"of an earlier run"
    assert not fs.call_s3("list_multipart_uploads", Bucket="parts").get("Uploads")


def test_the_commands_read_and_write_a_bucket(tmp_path, fs):
    for i in range(3):
        soundfile.write(tmp_path / f"r{i}.wav", 0.5 * (voice(1.0, seed=i) + hiss(1.0, seed=i)), RATE_HZ)
        fs.put_file(str(tmp_path / f"r{i}.wav"), f"corpus/in/r{i}.wav")
    fs.pipe("corpus/in/broken.wav", b"no audio")
    fs.pipe("corpus/list.txt", b"s3://corpus/in/r1.wav\n")
    local = segan("enhance", *sorted(tmp_path.glob("*.wav")), "-o", tmp_path / "out")
    assert local.returncode == 0
    enhance = ("enhance", "s3://corpus/in", "-o", "s3://corpus/out")
    result = segan(*enhance, "--outcomes", "s3://corpus/outcomes.jsonl")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "segan: s3://corpus/in/broken.wav: not a readable audio file (not audio, or damaged)",
        "segan: 3 enhanced (3.0 s of audio), 1 failed",
    ]
    outcomes = [json.loads(line) for line in fs.cat("corpus/outcomes.jsonl").splitlines()]
    assert sorted(outcome["source"].rpartition("/")[2] for outcome in outcomes) == [
        "broken.wav", "r0.wav", "r1.wav", "r2.wav"
    ]  # fmt: skip
    assert sorted(fs.find("corpus/out")) == [f"corpus/out/r{i}.wav" for i in range(3)]
    for i in range(3):
        assert fs.cat(f"corpus/out/r{i}.wav") == (tmp_path / "out" / f"r{i}.wav").read_bytes()
    again = segan(*enhance)
    assert "segan: 3 of 4 outputs already exist, for example s3://corpus/out/r0.wav" in again.stderr
    assert "0 enhanced, 3 skipped" in segan(*enhance, "--skip-existing").stderr
    listed = segan("enhance", "--files-from", "s3://corpus/list.txt", "-o", f"{tmp_path}/listed/")
    assert listed.returncode == 0
    assert (tmp_path / "listed" / "r1.wav").read_bytes() == (tmp_path / "out" / "r1.wav").read_bytes()
    assert "no such file" in complaint(segan("enhance", "s3://corpus/none.wav", "-o", tmp_path / "x.wav"))
    report = segan(
        "evaluate", "--noisy", "s3://corpus/in", "--clean", "s3://corpus/out", "--measure", "si_sdr_db",
        "--csv", "s3://corpus/scores.csv", "--no-cache",
    )  # fmt: skip
    assert report.returncode == 1
    assert "broken.wav: no clean file has this name" in report.stderr
    assert fs.cat("corpus/scores.csv").count(b"\n") == 4
    assert not list(tmp_path.glob("**/*.part*"))
