"""Scores that were measured before, kept by what was measured: the samples, the measure and whose code it was."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from segan_cli import __version__
from segan_cli.errors import SeganError
from segan_cli.measures.catalog import MEASURES, packages
from segan_cli.measures.score import Score, Undefined

Array = NDArray[np.float32]

TABLE = "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score TEXT) WITHOUT ROWID"
PATIENCE_S = 60.0  # for an index that another process is writing


def default_store() -> Path:
    """Where scores are kept unasked."""
    return user_cache_path("segan") / "scores.sqlite"


class Store:
    """Scores in a SQLite file that processes share."""

    def __init__(self, path: Path) -> None:
        """Raises SeganError when the file cannot be used."""
        self.path = path
        self.versions = packages(tuple(MEASURES))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as database, database:
                database.execute(TABLE)
        except (OSError, sqlite3.Error) as error:
            raise SeganError(
                f"{path}: the cache of scores cannot be used ({error}); give another by --cache"
            ) from error

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=PATIENCE_S)

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
        """Those scores that are known."""
        found: dict[str, Score] = {}
        with closing(self._open()) as database:
            for name, key in keys.items():
                row = database.execute("SELECT score FROM scores WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    score = json.loads(row[0])
                    found[name] = Undefined(score) if isinstance(score, str) else float(score)
        return found

    def put(self, keys: dict[str, str], scores: dict[str, Score]) -> None:
        """Keep scores."""
        rows = [
            (keys[name], json.dumps(score.reason if isinstance(score, Undefined) else score))
            for name, score in scores.items()
        ]
        with closing(self._open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)
