"""Which recording becomes which file."""

import os
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

from segan_cli.cli.enhance_batch import ExistingTargets
from segan_cli.enhancement.plan import Job, Shard, check_paths, make_plan, read_names
from segan_cli.errors import AudioError, ConfigError, SameFileError
from segan_cli.storage.same_file import STREAM, Use, check_uses


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.wav", "in/deep/b.flac", "in/deep/notes.txt", "in/.hidden/c.wav", "in/.a.1.part.wav", "one.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def list_of(content):
    return list(read_names(content))


def pairs(*arguments):
    return [(str(job.source), str(job.target)) for job in make_plan(*arguments)]


def test_a_file_is_written_to_the_given_output(tree):
    assert pairs([Path("one.mp4")], Path("out.wav"), None, None) == [("one.mp4", "out.wav")]
    assert pairs([Path("one.mp4")], Path("results"), None, None) == [("one.mp4", "results/one.mp4")]
    assert pairs([Path("one.mp4")], Path("results"), None, ".wav") == [("one.mp4", "results/one.wav")]
    assert pairs([Path("one.mp4")], None, "-clean", None) == [("one.mp4", "one-clean.mp4")]
    assert list(make_plan([STREAM], STREAM, None, None)) == [Job(STREAM, STREAM)]


def test_a_folder_is_searched_and_mirrored(tree):
    expected = [("in/a.wav", "out/a.wav"), ("in/deep/b.flac", "out/deep/b.flac")]
    assert pairs([Path("in")], Path("out"), None, None) == expected
    assert pairs([Path("in")], None, ".clean", ".wav") == [
        ("in/a.wav", "in/a.clean.wav"), ("in/deep/b.flac", "in/deep/b.clean.wav")
    ]  # fmt: skip
    (tree / "in" / "out").mkdir()
    (tree / "in" / "out" / "a.wav").write_bytes(b"x")  # of an earlier run into the folder itself
    assert pairs([Path("in")], Path("in/out"), None, None) == [
        ("in/a.wav", "in/out/a.wav"), ("in/deep/b.flac", "in/out/deep/b.flac")
    ]  # fmt: skip


def test_results_of_an_earlier_run_are_no_inputs(tree):
    (tree / "in" / "a-clean.wav").write_bytes(b"x")
    assert pairs([Path("in")], None, "-clean", None) == [
        ("in/a.wav", "in/a-clean.wav"), ("in/deep/b.flac", "in/deep/b-clean.flac")
    ]  # fmt: skip
    assert list_of(b"a.wav\r\n.b.17-3.part.flac\n.c.flac\n") == [Path("a.wav"), Path(".c.flac")]


def test_special_files_in_a_folder_are_ignored(tree):
    os.mkfifo(tree / "in" / "pipe.wav")
    assert [source for source, _ in pairs([Path("in")], Path("out"), None, None)] == ["in/a.wav", "in/deep/b.flac"]


def test_plots_residuals_and_lists_never_share_a_file_with_recordings(tree):
    jobs = make_plan([Path("in/a.wav")], Path("out.wav"), None, None)
    check_paths(jobs, [Use(Path("rest.wav"), "--residual", written=True), Use(Path("list"), "list")])
    for names in (["in/a.wav"], ["out.wav"], ["p.png", "./p.png"], ["in/deep/../a.wav"]):
        with pytest.raises(SameFileError, match=r"input itself|would be written to this file"):
            check_paths(jobs, [Use(Path(name), f"--{i}", written=True) for i, name in enumerate(names)])
    with pytest.raises(SameFileError, match=r"^out.wav: is the list itself; give another output$"):
        check_paths(jobs, [Use(Path("./out.wav"), "list")])


def test_a_missing_file_stays_in_the_plan_and_fails_later(tree):
    assert len(pairs([Path("missing.wav"), Path("one.mp4")], Path("out"), None, None)) == 2


