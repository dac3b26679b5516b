"""Cache of decoded and resampled audio as memory-mapped 16-bit samples, keyed by the hash of the file content.

A SQLite index stores the path, size and modification time of each file, and the samples of each content. Moved files
are hashed again but not decoded again; an interrupted build continues where it stopped; several runs may share a
cache. Each row has a checksum; files of damaged rows are read again.
"""

import hashlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array
from segan_cli.audio.filters import Resampler
from segan_cli.audio.meter import active_level
from segan_cli.audio.sources import open_file
from segan_cli.errors import AudioError, CorpusError, in_words
from segan_cli.process.stopping import UNFINISHED
from segan_cli.system import cpu_count
from segan_cli.text import utf8

Progress = Callable[[int, int], None]  # files done, files in total
Content = tuple[str, int, int]  # digest of the file, first sample, samples

FULL_SCALE = 32_767.0  # of 16 bits
LOUD_PEAK = 0.5  # of full scale; quieter files are not searched for clipped runs
NEAR_PEAK = 0.999  # of the peak, from which a sample may be clipped
FORMAT = 1  # version of the index, part of its file name
CHUNK = 256  # files decoded between two commits
THREADS = min(8, cpu_count())
LOCK_TIMEOUT_S = 60.0
TABLES = {
    "files": "path TEXT PRIMARY KEY, size INT, mtime_ns INT, digest TEXT, checksum TEXT",
    "audio": "digest TEXT, to_hz INT, shard TEXT, start INT, length INT, level REAL, clipped REAL, rate_hz INT,"
    " checksum TEXT, PRIMARY KEY (digest, to_hz)",
}


@dataclass(frozen=True)
class CacheEntry:
    """The cached samples of one file, and its properties."""

    digest: str  # SHA-256 of the file content
    shard: Path  # file of samples
    start: int  # first sample in the shard
    length: int  # samples
    level: float  # active level, RMS with full scale 1
    clipped: float  # fraction of clipped samples
    rate_hz: int  # of the file
    to_hz: int  # of the samples
    path: Path = field(compare=False)
    first: int = 0  # first sample of the file that is used

    @property
    def content(self) -> Content:
        """The identity of the samples, whatever the file is called."""
        return self.digest, self.first, self.length


class Cache:
    """A folder of decoded audio at one sampling rate."""

    def __init__(self, folder: Path, rate_hz: int) -> None:
        self.folder, self.rate_hz = folder, rate_hz

    def read(self, paths: Sequence[Path], progress: Progress | None = None) -> list[CacheEntry | str]:
        """An entry for each file, or why it cannot be read; raises CorpusError if the cache cannot be used."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"index-{FORMAT}.sqlite"
            with closing(sqlite3.connect(path, LOCK_TIMEOUT_S)) as index, ThreadPoolExecutor(THREADS) as pool:
                prepare(index)
                return self._read(index, pool, paths, progress)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise CorpusError(
                f"{self.folder}: the cache cannot be used ({reason}); use --cache to choose another"
            ) from error

    def _read(
        self, index: sqlite3.Connection, pool: Executor, paths: Sequence[Path], progress: Progress | None
    ) -> list[CacheEntry | str]:
        indexed = {path: row for path, *row in intact_rows(index, "files")}
        entries: dict[str, CacheEntry | str] = {**self._entries(index)}
        digests: list[str] = []
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            digest_of = {path: unchanged_digest(path, indexed) for path in chunk}
            changed = [path for path, digest in digest_of.items() if digest is None]
            hashed = dict(zip(changed, pool.map(hash_file, changed), strict=True))
            digest_of |= {path: digest for path, (digest, _) in hashed.items()}
            digests += [str(digest_of[path]) for path in chunk]
            new = {str(digest): path for path, digest in digest_of.items() if digest not in entries}
            entries |= self._add(index, pool, new)
            rows = [row for _, row in hashed.values() if row]
            with index:
                write_rows(index, "files", rows)
            if progress is not None:
                progress(len(digests), len(paths))
        found = [entries[digest] for digest in digests]
        return [
            entry if isinstance(entry, str) else replace(entry, path=path)
            for entry, path in zip(found, paths, strict=True)
        ]

    def _add(self, index: sqlite3.Connection, pool: Executor, new: dict[str, Path]) -> dict[str, CacheEntry | str]:
        """Decode new files into a shard and index those that could be read."""
        if not new:
            return {}
        shard = self.folder / f"audio-{uuid.uuid4().hex}.i16"
        entries: dict[str, CacheEntry | str] = {}
        try:
            UNFINISHED.add(shard)
            with shard.open("wb") as file:
                results = pool.map(lambda path: decode(path, self.rate_hz), new.values())
                for digest, result in zip(new, results, strict=True):
                    if isinstance(result, str):
                        entries[digest] = result
                    else:
                        samples, properties = result
                        start = file.tell() // 2
                        entries[digest] = CacheEntry(
                            digest, shard, start, len(samples), *properties, self.rate_hz, new[digest]
                        )
                        file.write(samples.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            shard.unlink(missing_ok=True)
            raise
        finally:
            UNFINISHED.discard(shard)
        if not any(isinstance(entry, CacheEntry) for entry in entries.values()):
            shard.unlink()
        rows = [
            (e.digest, self.rate_hz, shard.name, e.start, e.length, e.level, e.clipped, e.rate_hz)
            for e in entries.values()
            if isinstance(e, CacheEntry)
        ]
        with index:
            write_rows(index, "audio", rows)
        return entries

    def _entries(self, index: sqlite3.Connection) -> dict[str, CacheEntry]:
        """All indexed entries whose shard is complete."""
        sizes = {path.name: path.stat().st_size for path in self.folder.glob("*.i16")}
        return {
            digest: CacheEntry(digest, self.folder / shard, start, length, level, clipped, rate_hz, to_hz, self.folder)
            for digest, to_hz, shard, start, length, level, clipped, rate_hz in intact_rows(index, "audio")
            if to_hz == self.rate_hz and 2 * (start + length) <= sizes.get(shard, -1)
        }


FileRow = tuple[str, int, int, str]  # path, size, modification time, digest


def prepare(index: sqlite3.Connection) -> None:
    """Create the tables."""
    index.text_factory = lambda text: text.decode(errors="replace")  # damaged text need not be UTF-8
    with index:
        index.execute("BEGIN IMMEDIATE")
        for table, columns in TABLES.items():
            index.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")


def write_rows(index: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert or replace rows, with a checksum each."""
    if rows:
        places = ", ".join("?" * (len(rows[0]) + 1))
        index.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", [(*row, checksum(row)) for row in rows])


