"""Folders of audio as recordings in memory-mapped 16-bit samples."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio import EXTENSIONS, read_mono
from segan_cli.errors import AudioError, CorpusError

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]  # files done, files in all

FULL_SCALE = 32_767.0


@dataclass(frozen=True)
class Recordings:
    """Mono recordings of one rate, laid end to end."""

    samples: NDArray[np.int16]
    names: tuple[str, ...]  # path below the folder
    starts: tuple[int, ...]  # first sample of each
    lengths: tuple[int, ...]  # samples
    levels: tuple[float, ...]  # active level of each, RMS with full scale 1
    skipped: tuple[str, ...]  # why a file is not among them, one line each

    def excerpt(self, index: int, offset: int, length: int) -> Array:
        """`length` samples of one recording from `offset` on, zeros after its end, full scale 1."""
        n = min(length, self.lengths[index] - offset)
        start = self.starts[index] + offset
        return np.pad(self.samples[start : start + n] / np.float32(FULL_SCALE), (0, length - n))

    def subset(self, indices: Sequence[int]) -> "Recordings":
        """Some of the recordings, over the same samples."""
        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            starts=tuple(self.starts[i] for i in indices),
            lengths=tuple(self.lengths[i] for i in indices),
            levels=tuple(self.levels[i] for i in indices),
        )

    def split(self, share: float, seed: int) -> tuple[list[int], list[int]]:
        """Indices of two parts without a common folder (a speaker's, mostly), or file where all lie in one folder.

        The second gets about `share` of the seconds. Raises CorpusError when there is nothing to divide.
        """
        groups: dict[str, list[int]] = {}
        flat = len({name.rpartition("/")[0] for name in self.names}) == 1
        for index, name in enumerate(self.names):
            groups.setdefault(name if flat else name.rpartition("/")[0], []).append(index)
        if len(groups) < 2:
            raise CorpusError(f"{self.names[0]}: a single recording cannot be split for validation; give more")
        order = [sorted(groups)[i] for i in np.random.default_rng(seed).permutation(len(groups))]
        wanted, taken = share * sum(self.lengths), 0
        held_out: list[int] = []
        for group in order[:-1]:
            seconds = sum(self.lengths[i] for i in groups[group])
            if taken + seconds <= 2 * wanted:
                held_out += groups[group]
                taken += seconds
            if taken >= wanted:
                break
        if not held_out:  # every folder is too large a share, or every file of a few
            held_out = groups[min(groups, key=lambda group: sum(self.lengths[i] for i in groups[group]))]
        return sorted(set(range(len(self.names))) - set(held_out)), sorted(held_out)


def find_audio(folder: Path) -> list[Path]:
    """All audio files below a folder, sorted; raises CorpusError when there is none."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; give a folder of audio files")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not paths:
        raise CorpusError(f"{folder}: no audio files in it; expected {', '.join(sorted(EXTENSIONS))}")
    return paths


def find_pair(folder: Path) -> tuple[Path, Path] | None:
    """The folders of a paired corpus, if it is one: `clean` and `noisy`, or `clean_NAME` and `noisy_NAME`.

    Test sets beside them, as VoiceBank-DEMAND has, are left alone. Raises CorpusError when several pairs are left.
    """
    pairs = [
        (clean, folder / clean.name.replace("clean", "noisy", 1))
        for clean in sorted(folder.glob("clean*"))
        if clean.is_dir() and "test" not in clean.name
    ]
    pairs = [(clean, noisy) for clean, noisy in pairs if noisy.is_dir()]
    if len(pairs) > 1:
        names = ", ".join(clean.name for clean, _ in pairs)
        raise CorpusError(
            f"{folder}: holds several sets of pairs ({names}); move the one to use into a folder of its own"
        )
    return pairs[0] if pairs else None


def match(clean: Recordings, noisy: Recordings) -> tuple[Recordings, Recordings]:
    """The recordings of two folders that have a partner of the same name and length, in the same order.

    The others join `skipped`. Raises CorpusError when no pair is left.
    """
    partners = {name: index for index, name in enumerate(noisy.names)}
    pairs, skipped = [], [*clean.skipped, *noisy.skipped]
    for index, name in enumerate(clean.names):
        partner = partners.pop(name, None)
        if partner is None:
            skipped.append(f"{name}: no noisy file of this name")
        elif clean.lengths[index] != noisy.lengths[partner]:
            skipped.append(f"{name}: {clean.lengths[index]} clean but {noisy.lengths[partner]} noisy samples")
        else:
            pairs.append((index, partner))
    skipped += [f"{name}: no clean file of this name" for name in partners]
    if not pairs:
        raise CorpusError(f"no noisy file has a clean one of the same name and length; first problem: {skipped[0]}")
    ours, theirs = clean.subset([i for i, _ in pairs]), noisy.subset([j for _, j in pairs])
    return replace(ours, skipped=tuple(skipped)), theirs


def active_level(samples: Array) -> float:
    """RMS of the frames that carry sound: those with more than a twentieth of the mean power of all frames."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320) if len(samples) >= 320 else samples[None]
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= 0.05 * power.mean()].mean()))


def load(folder: Path, rate_hz: int, cache: Path, progress: Progress | None = None) -> Recordings:
    """Decode and resample every file below a folder once; later calls map the result from `cache`.

    Unreadable and silent files are left out and listed in `skipped`. Raises CorpusError when nothing is left.
    """
    paths = find_audio(folder)
    facts = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), rate_hz, facts]).encode()).hexdigest()[:16]
    data, index = cache / f"{key}.i16", cache / f"{key}.json"
    if not index.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _decode(folder, paths, rate_hz, data, index, progress)
    about = json.loads(index.read_text(encoding="utf-8"))
    if not about["names"]:
        raise CorpusError(f"{folder}: none of its {len(paths)} audio files can be used; first: {about['skipped'][0]}")
    return Recordings(
        np.memmap(data, np.int16, "r"),
        *(tuple(about[field]) for field in ("names", "starts", "lengths", "levels", "skipped")),
    )


def _decode(
    folder: Path, paths: Sequence[Path], rate_hz: int, data: Path, index: Path, progress: Progress | None
) -> None:
    def read(path: Path) -> NDArray[np.int16] | str:
        try:
            samples = read_mono(path, rate_hz)
        except AudioError as error:
            return str(error)
        if not len(samples) or not np.isfinite(samples).all() or active_level(samples) < 1e-4:
            return f"{path}: silent or not finite"
        return np.round(np.clip(samples, -1.0, 1.0) * FULL_SCALE).astype(np.int16)

    names, starts, lengths, levels, skipped = [], [], [], [], []
    beside = data.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as file, ThreadPoolExecutor() as pool:
        for done, (path, result) in enumerate(zip(paths, pool.map(read, paths), strict=True), 1):
            if isinstance(result, str):
                skipped.append(result)
            else:
                names.append(path.relative_to(folder).as_posix())
                starts.append(file.tell() // 2)
                file.write(result.tobytes())
                lengths.append(len(result))
                levels.append(active_level(result / np.float32(FULL_SCALE)))
            if progress is not None:
                progress(done, len(paths))
    beside.replace(data)
    written = json.dumps({"names": names, "starts": starts, "lengths": lengths, "levels": levels, "skipped": skipped})
    beside.write_text(written, encoding="utf-8")
    beside.replace(index)
