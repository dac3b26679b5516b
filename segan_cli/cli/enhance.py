"""`segan enhance`."""

from typing import Any

import click

from segan_cli.cli.cluster_options import cluster_section
from segan_cli.cli.enhance_arguments import ENCODINGS, SUBTYPES, Arguments, check_usage, plan_jobs
from segan_cli.cli.enhance_batch import new_jobs, prepare_cluster, prepare_here, print_plan
from segan_cli.cli.model_name import MODEL
from segan_cli.cli.numbers import SEED, WORKERS, Finite, ShardNumber, Time, Whole
from segan_cli.cli.paths import LOCAL_PATH, PATH_OR_URL
from segan_cli.cli.sections import SectionedCommand, section

TARGET = click.Path(allow_dash=True)  # a string, as a trailing slash means a folder


@click.command(cls=SectionedCommand)
@click.argument("inputs", nargs=-1, type=PATH_OR_URL, metavar="NOISY...")
@section(
    "Output",
    click.option("-o", "--output", type=TARGET, help="File, folder (no extension), URL, or - for stdout."),
    click.option("--suffix", metavar="TEXT", help="Write beside each input, with this suffix.  [default: -clean]"),
    click.option("--skip-existing", is_flag=True, help="Skip recordings whose output exists."),
    click.option("-y", "--force", is_flag=True, help="Overwrite existing outputs."),
    click.option("--format", "extension", metavar="EXT", help="wav, flac, ogg, mp3 …  [default: as the input]"),
    click.option("--subtype", type=click.Choice(list(SUBTYPES)), help="Encoding.  [default: as the input]"),
    click.option(
        "--rate",
        type=Whole(1_000, 768_000),
        metavar="HZ",
        help="Sampling rate; with --raw, also of the input.  [default: as the input]",
    ),
    click.option("--normalize", type=Finite(-120, 0), metavar="DB", help="Scale to this peak level (full scale: 0)."),
    click.option(
        "--loudness",
        type=Finite(-70, 0),
        metavar="LUFS",
        help="Scale to this loudness, e.g. -16, and limit true peaks to -1 dB.",
    ),
    click.option(
        "--clip",
        type=click.Choice(["limit", "scale", "clip"]),
        default="limit",
        show_default=True,
        help="Above full scale: turn peaks down, or the whole recording, or cut peaks off.",
    ),
    click.option("--residual", type=LOCAL_PATH, metavar="FILE", help="Write the removed sound to a file."),
    click.option("--plot", type=LOCAL_PATH, metavar="PNG", help="Plot waveform and spectrogram before and after."),
)
@section(
    "Enhancement",
    click.option(
        "-m",
        "--model",
        type=MODEL,
        default="default",
        show_default=True,
        metavar="MODEL",
        help="Shipped model or model file.",
    ),
    click.option("--live", "model", flag_value="segan-live", help="Causal model: in pipes 32 ms behind the input."),
    click.option("--strength", type=Finite(0, 1), metavar="S", help="0 to 1; 0.8 sounds more natural.  [default: 1]"),
    click.option("--max-attenuation", type=Finite(0), metavar="DB", help="Reduce noise by at most this many dB."),
    click.option(
        "--channels",
        multiple=True,
        metavar="MODE",
        help="linked keeps the stereo image, independent is for separate microphones; with --raw, also their number."
        "  [default: linked]",
    ),
    click.option(
        "--high-band",
        type=click.Choice(["denoise", "keep", "drop"]),
        default="denoise",
        show_default=True,
        help="What to do with sound above 8 kHz.",
    ),
)
@section(
    "Input",
    click.option(
        "--files-from", type=PATH_OR_URL, metavar="LIST", help="Read input names from a file or -, one per line."
    ),
    click.option("--start", type=Time(), metavar="TIME", help="Enhance an excerpt from here on: seconds or MM:SS."),
    click.option("--duration", type=Time(), metavar="TIME", help="Length of the excerpt.  [default: to the end]"),
    click.option("--shard", type=ShardNumber(), metavar="I/N", help="Enhance part I of N of the inputs, by name."),
    click.option("--allow-truncated", is_flag=True, help="Accept recordings that are cut short."),
    click.option("--raw", is_flag=True, help="Standard input and output are samples without a header."),
    click.option(
        "--encoding",
        type=click.Choice(list(ENCODINGS)),
        metavar="ENCODING",
        help=f"Of --raw samples: {', '.join(ENCODINGS)}.  [default: s16]",
    ),
)
@section(
    "Performance",
    click.option(
        "-j", "--jobs", type=WORKERS, metavar="N", help="Recordings at a time.  [default: one per core, at most 4]"
    ),
    click.option("--threads", type=WORKERS, metavar="N", help="Threads per recording.  [default: all cores]"),
    click.option("-d", "--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
    click.option(
        "--backend",
        type=click.Choice(["auto", "onnx", "torch"]),
        default="auto",
        show_default=True,
        help="Runs the network; auto is onnx on the CPU.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "bf16"]),
        default="fp32",
        show_default=True,
        help="Precision of the network.",
    ),
    click.option("--batch-size", "batch", type=Whole(1, 4_096), metavar="N", help="Segments per call of the network."),
    click.option("--seed", default=0, type=SEED, metavar="N", help="Seed, for models with a latent z.  [default: 0]"),
)
@cluster_section
@section(
    "Messages",
    click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each recording."),
    click.option(
        "--outcomes", type=PATH_OR_URL, metavar="FILE", help="Write these lines to a .jsonl or .parquet file."),
    click.option("--dry-run", is_flag=True, help="List inputs and outputs, and enhance nothing."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Print a line for each recording."),
)  # fmt: skip
def enhance(**options: Any) -> None:
    """Remove noise from recordings of speech.

    NOISY are files, folders, globs, or - for standard input. The output has the same length, rate, channels, format and
    tags; video keeps its pictures. Without -o it is written beside the input: talk.wav becomes talk-clean.wav.

    \b
    Examples:
      segan enhance noisy.wav -o clean.wav
      segan enhance interviews/ -o cleaned/ --skip-existing
      ffmpeg -i talk.mp4 -f wav - | segan enhance - -o - | aplay
    """
    arguments = Arguments(**options)
    check_usage(arguments)
    plan = plan_jobs(arguments)
    if arguments.dry_run:
        print_plan(plan, arguments)
        return

    from segan_cli.atomic import remove_scratch
    from segan_cli.cli.batch_reporter import BatchReporter
    from segan_cli.cli.outcome_file import open_outcomes
    from segan_cli.stopping import RaiseOnSignal, listening

    remove_scratch()
    enhancer, run = (prepare_here if arguments.ray is None else prepare_cluster)(plan, arguments)
    with open_outcomes(arguments.outcomes, arguments.force or arguments.skip_existing) as record:
        reporter = BatchReporter(
            len(plan) + len(plan.refused), as_json=arguments.as_json, to_stream=arguments.output == "-",
            quiet=arguments.quiet, verbose=arguments.verbose, record=record,
        )  # fmt: skip
        with reporter, listening(RaiseOnSignal()) as stopped:
            run(new_jobs(plan, arguments, enhancer, reporter), reporter, stopped)
            reporter.close()
    if arguments.plot is not None:
        from segan_cli.enhancement.plot import plot

        for job in plan:
            plot(job.source, job.target, arguments.plot)