def test_a_format_that_contradicts_the_name_of_the_output_is_refused(tree):
    with pytest.raises(ConfigError, match="contradicts"):
        make_plan([Path("in/a.wav")], Path("x.flac"), None, ".wav")
    assert next(iter(make_plan([Path("in/a.wav")], Path("x.flac"), None, ".flac"))).target == Path("x.flac")


def test_globs_and_lists_are_expanded(tree):
    assert pairs([Path("in/**/*.flac"), Path("one.mp4")], Path("out"), None, None) == [
        ("in/deep/b.flac", "out/b.flac"), ("one.mp4", "out/one.mp4")
    ]  # fmt: skip
    assert list_of(b"a b.wav\0c\n.wav\0") == [Path("a b.wav"), Path("c\n.wav")]
    assert list_of(b"a b.wav\nc.wav\n\n") == [Path("a b.wav"), Path("c.wav")]


@pytest.mark.parametrize(
    ("inputs", "output", "suffix", "ending", "complaint"),
    [
        (["missing.wav"], "out.wav", None, None, "no such file"),
        (["in/deep/c.flac"], "out.wav", None, None, "no such file; did you mean in/deep/b.flac?"),
        (["in/*.mp3"], "out", None, None, "nothing matches"),
        (["in"], "out.wav", None, None, "cannot contain a folder"),
        (["in/a.wav", "one.mp4"], "out.wav", None, None, "cannot contain several"),
        (["-"], None, "-clean", None, "standard input has no name"),
        (["in/.hidden/none"], "out", None, None, "contains no recordings"),
        (["in"], "-", None, None, "takes one recording"),
        (["in/a.wav", "in/deep/../a.wav"], "out", None, None, "would be written to this file"),
        (["in", "in/a.wav"], None, "-clean", None, "in/a.wav: is given twice; give it once"),
        (["one.mp4"], "one.mp4", None, None, "is the input itself"),
        (["in/a.wav"], "link.wav", None, None, "is the input itself"),
    ],
)
def test_impossible_plans_are_refused(tree, inputs, output, suffix, ending, complaint):
    (tree / "in" / ".hidden" / "none").mkdir()
    (tree / "link.wav").symlink_to(tree / "in" / "a.wav")
    with pytest.raises((AudioError, ConfigError, SameFileError), match=complaint):
        make_plan([Path(entry) for entry in inputs], Path(output) if output else None, suffix, ending)


def test_the_shard_of_a_file_depends_only_on_its_name():
    """Pinned, so that machines with another version share a batch as before."""
    names = [f"p{i}/a{i}.wav" for i in range(12)]
    held = [[i for i, name in enumerate(names) if Shard(part, 3).holds(PurePosixPath(name))] for part in (1, 2, 3)]
    assert held == [[1, 5], [3, 7, 9], [0, 2, 4, 6, 8, 10, 11]]


def test_shards_of_a_folder_are_disjoint_and_complete(tree):
    for i in range(20):
        (tree / "in" / f"r{i}.wav").write_bytes(b"x")
    whole = [job.target for job in make_plan([Path("in")], Path("out"), None, None)]
    plans = [make_plan([Path("in")], Path("out"), None, None, shard=Shard(i, 3)) for i in (1, 2, 3)]
    assert sorted(job.target for plan in plans for job in plan) == sorted(whole)
    assert [len(plan) for plan in plans] == [len(list(plan)) for plan in plans]
    assert max(len(plan) for plan in plans) < len(whole)
    moved = make_plan([tree / "in"], Path("out"), None, None, shard=Shard(2, 3))
    assert [job.target for job in moved] == [job.target for job in plans[1]]


def test_shards_of_a_list_depend_on_whole_names_in_any_order():
    names = [Path("corpus", f"s{i}", f"take{i}.wav") for i in range(60)]

    def held(listed, i):
        return {job.source for job in make_plan([], Path("out/"), None, None, listed, slash=True, shard=Shard(i, 4))}

    shards = [held(names, i) for i in range(1, 5)]
    assert sorted(path for shard in shards for path in shard) == sorted(names)
    assert [held(names[::-1], i) for i in range(1, 5)] == shards
    assert min(map(len, shards)) > 5


