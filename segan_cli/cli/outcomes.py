"""Reporting the outcomes of `segan enhance`: progress, lines, a summary, JSON, and the file of --outcomes."""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.progress import TaskID

from segan_cli.audio.sources import STDIN
from segan_cli.cli.console import duration, print_json, progress_bar, say, standard_output
from segan_cli.enhancement.plan import Job
from segan_cli.enhancement.recording import Outcome
from segan_cli.errors import ConfigError, ExistsError, OutputError, SeganError
from segan_cli.storage.atomic import atomically, check_place, writing
from segan_cli.storage.remote import is_remote
from segan_cli.storage.same_file import STREAM
from segan_cli.system import require_extra
from segan_cli.text import converted, finite, read_json, utf8, write_json

ROW_GROUP = 10_000  # outcomes that are kept in memory for a part of a Parquet file
LONGEST_LINE = 1 << 20  # bytes
LINE_START = f'{{"{fields(Outcome)[0].name}": "'.encode()  # of an outcome as JSON
EXTENSIONS = (".jsonl", ".parquet")
SKIPPED = "skipped (output exists)"
KINDS = (SKIPPED, "not overwritten", "failed")  # of outcomes, as they are counted

Record = Callable[[Outcome], object]


class BatchReporter:
    """Reports the progress and the outcomes of a batch of `n` recordings."""

    def __init__(
        self, n: int, *, as_json: bool, to_stream: bool, quiet: bool, verbose: bool, record: Record | None = None
    ) -> None:
        """JSON goes to standard error if the samples go `to_stream`, standard output; `record` takes each outcome."""
        self.n, self.as_json, self.to_stream, self.quiet = n, as_json, to_stream, quiet
        self.record, self.stdout = record, standard_output()  # without the messages of Ray
        self.each_line = verbose or (n == 1 and not to_stream)  # whether every recording gets a line
        self.counts, self.seconds = Counter[str](), 0.0
        self.last_error = self.first_existing = ""
        self.bar = progress_bar(not quiet)
        self.total = self.bar.add_task("recordings", total=n, note="", visible=n > 1)
        self.tasks: dict[str, TaskID] = {}  # in progress, by target; threads of the batch add their own

    def __enter__(self) -> "BatchReporter":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def on_progress(self, job: Job, done_s: float, total_s: float | None) -> None:
        """Show how far a recording is; called from the threads of the batch."""
        target = str(job.target)
        if target not in self.tasks:
            self.tasks[target] = self.bar.add_task(job.source.name, total=total_s, note="", unit="s")
        self.bar.update(self.tasks[target], completed=done_s, total=total_s)

    def report_existing(self) -> None:
        """Report all recordings whose output already exists in one line."""
        if (n := self.counts["not overwritten"]) and self.n > 1:
            say(
                f"segan: {n} of {self.n} outputs already exist, for example {self.first_existing};"
                " add --force to overwrite them, or --skip-existing to skip them"
            )

    def on_outcome(self, outcome: Outcome, existing: bool = False) -> None:
        """Report the outcome of a recording; one that must not overwrite an `existing` output is counted."""
        if outcome.target in self.tasks:
            self.bar.remove_task(self.tasks.pop(outcome.target))
        self.bar.update(self.total, advance=1)
        kind = "failed" if outcome.error is not None else SKIPPED if outcome.skipped else "enhanced"
        self.counts["not overwritten" if existing else kind] += 1
        self.seconds += outcome.seconds or 0.0
        if self.record is not None:
            self.record(outcome)
        if self.as_json:
            print_json(asdict(outcome), stdout=self.stdout, to_stderr=self.to_stream)
        if existing:
            self.first_existing = self.first_existing or outcome.target
        elif outcome.error is not None:
            self.last_error = outcome.error
            if self.n > 1:
                say(f"segan: {outcome.error}")
        elif self.each_line and not self.quiet:
            say(f"{outcome.target}: exists, skipped" if outcome.skipped else describe(outcome))
        source = STDIN if outcome.source == str(STREAM) else outcome.source
        for line in () if self.quiet else outcome.warnings:
            say(f"segan: {source}: {line}")

    def close(self) -> None:
        """Print the summary of several recordings; raises SeganError with it when one was not enhanced."""
        if self.n == 1 and self.first_existing:
            raise ExistsError(f"{self.first_existing}: already exists")
        if self.n == 1 and self.last_error:
            raise SeganError(self.last_error)
        sound = f" ({duration(self.seconds)} of audio)" if self.seconds else ""
        parts = [f"{self.counts[kind]} {kind}" for kind in KINDS if self.counts[kind]]
        summary = ", ".join([f"{self.counts['enhanced']} enhanced{sound}", *parts])
        if self.counts["failed"] or self.first_existing:
            raise SeganError(summary)
        if not self.quiet and self.n != 1:
            say(summary)


