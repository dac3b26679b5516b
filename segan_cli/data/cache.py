"""Audio decoded and resampled once, kept as memory-mapped 16-bit samples under the hash of the file's content.

A SQLite index knows each file by path, size and time, each content by its hash. A file that moved is hashed again but
not decoded; a build that was stopped goes on where it was; several trainings may share a cache.
"""

import hashlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.filters import Resampler
from segan_cli.audio.sources import open_file
from segan_cli.errors import AudioError, CorpusError
from segan_cli.printable import utf8
from segan_cli.stopping import UNFINISHED
from segan_cli.system import cpu_count
from segan_cli.tracebacks import in_words

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]  # files done, files in all

FULL_SCALE = 32_767.0
FORMAT = 1  # of the index; another makes an index of its own
CHUNK = 256  # files decoded between two entries in the index
THREADS = min(8, cpu_count())
PATIENCE_S = 60.0  # for an index that another process is writing
TABLES = (
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime_ns INT, digest TEXT)",
    "CREATE TABLE IF NOT EXISTS audio (digest TEXT, to_hz INT, shard TEXT, start INT, length INT, level REAL,"
    " clipped REAL, rate_hz INT, PRIMARY KEY (digest, to_hz))",
)


@dataclass(frozen=True)
class Entry:
    """Where the samples of one file are, and what is known of them."""

    digest: str  # of the file's content
    shard: Path  # file of samples
    start: int  # first sample in it
    length: int  # samples
    level: float  # active level, RMS with full scale 1
    clipped: float  # share of samples in flat tops
    rate_hz: int  # of the file
    to_hz: int  # of the samples
    path: Path = field(compare=False)  # of the file, or of another one of the same content


class Cache:
    """Decoded audio of one sample rate in a folder."""

    def __init__(self, folder: Path, rate_hz: int) -> None:
        self.folder, self.rate_hz = folder, rate_hz

    def read(self, paths: Sequence[Path], progress: Progress | None = None) -> list[Entry | str]:
        """An entry for each file, or a line on why it cannot be read; what the cache does not hold yet is decoded.

        Raises CorpusError when the cache cannot be used.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            place = self.folder / f"index-{FORMAT}.sqlite"
            with closing(sqlite3.connect(place, PATIENCE_S)) as index, ThreadPoolExecutor(THREADS) as pool:
                for table in TABLES:
                    index.execute(table)
                return self._read(index, pool, paths, progress)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise CorpusError(f"{self.folder}: the cache cannot be used ({reason}); name another by --cache") from error

    def _read(
        self, index: sqlite3.Connection, pool: Executor, paths: Sequence[Path], progress: Progress | None
    ) -> list[Entry | str]:
        seen = {path: facts for path, *facts in index.execute("SELECT path, size, mtime_ns, digest FROM files")}
        entries: dict[str, Entry | str] = {**self._entries(index)}
        digests: list[str] = []
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            unchanged = {path: known(path, seen) for path in chunk}
            changed = [path for path, digest in unchanged.items() if digest is None]
            hashed = dict(zip(changed, pool.map(identify, changed), strict=True))
            identified = [hashed.get(path) or (str(unchanged[path]), None) for path in chunk]
            digests += [digest for digest, _ in identified]
            new = {digest: path for path, (digest, _) in zip(chunk, identified, strict=True) if digest not in entries}
            entries |= self._add(index, pool, new)
            rows = [row for _, row in identified if row]
            with index:
                index.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
            if progress is not None:
                progress(len(digests), len(paths))
        found = [entries[digest] for digest in digests]
        return [
            entry if isinstance(entry, str) else replace(entry, path=path)
            for entry, path in zip(found, paths, strict=True)
        ]

    def _add(self, index: sqlite3.Connection, pool: Executor, new: dict[str, Path]) -> dict[str, Entry | str]:
        """Decode new contents into a file of their own and enter those that could be read."""
        if not new:
            return {}
        shard = self.folder / f"audio-{uuid.uuid4().hex}.i16"
        entries: dict[str, Entry | str] = {}
        try:
            UNFINISHED.add(shard)
            with shard.open("wb") as file:
                results = pool.map(lambda path: decode(path, self.rate_hz), new.values())
                for digest, result in zip(new, results, strict=True):
                    if isinstance(result, str):
                        entries[digest] = result
                    else:
                        samples, facts = result
                        place = file.tell() // 2
                        entries[digest] = Entry(digest, shard, place, len(samples), *facts, self.rate_hz, new[digest])
                        file.write(samples.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            shard.unlink()
            raise
        finally:
            UNFINISHED.discard(shard)
        if not any(isinstance(entry, Entry) for entry in entries.values()):
            shard.unlink()
        rows = [
            (e.digest, self.rate_hz, shard.name, e.start, e.length, e.level, e.clipped, e.rate_hz)
            for e in entries.values()
            if isinstance(e, Entry)
        ]
        with index:
            index.executemany("INSERT OR REPLACE INTO audio VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return entries

    def _entries(self, index: sqlite3.Connection) -> dict[str, Entry]:
        """Every content whose samples are there."""
        sizes = {path.name: path.stat().st_size for path in self.folder.glob("*.i16")}
        rows = index.execute(
            "SELECT digest, shard, start, length, level, clipped, rate_hz FROM audio WHERE to_hz = ?", (self.rate_hz,)
        )
        return {
            digest: Entry(
                digest, self.folder / shard, start, length, level, clipped, rate_hz, self.rate_hz, self.folder
            )
            for digest, shard, start, length, level, clipped, rate_hz in rows
            if 2 * (start + length) <= sizes.get(shard, -1)
        }


Row = tuple[str, int, int, str]  # path, size, time, hash


def known(path: Path, seen: dict[str, list[object]]) -> str | None:
    """The hash of a file that has not changed since it was seen."""
    facts = seen.get(key_of(path))
    if facts is None:
        return None
    try:
        now = path.stat()
    except OSError:
        return None
    return str(facts[2]) if facts[:2] == [now.st_size, now.st_mtime_ns] else None


def key_of(path: Path) -> str:
    """The name of a file in the index, which holds UTF-8 alone."""
    return utf8(os.path.abspath(path))  # noqa: PTH100  # resolving links takes ten times as long


def identify(path: Path) -> tuple[str, Row | None]:
    """The hash of a file's content, and a row for the index."""
    try:
        facts = path.stat()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return f"unreadable {path}", None  # decoding it says why
    return digest, (key_of(path), facts.st_size, facts.st_mtime_ns, digest)


