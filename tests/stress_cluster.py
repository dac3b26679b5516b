"""300 recordings on an S3 server, enhanced by a Ray cluster of three nodes, two of which or the driver are killed.

python tests/stress_cluster.py [300]

Prints what was compared; ends with an AssertionError where something is not as it should be.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import soundfile
from cluster import ray_cluster, s3_server
from commands import wait_until
from conftest import hiss, voice

BUCKET = "corpus"


def segan(*words, **options):
    """Start segan."""
    return subprocess.Popen([sys.executable, "-m", "segan_cli", *map(str, words)], **options)


def outcomes_of(path):
    """The outcomes in a file."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if Path(path).exists() else []


def main(n):
    """Run the three batches."""
    with tempfile.TemporaryDirectory() as place, s3_server(BUCKET) as fs, ray_cluster(3) as cluster:
        folder = Path(place, "in")
        folder.mkdir()
        for i in range(n):
            soundfile.write(folder / f"r{i}.wav", 0.5 * (voice(2.0, seed=i % 9) + hiss(2.0, seed=i)), 16_000)
        for i in range(5):
            (folder / f"broken{i}.wav").write_text("no audio")
        fs.put(f"{folder}/", f"{BUCKET}/in/", recursive=True)
        began = time.monotonic()
        assert segan("enhance", folder, "-o", f"{place}/here", "-q").wait() == 1
        print(f"{n} recordings on one machine: {time.monotonic() - began:.0f} s", flush=True)

        def compare(name):
            found = sorted(path.rpartition("/")[2] for path in fs.find(f"{BUCKET}/{name}"))
            assert found == sorted(path.name for path in Path(place, "here").iterdir()), found
            for path in Path(place, "here").iterdir():
                assert fs.cat(f"{BUCKET}/{name}/{path.name}") == path.read_bytes(), path.name
            assert len(found) == n

        def start(name, *words):
            return segan("enhance", f"s3://{BUCKET}/in", "-o", f"s3://{BUCKET}/{name}", "--ray", cluster.address,
                         "--outcomes", f"{place}/{name}.jsonl", *words, stderr=subprocess.PIPE, text=True)  # fmt: skip

        began = time.monotonic()
        run = start("killed-node")
        wait_until(lambda: len(outcomes_of(f"{place}/killed-node.jsonl")) > n // 6)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        at = len(outcomes_of(f"{place}/killed-node.jsonl"))
        _, said = run.communicate()
        print(said, flush=True)
        outcomes = outcomes_of(f"{place}/killed-node.jsonl")
        assert run.returncode == 1
        assert all(f"broken{i}.wav: not a readable" in said for i in range(5))
        assert set(Counter(outcome["source"] for outcome in outcomes).values()) == {1}
        assert len(outcomes) == n + 5
        compare("killed-node")
        print(f"a node killed after {at} outcomes: all there, none twice, {time.monotonic() - began:.0f} s", flush=True)

        cluster.add_node(num_cpus=1)
        run = start("killed-driver")
        wait_until(lambda: len(outcomes_of(f"{place}/killed-driver.jsonl")) > n // 6)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        time.sleep(20)  # in which the actors of the lost driver end
        before = {path: info["LastModified"] for path, info in fs.find(f"{BUCKET}/killed-driver", detail=True).items()}
        run = start("killed-driver", "--skip-existing")
        run.communicate()
        assert run.returncode == 1
        compare("killed-driver")
        after = fs.find(f"{BUCKET}/killed-driver", detail=True)
        assert all(after[path]["LastModified"] == then for path, then in before.items())
        print(f"the driver killed with {len(before)} outputs: none of them made again", flush=True)
        for i in range(5):
            fs.rm(f"{BUCKET}/in/broken{i}.wav")
        run = start("clean")
        run.communicate()
        assert run.returncode == 0
        compare("clean")
        print("without the broken ones: exit code 0", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
