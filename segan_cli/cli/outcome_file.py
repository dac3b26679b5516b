"""The file of `segan enhance --outcomes`: the outcome of each recording, as JSON lines or Parquet."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from segan_cli.atomic import atomically, check_place, writing
from segan_cli.errors import ConfigError, OutputError
from segan_cli.extras import require_extra
from segan_cli.plain_json import finite, read_json, write_json
from segan_cli.printable import utf8
from segan_cli.remote import is_remote

if TYPE_CHECKING:
    from segan_cli.enhancement.recording import Outcome

ROW_GROUP = 10_000  # outcomes that are kept in memory for a part of a Parquet file
LONGEST_LINE = 1 << 20  # bytes
LINE_START = b'{"source": "'
EXTENSIONS = (".jsonl", ".parquet")

Record = Callable[["Outcome"], object]


def check_outcome_file(path: Path, force: bool) -> None:
    """Raise an error for a file that cannot be written; local JSON lines are appended to."""
    if path.suffix not in EXTENSIONS:
        raise ConfigError(f"{path}: the name of a file of outcomes must end in .jsonl or .parquet")
    if path.suffix == ".parquet":
        require_extra("ray", "a Parquet file")
    check_place(path, force or (path.suffix == ".jsonl" and not is_remote(path)))


@contextmanager
def open_outcomes(path: Path | None, force: bool) -> Iterator[Record | None]:
    """Open the file; local JSON lines are written as the outcomes come, other files at the end.

    After an error or a signal, what was recorded is kept.
    """
    if path is None:
        yield None
        return
    write = _parquet if path.suffix == ".parquet" else _json_lines
    appended = path.suffix == ".jsonl" and not is_remote(path)
    with write(path) if appended else _whole(path, force, write) as record:

        def named(outcome: "Outcome") -> None:
            with writing(path):
                record(outcome)

        yield named


def encodable(value: object) -> object:
    """Return a value without NaN, infinity and bytes that are not UTF-8."""
    if isinstance(value, list):
        return [encodable(item) for item in value]
    return utf8(value) if isinstance(value, str) else finite(value)


@contextmanager
def _whole(path: Path, force: bool, write: Callable[[Path], AbstractContextManager[Record]]) -> Iterator[Record]:
    """Write a file that is kept if the block raises an exception after the first record, which is raised afterwards."""
    n = 0
    caught: BaseException | None = None
    with atomically(path, force) as temporary:
        with write(temporary) as record:

            def counted(outcome: "Outcome") -> None:
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

        def record(outcome: "Outcome") -> None:
            line, written = f"{write_json(asdict(outcome))}\n".encode(), 0
            try:
                while written < len(line):
                    written += file.write(line[written:])
            finally:
                if 0 < written < len(line) and file.tell() == file.seek(0, io.SEEK_END):
                    file.truncate(file.tell() - written)

        yield record


def complete_last_line(file: io.FileIO, path: Path) -> None:
    """End a last line that has no end: by a newline if it is whole, by removing it if it is torn.

    Raises OutputError when the last line is no outcome.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - LONGEST_LINE))
    content = file.read()
    line = content.rstrip(b"\n").rpartition(b"\n")[2]
    whole = content.endswith(b"\n")
    if not (line.startswith(LINE_START) or (LINE_START.startswith(line) and not (whole and line))):
        raise OutputError(f"{path}: its last line is no outcome; name another file")
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

    text, number, integer = pa.string(), pa.float64(), pa.int64()
    schema = pa.schema(
        {
            "source": text, "target": text, "error": text, "skipped": pa.bool_(), "seconds": number, "rate_hz": integer,
            "channels": integer, "level_db": number, "enhanced_level_db": number, "noise_reduction_db": number,
            "noise_reduction_low_db": number, "noise_reduction_high_db": number,
            "real_time_factor": number, "warnings": pa.list_(text), "model": text, "model_sha256": text,
            "version": text,
        }
    )  # fmt: skip
    rows: list[dict[str, object]] = []
    with ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def record(outcome: "Outcome") -> None:
            rows.append({name: encodable(value) for name, value in asdict(outcome).items()})
            if len(rows) >= ROW_GROUP:
                flush()

        try:
            yield record
        finally:
            flush()