def decode(path: Path, rate_hz: int) -> tuple[NDArray[np.int16], tuple[float, float, int]] | str:
    """A file as 16-bit samples, with active level, share of clipped samples and its own rate; or what is wrong."""
    parts: list[NDArray[np.int16]] = []
    clipped = n = 0
    try:
        with open_file(path) as source:
            info = source.info
            resampler = Resampler(info.rate_hz, rate_hz, 1)
            for block in source.blocks:
                mono = block.mean(axis=0, keepdims=True)
                if not np.isfinite(mono).all():
                    return f"{path}: holds samples that are not numbers (NaN or infinity)"
                clipped += flat_tops(mono[0])
                n += mono.shape[1]
                parts.append(sixteen_bits(resampler.push(mono)))
    except AudioError as error:
        return str(error)
    except Exception as error:  # of whatever library: it is this file's, and the others go on
        return in_words(error, str(path))
    parts.append(sixteen_bits(resampler.push(np.zeros((1, 0), np.float32), last=True)))
    samples = np.concatenate(parts)
    return samples, (active_level(samples.astype(np.float32) / np.float32(FULL_SCALE)), clipped / n, info.rate_hz)


def sixteen_bits(samples: Array) -> NDArray[np.int16]:
    """Samples [1, n], full scale 1 → [n]."""
    return np.asarray(np.round(np.clip(samples[0], -1.0, 1.0) * FULL_SCALE), np.int16)


def active_level(samples: Array) -> float:
    """RMS of the frames that carry sound: those with more than a twentieth of the mean power of all frames."""
    if not len(samples):
        return 0.0
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320) if len(samples) >= 320 else samples[None]
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= 0.05 * power.mean()].mean()))


def flat_tops(samples: Array) -> int:
    """Samples that were clipped: above full scale, or one of three equal ones at the very top of a loud signal."""
    size = np.abs(samples)
    top = size.max(initial=0.0)
    if top < 0.5:
        return 0
    high = size >= 0.999 * top
    runs = high[:-2] & high[1:-1] & high[2:] & (samples[:-2] == samples[1:-1]) & (samples[1:-1] == samples[2:])
    return int(np.count_nonzero(runs)) + int(np.count_nonzero(size > 1.0))