def test_files_are_listed_once_if_there_is_no_conflict(tmp_path, capfd):
    """Standard output, which is a file here, too."""
    listings = []

    def uses():
        listings.append(1)
        yield from (Use(tmp_path / "in", "input"), Use(tmp_path / "out", "in", written=True))
        yield Use(STREAM, "the report", written=True)

    check_uses(uses)
    assert len(listings) == 1
    with pytest.raises(SameFileError, match="is standard output itself"):
        check_uses(lambda: [*uses(), Use(Path("/dev/fd/1"), "out", written=True)])


def test_a_file_under_an_overlay_is_recognised(tmp_path, monkeypatch):
    """Where it has another device, but its inode, size and times."""
    for name in ("in", "over", "other"):
        (tmp_path / name).write_text(name)
    real = os.stat

    def stat(path, **options):
        status = real(tmp_path / "in" if path == tmp_path / "over" else path, **options)
        fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**fields | {"st_dev": status.st_dev + (path == tmp_path / "over")})

    monkeypatch.setattr("segan_cli.storage.same_file.os.stat", stat)
    read = Use(tmp_path / "in", "input")
    check_uses(lambda: [read, Use(tmp_path / "other", "in", written=True)])
    with pytest.raises(SameFileError, match="over: is the input itself; give another output"):
        check_uses(lambda: [read, Use(tmp_path / "over", "in", written=True)])


def test_two_new_files_in_a_folder_that_is_mounted_twice_are_one(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    real = os.stat
    twice = {str(tmp_path / "b"): tmp_path / "a"}
    monkeypatch.setattr(
        "segan_cli.storage.same_file.os.stat", lambda path, **options: real(twice.get(str(path), path), **options)
    )
    uses = [Use(tmp_path / name / "x.wav", f"--{name}", written=True) for name in ("a", "b", "c")]
    check_uses(lambda: uses[::2])
    with pytest.raises(SameFileError, match=r"x\.wav: both --a and --b would be written to this file"):
        check_uses(lambda: uses)


def test_names_with_equal_hashes_are_no_conflict(tree, monkeypatch):
    monkeypatch.setattr("segan_cli.storage.same_file.name_key", lambda name: 1 + len(name) % 2)
    check_paths([Job(Path("in/a.wav"), Path("x.wav")), Job(Path("in/deep/b.flac"), Path("yy.flac"))])
    with pytest.raises(SameFileError, match="would be written to this file"):
        check_paths([Job(Path("in/a.wav"), Path("x.wav")), Job(Path("in/deep/b.flac"), Path("./x.wav"))])


def test_a_list_in_utf_16_is_refused():
    with pytest.raises(AudioError, match="the list is in UTF-16"):
        list(read_names("one.wav\r\n".encode("utf-16")))


def test_names_that_differ_in_case_are_one_file_on_a_mac(tree, monkeypatch):
    jobs = [Job(Path("in/a.wav"), Path("out/Ä.wav")), Job(Path("in/deep/b.flac"), Path("out/a\u0308.wav"))]
    check_paths(jobs)
    monkeypatch.setattr("segan_cli.storage.same_file.IS_MAC", True)
    with pytest.raises(SameFileError, match="would be written to this file"):
        check_paths(jobs)


def test_local_targets_that_exist_are_known(tree):
    (tree / "out").mkdir()
    (tree / "out" / "a.wav").write_bytes(b"x")
    plan = make_plan([Path("in")], Path("out"), None, None)
    existing = ExistingTargets(plan.folder)
    assert [job.target in existing for job in plan] == [True, False]
    assert STREAM not in existing
    assert Path("x" * 300) not in existing
