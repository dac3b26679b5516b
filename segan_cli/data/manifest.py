"""Manifests: tables of audio files as CSV with a header, or as JSON lines, including those of Lhotse."""

import csv
import gzip
import io
import posixpath
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from segan_cli.data.folders import is_folder
from segan_cli.data.layouts import Corpus, Utterance
from segan_cli.data.names import scope_of
from segan_cli.data.spans import COLUMNS as SPAN_COLUMNS
from segan_cli.data.spans import is_selection, refuse_other_selections, span_of
from segan_cli.errors import CorpusError
from segan_cli.storage.remote import as_path, is_remote, is_url
from segan_cli.text import composed, read_json

CSV_SUFFIXES, JSON_SUFFIXES = (".csv", ".csv.gz"), (".jsonl", ".jsonl.gz", ".json")
PATH_COLUMNS = ("clean", "path", "audio_filepath", "file")  # of clean speech or noise, most preferred first
OTHER_COLUMNS = ("noisy", "speaker", "recording", "split")
SPLITS = {"training": ("train", "training", ""), "validation": ("valid", "validation", "val", "dev")}
MAX_LISTED = 12  # columns to list in a message
LOCAL_ONLY = "segan train reads local files only; copy the corpus to a local disk"
SCALARS = (str, int, float)  # JSON values that become text; others count as empty

Row = dict[str, str]  # column → value, "" if empty


def is_manifest(path: Path) -> bool:
    """Whether a path is that of a manifest, and not of a folder."""
    return path.name.lower().endswith(CSV_SUFFIXES + JSON_SUFFIXES) and not is_folder(path)


def read_manifest(path: str, split: str, needs_speaker: bool) -> Corpus:
    """Read a manifest whose paths are relative to its folder.

    The columns are `clean` (or `path`), `noisy` for pairs, `speaker` or `recording`, `split`, and the part of the file
    in seconds. If the column `split` has several values, only the rows of `split` ("training" or "validation") are
    used. Raises CorpusError, with file and line, if the manifest cannot be read or has no usable row.
    """
    rows = read_rows(Path(path))
    columns = columns_of(rows)
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        expected = ", ".join(PATH_COLUMNS)
        raise CorpusError(f"{path}: no column with paths; found {join_columns(columns)}, expected one of {expected}")
    marks = dict.fromkeys(row.get("split", "") for _, row in rows)
    used = [(line, row) for line, row in rows if row.get("split", "").lower() in SPLITS[split]]
    if not used and len(marks) > 1:
        raise CorpusError(
            f"{path}: no row of the {split} set; split has {join_columns([*marks])}, expected {SPLITS[split][0]}"
        )
    used = used or rows  # of one set, which the user has named for this
    utterances, skipped = [], []
    for line, row in used:
        try:
            utterances.append(utterance_of(Path(path), row, column, f"{path}, line {line}"))
        except CorpusError as error:
            skipped.append(str(error))
    if not utterances:
        raise CorpusError(f"{path}: none of its rows can be used; first: {skipped[0]}")
    speakers_known = not needs_speaker or all(row.get("speaker") for _, row in used)
    unknown = [name for name in columns if name not in (column, *OTHER_COLUMNS, *SPAN_COLUMNS)]
    notes = [f"{path}: ignoring unknown columns {join_columns(unknown)}"] if unknown else []
    if len(used) < len(rows):
        notes.append(f"{path}: {len(rows) - len(used)} of its {len(rows)} rows belong to other splits")
    return Corpus(path, "manifest", tuple(utterances), tuple(skipped), speakers_known, tuple(notes))


def utterance_of(manifest: Path, row: Row, column: str, place: str) -> Utterance:
    """The utterance of a row; raises CorpusError, with the row's place, if it cannot be used."""
    if not row.get(column):
        raise CorpusError(f"{place}: no {column}")
    clean = file_in(manifest, row[column], place)
    noisy = file_in(manifest, row["noisy"], place) if row.get("noisy") else None
    if any(is_remote(file) for file in (clean, noisy) if file):
        raise CorpusError(f"{place}: {LOCAL_ONLY}")
    group = composed(row.get("speaker") or row.get("recording") or row[column])
    return Utterance(clean, f"{scope_of(manifest.parent)}:{group}", noisy, span_of(row, place))


def columns_of(rows: list[tuple[int, Row]]) -> list[str]:
    """All columns of the rows, in order of appearance."""
    return list(dict.fromkeys(name for _, row in rows for name in row))


