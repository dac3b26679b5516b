"""`segan enhance`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segan_cli.cli.numbers import SEED, WORKERS, Finite
from segan_cli.errors import SeganError
from segan_cli.plain_json import write_json

if TYPE_CHECKING:
    from rich.progress import TaskID

    from segan_cli.enhancement.batch import Outcome
    from segan_cli.enhancement.jobs import Job

PATH = click.Path(path_type=Path, allow_dash=True)
TARGET = click.Path(allow_dash=True)  # as it is written, as a slash at its end has a meaning
ENCODINGS = {"s8": "PCM_S8", "u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}
ENCODINGS |= {"f64": "DOUBLE", "alaw": "ALAW", "ulaw": "ULAW"}
SUBTYPES = {"pcm8": "PCM_U8", "pcm16": "PCM_16", "pcm24": "PCM_24", "pcm32": "PCM_32", "float": "FLOAT"}
SUBTYPES |= {"double": "DOUBLE", "vorbis": "VORBIS", "opus": "OPUS"}
MOST_JOBS = 4  # at a time where nobody says how many; the network's threads are as many as there are cores anyway


@click.command()
@click.argument("inputs", nargs=-1, type=PATH, metavar="NOISY...")
@click.option("-o", "--output", type=TARGET, help="File, folder (the tree of the inputs is kept), or - for a pipe.")
@click.option("--suffix", metavar="TEXT", help="Write beside each input, its name ending in this.")
@click.option("--files-from", type=PATH, metavar="LIST", help="File of inputs, or -; separated by NUL or lines.")
@click.option("--model", default="default", show_default=True, help="Shipped model or a file that segan train wrote.")
@click.option("--strength", type=Finite(0, 1), help="0 leaves all as it is, 1 does all.  [default: 1]")
@click.option("--max-attenuation", type=Finite(0), metavar="DB", help="Noise falls by this at most.")
@click.option(
    "--channels", multiple=True, metavar="HOW", help="linked (default), independent; with --raw also their number."
)
@click.option(
    "--high-band", type=click.Choice(["denoise", "keep", "drop"]), default="denoise", show_default=True,
    help="Sound above 8 kHz: remove its noise, keep it as it is, or remove all of it.",
)  # fmt: skip
@click.option("--format", "ending", metavar="EXT", help="wav, flac, ogg, mp3 …  [default: the input's]")
@click.option("--subtype", type=click.Choice(list(SUBTYPES)), help="Encoding of the output.  [default: the input's]")
@click.option(
    "--rate",
    type=click.IntRange(1_000, 768_000),
    metavar="HZ",
    help="Rate of the output; with --raw, of the input.",
)
@click.option("--raw", is_flag=True, help="Standard input and output are bare samples.")
@click.option(
    "--encoding",
    type=click.Choice(list(ENCODINGS)),
    default="s16",
    show_default=True,
    help="Encoding of --raw samples.",
)
@click.option("--normalize", type=Finite(-120, 0), metavar="DB", help="Peak of the output relative to full scale.")
@click.option("--residual", type=PATH, metavar="FILE", help="Write what was removed.")
@click.option("--plot", "picture", type=PATH, metavar="PNG", help="Draw waveform and spectrogram, before and after.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON on each recording.")
@click.option("--force", is_flag=True, help="Overwrite outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave out recordings whose output exists.")
@click.option("--allow-truncated", is_flag=True, help="Take what is there of recordings that are cut short.")
@click.option("--jobs", type=WORKERS, help="Recordings at a time.  [default: one a core, at most 4; 1 with --threads]")
@click.option("--threads", type=WORKERS, help="Threads of each job.  [default: all cores over the jobs]")
@click.option("--device", default="auto", show_default=True, help="auto, cuda, mps or cpu.")
@click.option(
    "--backend", type=click.Choice(["auto", "torch", "onnx"]), default="auto", show_default=True,
    help="What runs the network; auto: onnx on the cpu.",
)  # fmt: skip
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Precision of the network.",
)
@click.option(
    "--batch-size", "batch", type=click.IntRange(1, 4_096), help="Windows at once; by default what suits the device."
)
@click.option("--seed", default=0, show_default=True, type=SEED, help="Start of the draw of the latent z.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="A line on each recording.")
def enhance(
    inputs: tuple[Path, ...],
    output: str | None,
    suffix: str | None,
    files_from: Path | None,
    model: str,
    strength: float | None,
    max_attenuation: float | None,
    channels: tuple[str, ...],
    high_band: str,
    ending: str | None,
    subtype: str | None,
    rate: int | None,
    raw: bool,
    encoding: str,
    normalize: float | None,
    residual: Path | None,
    picture: Path | None,
    as_json: bool,
    force: bool,
    skip_existing: bool,
    allow_truncated: bool,
    jobs: int | None,
    threads: int | None,
    device: str,
    backend: str,
    precision: str,
    batch: int | None,
    seed: int,
    quiet: bool,
    verbose: bool,
) -> None:
    """Write NOISY without its noise: same length, rate and channels.

    NOISY are files, folders, globs or - for standard input; video keeps its pictures. Whatever libsndfile does not read
    goes through an ffmpeg on the PATH.

    \b
    Examples:
      segan enhance noisy.wav -o clean.wav
      segan enhance interviews/ -o cleaned/ --skip-existing
      ffmpeg -i talk.mp4 -f wav - | segan enhance - -o - | aplay
    """
    from segan_cli.audio.streams import Encoding
    from segan_cli.enhancement.batch import Request, Worker, run, standard
    from segan_cli.enhancement.jobs import STREAM, check, listed, plan
    from segan_cli.stopping import Leave, listening
    from segan_cli.system import cpu_count

    names = None
    if files_from is not None:
        names = listed(standard("input").buffer.read() if files_from == STREAM else files_from.read_bytes())
    if not inputs and not names:
        raise click.UsageError("Nothing to enhance; give files, folders, or - for standard input.")
    if (output is None) == (suffix is None):
        raise click.UsageError("Where do results go? Give one of --output and --suffix.")
    if output == "":
        raise click.BadParameter("the name is empty; give a file, a folder or -", param_hint="--output")
    if suffix is not None and (not suffix or "/" in suffix):
        raise click.BadParameter("a name's ending without a slash, such as -clean", param_hint="--suffix")
    if ending is not None and not ending.strip(".").isalnum():
        raise click.BadParameter(f"{ending}; give wav, flac, ogg, mp3 …", param_hint="--format")
    if STREAM in inputs and files_from == STREAM:
        raise click.UsageError("--files-from - and - both want standard input.")
    if strength is not None and max_attenuation is not None:
        raise click.UsageError("--strength and --max-attenuation both say how much is removed; give one.")
    if raw and rate is None:
        raise click.UsageError("--raw samples do not tell their rate; give --rate.")
    how, n_channels = policy(channels, raw)
    if max_attenuation is not None:
        strength = 1 - 10 ** (-max_attenuation / 20)
    left: list[str] = []
    work = plan(inputs, output, suffix, f".{ending.lstrip('.')}" if ending else None, names, left)
    if len(work) > 1 and (residual is not None or picture is not None):
        raise click.UsageError("--residual and --plot take one recording.")
    others = [path for path in (residual, picture) if path is not None]
    if others:
        check(work, others)
    if picture is not None:
        from segan_cli.atomic import check_place
        from segan_cli.enhancement.plot import check_plot

        check_plot()
        check_place(picture, force)
        if STREAM in (work[0].source, work[0].target):
            raise click.UsageError("--plot reads both files again; give files.")
    request = Request(
        model=model,
        device=device,
        backend=backend,  # type: ignore[arg-type]  # one of the choices
        threads=threads,
        settings={
            "strength": 1.0 if strength is None else strength, "channels": how, "high_band": high_band,
            "precision": precision, "batch": batch, "seed": seed,
        },
        raw=Encoding(rate or 0, n_channels, ENCODINGS[encoding]) if raw else None,
        rate_hz=None if raw else rate,
        subtype=SUBTYPES[subtype] if subtype else None,
        normalize_db=normalize,
        residual=residual,
        force=force,
        skip_existing=skip_existing,
        allow_truncated=allow_truncated,
    )  # fmt: skip
    to_stream = any(job.target == STREAM for job in work)
    if to_stream and normalize is not None:
        raise click.UsageError("--normalize needs the whole recording before its first sample; give -o FILE.")
    jobs = min(jobs or (1 if threads else min(cpu_count(), MOST_JOBS)), len(work))
    worker = Worker(request, jobs)  # nothing is begun while the model loads, so a signal need not be heard in order
    account = Account(len(work), as_json, to_stream, quiet, verbose)
    for line in [] if quiet else left:
        account.say(f"segan: {line}")
    with account, listening(Leave()) as stopped:
        run(worker, work, jobs, account.told, account.watch, stopped)
        account.close()
        if picture is not None:
            from segan_cli.enhancement.plot import plot

            plot(work[0].source, work[0].target, picture)


def policy(words: tuple[str, ...], raw: bool) -> tuple[str, int]:
    """What --channels says: how channels hang together, and how many raw samples have."""
    from segan_cli.audio.files import MOST_CHANNELS

    how, n = "linked", 1
    for word in words:
        if word in ("linked", "independent"):
            how = word
        elif word.isdecimal() and raw and 1 <= int(word) <= MOST_CHANNELS:
            n = int(word)
        else:
            says = f"{word}; give linked or independent, and with --raw a number"
            raise click.BadParameter(says, param_hint="--channels")
    return how, n


class Account:
    """What is said of a batch while it runs and at its end."""

    def __init__(self, n: int, as_json: bool, to_stream: bool, quiet: bool, verbose: bool) -> None:
        from segan_cli.cli.console import print_json, progress_bar, say

        self.say, self.print_json = say, print_json
        self.n, self.as_json, self.to_stream, self.quiet, self.verbose = n, as_json, to_stream, quiet, verbose
        self.done = self.skipped = self.failed = 0
        self.bar = progress_bar(not quiet)
        self.all = self.bar.add_task("recordings", total=n, note="", visible=n > 1)
        self.each: dict[Job, TaskID] = {}  # recordings that are being enhanced

    def __enter__(self) -> "Account":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def watch(self, job: "Job", done: int, of: int | None) -> None:
        """Show how far a recording is."""
        if job not in self.each:
            self.each[job] = self.bar.add_task(job.source.name, total=of, note="")
        self.bar.update(self.each[job], completed=done, total=of)

    def told(self, outcome: "Outcome") -> None:
        """Say what became of a recording."""
        self.bar.update(self.all, advance=1)
        for job in [job for job in self.each if str(job.source) == outcome.source]:
            self.bar.remove_task(self.each.pop(job))
        self.failed += outcome.error is not None
        self.skipped += outcome.skipped
        self.done += outcome.error is None and not outcome.skipped
        if self.as_json:
            self.print_json(write_json(asdict(outcome)), aside=self.to_stream)
        if outcome.error is not None and self.n > 1:
            self.say(f"segan: {outcome.error}")
        elif self.verbose and outcome.error is None and not outcome.skipped:
            self.say(
                f"{outcome.target}: {outcome.seconds:.1f} s, {outcome.rate_hz} Hz, {outcome.channels} channels,"
                f" pauses {outcome.noise_reduction_db:.0f} dB quieter, {outcome.real_time_factor:.3f} of real time"
            )
        if not self.quiet:
            for line in outcome.warnings:
                self.say(f"segan: {outcome.source}: {line}")
        self.last = outcome

    def close(self) -> None:
        """The end: a summary of several; raises SeganError when something failed."""
        if self.n > 1 and not self.quiet:
            parts = [f"{self.done} enhanced", f"{self.skipped} there already" * (self.skipped > 0)]
            self.say(", ".join(filter(None, [*parts, f"{self.failed} failed" * (self.failed > 0)])))
        if self.failed:
            raise SeganError(str(self.last.error) if self.n == 1 else f"{self.failed} of {self.n} recordings failed")
