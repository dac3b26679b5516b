"""`segan enhance`."""

import glob
import os
import shlex
from types import SimpleNamespace
from typing import Any

import click

from segan_cli.arrays import MAX_CHANNELS, RATES_HZ
from segan_cli.cli.options import (
    MODEL,
    PATH,
    PATH_OR_STREAM,
    PATH_OR_URL,
    WORKERS,
    Finite,
    SectionedCommand,
    Whole,
    check_cluster_usage,
    choice,
    cluster_section,
    flag,
    option,
    raise_first,
    seconds,
    section,
    shard_number,
)
from segan_cli.storage.remote import is_url
from segan_cli.storage.same_file import STREAM
from segan_cli.system import MAX_BATCH, MAX_SEED

TARGET = click.Path(readable=False, allow_dash=True)  # a string, as a trailing slash means a folder
CLIP = ("limit", "scale", "clip")
ENCODINGS = {"s8": "PCM_S8", "u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}
ENCODINGS |= {"f64": "DOUBLE", "alaw": "ALAW", "ulaw": "ULAW"}
SUBTYPES = {"pcm8": "PCM_U8", "pcm16": "PCM_16", "pcm24": "PCM_24", "pcm32": "PCM_32", "float": "FLOAT"}
SUBTYPES |= {"double": "DOUBLE", "vorbis": "VORBIS", "opus": "OPUS"}


@click.command(cls=SectionedCommand)
@click.argument("inputs", nargs=-1, type=PATH_OR_STREAM, metavar="[NOISY]...")
@section(
    "Output",
    option("-o --output", "File, folder (no extension), URL, or - for stdout.", TARGET),
    option("--suffix TEXT", "Write next to each input, with this suffix.  [default: -clean]"),
    flag("--skip-existing", "Skip recordings whose output exists."),
    flag("-y --force", "Overwrite existing outputs."),
    option("--format EXT", "Output format: wav, flac, ogg, mp3 …  [default: same as input]", name="extension"),
    option("--subtype", "Sample encoding of the output.  [default: same as input]", click.Choice(list(SUBTYPES))),
    option("--rate HZ", "Sampling rate; with --raw, also of the input.  [default: same as input]", Whole(*RATES_HZ)),
    option("--normalize DB", "Scale to this peak level (0 is full scale).", Finite(-120, 0)),
    option("--loudness LUFS", "Scale to this loudness, e.g. -16, and limit true peaks to -1 dB.", Finite(-70, 0)),
    choice("--clip", CLIP, "Above full scale: turn down the peaks, turn down the whole recording, or clip."),
    option("--residual FILE", "Write the removed sound to a file.", PATH),
    option("--plot PNG", "Write a plot of waveforms and spectrograms before and after.", PATH),
)
@section(
    "Enhancement",
    option("-m --model MODEL", "Shipped model or model file.  [default: segan-spectral]", MODEL),
    flag("--live", "Use the causal model segan-live, which delays a stream by at most 37 ms."),
    option("--strength S", "Amount of enhancement, 0 to 1; 0.8 sounds more natural.  [default: 1]", Finite(0, 1)),
    option("--max-attenuation DB", "Reduce noise by at most this many dB.", Finite(0)),
    option(
        "--channels MODE",
        "linked keeps the stereo image; independent is for separate microphones. With --raw, also the number of"
        " channels of standard input.  [default: linked]",
        multiple=True,
    ),
    choice("--high-band", ("denoise", "keep", "drop"), "What to do with sound above 8 kHz."),
)
@section(
    "Input",
    option("--files-from LIST", "Read input names from a file or -, one per line or NUL-separated.", PATH_OR_STREAM),
    option("--start TIME", "Start of an excerpt, in seconds or MM:SS.", seconds),
    option("--duration TIME", "Length of the excerpt.  [default: until the end]", seconds),
    option("--shard I/N", "Enhance only part I of N of the inputs, chosen by name.", shard_number),
    flag("--allow-truncated", "Accept truncated recordings."),
    flag("--raw", "Standard input and output are samples without a header."),
    option(
        "--encoding ENCODING", f"For --raw samples: {', '.join(ENCODINGS)}.  [default: s16]", click.Choice([*ENCODINGS])
    ),
)
@section(
    "Performance",
    option(
        "-j --jobs N", "Recordings to enhance at once.  [default: one per core, at most 4; with --threads, 1]", WORKERS
    ),
    option("--threads N", "Threads per recording.  [default: all cores, divided by --jobs]", WORKERS),
    option("-d --device", "Device: auto, cpu, cuda or mps.", default="auto", show_default=True),
    choice("--backend", ("auto", "onnx", "torch"), "Runtime; auto is onnx on the CPU if there is an ONNX file."),
    choice("--precision", ("fp32", "bf16"), "Precision of the network."),
    option("--batch-size N", "Segments per call of the network.", Whole(1, MAX_BATCH), name="batch"),
    option("--seed N", "Seed, for models with a latent z.  [default: 0]", Whole(0, MAX_SEED), default=0),
)
@cluster_section
@section(
    "Messages",
    flag("--json", "Print a line of JSON for each recording.", name="as_json"),
    option("--outcomes FILE", "Record outcomes in a .jsonl or .parquet file.", PATH_OR_URL),
    flag("--dry-run", "List inputs and outputs without enhancing."),
    flag("-q --quiet", "Print errors only."),
    flag("-v --verbose", "Print a line for each recording."),
)
def enhance(**options: Any) -> None:
    """Remove noise from recordings of speech.

    NOISY are files, folders, globs, or - for standard input. The output keeps the length, rate, channels, format and
    tags of the input; the video stream is copied. Without -o, the output is written next to the input: talk.wav becomes
    talk-clean.wav.

    \b
    Examples:
      segan enhance noisy.wav -o clean.wav
      segan enhance interviews/ -o cleaned/ --skip-existing
      ffmpeg -i talk.mp4 -f wav - | segan enhance - -o - | aplay
    """
    arguments = SimpleNamespace(**options)
    check_usage(arguments)
    arguments.model = arguments.model or ("segan-live" if arguments.live else "default")
    arguments.channels, arguments.raw_channels = channel_options(arguments)
    arguments.subtype, arguments.encoding = SUBTYPES.get(arguments.subtype), ENCODINGS.get(arguments.encoding)

    from segan_cli.cli.enhance_batch import enhance_inputs

    enhance_inputs(arguments)


def check_usage(arguments: SimpleNamespace) -> None:
    """Raise UsageError for options that contradict each other."""
    inputs, output, suffix, extension = arguments.inputs, arguments.output, arguments.suffix, arguments.extension
    if is_output_without_option(arguments):
        source, target = (shlex.quote(str(path)) for path in inputs)
        raise click.UsageError(f"{target} does not exist; to write to it: segan enhance {source} -o {target}")
    excerpt = arguments.start is not None or arguments.duration is not None
    raise_first({
        "Nothing to enhance; give files, folders, or - for standard input.": not inputs and not arguments.files_from,
        "--output and --suffix both name the output; give one of them.": None not in (output, suffix),
        "Invalid value for --output: the name is empty; give a file, a folder or -": output == "",
        "Standard output is a terminal; redirect it, or give -o FILE.": output == "-" and os.isatty(1),
        "Standard output is WAV, or samples with --raw; give -o FILE for another format.":
            output == "-" and (extension is not None or arguments.subtype in ("vorbis", "opus")),
        "Invalid value for --suffix: give text without a slash, such as -clean": suffix == "" or "/" in (suffix or ""),
        "--files-from - and the input - both read standard input.":
            STREAM in inputs and arguments.files_from == STREAM,
        "--strength and --max-attenuation both limit the change; give one of them.":
            None not in (arguments.strength, arguments.max_attenuation),
        "--live and --model both choose the model; give one of them.": arguments.live and arguments.model is not None,
        "--normalize and --loudness both set the level; give one of them.":
            None not in (arguments.normalize, arguments.loudness),
        "--raw samples have no header; give --rate.": arguments.raw and arguments.rate is None,
        "--encoding needs --raw.": arguments.encoding is not None and not arguments.raw,
        "--force and --skip-existing contradict each other; give one of them.":
            arguments.force and arguments.skip_existing,
        "--residual needs the enhancement that --skip-existing may skip; give one of them.":
            arguments.residual is not None and arguments.skip_existing,
        "Invalid value for --duration: the excerpt is empty; give more than 0 seconds": arguments.duration == 0,
        "--plot shows whole recordings; leave out --start and --duration.": arguments.plot is not None and excerpt,
    })  # fmt: skip
    here = {"--residual": arguments.residual, "--plot": arguments.plot, "--raw": arguments.raw or None}
    here |= {"--jobs": arguments.jobs, "--threads": arguments.threads}
    check_cluster_usage(arguments, here, streams=STREAM in inputs or output == "-")


def is_output_without_option(arguments: SimpleNamespace) -> bool:
    """Whether the second of two inputs seems to be the output, as other commands have it."""
    if len(arguments.inputs) != 2 or arguments.output is not None or arguments.suffix is not None:
        return False
    first, second = map(str, arguments.inputs)
    new = not (glob.has_magic(second) or is_url(second) or os.path.lexists(second))
    return new and second != "-" and (first == "-" or os.path.lexists(first))


def channel_options(arguments: SimpleNamespace) -> tuple[str, int]:
    """Parse --channels: the mode, and the number of channels of raw samples."""
    mode, n = "linked", 1
    for value in arguments.channels:
        if value in ("linked", "independent"):
            mode = value
        elif value.isdecimal() and arguments.raw and 1 <= int(value) <= MAX_CHANNELS:
            n = int(value)
        else:
            message = f"{value}; give linked or independent or, with --raw, a number"
            raise click.BadParameter(message, param_hint="--channels")
    return mode, n
