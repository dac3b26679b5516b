"""Manifests: tables of audio files as CSV with a header, or as JSON lines."""

import csv
import io
import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from segan_cli.data.layouts import Corpus, Utterance
from segan_cli.errors import CorpusError
from segan_cli.plain_json import read_json
from segan_cli.remote import as_path, is_remote, is_url

SUFFIXES = (".csv", ".jsonl")
PATH_COLUMNS = ("clean", "path", "audio_filepath", "file")  # of clean speech or noise, most preferred first
OTHER_COLUMNS = ("noisy", "speaker", "recording", "split")
SPLITS = {"training": ("train", "training", ""), "validation": ("valid", "validation", "dev")}
MAX_LISTED = 12  # columns to list in a message

SCALARS = (str, int, float)  # JSON values that become text; others count as empty

Row = dict[str, str]  # column → value, "" if empty


def read_manifest(path: str, split: str, needs_speaker: bool) -> Corpus:
    """Read a manifest whose paths are relative to its folder.

    The columns are `clean` (or `path`), `noisy` for pairs, `speaker` or `recording`, and `split`. If some rows are
    marked as part of the split ("training" or "validation"), only those are used. Raises CorpusError, with file and
    line, if the manifest cannot be read or has no usable row.
    """
    rows = read_rows(Path(path))
    columns = columns_of(rows)
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        found = ", ".join(columns[:MAX_LISTED])
        raise CorpusError(f"{path}: no column with paths; found {found}, expected one of {', '.join(PATH_COLUMNS)}")
    has_splits = "split" in columns and any(row.get("split", "") in SPLITS[split] for _, row in rows)
    utterances, skipped, n_other_split = [], [], 0
    folder = Path(path).parent
    for line, row in rows:
        if has_splits and row.get("split", "") not in SPLITS[split]:
            n_other_split += 1
            continue
        clean, noisy = row.get(column, ""), row.get("noisy", "")
        missing = next((name for name in (clean, noisy) if name and not is_file(folder / name)), None)
        if not clean or missing:
            skipped.append(f"{path}, line {line}: {f'{missing}: no such file' if missing else f'no {column}'}")
            continue
        group = row.get("speaker") or row.get("recording") or clean
        utterances.append(Utterance(folder / clean, f"{folder.resolve()}:{group}", folder / noisy if noisy else None))
    if n_other_split:
        skipped.append(f"{path}: {n_other_split} rows of other splits")
    if not utterances:
        raise CorpusError(f"{path}: none of its {len(rows)} rows can be used; first: {skipped[0]}")
    speakers_known = not needs_speaker or all(row.get("speaker") for _, row in rows)
    unknown = [name for name in columns if name not in (column, *OTHER_COLUMNS)]
    notes = (f"{path}: ignoring unknown columns {join_columns(unknown)}",) if unknown else ()
    return Corpus(path, "manifest", tuple(utterances), tuple(skipped), speakers_known, notes)


def columns_of(rows: list[tuple[int, Row]]) -> list[str]:
    """All columns of the rows, in order of appearance."""
    return list(dict.fromkeys(name for _, row in rows for name in row))


def join_columns(columns: list[str]) -> str:
    """Column names for a message, shortened if there are many."""
    more = f" and {len(columns) - MAX_LISTED} more" if len(columns) > MAX_LISTED else ""
    return ", ".join(columns[:MAX_LISTED]) + more


def path_in(manifest: Path, name: str) -> Path:
    """Return the path of a name in a manifest: a URL, or relative to its folder."""
    if is_url(name):
        return as_path(name)
    if not is_remote(manifest) or name.startswith("/"):
        return Path(name) if name.startswith("/") else manifest.parent / name
    scheme, _, folder = str(manifest.parent).partition("://")
    return as_path(f"{scheme}://{posixpath.normpath(f'{folder}/{name}')}")


def is_file(path: Path) -> bool:
    """Whether a path is a file; False for names that are not valid paths. Remote files are not asked for."""
    if is_remote(path):
        return True
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_rows(path: Path) -> list[tuple[int, Row]]:
    """Read the line number and content of every row; raises CorpusError if there are none or one is invalid."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")  # paths may be any bytes
        rows = list((_csv_rows if path.suffix == ".csv" else _json_rows)(path, io.StringIO(text, newline="")))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise CorpusError(f"{path}: no rows")
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
    """One object per line; values other than text and numbers count as empty."""
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            values = read_json(text)
        except ValueError as error:
            raise CorpusError(f"{path}, line {number}: not JSON ({getattr(error, 'msg', error)})") from error
        if not isinstance(values, dict):
            raise CorpusError(f'{path}, line {number}: not an object; expected {{"clean": "a.wav"}}')
        row = {key.strip(): value for key, value in values.items()}
        yield number, {key: str(value).strip() if isinstance(value, SCALARS) else "" for key, value in row.items()}
