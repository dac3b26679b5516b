"""An S3 server and a Ray cluster for the tests, each of real processes on this machine."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
HEAD = {"num_cpus": 1, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
SERVER = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def s3_server(bucket):
    """An S3 server with an empty bucket; its variables are in the environment."""
    pytest.importorskip("moto", reason="needs moto")
    pytest.importorskip("flask", reason="needs flask")
    pytest.importorskip("s3fs", reason="needs s3fs")
    import fsspec
    from s3fs import S3FileSystem

    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with pytest.MonkeyPatch.context() as patch, server:
        try:
            endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
                patch.setenv(name, value)
            S3FileSystem.clear_instance_cache()  # of servers of other tests
            fs = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
            fs.mkdir(bucket)
            yield fs
        finally:
            server.kill()


@contextmanager
def ray_cluster(nodes):
    """A head and further nodes of a processor each; yields the cluster, whose nodes may be killed."""
    pytest.importorskip("ray", reason="needs ray")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_worker_niceness", "0")  # beside other tests, nicer workers would wait for all of them
    os.environ.setdefault("RAY_enable_worker_prestart", "0")  # of more workers than are used
    from ray._private import node, services
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for module in (node, services):  # would give up on a busy machine
            patch.setattr(module, "time", SimpleNamespace(time=float, monotonic=float, sleep=time.sleep))
        cluster = Cluster(initialize_head=True, head_node_args=HEAD)
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()
