"""Manifests: tables of audio files, CSV with a header or JSON lines."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from segan_cli.data.layouts import Corpus, Utterance
from segan_cli.errors import CorpusError
from segan_cli.plain_json import read_json

SUFFIXES = (".csv", ".jsonl")
CLEAN = ("clean", "path", "audio_filepath", "file")  # names of the column of clean speech or noise, in this order
OTHERS = ("noisy", "speaker", "recording", "split")
SPLITS = {"training": ("train", "training", ""), "validation": ("valid", "validation", "dev")}
SHOWN = 12  # columns that a note names

SIMPLE = (str, int, float)  # what a value of a row may be

Row = dict[str, str]  # column → what it says, "" for nothing


def read_manifest(place: str, split: str, needs_speaker: bool) -> Corpus:
    """The rows of a manifest, paths relative to its folder.

    Columns: `clean` (or `path`), `noisy` for pairs, `speaker`, and `split`; where rows of the wanted split, `training`
    or `validation`, are marked, the others are left. Other columns are named in a note. Raises CorpusError, naming file
    and line, when it cannot be read or no row can be used.
    """
    rows = rows_of(Path(place))
    columns = columns_of(rows)
    column = next((name for name in CLEAN if name in columns), None)
    if column is None:
        there = ", ".join(columns[:SHOWN])
        raise CorpusError(f"{place}: no column with paths among {there}; name one of them {', '.join(CLEAN)}")
    marked = "split" in columns and any(row.get("split", "") in SPLITS[split] for _, row in rows)
    utterances, left, others = [], [], 0
    folder = Path(place).parent
    for line, row in rows:
        if marked and row.get("split", "") not in SPLITS[split]:
            others += 1
            continue
        path, noisy = row.get(column, ""), row.get("noisy", "")
        missing = next((name for name in (path, noisy) if name and not is_file(folder / name)), None)
        if not path or missing:
            left.append(f"{place}, line {line}: {f'{missing}: no such file' if missing else f'no {column}'}")
            continue
        group = row.get("speaker") or row.get("recording") or path
        utterances.append(Utterance(folder / path, f"{folder.resolve()}:{group}", folder / noisy if noisy else None))
    if others:
        left.append(f"{place}: {others} rows of other splits")
    if not utterances:
        raise CorpusError(f"{place}: none of its {len(rows)} rows can be used; first: {left[0]}")
    known = not needs_speaker or all(row.get("speaker") for _, row in rows)
    unknown = [name for name in columns if name not in (column, *OTHERS)]
    notes = (f"{place}: columns that are not known and not used: {listed(unknown)}",) if unknown else ()
    return Corpus(place, "manifest", tuple(utterances), tuple(left), known, notes)


def columns_of(rows: list[tuple[int, Row]]) -> list[str]:
    """All columns that rows have, in their order."""
    return list(dict.fromkeys(name for _, row in rows for name in row))


def listed(columns: list[str]) -> str:
    """Columns by name, the first of many."""
    return ", ".join(columns[:SHOWN]) + (f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else "")


def is_file(path: Path) -> bool:
    """Whether a path of a table is a file, and not something that no file could be called."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def rows_of(path: Path) -> list[tuple[int, Row]]:
    """Line number and content of every row; raises CorpusError when there is none or one cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # names may be any bytes
            rows = list((_csv_rows if path.suffix == ".csv" else _json_rows)(path, file))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    if not rows:
        raise CorpusError(f"{path}: holds no rows")
    return rows


def _csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row]]:
    """Rows below a header; spaces around names and values do not matter."""
    reader = csv.reader(file)
    try:
        columns = [name.strip() for name in next(reader, [])]
        twice = next((name for name, n in Counter(columns).items() if n > 1), None)
        if twice is not None:
            raise CorpusError(f"{path}: {f'several columns {twice}' if twice else 'several columns without a name'}")
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
        raise CorpusError(f"{path}, line {reader.line_num}: not a table of text ({error})") from error


def _json_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row]]:
    """An object a line; what is neither text nor a number in it counts as nothing."""
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            values = read_json(text)
        except ValueError as error:
            raise CorpusError(f"{path}, line {number}: not JSON ({getattr(error, 'msg', error)})") from error
        if not isinstance(values, dict):
            raise CorpusError(f'{path}, line {number}: not an object; give {{"clean": "a.wav"}}')
        plain = {key.strip(): value for key, value in values.items()}
        yield number, {key: str(value).strip() if isinstance(value, SIMPLE) else "" for key, value in plain.items()}