def intact_rows(index: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table that are as they were written, without their checksums."""
    return (tuple(row) for *row, stored in index.execute(f"SELECT * FROM {table}") if stored == checksum(tuple(row)))


def checksum(row: tuple[Any, ...]) -> str:
    """The checksum of the values of a row."""
    return hashlib.blake2b(repr(row).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def unchanged_digest(path: Path, indexed: dict[str, list[object]]) -> str | None:
    """The digest of an indexed file, unless its size or modification time has changed."""
    row = indexed.get(index_key(path))
    if row is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return str(row[2]) if row[:2] == [status.st_size, status.st_mtime_ns] else None


def index_key(path: Path) -> str:
    """The absolute path of a file as valid UTF-8."""
    return utf8(os.path.abspath(path))  # noqa: PTH100  # resolving links takes ten times as long


def hash_file(path: Path) -> tuple[str, FileRow | None]:
    """The digest of a file, and its row for the index."""
    try:
        status = path.stat()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return f"unreadable {path}", None  # decode() reports the reason
    return digest, (index_key(path), status.st_size, status.st_mtime_ns, digest)


def decode(path: Path, rate_hz: int) -> tuple[NDArray[np.int16], tuple[float, float, int]] | str:
    """Decode a file to samples and (active level, fraction of clipped samples, file rate), or the reason it failed."""
    parts: list[NDArray[np.int16]] = []
    clipped = n = 0
    try:
        with open_file(path) as source:
            info = source.info
            resampler = Resampler(info.rate_hz, rate_hz, 1)
            for block in source.blocks:
                mono = block.mean(axis=0, keepdims=True)
                if not np.isfinite(mono).all():
                    return f"{path}: contains NaN or infinite samples"
                clipped += count_clipped(mono[0])
                n += mono.shape[1]
                parts.append(to_int16(resampler.push(mono)))
    except AudioError as error:
        return error.message
    except Exception as error:  # from any decoder; other files can still be used
        return in_words(error, str(path))
    parts.append(to_int16(resampler.push(np.zeros((1, 0), np.float32), last=True)))
    samples = np.concatenate(parts)
    level = active_level(to_float(samples))
    return samples, (level, clipped / max(1, n), info.rate_hz)


def to_int16(samples: Array) -> NDArray[np.int16]:
    """Convert samples [1, n] with full scale 1 to 16-bit [n]."""
    return np.asarray(np.round(np.clip(samples[0], -1.0, 1.0) * FULL_SCALE), np.int16)


def to_float(samples: NDArray[np.int16]) -> Array:
    """Convert 16-bit samples to full scale 1."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def count_clipped(samples: Array) -> int:
    """Count samples above full scale, and runs of three equal samples at the peak of a loud signal."""
    magnitude = np.abs(samples)
    peak = magnitude.max(initial=0.0)
    if peak < LOUD_PEAK:
        return 0
    high = magnitude >= NEAR_PEAK * peak
    runs = high[:-2] & high[1:-1] & high[2:] & (samples[:-2] == samples[1:-1]) & (samples[1:-1] == samples[2:])
    return int(np.count_nonzero(runs)) + int(np.count_nonzero(magnitude > 1.0))
