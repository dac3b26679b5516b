"""The work of `segan enhance`: planning jobs, then listing them or enhancing them here or on a cluster."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from segan_cli.audio.files import MEDIA, suggestion
from segan_cli.audio.wav import Encoding
from segan_cli.backends.pretrained import model_files
from segan_cli.cli.console import limit_jobs, print_json, print_line, say
from segan_cli.cli.options import PATH_OR_STREAM, actor_options, raise_first
from segan_cli.cli.outcomes import BatchReporter, check_outcome_file, open_outcomes
from segan_cli.enhancement.batch import run_batch, run_job
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.plan import Job, Plan, Shard, make_plan, read_names
from segan_cli.enhancement.recording import Excerpt, OnProgress, Outcome, OutputOptions, standard_input
from segan_cli.errors import AudioError, ExistsError, SeganError, StoppedError
from segan_cli.process.crash_reporter import crash_reporter
from segan_cli.process.stopping import RaiseOnSignal, listening
from segan_cli.storage.atomic import check_place, remove_leftovers, remove_scratch
from segan_cli.storage.new_folders import new_folder
from segan_cli.storage.remote import find_files, is_remote
from segan_cli.storage.same_file import STREAM, Use
from segan_cli.system import cpu_count, require_extra
from segan_cli.text import counted

SUFFIX = "-clean"  # of outputs, if neither --output nor --suffix is given
END_OF_ACTORS_S = 5.0
FILES_PER_JOB = 12  # open files of a recording, at most: its lock, its copy, and the pipes of two ffmpeg
DEFAULT_JOBS = 4  # at most; the network uses all cores in any case

Run = Callable[[Plan, BatchReporter, Callable[[], int]], None]


def enhance_inputs(arguments: SimpleNamespace) -> None:
    """Enhance all inputs, or list them for --dry-run; raises SeganError when one could not be enhanced."""
    plan = plan_jobs(arguments)
    if arguments.dry_run:
        print_plan(plan, arguments)
        return
    remove_scratch()
    run = (prepare_here if arguments.ray is None else prepare_cluster)(plan, arguments)
    with open_outcomes(arguments.outcomes, arguments.force) as record:
        reporter = BatchReporter(
            len(plan) + len(plan.refused), as_json=arguments.as_json, to_stream=arguments.output == "-",
            quiet=arguments.quiet, verbose=arguments.verbose, record=record,
        )  # fmt: skip
        with reporter, listening(RaiseOnSignal()) as stopped, folder_of_single(plan):
            run(new_jobs(plan, arguments, reporter), reporter, stopped)
            reporter.close()
    if arguments.plot is not None:
        from segan_cli.enhancement.plot import plot

        for job in plan:
            plot(job.source, job.target, arguments.plot)


def plan_jobs(arguments: SimpleNamespace) -> Plan:
    """Plan the jobs; raises UsageError when options do not apply to them."""
    files_from, output, suffix, force = arguments.files_from, arguments.output, arguments.suffix, arguments.force
    listed = b"" if files_from is None else standard_input().read() if files_from == STREAM else files_from.read_bytes()
    if not arguments.inputs and next(iter(read_names(listed)), None) is None:
        raise AudioError(f"{files_from}: the list is empty; nothing to enhance")
    extension = None if arguments.extension is None else f".{arguments.extension.lstrip('.').lower()}"
    if extension not in (None, *MEDIA):
        raise click.BadParameter(f"{arguments.extension}; give wav, flac, ogg or mp3", param_hint="--format")
    plan = make_plan(
        arguments.inputs, None if output is None else PATH_OR_STREAM.convert(output, None, None),
        SUFFIX if output is None and suffix is None else suffix, extension, read_names(listed),
        slash=str(output).endswith(("/", os.sep)), others=other_uses(arguments),
        shard=None if arguments.shard is None else Shard(*arguments.shard),
    )  # fmt: skip
    if arguments.outcomes is not None:
        check_outcome_file(arguments.outcomes, force)
    single = arguments.residual is not None or arguments.plot is not None
    to_stream = any(job.target == STREAM for job in plan)
    raise_first({
        "--raw is for standard input and output; give - as input or output.": arguments.raw and not plan.has_stream,
        "--subtype is for files and WAV; for samples without a header, give --encoding.":
            arguments.raw and arguments.subtype is not None and to_stream,
        "Invalid value for --plot: the file name must end in .png":
            arguments.plot is not None and arguments.plot.suffix.lower() != ".png",
        "--residual and --plot support only one recording.": single and (len(plan) != 1 or arguments.shard is not None),
        "--normalize, --loudness and --clip scale read the whole recording before they write; give -o FILE.":
            to_stream and output_options(arguments).releveled,
        "--ray enhances files, not standard input; the list contains -.":
            arguments.ray is not None and plan.has_stream,
    })  # fmt: skip
    if arguments.plot is not None:
        require_extra("plot", "--plot")
        check_place(arguments.plot, force)
        raise_first({"--plot reads input and output again; give files.": plan.has_stream})
    if arguments.loudness is not None:
        require_extra("loudness", "--loudness")
    earlier = note_earlier_results(plan) if suffix is None and output is not None else []
    for note in [] if arguments.quiet else [*plan.notes, *earlier]:
        say(f"segan: {note}")
    return plan


def other_uses(arguments: SimpleNamespace) -> list[Use]:
    """Return the files that the command reads and writes besides recordings and their outputs."""
    uses = [Use(path, "model") for path in model_files(arguments.model)]
    if arguments.files_from is not None:
        uses.append(Use(arguments.files_from, "list"))
    written = {"--residual": arguments.residual, "--plot": arguments.plot, "--outcomes": arguments.outcomes}
    if arguments.dry_run or (arguments.as_json and arguments.output != "-"):
        written["the report"] = STREAM
    return uses + [Use(path, option, written=True) for option, path in written.items() if path is not None]


def note_earlier_results(jobs: Iterable[Job]) -> list[str]:
    """Note inputs that look like results of other inputs."""
    results = {job.source for job in jobs if job.source.stem.endswith(SUFFIX)}
    of_inputs = {result.with_stem(result.stem.removesuffix(SUFFIX) or result.stem): result for result in results}
    found = [of_inputs[job.source] for job in jobs if job.source in of_inputs] if results else []
    return [f"{min(found)}: enhancing {counted(len(found), 'earlier result')} again"] if found else []


def output_options(arguments: SimpleNamespace) -> OutputOptions:
    """Return how the outputs are written."""
    raw, excerpt = None, None
    if arguments.start is not None or arguments.duration is not None:
        excerpt = Excerpt(arguments.start or 0.0, arguments.duration)
    if arguments.raw:
        raw = Encoding(arguments.rate, arguments.raw_channels, arguments.encoding or "PCM_16")
    names = ("subtype", "clip", "residual", "force", "skip_existing", "allow_truncated")
    same = {name: getattr(arguments, name) for name in names}
    levels = {"normalize_db": arguments.normalize, "loudness_lufs": arguments.loudness}
    return OutputOptions(raw, arguments.rate, excerpt=excerpt, **same, **levels)


def enhancer_arguments(arguments: SimpleNamespace) -> dict[str, Any]:
    """Return the arguments of the Enhancer that do not depend on where it runs."""
    names = ("channels", "high_band", "device", "backend", "precision", "batch", "seed")
    strength = 1.0 if arguments.strength is None else arguments.strength
    if arguments.max_attenuation is not None:
        strength = 1 - 10 ** (-arguments.max_attenuation / 20)
    return {"strength": strength, **{name: getattr(arguments, name) for name in names}}


def print_plan(plan: Plan, arguments: SimpleNamespace) -> None:
    """Print each input with its output, and the number of them; raises SeganError when some are refused."""
    existing, refused = ExistingTargets(plan.folder), dict(plan.refused)
    for job in plan:
        source, target, exists = str(job.source), str(job.target), job.target in existing
        here = not (arguments.ray or is_remote(job.source) or job.source == STREAM)
        if here and not os.path.exists(job.source):
            refused[source] = f"{source}: no such file; {suggestion(job.source)}"
            continue
        if arguments.as_json:
            print_json({"source": source, "target": target, "exists": exists})
        else:
            print_line(f"{source} -> {target}{' (exists)' * exists}")
    for why in refused.values():
        say(f"segan: {why}")
    listed = counted(len(plan) + len(plan.refused) - len(refused), "recording")
    summary = f"{listed}{f', {len(refused)} refused' * bool(refused)}; nothing was enhanced (--dry-run)"
    if refused:
        raise SeganError(summary)
    if not arguments.quiet:
        say(summary)


def prepare_here(plan: Plan, arguments: SimpleNamespace) -> Run:
    """Load the model, and return what enhances jobs in this process."""
    n_jobs = max(1, min(arguments.jobs or (1 if arguments.threads else min(cpu_count(), DEFAULT_JOBS)), len(plan)))
    n_jobs = limit_jobs(n_jobs, FILES_PER_JOB, arguments.quiet)
    enhancer = Enhancer(arguments.model, **enhancer_arguments(arguments), threads=arguments.threads, jobs=n_jobs)
    options, several = output_options(arguments), len(plan) > 1
    overwriting = replace(options, force=True)  # for remote targets; a listing has told whether they exist

    def run(jobs: Plan, reporter: BatchReporter, stopped: Callable[[], int]) -> None:
        def run_one(job: Job, on_progress: OnProgress) -> Outcome:
            with crashes.following(str(job.source)) if crashes is not None else nullcontext():
                return run_job(
                    enhancer, job, overwriting if several and is_remote(job.target) else options, on_progress
                )

        with crash_reporter() if several else nullcontext() as crashes:
            run_batch(run_one, jobs, n_jobs, reporter.on_outcome, reporter.on_progress, stopped)

    return run


def prepare_cluster(plan: Plan, arguments: SimpleNamespace) -> Run:
    """Check the model, and return what enhances jobs on a Ray cluster."""
    from segan_cli.cluster.enhance import enhance_on_cluster
    from segan_cli.cluster.pipeline import connected

    settings = enhancer_arguments(arguments)
    Enhancer(arguments.model, **{**settings, "device": "cpu"}, threads=1)  # fails here if it cannot be used
    actors = actor_options(arguments)
    settings["threads"] = actors.cpus

    def run(jobs: Plan, reporter: BatchReporter, stopped: Callable[[], int]) -> None:
        if not len(jobs):  # nothing to do for a cluster
            return
        try:
            with connected(arguments.ray):
                enhance_on_cluster(
                    jobs, arguments.model, settings, output_options(arguments), actors, reporter.on_outcome
                )
        except StoppedError:
            end = time.monotonic() + END_OF_ACTORS_S  # for killed actors to end
            for job in jobs:
                while not remove_leftovers(job.target) and time.monotonic() < end:
                    time.sleep(0.1)
            raise

    return run


def folder_of_single(plan: Plan) -> AbstractContextManager[None]:
    """Create the folder of the only output, and remove it if the output fails; other processes may use that of many."""
    target = next(iter(plan)).target if len(plan) == 1 else STREAM
    return nullcontext() if target == STREAM or is_remote(target) else new_folder(target.parent)


def new_jobs(plan: Plan, arguments: SimpleNamespace, reporter: BatchReporter) -> Plan:
    """Return the jobs to run; what is refused, and jobs whose target exists, are reported first."""
    for source, why in plan.refused.items():
        reporter.on_outcome(Outcome(source, "", error=why))
    if arguments.force:
        return plan
    existing, new, skipped = ExistingTargets(plan.folder, single=len(plan) == 1), bytearray(), arguments.skip_existing
    for job in plan:
        new.append(job.target not in existing)
        if new[-1]:
            continue
        if skipped:
            remove_leftovers(job.target)
        error = None if skipped else str(ExistsError(f"{job.target}: already exists"))
        reporter.on_outcome(Outcome(str(job.source), str(job.target), error, skipped), existing=not skipped)
    reporter.report_existing()
    return plan.select(new)


class ExistingTargets:
    """Which targets exist: local files are checked one by one, remote ones by one listing of their folder."""

    def __init__(self, folder: Path | None, single: bool = False) -> None:
        """`folder` holds all targets, None if they are next to their sources; a `single` one is checked by itself."""
        self.single, self.found, self.listed = single, set[Path](), set[Path]()
        self.root = folder if folder is not None and is_remote(folder) else None

    def __contains__(self, target: Path) -> bool:
        if target == STREAM:
            return False
        if not is_remote(target):
            return os.path.isfile(target)
        if self.single:
            return target.is_file()
        folder = self.root or target.parent
        if folder not in self.listed:
            self.listed.add(folder)
            self.found |= {folder / name for name in find_files(folder, recursive=folder is self.root, hidden=True)}
        return target in self.found
