"""The options for a Ray cluster, of `segan enhance` and `segan evaluate`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segan_cli.cli.numbers import WORKERS, ActorCount, Finite
from segan_cli.cli.sections import section

if TYPE_CHECKING:
    from segan_cli.cluster.session import ActorOptions
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.evaluation.run import Runner

F = TypeVar("F", bound=Callable[..., Any])


def cluster_section(function: F) -> F:
    """Add the options."""
    return section(
        "Cluster",
        click.option("--ray", metavar="ADDRESS", help="Run on Ray: local, auto or ray://HOST:PORT."),
        click.option("--ray-actors", type=ActorCount(), metavar="N|MIN:MAX", help="Actors.  [default: all that fit]"),
        click.option("--ray-cpus", type=WORKERS, metavar="N", help="CPUs and threads per actor.  [default: 1]"),
        click.option("--ray-gpus", type=Finite(0, 64), default=0.0, metavar="X", help="GPUs per actor.  [default: 0]"),
    )(function)


def actor_options(count: tuple[int, int] | None, cpus: int | None, gpus: float) -> "ActorOptions":
    """Return the actors that the options ask for."""
    from segan_cli.cluster.session import ActorOptions

    min_actors, max_actors = count or (1, None)
    return ActorOptions(cpus or 1, gpus, min_actors, max_actors)


def check_cluster_usage(
    address: str | None,
    count: tuple[int, int] | None,
    cpus: int | None,
    gpus: float,
    others: Mapping[str, object],
    streams: bool = False,
) -> None:
    """Raise UsageError for options that contradict --ray or need it; `others` are options that only work without."""
    if address is None:
        for name, given in {"--ray-actors": count, "--ray-cpus": cpus, "--ray-gpus": gpus or None}.items():
            if given is not None:
                raise click.UsageError(f"{name} needs --ray.")
        return
    instead = {"--jobs": "; give --ray-actors", "--threads": "; give --ray-cpus"}
    for name, value in others.items():
        if value is not None:
            raise click.UsageError(f"{name} cannot be combined with --ray{instead.get(name, '')}.")
    if streams:
        raise click.UsageError("--ray enhances files, not standard input; give files or folders.")


@contextmanager
def cluster_runner(
    address: str | None, actors: Callable[[], "ActorOptions"], systems: "Mapping[str, Enhancer]"
) -> "Iterator[Runner | None]":
    """Connect to a cluster and yield what runs an evaluation on it; None for no address."""
    if address is None:
        yield None
        return
    from segan_cli.cluster.evaluate import ClusterRunner
    from segan_cli.cluster.session import connected

    with connected(address):
        yield ClusterRunner({name: system.model for name, system in systems.items()}, actors())
