"""A pipeline with Ray Data: items and models go to a pool of actors on a cluster, and results come back."""

import logging
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from segan_cli.backends.pretrained import is_shipped
from segan_cli.errors import LOG, SeganError
from segan_cli.storage.atomic import scratch_file
from segan_cli.system import cpu_count, require_extra

QUIET = {  # defaults of environment variables
    "RAY_USAGE_STATS_ENABLED": "0",  # sends nothing to the makers of Ray
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
MAX_BLOCK = 64  # jobs that an actor takes at a time, and that are repeated if it is lost
BLOCKS_PER_ACTOR = 16  # so that all actors end at about the same time
Columns = dict[str, Any]  # column → values


@dataclass(frozen=True)
class SentModel:
    """A model by name, with the content of its file unless it is shipped."""

    name: str
    content: bytes | None

    @classmethod
    def of(cls, model: str) -> "SentModel":
        """Read a model file; of a shipped model only the name is needed."""
        return cls(model, None if is_shipped(model) else Path(model).read_bytes())

    @contextmanager
    def written(self) -> Iterator[str]:
        """Yield the name of the model on this machine, of a temporary file if it has a content."""
        if self.content is None:
            yield self.name
            return
        with scratch_file(Path(self.name).suffix) as path:
            path.write_bytes(self.content)
            yield str(path)


@dataclass(frozen=True)
class ActorOptions:
    """Number and resources of the actors that do the work."""

    cpus: int = 1  # of an actor, also threads of the network
    gpus: float = 0.0  # of an actor
    min_actors: int = 1
    max_actors: int | None = None  # None: as many as the cluster has room for


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster: "local" starts one, "auto" finds one here, or [ray://]HOST:PORT; raises SeganError."""
    require_extra("ray", "--ray")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    local = {"num_cpus": cpu_count(), "include_dashboard": False} if address == "local" else {}
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own
    except (ConnectionError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise SeganError(f"--ray {address}: cannot connect ({first_line})") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # its errors are raised, too
    with redirect_stdout(sys.stderr):  # on which Ray reports what it lost, also when it is shut down
        try:
            yield
        except ray.exceptions.RayError as error:
            LOG.debug("--ray", exc_info=True)
            raise SeganError(f"--ray {address}: {_root_cause(error)}") from error
        finally:
            ray.shutdown()


def _root_cause(error: BaseException) -> str:
    """Describe the first error of a chain of errors of Ray, which quote the traceback of the actor."""
    while (cause := getattr(error, "cause", None) or error.__cause__) is not None:
        error = cause
    lines = [line for line in str(error).strip().splitlines() if line and not line.startswith(" ")]
    return lines[-1] if lines else type(error).__name__


def capacity(options: ActorOptions) -> int:
    """Return how many actors the cluster has room for at present; raises SeganError when there is none."""
    import ray

    n = 0
    for node in ray.nodes():
        resources = node["Resources"] if node["Alive"] else {}
        cpus, gpus = int(resources.get("CPU", 0)) // options.cpus, resources.get("GPU", 0)
        n += min(cpus, int(gpus / options.gpus)) if options.gpus else cpus
    if not n:
        need = f"{options.cpus} CPUs" + (f" and {options.gpus:g} GPUs" if options.gpus else "")
        raise SeganError(
            f"no machine in the cluster has {need} for an actor; if the cluster can grow, give --ray-actors"
        )
    return n


def enter_folder(folder: Path) -> bool:
    """Make relative names mean the same as where the command was started; False if this machine lacks the folder."""
    if not folder.is_dir():
        return False
    os.chdir(folder)
    return True


def run_on_actors(
    items: Iterable[object], n: int, actor: type, arguments: tuple[Any, ...], actors: ActorOptions
) -> Iterator[Any]:
    """Yield the results of actors for at most `n` items, in any order. Ray runs the items of lost actors again.

    An `actor`, made with the `arguments`, maps batches of pickled items {"item": …} to pickled results {"result": …}.
    """
    import ray

    size = max(1, min(MAX_BLOCK, n // (BLOCKS_PER_ACTOR * (actors.max_actors or capacity(actors)))))
    blocks = [*pickled_blocks(items, size)]
    if not blocks:
        return
    if ray.util.client.ray.is_connected():  # Ray Data does not run in a client
        driver = ray.remote(num_cpus=0)(Driver).remote(blocks, actor, arguments, actors)
        found = iter(lambda: ray.get(driver.next_results.remote()), None)
    else:
        found = _results(blocks, actor, arguments, actors)
    for results in found:
        yield from map(pickle.loads, results)


class Driver:
    """Runs a pipeline on the cluster for a client."""

    def __init__(self, blocks: list[Any], actor: type, arguments: tuple[Any, ...], actors: ActorOptions) -> None:
        self.results = _results(blocks, actor, arguments, actors)

    def next_results(self) -> list[bytes] | None:
        """Return the next results, None at the end."""
        return next(self.results, None)


def _results(blocks: list[Any], actor: type, arguments: tuple[Any, ...], actors: ActorOptions) -> Iterator[list[bytes]]:
    """Yield the results of each block."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    pool = ray.data.ActorPoolStrategy(min_size=actors.min_actors, max_size=actors.max_actors or capacity(actors))
    results = ray.data.from_blocks(blocks).map_batches(  # whose metadata need no tasks on the cluster
        actor, fn_constructor_args=arguments, batch_size=None, compute=pool, num_cpus=actors.cpus, num_gpus=actors.gpus
    )
    for batch in results.iter_batches(batch_size=None, prefetch_batches=0):
        yield list(batch["result"])


def pickled_blocks(items: Iterable[object], size: int) -> Iterator[Any]:
    """Yield items as Arrow tables of `size` rows."""
    import pyarrow as pa

    items = iter(items)
    while block := [pickle.dumps(item) for item in islice(items, size)]:
        yield pa.table({"item": pa.array(block, pa.binary())})