def describe(outcome: Outcome) -> str:
    """Describe an enhanced recording in one line."""
    seconds, factor, reduction = outcome.seconds or 0.0, outcome.real_time_factor, outcome.noise_reduction_db
    speed = f", {1 / factor:{'.0f' if factor < 0.1 else '.2g'}} × real time" if factor else ""
    noise = f", noise in pauses reduced by {reduction:.0f} dB" if reduction is not None else ""
    low, high = outcome.noise_reduction_low_db, outcome.noise_reduction_high_db
    bands = "" if low is None or high is None else f" (below 8 kHz by {low:.0f} dB, above by {high:.0f} dB)"
    return f"{outcome.target}: {duration(seconds)}{speed}{noise}{bands}"


def check_outcome_file(path: Path, force: bool) -> None:
    """Raise an error for a file that cannot be written; local JSON lines are appended to."""
    if path.suffix not in EXTENSIONS:
        raise ConfigError(f"{path}: the file name must end in .jsonl or .parquet")
    if path.suffix == ".parquet":
        require_extra("ray", "a Parquet file")
    check_place(path, force or is_appended_to(path))


def is_appended_to(path: Path) -> bool:
    """Whether outcomes are added to those of earlier runs."""
    return path.suffix == ".jsonl" and not is_remote(path)


@contextmanager
def open_outcomes(path: Path | None, force: bool) -> Iterator[Record | None]:
    """Open the file; local JSON lines are written as the outcomes come, other files at the end.

    After an error or a signal, what was recorded is kept.
    """
    if path is None:
        yield None
        return
    write = _parquet if path.suffix == ".parquet" else _json_lines
    with write(path) if is_appended_to(path) else _whole(path, force, write) as record:

        def named(outcome: Outcome) -> None:
            with writing(path):
                record(outcome)

        yield named


@contextmanager
def _whole(path: Path, force: bool, write: Callable[[Path], AbstractContextManager[Record]]) -> Iterator[Record]:
    """Write a file. If the block fails after the first record, the file is kept, and the exception is raised again."""
    n = 0
    caught: BaseException | None = None
    with atomically(path, force) as temporary:
        with write(temporary) as record:

            def counted(outcome: Outcome) -> None:
                nonlocal n
                n += 1
                record(outcome)

            try:
                yield counted
            except BaseException as error:
                caught = error
        if caught is not None and not n:
            raise caught
    if caught is not None:
        raise caught


@contextmanager
def _json_lines(path: Path) -> Iterator[Record]:
    """Append lines, each of them whole or not at all."""
    with writing(path):
        file = path.open("ab+", buffering=0)
    with file:
        with writing(path):
            complete_last_line(file, path)

        def record(outcome: Outcome) -> None:
            line, written = f"{write_json(asdict(outcome))}\n".encode(), 0
            try:
                while written < len(line):
                    written += file.write(line[written:])
            finally:
                if 0 < written < len(line) and file.tell() == file.seek(0, io.SEEK_END):
                    file.truncate(file.tell() - written)

        yield record


def complete_last_line(file: io.FileIO, path: Path) -> None:
    """Complete a last line without line end, or remove it if it is cut; raises OutputError if not an outcome."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - LONGEST_LINE))
    content = file.read()
    line = content.rstrip(b"\n").rpartition(b"\n")[2]
    whole = content.endswith(b"\n")
    if not (line.startswith(LINE_START) or (LINE_START.startswith(line) and not (whole and line))):
        raise OutputError(f"{path}: its last line is not an outcome; give another file")
    if whole or not line:
        return
    try:
        read_json(line)
        file.write(b"\n")
    except ValueError:
        file.truncate(end - len(line))


@contextmanager
def _parquet(path: Path) -> Iterator[Record]:
    """Write rows in groups; the columns are the fields of an outcome."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    columns: dict[Any, Any] = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    columns |= {kind | None: column for kind, column in columns.items()} | {list[str]: pa.list_(pa.string())}
    schema = pa.schema({field.name: columns[field.type] for field in fields(Outcome)})
    rows: list[dict[str, object]] = []
    with ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def record(outcome: Outcome) -> None:
            rows.append(converted(asdict(outcome), lambda v: utf8(v) if isinstance(v, str) else finite(v)))
            if len(rows) >= ROW_GROUP:
                flush()

        try:
            yield record
        finally:
            flush()
