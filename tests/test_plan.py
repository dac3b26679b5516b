"""Which recording becomes which file."""

import os
from pathlib import Path

import pytest

from segan_cli.enhancement.jobs import STREAM, Job, check_paths
from segan_cli.enhancement.plan import NameList, Plan
from segan_cli.errors import AudioError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.wav", "in/deep/b.flac", "in/deep/notes.txt", "in/.hidden/c.wav", "in/.a.1.part.wav", "one.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def list_of(content):
    return list(NameList(content))


def pairs(*arguments):
    return [(str(job.source), str(job.target)) for job in Plan(*arguments)]


def test_a_file_goes_where_it_is_told(tree):
    assert pairs([Path("one.mp4")], Path("out.wav"), None, None) == [("one.mp4", "out.wav")]
    assert pairs([Path("one.mp4")], Path("results"), None, None) == [("one.mp4", "results/one.mp4")]
    assert pairs([Path("one.mp4")], Path("results"), None, ".wav") == [("one.mp4", "results/one.wav")]
    assert pairs([Path("one.mp4")], None, "-clean", None) == [("one.mp4", "one-clean.mp4")]
    assert list(Plan([STREAM], STREAM, None, None)) == [Job(STREAM, STREAM, make_folder=True)]


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


def test_a_folder_gives_files_alone(tree):
    os.mkfifo(tree / "in" / "pipe.wav")
    assert [source for source, _ in pairs([Path("in")], Path("out"), None, None)] == ["in/a.wav", "in/deep/b.flac"]


def test_other_outputs_are_kept_apart_too(tree):
    jobs = Plan([Path("in/a.wav")], Path("out.wav"), None, None)
    check_paths(jobs, [Path("rest.wav"), Path("p.png")])
    for others in ([Path("in/a.wav")], [Path("out.wav")], [Path("p.png"), Path("./p.png")], [Path("in/deep/../a.wav")]):
        with pytest.raises(AudioError, match=r"input itself|would be written to this file"):
            check_paths(jobs, others)


def test_a_missing_file_among_others_is_left_to_fail(tree):
    assert len(pairs([Path("missing.wav"), Path("one.mp4")], Path("out"), None, None)) == 2


def test_a_format_that_contradicts_the_name_of_the_output_is_refused(tree):
    with pytest.raises(AudioError, match="contradicts"):
        Plan([Path("in/a.wav")], Path("x.flac"), None, ".wav")
    assert next(iter(Plan([Path("in/a.wav")], Path("x.flac"), None, ".flac"))).target == Path("x.flac")


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
        (["in"], "out.wav", None, None, "cannot hold a folder"),
        (["in/a.wav", "one.mp4"], "out.wav", None, None, "cannot hold several"),
        (["-"], None, "-clean", None, "standard input has no name"),
        (["in/.hidden/none"], "out", None, None, "holds no recordings"),
        (["in"], "-", None, None, "takes one recording"),
        (["in/a.wav", "in/deep/../a.wav"], "out", None, None, "would be written to this file"),
        (["one.mp4"], "one.mp4", None, None, "is the input itself"),
        (["in/a.wav"], "link.wav", None, None, "is the input itself"),
    ],
)
def test_what_cannot_be_meant_is_refused(tree, inputs, output, suffix, ending, complaint):
    (tree / "in" / ".hidden" / "none").mkdir()
    (tree / "link.wav").symlink_to(tree / "in" / "a.wav")
    with pytest.raises(AudioError, match=complaint):
        Plan([Path(entry) for entry in inputs], Path(output) if output else None, suffix, ending)
