"""Batches and evaluations on a Ray cluster give what they give on one machine, also when parts of it are lost."""

import json
import os
import pickle
import re
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
from cluster import ray_cluster, s3_server
from commands import Running, complaint, segan
from conftest import hiss, voice

from segan_cli.backends.pretrained import find_onnx
from segan_cli.cli import main
from segan_cli.cli.options import actor_options
from segan_cli.cluster.enhance import EnhancingActor
from segan_cli.cluster.pipeline import ActorOptions, SentModel, capacity, connected
from segan_cli.enhancement.plan import Job
from segan_cli.enhancement.recording import OutputOptions
from segan_cli.errors import SeganError

pytestmark = pytest.mark.skipif(not (find_spec("ray") and find_spec("s3fs")), reason="needs ray and s3fs")
N = 24


@pytest.fixture(scope="module")
def cluster():
    """A head and one node."""
    with s3_server("corpus") as fs, ray_cluster(2) as nodes:
        nodes.fs = fs
        yield nodes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings, two broken ones and what one machine makes of them."""
    place = tmp_path_factory.mktemp("cluster")
    for i in range(N):
        path = place / "in" / f"{i % 2}" / f"r{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(0.5, seed=i % 7) + hiss(0.5, seed=i), 16_000)
    (place / "in" / "text.wav").write_text("no audio")
    (place / "in" / "0" / "caf\udce9.wav").write_bytes(b"")
    assert segan("enhance", place / "in", "-o", place / "out").returncode == 1
    return place


def contents(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*.wav")}


def outcomes(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def bucket(cluster, folder):
    """The recordings in a bucket."""
    for path in (folder / "in").rglob("[rt]*.wav"):
        cluster.fs.put_file(str(path), f"corpus/in/{path.relative_to(folder / 'in')}")
    return cluster.fs


def test_a_stopped_batch_continued_with_a_lost_node_gives_the_outputs_of_one_machine(
    cluster, bucket, folder, tmp_path, monkeypatch
):
    """From and to an S3 server: the batch is stopped by a signal, then a node is killed while it continues."""
    monkeypatch.chdir(folder)  # relative names mean the same on the nodes
    log = tmp_path / "log.jsonl"
    words = ("s3://corpus/in", "-o", "s3://corpus/out", "--ray", cluster.address, "--outcomes", log)
    os.mkfifo(tmp_path / "endless.wav")
    writer = os.open(tmp_path / "endless.wav", os.O_RDWR)  # so that the batch does not end before it is stopped
    running = Running("enhance", tmp_path / "endless.wav", *words, "--ray-actors", "1:2")
    running.wait_until(lambda: len(outcomes(log)) >= 3)
    running.send_signal(signal.SIGTERM)
    result = running.end()
    assert result.returncode == 128 + signal.SIGTERM
    assert result.stderr.splitlines()[-1].startswith("segan: stopped")
    before = bucket.find("corpus/out", detail=True)
    assert before
    assert before.keys() <= {f"corpus/out/{name}" for name in contents(folder / "out")}  # no temporary objects

    n_written = len(outcomes(log))
    os.close(writer)
    running = Running("enhance", Path("in") / "0" / os.fsdecode(b"caf\xe9.wav"), *words, "--skip-existing", "--json")
    running.wait_until(lambda: len(outcomes(log)) > n_written + len(before))
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    result = running.end()
    assert result.returncode == 1, result.stderr
    lines = outcomes(log)[n_written:]
    assert [json.loads(line) for line in result.stdout.splitlines()] == lines
    assert set(Counter(line["source"] for line in lines).values()) == {1}
    assert Counter(line["error"] is None for line in lines) == {True: N, False: 2}
    assert {line["model"] for line in lines if line["error"] or line["skipped"]} == {None}
    assert {line["model"] for line in lines if not (line["error"] or line["skipped"])} == {"default"}
    assert "segan: s3://corpus/in/text.wav: not a readable audio file" in result.stderr
    summary = re.search(
        r"^segan: (\d+) enhanced \(.+\), (\d+) skipped \(output exists\), 2 failed$", result.stderr, re.M
    )
    n_enhanced, n_skipped = map(int, summary.groups())
    assert n_enhanced + n_skipped == N
    assert n_skipped >= len(before)  # what was written when a node was lost is skipped, too
    assert f"{N} of {N + 1} outputs already exist" in segan("enhance", *words).stderr
    after = bucket.find("corpus/out", detail=True)
    assert {name.removeprefix("corpus/out/"): bucket.cat(name) for name in after} == contents(folder / "out")
    assert all(after[name]["LastModified"] == then["LastModified"] for name, then in before.items())


def test_a_machine_without_the_folder_refuses_relative_names(folder):
    soundfile.write(folder / "a.wav", voice(0.2), 16_000)
    actor = EnhancingActor(SentModel("default", None), {}, OutputOptions(), folder / "nowhere")
    for job in (Job(Path("a.wav"), folder / "b.wav"), Job(folder / "a.wav", Path("b.wav"))):
        (result,) = actor({"item": [pickle.dumps(job)]})["result"]
        assert f"has no folder {folder / 'nowhere'}" in pickle.loads(result).error
    job = Job(folder / "a.wav", folder / "b.wav")
    (result,) = actor({"item": [pickle.dumps(job)]})["result"]
    assert pickle.loads(result).error is None


def test_a_model_file_is_sent_to_the_nodes_and_a_broken_one_is_refused(folder, tmp_path):
    model = tmp_path / "mine.onnx"
    model.write_bytes(find_onnx("default").read_bytes())
    sent = SentModel.of(str(model))
    model.unlink()
    actor = EnhancingActor(sent, {}, OutputOptions(), folder)
    soundfile.write(folder / "c.wav", voice(0.2), 16_000)
    (result,) = actor({"item": [pickle.dumps(Job(folder / "c.wav", folder / "d.wav"))]})["result"]
    assert pickle.loads(result).model == str(model)
    assert pickle.loads(result).error is None
    broken = EnhancingActor(SentModel("mine.onnx", b"no model"), {}, OutputOptions(), folder)
    (result,) = broken({"item": [pickle.dumps(Job(folder / "c.wav", folder / "e.wav"))]})["result"]
    assert isinstance(pickle.loads(result), SeganError)


def test_actors_have_one_cpu_by_default_and_as_many_as_fit():
    words = {"ray_cpus": None, "ray_gpus": 0.0, "ray_actors": None}
    assert actor_options(SimpleNamespace(**words)) == ActorOptions(1, 0.0, 1, None)
    words = {"ray_cpus": 3, "ray_gpus": 0.5, "ray_actors": (2, 4)}
    assert actor_options(SimpleNamespace(**words)) == ActorOptions(3, 0.5, 2, 4)


def test_an_actor_larger_than_every_node_is_refused(monkeypatch):
    nodes = [{"Alive": True, "Resources": {"CPU": 7.0}}, {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}}]
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0}}])
    assert [capacity(ActorOptions(cpus=cpus)) for cpus in (1, 2, 4)] == [11, 5, 2]
    assert [capacity(ActorOptions(cpus=1, gpus=gpus)) for gpus in (0.25, 0.5, 2)] == [4, 4, 1]
    with pytest.raises(SeganError, match="no machine in the cluster has 5 CPUs and 1 GPUs"):
        capacity(ActorOptions(cpus=5, gpus=1))


def test_a_cluster_gives_the_same_scores_as_one_machine(cluster, folder, monkeypatch, capsys):
    for path in (folder / "in" / "0").glob("r*.wav"):
        cluster.fs.put_file(str(path), f"corpus/noisy/{path.name}")
    words = ("evaluate", "--noisy", "s3://corpus/noisy", "--clean", folder / "out" / "0", "--model", "default",
             "--enhanced", folder / "out" / "0", "--align", "--measure", "si_sdr_db", "--json")  # fmt: skip
    cluster.fs.pipe("corpus/noisy/more.wav", b"no audio")
    here = segan(*words, "--no-cache")
    monkeypatch.setattr("sys.argv", ["segan", *map(str, words), "--ray", cluster.address, "--ray-actors", "1"])
    with pytest.raises(SystemExit) as there:  # in this process, which has loaded Ray
        main()
    said = capsys.readouterr()
    assert here.returncode == there.value.code == 1, said.err
    reports = [json.loads(output) for output in (here.stdout, said.out)]
    for report in reports:
        del report["command"]
    assert reports[0] == reports[1]
    assert reports[0]["inputs"]["skipped"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--ray-actors", "2"), "--ray-actors needs --ray"),
        (("--ray-cpus", "2"), "--ray-cpus needs --ray"),
        (("--shard", "1/2", "--residual", "r.wav"), "support only one recording"),
        (("--residual", "s3://b/r.wav"), "is a URL; give a local file"),
        (("--ray", "local", "--jobs", "2"), "give --ray-actors"),
        (("--ray", "local", "--threads", "2"), "give --ray-cpus"),
        (("--ray", "local", "--plot", "p.png"), "--plot cannot be combined with --ray"),
        (("--ray", "local", "-"), "not standard input"),
        (("--ray", "local", "--ray-actors", "3:2"), "MIN is larger than MAX"),
        (("--ray", "local", "--ray-actors", "x"), "give N or MIN:MAX"),
        (("--shard", "4/3"), "give I/N"),
        (("--shard", "0/3"), "give I/N"),
        (("--shard", f"{'1' * 5_000}/3"), "give I/N"),
        (("--ray", "local", "--ray-actors", "1" * 5_000), "give N or MIN:MAX"),
        (("--outcomes", "a.txt"), "must end in .jsonl or .parquet"),
    ],
)
def test_cluster_options_that_do_not_fit_are_refused(tmp_path, words, says):
    soundfile.write(tmp_path / "a.wav", voice(0.1), 16_000)
    assert says in complaint(segan("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.wav", *words))


def test_an_unreachable_cluster_is_reported_in_one_line():
    with pytest.raises(SeganError, match=r"\A--ray nonsense: cannot connect \(.+\)\Z"), connected("nonsense"):
        pass


def test_the_usage_statistics_of_ray_are_off_before_it_starts(monkeypatch):
    import ray

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    asked = []

    def init(*arguments, **options):
        asked.append(os.environ["RAY_USAGE_STATS_ENABLED"])
        raise RuntimeError("not needed")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SeganError, match="cannot connect"), connected("local"):
        pass
    assert asked == ["0"]
