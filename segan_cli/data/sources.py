"""From the folders a user names to a training source and validation utterances."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segan_cli.config import MixingConfig
from segan_cli.data.corpus import Progress, Recordings, find_pair, load, match
from segan_cli.data.mixing import MixedSource, PairedSource
from segan_cli.errors import CorpusError

Reader = Callable[[Path], Recordings]

VALIDATION_SHARE = 0.05  # of the seconds, where no validation folder is given


@dataclass(frozen=True)
class Folders:
    """What the user named: pairs in `data`, or clean speech in `data` and noise beside it."""

    data: Path
    noise: Path | None = None
    valid_data: Path | None = None
    valid_noise: Path | None = None


@dataclass(frozen=True)
class Sources:
    """What a training reads: windows to learn from and sources of whole utterances to validate on."""

    training: MixedSource | PairedSource
    validation: MixedSource | PairedSource
    found: tuple[str, ...]  # a line on each kind of recording


def open_sources(
    folders: Folders, mixing: MixingConfig, rate_hz: int, seed: int, cache: Path, progress: Progress | None = None
) -> Sources:
    """Read all folders; validation is held out by folder (a speaker's, mostly) where none is named.

    Raises CorpusError when they do not make a training.
    """

    def read(folder: Path) -> Recordings:
        return load(folder, rate_hz, cache, progress)

    if not folders.data.is_dir():
        raise CorpusError(f"{folders.data}: no such folder; give a folder of audio files")
    pair = find_pair(folders.data)
    if pair:
        return _paired(folders, pair, read, rate_hz, seed)
    if folders.noise is None:
        raise CorpusError(
            f"{folders.data}: no clean/ and noisy/ folders in it, so it is taken as clean speech; name noise by --noise"
        )
    if folders.valid_data and find_pair(folders.valid_data):
        raise CorpusError(
            f"{folders.valid_data}: holds noisy/clean pairs, but --data is clean speech; give clean speech"
        )
    speech, valid_speech = _split(read(folders.data), folders.valid_data, read, seed)
    noise, valid_noise = _split(read(folders.noise), folders.valid_noise, read, seed)
    return Sources(
        MixedSource(speech, noise, mixing),
        MixedSource(valid_speech, valid_noise, mixing),
        (describe("clean speech", speech, rate_hz), describe("noise", noise, rate_hz)),
    )


def _paired(folders: Folders, pair: tuple[Path, Path], read: Reader, rate_hz: int, seed: int) -> Sources:
    if folders.noise or folders.valid_noise:
        raise CorpusError(f"{folders.data}: holds noisy/clean pairs already; leave out --noise and --valid-noise")
    clean, noisy = match(*map(read, pair))
    found = (describe("noisy/clean pairs", clean, rate_hz),)
    if folders.valid_data is None:
        kept, held_out = clean.split(VALIDATION_SHARE, seed)
        valid_clean, valid_noisy = clean.subset(held_out), noisy.subset(held_out)
        clean, noisy = clean.subset(kept), noisy.subset(kept)
    else:
        valid_pair = find_pair(folders.valid_data)
        if valid_pair is None:
            raise CorpusError(f"{folders.valid_data}: no clean/ and noisy/ folders in it, though --data has them")
        valid_clean, valid_noisy = match(*map(read, valid_pair))
    return Sources(PairedSource(clean, noisy), PairedSource(valid_clean, valid_noisy), found)


def _split(recordings: Recordings, named: Path | None, read: Reader, seed: int) -> tuple[Recordings, Recordings]:
    if named is not None:
        return recordings, read(named)
    kept, held_out = recordings.split(VALIDATION_SHARE, seed)
    return recordings.subset(kept), recordings.subset(held_out)


def describe(what: str, recordings: Recordings, rate_hz: int) -> str:
    """One line on a folder's recordings and on what was left out."""
    hours = sum(recordings.lengths) / rate_hz / 3600
    line = f"{len(recordings.names)} files, {hours:.2f} h of {what}"
    if recordings.skipped:
        line += f"; {len(recordings.skipped)} left out, first {recordings.skipped[0]}"
    return line
