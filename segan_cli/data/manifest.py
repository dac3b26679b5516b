"""Manifests: tables of audio files, CSV with a header or JSON lines."""

import csv
import json
from pathlib import Path
from typing import Any

from segan_cli.data.layouts import Corpus, Utterance
from segan_cli.errors import CorpusError

SUFFIXES = (".csv", ".jsonl")
CLEAN = ("clean", "path", "audio_filepath", "file")  # names of the column of clean speech or noise, in this order
SPLITS = {"training": ("train", "training", ""), "validation": ("valid", "validation", "dev")}


def read_manifest(place: str, split: str, needs_speaker: bool) -> Corpus:
    """The rows of a manifest, paths relative to its folder.

    Columns: `clean` (or `path`), `noisy` for pairs, `speaker`, and `split`; where rows of the wanted split, `training`
    or `validation`, are marked, the others are left. Other columns do not matter. Raises CorpusError, naming file and
    line, when it cannot be read or no row can be used.
    """
    rows = rows_of(Path(place))
    column = next((name for name in CLEAN if name in rows[0][1]), None)
    if column is None:
        raise CorpusError(f"{place}: no column with paths; name one of its columns {', '.join(CLEAN)}")
    marked = any(text_of(row, "split") in SPLITS[split] for _, row in rows) and "split" in rows[0][1]
    utterances, left, others = [], [], 0
    folder = Path(place).parent
    for line, row in rows:
        if marked and text_of(row, "split") not in SPLITS[split]:
            others += 1
            continue
        path, noisy = text_of(row, column), text_of(row, "noisy")
        missing = next((name for name in (path, noisy) if name and not (folder / name).is_file()), None)
        if not path or missing:
            left.append(f"{place}, line {line}: {f'{missing}: no such file' if missing else f'no {column}'}")
            continue
        group = text_of(row, "speaker") or text_of(row, "recording") or path
        utterances.append(Utterance(folder / path, f"{folder.resolve()}:{group}", folder / noisy if noisy else None))
    if others:
        left.append(f"{place}: {others} rows of other splits")
    if not utterances:
        raise CorpusError(f"{place}: none of its {len(rows)} rows can be used; first: {left[0]}")
    known = not needs_speaker or all(text_of(row, "speaker") for _, row in rows)
    return Corpus(place, "manifest", tuple(utterances), tuple(left), known)


def text_of(row: dict[str, Any], column: str) -> str:
    """What a row says in a column, "" for nothing."""
    value = row.get(column)
    return "" if value is None else str(value).strip()


def rows_of(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Line number and content of every row; raises CorpusError when there is none or one cannot be read."""
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file)
                rows = [(reader.line_num, row) for row in reader]
            else:
                for number, text in enumerate(file, 1):
                    if text.strip():
                        rows.append((number, json.loads(text)))
                        if not isinstance(rows[-1][1], dict):
                            raise CorpusError(f'{path}, line {number}: not an object; give {{"clean": "a.wav"}}')
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise CorpusError(f"{path}, line {number}: not JSON ({error.msg})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a table of text ({error})") from error
    if not rows:
        raise CorpusError(f"{path}: holds no rows")
    return rows
