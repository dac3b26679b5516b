"""Scoring one signal against its clean reference in worker processes, and the cache of scores."""

import hashlib
import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from scipy.signal import correlate, correlation_lags

from segan_cli import __version__
from segan_cli.arrays import Array
from segan_cli.data.recordings import MAX_LENGTH_DIFFERENCE_S
from segan_cli.errors import CorpusError, SeganError, in_words
from segan_cli.evaluation.signals import FilePart, Recorded, Signal, load
from segan_cli.measures.catalog import (
    FULL_BAND,
    MEASURES,
    SignalPair,
    measure_pair,
    package_versions,
    rate_for,
    resample,
)
from segan_cli.measures.score import RATE_HZ, Score, Undefined
from segan_cli.text import counted, read_json

TABLE = "scores (key TEXT PRIMARY KEY, score TEXT) WITHOUT ROWID"
MAGIC = b"SQLite format 3\0"
RANGE_TOLERANCE = 1e-3  # rounding beyond the range of a measure
LOCK_TIMEOUT_S = 60.0

MAX_DELAY_S = 1.0  # search range of the delay estimate
MIN_CORRELATION = 0.3  # normalised correlation that a delay must reach to count


class ForeignDatabase(sqlite3.DatabaseError):
    """A database that segan did not make."""


class ScoreCache:
    """Scores in a SQLite file that several processes may share; damaged content is discarded."""

    def __init__(self, path: Path, own: bool = False) -> None:
        """Open or create the file; segan's `own` may be replaced. Raises SeganError if it cannot be used."""
        self.path = path
        self.versions = package_versions(tuple(MEASURES))
        self.notes: tuple[str, ...] = ()  # on damage that was repaired
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._check()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite quotes what it cannot read
                is_ours = own or (path.read_bytes()[: len(MAGIC)] == MAGIC and not isinstance(error, ForeignDatabase))
                if not (is_ours and is_damage(error)):
                    raise
                names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in count())
                backup = next(name for name in names if not name.exists())
                path.replace(backup)
                self.notes = (f"{path}: the score cache is damaged; created a new one, the old one is {backup.name}",)
                self._check()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise SeganError(
                f"{path}: the score cache cannot be used ({error}); use --cache to choose another file"
            ) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_S)
        database.text_factory = bytes  # damaged text need not be UTF-8
        return database

    def _check(self) -> None:
        """Create the table if it is missing, and delete rows without a valid score."""
        with closing(self._open()) as database, database:
            tables = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")]
            if tables not in ([], [f"CREATE TABLE {TABLE}".encode()]):
                raise ForeignDatabase("it is a database of another program")
            database.execute(f"CREATE TABLE IF NOT EXISTS {TABLE}")
            if database.execute("PRAGMA quick_check(1)").fetchone() != (b"ok",):
                raise sqlite3.DatabaseError("malformed")
            rows = database.execute("SELECT key, score FROM scores")
            invalid = [(key, key) for key, content in rows if parse_score(key, content) is None]
            database.executemany("DELETE FROM scores WHERE key IN (CAST(? AS TEXT), ?)", invalid)
        if invalid:
            self.notes += (f"{self.path}: discarded {counted(len(invalid), 'damaged score')}, to be computed again",)

    def measure(self, pair: SignalPair, names: tuple[str, ...]) -> dict[str, Score]:
        """Take scores from the file, and compute and store the missing ones."""
        keys = self.keys(pair, names)
        scores = self.get(keys)
        if missing := [name for name in names if name not in scores]:
            computed = measure_pair(pair, missing)
            self.put(keys, computed)
            scores |= computed
        return {name: scores[name] for name in names}

    def keys(self, pair: SignalPair, names: tuple[str, ...]) -> dict[str, str]:
        """The key of each measure for a pair of signals."""
        content, high = digest(pair.clean, pair.degraded), ""
        if not FULL_BAND.keys().isdisjoint(names):
            band = pair.high_band
            high = f"{digest(band.clean, band.degraded)} {band.rate_hz} {band.recorded_hz}"
        keys = {}
        for name in names:
            versions = {package: self.versions[package] for package in ("numpy", "scipy", MEASURES[name].package)}
            text = json.dumps([high if name in FULL_BAND else content, name, versions, __version__])
            keys[name] = hashlib.sha256(text.encode()).hexdigest()
        return keys

    def get(self, keys: dict[str, str]) -> dict[str, Score]:
        """Look up the stored scores; empty if the file was damaged or deleted meanwhile."""
        found: dict[str, Score] = {}
        with suppress(sqlite3.Error, UnicodeDecodeError), closing(self._open()) as database:
            for name, key in keys.items():
                row = database.execute("SELECT score FROM scores WHERE key = ?", (key,)).fetchone()
                score = parse_score(key.encode(), row[0]) if row is not None else None
                if score is not None and (isinstance(score, Undefined) or in_range(score, MEASURES[name].range)):
                    found[name] = score
        return found

    def put(self, keys: dict[str, str], scores: dict[str, Score]) -> None:
        """Store scores; does nothing if the file cannot be written."""
        rows = []
        for name, score in scores.items():
            text = json.dumps(score.reason if isinstance(score, Undefined) else score)
            rows.append((keys[name], f"{text} {checksum(keys[name].encode(), text.encode())}"))
        with suppress(sqlite3.Error, UnicodeDecodeError), closing(self._open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)


