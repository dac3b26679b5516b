"""The arguments of `segan enhance`: checks, jobs and output options."""

import glob
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from segan_cli.cli.cluster_options import check_cluster_usage
from segan_cli.extras import require_extra
from segan_cli.remote import is_url
from segan_cli.same_file import STREAM, Use

if TYPE_CHECKING:
    from segan_cli.audio.levels import Clip
    from segan_cli.enhancement.jobs import Job
    from segan_cli.enhancement.plan import Plan
    from segan_cli.enhancement.recording import OutputOptions

ENCODINGS = {"s8": "PCM_S8", "u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}
ENCODINGS |= {"f64": "DOUBLE", "alaw": "ALAW", "ulaw": "ULAW"}
SUBTYPES = {"pcm8": "PCM_U8", "pcm16": "PCM_16", "pcm24": "PCM_24", "pcm32": "PCM_32", "float": "FLOAT"}
SUBTYPES |= {"double": "DOUBLE", "vorbis": "VORBIS", "opus": "OPUS"}
SUFFIX = "-clean"  # of outputs, if neither --output nor --suffix is given


@dataclass(frozen=True)
class Arguments:
    """The options of the command."""

    inputs: tuple[Path, ...]
    output: str | None
    suffix: str | None
    files_from: Path | None
    model: str
    strength: float | None
    max_attenuation: float | None
    channels: tuple[str, ...]
    high_band: str
    extension: str | None
    subtype: str | None
    rate: int | None
    normalize: float | None
    loudness: float | None
    clip: str
    residual: Path | None
    plot: Path | None
    force: bool
    skip_existing: bool
    allow_truncated: bool
    start: float | None
    duration: float | None
    raw: bool
    encoding: str | None
    jobs: int | None
    threads: int | None
    device: str
    backend: str
    precision: str
    batch: int | None
    seed: int
    outcomes: Path | None
    dry_run: bool
    shard: tuple[int, int] | None
    ray: str | None
    ray_actors: tuple[int, int] | None
    ray_cpus: int | None
    ray_gpus: float
    as_json: bool
    quiet: bool
    verbose: bool


def check_usage(arguments: Arguments) -> None:
    """Raise UsageError for options that contradict each other."""
    if not arguments.inputs and arguments.files_from is None:
        raise click.UsageError("Nothing to enhance; give files, folders, or - for standard input.")
    if is_output_without_option(arguments):
        source, target = (shlex.quote(str(path)) for path in arguments.inputs)
        raise click.UsageError(f"{target} does not exist; to write to it: segan enhance {source} -o {target}")
    if arguments.output is not None and arguments.suffix is not None:
        raise click.UsageError("--output and --suffix both name the output; give one of them.")
    if arguments.output == "":
        raise click.BadParameter("the name is empty; give a file, a folder or -", param_hint="--output")
    if arguments.output == "-" and os.isatty(1):
        raise click.UsageError("Standard output is a terminal; redirect it, or give -o FILE.")
    if arguments.suffix is not None and (not arguments.suffix or "/" in arguments.suffix):
        raise click.BadParameter("give text without a slash, such as -clean", param_hint="--suffix")
    if arguments.extension is not None and not arguments.extension.strip(".").isalnum():
        raise click.BadParameter(f"{arguments.extension}; give wav, flac, ogg, mp3 …", param_hint="--format")
    if STREAM in arguments.inputs and arguments.files_from == STREAM:
        raise click.UsageError("--files-from - and the input - both read standard input.")
    if arguments.strength is not None and arguments.max_attenuation is not None:
        raise click.UsageError("--strength and --max-attenuation both limit the change; give one of them.")
    if arguments.normalize is not None and arguments.loudness is not None:
        raise click.UsageError("--normalize and --loudness both set the level; give one of them.")
    if arguments.raw and arguments.rate is None:
        raise click.UsageError("--raw samples have no header; give --rate.")
    if arguments.encoding is not None and not arguments.raw:
        raise click.UsageError("--encoding needs --raw.")
    if arguments.force and arguments.skip_existing:
        raise click.UsageError("--force and --skip-existing contradict each other; give one of them.")
    if arguments.duration == 0:
        raise click.BadParameter("the excerpt is empty; give more than 0 seconds", param_hint="--duration")
    if arguments.plot is not None and (arguments.start is not None or arguments.duration is not None):
        raise click.UsageError("--plot shows whole recordings; leave out --start and --duration.")
    channel_options(arguments)
    single: dict[str, object] = {
        "--residual": arguments.residual,
        "--plot": arguments.plot,
        "--raw": arguments.raw or None,
    }
    single |= {"--jobs": arguments.jobs, "--threads": arguments.threads}
    streams = STREAM in arguments.inputs or arguments.output == "-"
    check_cluster_usage(arguments.ray, arguments.ray_actors, arguments.ray_cpus, arguments.ray_gpus, single, streams)


def is_output_without_option(arguments: Arguments) -> bool:
    """Whether the second of two inputs seems to be the output, as other commands have it."""
    if len(arguments.inputs) != 2 or arguments.output is not None or arguments.suffix is not None:
        return False
    first, second = map(str, arguments.inputs)
    new = not (glob.has_magic(second) or is_url(second) or os.path.lexists(second))
    return new and second != "-" and (first == "-" or os.path.lexists(first))


def plan_jobs(arguments: Arguments) -> "Plan":
    """Plan the jobs; raises UsageError when options do not apply to them."""
    from segan_cli.cli.console import say
    from segan_cli.cli.outcome_file import check_outcome_file
    from segan_cli.enhancement.inputs import read_names
    from segan_cli.enhancement.plan import Shard, make_plan
    from segan_cli.remote import as_path

    content = b"" if arguments.files_from is None else read_list(arguments.files_from)
    if not arguments.inputs and not any(True for _ in read_names(content)):
        raise click.UsageError("Nothing to enhance; the list is empty.")
    plan = make_plan(
        arguments.inputs,
        None if arguments.output is None else as_path(arguments.output),
        SUFFIX if arguments.output is None and arguments.suffix is None else arguments.suffix,
        f".{arguments.extension.lstrip('.')}" if arguments.extension else None,
        read_names(content),
        slash=str(arguments.output).endswith(("/", os.sep)),
        shard=None if arguments.shard is None else Shard(*arguments.shard),
        others=other_uses(arguments),
    )
    if arguments.raw and not plan.has_stream:
        raise click.UsageError("--raw is for standard input and output; give - as input or output.")
    if arguments.outcomes is not None:
        check_outcome_file(arguments.outcomes, arguments.force or arguments.skip_existing)
    single = arguments.residual is not None or arguments.plot is not None
    if single and (len(plan) != 1 or arguments.shard is not None):
        raise click.UsageError("--residual and --plot support only one recording.")
    if arguments.plot is not None:
        check_plot(next(iter(plan)), arguments.plot, arguments.force)
    normalized = arguments.normalize is not None or arguments.loudness is not None
    if (normalized or arguments.clip == "scale") and any(job.target == STREAM for job in plan):
        options = "--normalize, --loudness and --clip scale"
        raise click.UsageError(f"{options} read the whole recording before they write; give -o FILE.")
    if arguments.loudness is not None:
        require_extra("loudness", "--loudness")
    notes = plan.notes + (
        note_earlier_results(plan) if arguments.suffix is None and arguments.output is not None else []
    )
    for note in [] if arguments.quiet else notes:
        say(f"segan: {note}")
    return plan


def other_uses(arguments: Arguments) -> list[Use]:
    """Return the files that the command reads and writes besides recordings and their outputs."""
    from segan_cli.backends.pretrained import model_files

    uses = [Use(path, "model") for path in model_files(arguments.model)]
    if arguments.files_from is not None:
        uses.append(Use(arguments.files_from, "list"))
    written = {"--residual": arguments.residual, "--plot": arguments.plot, "--outcomes": arguments.outcomes}
    if arguments.dry_run or (arguments.as_json and arguments.output != "-"):
        written["the report"] = STREAM
    return uses + [Use(path, option, written=True) for option, path in written.items() if path is not None]


def read_list(path: Path) -> bytes:
    """Read a list of names, from standard input for -."""
    from segan_cli.enhancement.recording import standard_input

    return standard_input().read() if path == STREAM else path.read_bytes()


def note_earlier_results(jobs: Iterable["Job"]) -> list[str]:
    """Note inputs that look like results of other inputs."""
    results = {job.source for job in jobs if job.source.stem.endswith(SUFFIX)}
    of_inputs = {result.with_stem(result.stem.removesuffix(SUFFIX) or result.stem): result for result in results}
    found = [of_inputs[job.source] for job in jobs if job.source in of_inputs] if results else []
    return [f"{min(found)}: {len(found)} inputs look like earlier results and are enhanced again"] if found else []


def check_plot(job: "Job", picture: Path, force: bool) -> None:
    """Raise an error when the plot cannot be made."""
    from segan_cli.atomic import check_place

    require_extra("plot", "--plot")
    check_place(picture, force)
    if STREAM in (job.source, job.target):
        raise click.UsageError("--plot reads input and output again; give files.")


def output_options(arguments: Arguments) -> "OutputOptions":
    """Return how the outputs are written."""
    from segan_cli.audio.containers.wav import Encoding
    from segan_cli.enhancement.excerpt import Excerpt
    from segan_cli.enhancement.recording import OutputOptions

    raw, excerpt = None, None
    if arguments.start is not None or arguments.duration is not None:
        excerpt = Excerpt(arguments.start or 0.0, arguments.duration)
    if arguments.raw:
        raw = Encoding(arguments.rate or 0, channel_options(arguments)[1], ENCODINGS[arguments.encoding or "s16"])
    return OutputOptions(
        raw=raw,
        rate_hz=None if arguments.raw else arguments.rate,
        subtype=SUBTYPES[arguments.subtype] if arguments.subtype else None,
        normalize_db=arguments.normalize,
        loudness_lufs=arguments.loudness,
        clip=cast("Clip", arguments.clip),
        residual=arguments.residual,
        force=arguments.force,
        skip_existing=arguments.skip_existing,
        allow_truncated=arguments.allow_truncated,
        excerpt=excerpt,
    )


def enhancer_arguments(arguments: Arguments) -> dict[str, Any]:
    """Return the arguments of the Enhancer that do not depend on where it runs."""
    names = ("high_band", "device", "backend", "precision", "batch", "seed")
    settings = {name: getattr(arguments, name) for name in names}
    return {**settings, "strength": strength(arguments), "channels": channel_options(arguments)[0]}


def strength(arguments: Arguments) -> float:
    """Return the strength, also from the largest attenuation."""
    if arguments.max_attenuation is not None:
        return float(1 - 10 ** (-arguments.max_attenuation / 20))
    return 1.0 if arguments.strength is None else arguments.strength


def channel_options(arguments: Arguments) -> tuple[str, int]:
    """Parse --channels: the mode, and the number of channels of raw samples."""
    from segan_cli.audio.files import MAX_CHANNELS

    mode, n = "linked", 1
    for value in arguments.channels:
        if value in ("linked", "independent"):
            mode = value
        elif value.isdecimal() and arguments.raw and 1 <= int(value) <= MAX_CHANNELS:
            n = int(value)
        else:
            message = f"{value}; give linked or independent, and with --raw a number"
            raise click.BadParameter(message, param_hint="--channels")
    return mode, n
