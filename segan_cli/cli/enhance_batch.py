"""What `segan enhance` does with a plan: list it, enhance it here, or on a cluster."""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segan_cli.atomic import remove_leftovers
from segan_cli.cli.cluster_options import actor_options
from segan_cli.cli.enhance_arguments import Arguments, enhancer_arguments, output_options
from segan_cli.errors import SeganError, StoppedError
from segan_cli.plain_json import write_json

if TYPE_CHECKING:
    from segan_cli.cli.batch_reporter import BatchReporter
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.enhancement.jobs import Job, JobList
    from segan_cli.enhancement.plan import Plan
    from segan_cli.enhancement.recording import OnProgress, Outcome

END_OF_ACTORS_S = 5.0
FILES_PER_JOB = 12  # open files of a recording, at most: its lock, its copy, and the pipes of two ffmpeg
DEFAULT_JOBS = 4  # at most; the network uses all cores in any case

Run = Callable[["JobList", "BatchReporter", Callable[[], int]], None]


def print_plan(plan: "Plan", arguments: Arguments) -> None:
    """Print each input with its output, and the number of them; raises SeganError when some are refused."""
    from segan_cli.cli.console import print_json, print_line, say
    from segan_cli.enhancement.plan import ExistingTargets

    existing = ExistingTargets(plan.folder)
    for job in plan:
        source, target, exists = str(job.source), str(job.target), job.target in existing
        if arguments.as_json:
            print_json(write_json({"source": source, "target": target, "exists": exists}))
        else:
            print_line(f"{source} -> {target}{' (exists)' * exists}")
    for why in plan.refused.values():
        say(f"segan: {why}")
    refused = f", {len(plan.refused)} refused" if plan.refused else ""
    summary = f"{len(plan)} recording{'s' * (len(plan) != 1)}{refused}; nothing was enhanced (--dry-run)"
    if refused:
        raise SeganError(summary)
    if not arguments.quiet:
        say(summary)


def prepare_here(plan: "Plan", arguments: Arguments) -> tuple["Enhancer", Run]:
    """Load the model, and return it with what enhances jobs in this process."""
    from segan_cli.cli.console import limit_jobs
    from segan_cli.enhancement.batch import run_batch, run_job
    from segan_cli.enhancement.enhancer import Enhancer
    from segan_cli.remote import is_remote
    from segan_cli.system import cpu_count
    from segan_cli.witness import witnessed

    several = len(plan) > 1
    n_jobs = max(1, min(arguments.jobs or (1 if arguments.threads else min(cpu_count(), DEFAULT_JOBS)), len(plan)))
    n_jobs = limit_jobs(n_jobs, FILES_PER_JOB, arguments.quiet)
    enhancer = Enhancer(arguments.model, **enhancer_arguments(arguments), threads=arguments.threads, jobs=n_jobs)
    options = output_options(arguments)
    checked = replace(options, force=True)  # for remote targets, of which a listing told whether they exist

    def run(jobs: "JobList", reporter: "BatchReporter", stopped: Callable[[], int]) -> None:
        def run_one(job: "Job", on_progress: "OnProgress") -> "Outcome":
            with witness.following(str(job.source)) if witness is not None else nullcontext():
                return run_job(enhancer, job, checked if several and is_remote(job.target) else options, on_progress)

        with witnessed() if several else nullcontext() as witness:
            run_batch(run_one, jobs, n_jobs, reporter.on_outcome, reporter.on_progress, stopped)

    return enhancer, run


def prepare_cluster(plan: "Plan", arguments: Arguments) -> tuple["Enhancer", Run]:
    """Check the model, and return it with what enhances jobs on a Ray cluster."""
    from segan_cli.cluster.enhance import enhance_on_cluster
    from segan_cli.cluster.session import connected
    from segan_cli.enhancement.enhancer import Enhancer

    if plan.has_stream:
        raise click.UsageError("--ray enhances files, not standard input; the list has a line -.")
    settings = enhancer_arguments(arguments)
    enhancer = Enhancer(arguments.model, **{**settings, "device": "cpu"}, threads=1)  # fails here if it cannot be used
    actors = actor_options(arguments.ray_actors, arguments.ray_cpus, arguments.ray_gpus)

    def run(jobs: "JobList", reporter: "BatchReporter", stopped: Callable[[], int]) -> None:
        if not len(jobs):  # nothing to do for a cluster
            return
        try:
            with connected(str(arguments.ray)):
                enhance_on_cluster(
                    jobs, arguments.model, {**settings, "threads": actors.cpus},
                    output_options(arguments), actors, reporter.on_outcome,
                )  # fmt: skip
        except StoppedError:
            remove_leftovers_of(job.target for job in jobs)
            raise

    return enhancer, run


def remove_leftovers_of(targets: Iterable[Path]) -> None:
    """Remove what actors left that Ray has killed, which may take them a moment."""
    end = time.monotonic() + END_OF_ACTORS_S
    for target in targets:
        while not remove_leftovers(target) and time.monotonic() < end:
            time.sleep(0.1)


def new_jobs(plan: "Plan", arguments: Arguments, enhancer: "Enhancer", reporter: "BatchReporter") -> "JobList":
    """Return the jobs to run; what is refused, and jobs whose target exists, are reported first.

    A single job that runs here checks its target itself.
    """
    from segan_cli.enhancement.batch import refuse, skip
    from segan_cli.enhancement.plan import ExistingTargets
    from segan_cli.enhancement.recording import Outcome

    for source, why in plan.refused.items():
        reporter.on_outcome(enhancer.add_provenance(Outcome(source, "", error=why)))
    if arguments.force or (len(plan) == 1 and arguments.ray is None):
        return plan.jobs
    existing, new = ExistingTargets(plan.folder), bytearray()
    for job in plan:
        new.append(job.target not in existing)
        if new[-1]:
            continue
        if arguments.skip_existing:
            reporter.on_outcome(skip(enhancer, job))
        else:
            reporter.on_existing(refuse(enhancer, job))
    reporter.report_existing()
    return plan.jobs.kept(new)