def digest(*signals: Array) -> str:
    """The hash of signals."""
    content = hashlib.sha256()
    for signal in signals:
        content.update(f"{len(signal)} ".encode() + np.ascontiguousarray(signal, np.float32).tobytes())
    return content.hexdigest()


def parse_score(key: object, content: object) -> Score | None:
    """The score in a row; None if the row is damaged."""
    if not isinstance(key, bytes) or not isinstance(content, bytes):
        return None
    text, _, stored = content.rpartition(b" ")
    if stored.decode(errors="replace") != checksum(key, text):
        return None
    score = read_json(text)
    return Undefined(score) if isinstance(score, str) else float(score)


def checksum(key: bytes, text: bytes) -> str:
    """The checksum of a row."""
    return hashlib.blake2b(key + b" " + text, digest_size=8).hexdigest()


def in_range(score: float, bounds: tuple[float, float]) -> bool:
    """Whether a score lies in the range of its measure."""
    return bounds[0] - RANGE_TOLERANCE <= score <= bounds[1] + RANGE_TOLERANCE


def is_damage(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    """Whether an error means a damaged file, not a missing permission, a full disk or a lock."""
    if isinstance(error, sqlite3.OperationalError):
        return "no such column" in str(error) or "malformed" in str(error)
    return not isinstance(error, sqlite3.InternalError | sqlite3.NotSupportedError)


@dataclass(frozen=True)
class ScoringResult:
    """Scores of a pair, and properties of its signals."""

    scores: dict[str, Score]
    delay: int | None  # of the degraded signal, in samples at 16 kHz; None: no clear correlation peak
    formats: tuple[tuple[int, int] | None, ...] = ()  # sampling rate and channels of the clean and the degraded file
    truncated: bool = False  # whether the longer signal was cut
    is_copy: bool = False  # whether the degraded signal is the clean one


def estimate_delay(clean: Array, degraded: Array) -> int | None:
    """Delay of the degraded signal in samples, from the cross-correlation peak; None if there is no clear peak."""
    clean, degraded = clean.astype(np.float64), degraded.astype(np.float64)
    power = float(np.sqrt((clean @ clean) * (degraded @ degraded)))
    if not 0.0 < power < np.inf:
        return None
    correlation = correlate(degraded, clean, method="fft")
    lags = correlation_lags(len(degraded), len(clean))
    searched = np.abs(lags) <= MAX_DELAY_S * RATE_HZ
    best = int(np.argmax(np.abs(correlation[searched])))
    return int(lags[searched][best]) if abs(correlation[searched][best]) > MIN_CORRELATION * power else None


def score(
    clean: Path | FilePart | None, degraded: Recorded | Signal, measures: tuple[str, ...], shift: int = 0,
    cache: ScoreCache | None = None,
) -> ScoringResult | str:  # fmt: skip
    """Score a pair after a `shift` in samples at 16 kHz, or return why not; without measures, only the delay."""
    try:
        rate_hz = rate_for(measures)
        signals = load(degraded, rate_hz), None if clean is None else load(clean, rate_hz)
        return _score(*signals, measures, shift * rate_hz // RATE_HZ, cache)
    except SeganError as error:
        return error.message
    except Exception as error:
        return in_words(error, str(degraded))


def _score(
    degraded: Signal, clean: Signal | None, measures: tuple[str, ...], shift: int, cache: ScoreCache | None
) -> ScoringResult:
    rate_hz, original, delay = rate_for(measures), clean or degraded, None
    if clean is not None:
        delay = estimate_delay(resample(clean.samples, rate_hz), resample(degraded.samples, rate_hz))
    if not measures:
        return ScoringResult({}, delay)
    signal, reference = degraded.samples[max(0, shift) :], original.samples[max(0, -shift) :]
    difference = abs(len(signal) - len(reference))
    if difference > MAX_LENGTH_DIFFERENCE_S * rate_hz + abs(shift):
        lengths = f"{len(signal) / rate_hz:.3f} s but {len(reference) / rate_hz:.3f} s in {original}"
        raise CorpusError(f"{degraded}: {lengths}; lengths may differ by {MAX_LENGTH_DIFFERENCE_S:g} s at most")
    n = min(len(signal), len(reference))
    signal, reference = signal[:n], reference[:n]
    pair = SignalPair(reference, signal, rate_hz, (original.recorded_hz, degraded.recorded_hz))
    scores = cache.measure(pair, measures) if cache else measure_pair(pair, measures)
    formats = (clean.format if clean is not None else None, degraded.format)
    is_copy = clean is not None and np.array_equal(reference, signal)
    return ScoringResult(scores, delay, formats, truncated=difference > 0 and shift == 0, is_copy=is_copy)
