"""Items through a pool of actors by Ray Data, results out as they come."""

import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from segan_cli.cluster.session import ActorOptions

Batch = dict[str, Any]  # column → values


def run_on_actors(
    items: Iterable[object], n: int, actor: type, arguments: tuple[Any, ...], actors: ActorOptions
) -> Iterator[Any]:
    """Yield the results of actors for items, in any order. Ray runs the items of lost actors and machines again.

    Args:
        items: read once; Ray keeps them outside of this process.
        n: number of items, or an upper bound.
        actor: class whose instances map a batch of pickled items {"item": …} to pickled results {"result": …}.
        arguments: of its constructor.
        actors: number and resources.
    """
    import ray

    size = actors.block_size(n)
    blocks = [ray.put(block) for block in pickled_blocks(items, size)]
    if not blocks:
        return
    if ray.util.client.ray.is_connected():  # Ray Data does not run in a client
        driver = ray.remote(num_cpus=0)(Driver).remote(blocks, actor, arguments, actors)
        while (results := ray.get(driver.next_results.remote())) is not None:
            yield from map(pickle.loads, results)
    else:
        for results in _results(blocks, actor, arguments, actors):
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
    results = ray.data.from_arrow_refs(blocks).map_batches(
        actor,
        fn_constructor_args=arguments,
        batch_size=None,
        compute=actors.pool(),
        num_cpus=actors.cpus,
        num_gpus=actors.gpus,
    )
    for batch in results.iter_batches(batch_size=None, prefetch_batches=0):
        yield list(batch["result"])


def pickled_blocks(items: Iterable[object], size: int) -> Iterator[Any]:
    """Yield items as Arrow tables of `size` rows."""
    import pyarrow as pa

    items = iter(items)
    while block := [pickle.dumps(item) for item in islice(items, size)]:
        yield pa.table({"item": pa.array(block, pa.binary())})
