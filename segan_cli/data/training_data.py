"""Sources of training and validation examples that share no speaker, noise recording or room response."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from segan_cli.config.training import DataConfig, MixingConfig
from segan_cli.data.cache import Cache, Progress
from segan_cli.data.corpora import CorpusLoader, CorpusSummary, RecordingPool
from segan_cli.data.mixing import CombinedSource, ExampleSource, MixtureSource, PairedSource
from segan_cli.data.recordings import Recordings
from segan_cli.data.split import (
    VALIDATION_SHARE,
    Groups,
    Split,
    draw_groups,
    exclude,
    keep_groups,
    merge_groups,
    partition,
)
from segan_cli.errors import CorpusError

NO_GROUPS: Groups = frozenset()
LARGE_SHARE = 5 * VALIDATION_SHARE  # fraction of the speech in validation that deserves a note


@dataclass(frozen=True)
class TrainingData:
    """Example sources for training and validation, and how they were made."""

    training: ExampleSource
    validation: ExampleSource
    corpora: tuple[CorpusSummary, ...]
    notes: tuple[str, ...]  # on the split, for the user
    splits: dict[str, tuple[Sequence[Recordings], Sequence[Recordings]]]  # kind → training, validation


def load_training_data(
    data: DataConfig,
    mixing: MixingConfig,
    seed: int,
    cache: Cache,
    previous: Split | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> TrainingData:
    """Load all corpora and split them into training and validation.

    Args:
        previous: The split of an earlier start, to keep.
        progress: Makes a callback for each corpus from its path.

    Raises CorpusError if there is nothing to train on.
    """
    if not data.speech:
        raise CorpusError("no speech to train on; name a folder by --data")
    loader = CorpusLoader(cache, progress)
    pool = loader.load(data.speech, data.noise, data.rirs, "training")
    named = loader.load(data.valid_speech, data.valid_noise, (), "validation")
    if data.noise and not len(pool.speech):
        raise CorpusError(f"{data.speech[0]}: already contains noisy/clean pairs; omit --noise")
    training, validation, notes = split_pool(pool, named, seed, previous or {})
    return TrainingData(
        build_source(training, mixing, cache.rate_hz),
        build_source(validation, mixing, cache.rate_hz),
        tuple(loader.summaries),
        tuple(notes),
        {
            "speakers": (training.speech_recordings(), validation.speech_recordings()),
            "noise": ((training.noise,), (validation.noise,)),
            "rirs": ((training.rirs,), (validation.rirs,)),
        },
    )


def split_pool(
    pool: RecordingPool, named: RecordingPool, seed: int, previous: Split
) -> tuple[RecordingPool, RecordingPool, list[str]]:
    """Split a pool into training and validation, with notes for the user.

    Recordings `named` for validation are excluded from the pool; otherwise part of the pool is held out.
    """
    if any(map(len, named.speech_recordings())):
        training, validation, notes = split_by_named(pool, named)
    else:
        training, validation, notes = hold_out_speakers(pool, seed, previous)
    if len(named.noise):
        noise, n_excluded = exclude(pool.noise, (named.noise,))
        validation_noise = named.noise
        if n_excluded:
            notes.append(f"excluded {n_excluded} noises from training: validation has the same recordings")
    else:
        noise, validation_noise = partition(
            pool.noise, held_out_groups(pool.noise, previous.get("noise", NO_GROUPS), seed)
        )
        if len(noise) and not len(validation_noise):
            notes.append("there is only one noise recording, so validation uses generated noise")
    rirs, validation_rirs = partition(pool.rirs, held_out_groups(pool.rirs, previous.get("rirs", NO_GROUPS), seed))
    noisy, validation_noisy = match_noisy(pool.noisy, training.clean), match_noisy(validation.noisy, validation.clean)
    training = replace(training, noisy=noisy, noise=noise, rirs=rirs)
    validation = replace(validation, noisy=validation_noisy, noise=validation_noise, rirs=validation_rirs)
    return training, validation, notes


def split_by_named(pool: RecordingPool, named: RecordingPool) -> tuple[RecordingPool, RecordingPool, list[str]]:
    """Training speech without the speakers and files of the validation speech that the user named."""
    (speech, n_speech), (clean, n_clean) = (
        exclude(recordings, named.speech_recordings()) for recordings in pool.speech_recordings()
    )
    if not len(speech) + len(clean):
        raise CorpusError("validation has all speakers of --data; choose another --valid-data, or omit it")
    notes = []
    if n_speech + n_clean:
        notes.append(f"excluded {n_speech + n_clean} recordings from training: validation has the same speaker or file")
    return replace(pool, speech=speech, clean=clean), named, notes


def hold_out_speakers(
    pool: RecordingPool, seed: int, previous: Split
) -> tuple[RecordingPool, RecordingPool, list[str]]:
    """Hold out whole speakers for validation: those of the previous split, or newly drawn ones."""
    speech, clean = merge_groups(pool.speech_recordings())
    pool, notes = ensure_several_groups(replace(pool, speech=speech, clean=clean))
    both = pool.speech_recordings()
    groups = keep_groups(both, previous.get("speakers", NO_GROUPS)) or draw_groups(both, seed)
    (speech, held_out_speech), (clean, held_out_clean) = (partition(recordings, groups) for recordings in both)
    validation = RecordingPool(held_out_speech, held_out_clean, pool.noisy)
    share = total_samples(validation.speech_recordings()) / total_samples(both)
    if share > LARGE_SHARE:
        notes.append(f"validation holds {share:.0%} of the speech, the smallest speaker; see --valid-data")
    return replace(pool, speech=speech, clean=clean), validation, notes


def held_out_groups(recordings: Recordings, previous: Groups, seed: int) -> Groups:
    """Validation groups of noise or room responses: those of the previous split that still exist, or new ones."""
    return previous & set(recordings.groups()) or draw_groups((recordings,), seed)


def ensure_several_groups(pool: RecordingPool) -> tuple[RecordingPool, list[str]]:
    """Make each recording its own group if there is only one speaker, with a note on that."""
    if len({group for recordings in pool.speech_recordings() for group in recordings.groups()}) > 1:
        return pool, []
    if sum(map(len, pool.speech_recordings())) < 2:
        raise CorpusError("a single recording cannot be split for validation; add more, or use --valid-data")
    speech, clean = (
        Recordings(tuple(replace(recording, group=recording.name) for recording in recordings.all))
        for recordings in pool.speech_recordings()
    )
    note = "there is only one speaker, so validation holds out recordings: its scores are for a known voice"
    return replace(pool, speech=speech, clean=clean), [note]


def match_noisy(noisy: Recordings, clean: Recordings) -> Recordings:
    """The noisy counterparts of clean recordings."""
    return noisy.subset([noisy.indices[recording.name] for recording in clean.all])


def total_samples(parts: Sequence[Recordings]) -> float:
    """Number of samples in several sets of recordings."""
    return sum(recordings.n_samples() for recordings in parts)


def build_source(pool: RecordingPool, mixing: MixingConfig, rate_hz: int) -> ExampleSource:
    """The source of examples for a pool: mixtures, recorded pairs, or both."""
    paired = PairedSource(pool.clean, pool.noisy, mixing, rate_hz)
    multi_speaker = len(pool.speech.groups()) > 1
    mixtures = MixtureSource(pool.speech, pool.noise, pool.rirs, mixing, rate_hz, multi_speaker)
    if not len(pool.speech):
        return paired
    return CombinedSource(mixtures, paired) if len(pool.clean) else mixtures