def join_columns(columns: list[str]) -> str:
    """Names of columns, or values, for a message, shortened if there are many."""
    more = f" and {len(columns) - MAX_LISTED} more" if len(columns) > MAX_LISTED else ""
    return ", ".join(columns[:MAX_LISTED]) + more


def file_in(manifest: Path, name: str, place: str) -> Path:
    """The file that a manifest names, in any Unicode normalisation: a URL, or a path relative to the manifest.

    Raises CorpusError when there is no such file.
    """
    if is_url(name) and is_remote(as_path(name)):
        return as_path(name)
    if is_remote(manifest) and not name.startswith("/"):
        scheme, _, parent = str(manifest.parent).partition("://")
        return as_path(f"{scheme}://{posixpath.normpath(f'{parent}/{name}')}")
    folder = Path() if is_remote(manifest) or is_url(name) else manifest.parent
    path = folder / as_path(name)
    for form in (path, Path(composed(str(path))), Path(unicodedata.normalize("NFD", str(path)))):
        with suppress(OSError, ValueError):  # of a name that cannot be one of a file
            if form.is_file():
                return form
    raise CorpusError(f"{place}: {name}: no such file")


def read_rows(path: Path) -> list[tuple[int, Row]]:
    """Read the line number and content of every row; raises CorpusError if there are none or one is invalid."""
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    file = io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline="")  # paths may be any bytes
    rows = list((_csv_rows if path.name.lower().endswith(CSV_SUFFIXES) else _json_rows)(path, file))
    if not rows:
        raise CorpusError(f"{path}: no rows")
    refuse_other_selections(str(path), rows)
    return rows


def _csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row]]:
    """Rows of a CSV file with a header; spaces around names and values are removed."""
    reader = csv.reader(file)
    try:
        columns = [name.strip() for name in next(reader, [])]
        duplicate = next((name for name, n in Counter(columns).items() if n > 1), None)
        if duplicate is not None:
            raise CorpusError(f"{path}: several columns {f'named {duplicate}' if duplicate else 'without a name'}")
        for values in reader:
            if not values:
                continue
            if len(values) > len(columns):
                raise CorpusError(
                    f"{path}, line {reader.line_num}: {len(values)} values, but the header has {len(columns)} columns;"
                    " put values with commas in quotes"
                )
            row = dict.fromkeys(columns, "")
            row.update(zip(columns, map(str.strip, values), strict=False))
            yield reader.line_num, row
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: invalid CSV ({error})") from error


def _json_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row]]:
    """One object per line."""
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            values = read_json(text)
        except ValueError as error:
            raise CorpusError(f"{path}, line {number}: not JSON ({getattr(error, 'msg', error)})") from error
        if not isinstance(values, dict):
            raise CorpusError(f'{path}, line {number}: not an object; expected {{"clean": "a.wav"}}')
        try:
            row = {key.strip(): value for key, value in flatten_lhotse(values).items()}
        except ValueError as error:
            raise CorpusError(f"{path}, line {number}: {error}") from error
        yield (
            number,
            {  # lists and objects become text only if they may select a part of the file
                key: str(value).strip() if isinstance(value, SCALARS) or (value and is_selection(key)) else ""
                for key, value in row.items()
            },
        )


def flatten_lhotse(values: dict[str, Any]) -> dict[str, Any]:
    """Columns of a Lhotse recording or cut; any other object as it is. Raises ValueError if it is not supported."""
    kind = str(values.get("type", ""))
    if kind.endswith("Cut") and kind != "MonoCut":
        raise ValueError(f"a Lhotse {kind}; only MonoCut is supported")
    recording = values.get("recording", values)
    sources = recording.get("sources") if isinstance(recording, dict) else None
    if not isinstance(sources, list):
        return values
    source = sources[0] if len(sources) == 1 and isinstance(sources[0], dict) else {}
    if source.get("type") != "file" or source.get("channels", [0]) != [0] or recording.get("transforms"):
        raise ValueError("a Lhotse recording that is not a single one-channel file without transforms")
    supervisions = values.get("supervisions")
    parts = [part for part in supervisions if isinstance(part, dict)] if isinstance(supervisions, list) else []
    speakers = {str(part["speaker"]) for part in parts if part.get("speaker")}
    row = {"path": source.get("source"), "start": values.get("start"), "duration": values.get("duration")}
    return row | ({"speaker": speakers.pop()} if len(speakers) == 1 else {})
