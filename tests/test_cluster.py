"""Batches and evaluations on a Ray cluster give what they give on one machine, also when parts of it are lost."""

import json
import os
import pickle
import signal
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from cluster import ray_cluster, s3_server
from commands import Running, complaint, segan
from conftest import hiss, voice

pytest.importorskip("ray", reason="needs ray")
pytest.importorskip("s3fs", reason="needs s3fs")

from segan_cli.backends.pretrained import find_onnx
from segan_cli.cluster.enhance import EnhancingActor
from segan_cli.cluster.pipeline import ActorOptions, ModelFile, capacity, connected
from segan_cli.enhancement.plan import Job
from segan_cli.enhancement.recording import OutputOptions
from segan_cli.errors import SeganError

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


def test_a_cluster_gives_the_same_outputs_as_one_machine(cluster, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)  # relative names mean the same on the nodes
    result = segan("enhance", "in", "-o", tmp_path / "out", "--ray", cluster.address, "--json", "--ray-actors", "1:2")
    assert result.returncode == 1, result.stderr
    assert contents(tmp_path / "out") == contents(folder / "out")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert Counter(line["error"] is None for line in lines) == {True: N, False: 2}
    assert set(Counter(line["source"] for line in lines).values()) == {1}
    assert {line["model"] for line in lines} == {"default"}
    assert result.stderr.splitlines()[-1] == f"segan: {N} enhanced (0:12 of sound), 2 failed"
    assert "segan: in/text.wav: not a readable audio file" in result.stderr
    one = ("enhance", "in/0/r0.wav", "-o", tmp_path / "out" / "0" / "r0.wav", "--ray", cluster.address)
    before = (tmp_path / "out" / "0" / "r0.wav").stat().st_mtime_ns
    assert "exists already" in complaint(segan(*one))
    assert segan(*one, "--skip-existing").returncode == 0
    assert (tmp_path / "out" / "0" / "r0.wav").stat().st_mtime_ns == before


def test_no_recording_is_lost_when_a_node_or_the_driver_is_killed(cluster, folder, tmp_path):
    """On S3: the driver is killed while it works, then a node while the batch is run again."""
    for path in (folder / "in").rglob("r*.wav"):
        cluster.fs.put_file(str(path), f"corpus/in/{path.relative_to(folder / 'in')}")
    log = tmp_path / "log.jsonl"
    words = ("enhance", "s3://corpus/in", "-o", "s3://corpus/out", "--ray", cluster.address, "--outcomes", log)
    running = Running(*words)
    running.wait_until(lambda: len(outcomes(log)) >= 3)
    running.send_signal(signal.SIGKILL)
    running.end()
    before = cluster.fs.find("corpus/out", detail=True)
    assert before

    told = len(outcomes(log))
    running = Running(*words, "--skip-existing")
    running.wait_until(lambda: len(outcomes(log)) >= told + 3)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    result = running.end()
    assert result.returncode == 0, result.stderr
    assert Counter(line["source"] for line in outcomes(log)[told:]) == {
        f"s3://corpus/in/{path.relative_to(folder / 'in')}": 1 for path in (folder / "in").rglob("r*.wav")
    }
    after = cluster.fs.find("corpus/out", detail=True)
    assert {name.removeprefix("corpus/out/"): cluster.fs.cat(name) for name in after} == contents(folder / "out")
    assert all(after[name]["LastModified"] == entry["LastModified"] for name, entry in before.items())


def test_a_machine_without_the_folder_refuses_relative_names(folder):
    soundfile.write(folder / "a.wav", voice(0.2), 16_000)
    actor = EnhancingActor(ModelFile("default", None), {}, OutputOptions(), folder / "nowhere")
    for job in (Job(Path("a.wav"), folder / "b.wav"), Job(folder / "a.wav", Path("b.wav"))):
        (result,) = actor({"item": [pickle.dumps(job)]})["result"]
        assert f"has no folder {folder / 'nowhere'}" in pickle.loads(result).error
    job = Job(folder / "a.wav", folder / "b.wav")
    (result,) = actor({"item": [pickle.dumps(job)]})["result"]
    assert pickle.loads(result).error is None


def test_a_model_file_is_sent_to_the_nodes_and_a_broken_one_is_refused(folder, tmp_path):
    model = tmp_path / "mine.onnx"
    model.write_bytes(find_onnx("default").read_bytes())
    sent = ModelFile.of(str(model))
    model.unlink()
    actor = EnhancingActor(sent, {}, OutputOptions(), folder)
    soundfile.write(folder / "c.wav", voice(0.2), 16_000)
    (result,) = actor({"item": [pickle.dumps(Job(folder / "c.wav", folder / "d.wav"))]})["result"]
    assert pickle.loads(result).model == str(model)
    assert pickle.loads(result).error is None
    broken = EnhancingActor(ModelFile("mine.onnx", b"no model"), {}, OutputOptions(), folder)
    (result,) = broken({"item": [pickle.dumps(Job(folder / "c.wav", folder / "e.wav"))]})["result"]
    assert isinstance(pickle.loads(result), SeganError)


def test_an_actor_larger_than_every_node_is_refused(monkeypatch):
    nodes = [{"Alive": True, "Resources": {"CPU": 7.0}}, {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}}]
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0}}])
    assert [capacity(ActorOptions(cpus=cpus)) for cpus in (1, 2, 4)] == [11, 5, 2]
    assert [capacity(ActorOptions(cpus=1, gpus=gpus)) for gpus in (0.25, 0.5, 2)] == [4, 4, 1]
    with pytest.raises(SeganError, match="no machine of the cluster has 5 CPUs and 1 GPUs"):
        capacity(ActorOptions(cpus=5, gpus=1))


def test_a_signal_ends_a_batch_on_a_cluster(cluster, folder, tmp_path):
    log = tmp_path / "log.jsonl"
    running = Running("enhance", folder / "in", "-o", tmp_path / "out", "--ray", cluster.address, "--outcomes", log)
    running.wait_until(lambda: outcomes(log))
    running.send_signal(signal.SIGTERM)
    result = running.end()
    assert result.returncode == 128 + signal.SIGTERM
    assert result.stderr.splitlines()[-1].startswith("segan: stopped")
    assert not list(tmp_path.rglob("*.part*"))


def test_a_cluster_gives_the_same_scores_as_one_machine(cluster, folder):
    words = ("evaluate", "--noisy", folder / "in" / "0", "--clean", folder / "out" / "0", "--model", "default",
             "--enhanced", folder / "out" / "0", "--align", "--measure", "si_sdr_db", "--json")  # fmt: skip
    here, there = segan(*words, "--no-cache"), segan(*words, "--ray", cluster.address)
    assert here.returncode == there.returncode == 1, there.stderr
    reports = [json.loads(result.stdout) for result in (here, there)]
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


def test_an_unreachable_cluster_is_reported_in_one_line(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(0.1), 16_000)
    words = ("enhance", tmp_path / "a.wav", "-o", tmp_path / "b.wav", "--ray", "nonsense")
    assert "--ray nonsense: cannot connect" in complaint(segan(*words))


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
