"""Scores that were measured before, kept by what was measured: the samples, the measure and whose code it was."""

import hashlib
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from segan_cli import __version__
from segan_cli.errors import SeganError
from segan_cli.measures.catalog import MEASURES, packages
from segan_cli.measures.score import Score, Undefined
from segan_cli.plain_json import read_json

Array = NDArray[np.float32]

TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score TEXT) WITHOUT ROWID"
MAGIC = b"SQLite format 3\0"
LARGEST = 1e6  # no score is
SLACK = 1e-3  # by which rounding may take a score out of its measure's range
PATIENCE_S = 60.0  # for an index that another process is writing


def default_store() -> Path:
    """Where scores are kept unasked."""
    return user_cache_path("segan") / "scores.sqlite"


class Store:
    """Scores in a SQLite file that processes share; what is damaged in it is made anew."""

    def __init__(self, path: Path, own: bool = False) -> None:
        """`own`: nobody else keeps files there.

        Raises SeganError when the file cannot be used, or is no SQLite file and so may be somebody's.
        """
        self.path = path
        self.versions = packages(tuple(MEASURES))
        self.notes: tuple[str, ...] = ()  # what was found damaged
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._check()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite quotes what it cannot read
                if not damaged(error) or not (own or path.read_bytes()[: len(MAGIC)] == MAGIC):
                    raise
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                self.notes = (f"{path}: the cache of scores is damaged; it is made anew, the old one is {aside.name}",)
                self._check()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise SeganError(
                f"{path}: the cache of scores cannot be used ({error}); give another by --cache"
            ) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=PATIENCE_S)
        database.text_factory = bytes  # what is damaged need not be UTF-8
        return database

    def _check(self) -> None:
        """Make the table where there is none, and take out rows that hold no score."""
        with closing(self._open()) as database, database:
            database.execute(TABLE)
            if database.execute("PRAGMA quick_check(1)").fetchone() != (b"ok",):
                raise sqlite3.DatabaseError("malformed")
            rows = database.execute("SELECT key, score FROM scores")
            bad = [(key, key) for key, content in rows if score_of(content) is None]
            database.executemany("DELETE FROM scores WHERE key IN (CAST(? AS TEXT), ?)", bad)
        if bad:
            self.notes += (f"{self.path}: {len(bad)} damaged scores are measured anew",)

    def keys(self, clean: Array, degraded: Array, names: tuple[str, ...]) -> dict[str, str]:
        """The key of each measure of two signals."""
        content = hashlib.sha256()
        for signal in (clean, degraded):
            content.update(f"{len(signal)} ".encode() + np.ascontiguousarray(signal, np.float32).tobytes())
        keys = {}
        for name in names:
            whose = {package: self.versions[package] for package in ("numpy", "scipy", MEASURES[name].package)}
            words = json.dumps([content.hexdigest(), name, whose, __version__])
            keys[name] = hashlib.sha256(words.encode()).hexdigest()
        return keys

    def get(self, keys: dict[str, str]) -> dict[str, Score]:
        """Those scores that are known; none from a file that was damaged or taken away meanwhile."""
        found: dict[str, Score] = {}
        with suppress(sqlite3.Error, UnicodeDecodeError), closing(self._open()) as database:
            for name, key in keys.items():
                row = database.execute("SELECT score FROM scores WHERE key = ?", (key,)).fetchone()
                score = score_of(row[0]) if row is not None else None
                if score is not None and (isinstance(score, Undefined) or within(score, MEASURES[name].range)):
                    found[name] = score
        return found

    def put(self, keys: dict[str, str], scores: dict[str, Score]) -> None:
        """Keep scores, where that can be done."""
        rows = [
            (keys[name], json.dumps(score.reason if isinstance(score, Undefined) else score))
            for name, score in scores.items()
        ]
        with suppress(sqlite3.Error, UnicodeDecodeError), closing(self._open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)


def score_of(content: object) -> Score | None:
    """What a row holds; none where it is no score."""
    if not isinstance(content, bytes):
        return None
    try:
        score = read_json(content)
    except ValueError:
        return None
    if isinstance(score, str):
        return Undefined(score)
    return float(score) if type(score) in (int, float) and abs(score) < LARGEST else None


def within(score: float, bounds: tuple[float, float]) -> bool:
    """Whether a score is one that its measure can have."""
    return bounds[0] - SLACK <= score <= bounds[1] + SLACK


def damaged(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    """Whether a file is at fault, and not its place, the disk or another process."""
    if isinstance(error, sqlite3.OperationalError):
        return "no such column" in str(error) or "malformed" in str(error)
    return not isinstance(error, sqlite3.InternalError | sqlite3.NotSupportedError)
