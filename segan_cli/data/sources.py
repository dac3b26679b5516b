"""From what the user named to sources of training and validation that share no speaker, noise recording or room."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from segan_cli.config.training import DataConfig, MixingConfig
from segan_cli.data.cache import Cache, Progress
from segan_cli.data.gather import Found, Gatherer, Pool
from segan_cli.data.mixing import Blend, MixedSource, PairedSource, Source
from segan_cli.data.recordings import Recordings
from segan_cli.data.split import SHARE, Groups, Split, apart, divide, hold_out, joined, kept_apart
from segan_cli.errors import CorpusError

NOBODY: Groups = frozenset()
MUCH = 5 * SHARE  # of the speech: validation that takes more is worth a word


@dataclass(frozen=True)
class Sources:
    """What a training reads."""

    training: Source
    validation: Source
    found: tuple[Found, ...]
    notes: tuple[str, ...]  # what the user should know about the split
    sides: dict[str, tuple[Sequence[Recordings], Sequence[Recordings]]]  # kind → of training, of validation


def open_sources(
    data: DataConfig,
    mixing: MixingConfig,
    seed: int,
    cache: Cache,
    before: Split | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> Sources:
    """Read everything the user named and divide it, as `before` did where that is given.

    `progress` gives a callback for each entry. Raises CorpusError when it does not make a training.
    """
    if not data.speech:
        raise CorpusError("no speech to train on; name a folder by --data")
    gatherer = Gatherer(cache, progress)
    pool = gatherer.gather(data.speech, data.noise, data.rirs, "training")
    named = gatherer.gather(data.valid_speech, data.valid_noise, (), "validation")
    if data.noise and not len(pool.speech):
        raise CorpusError(f"{data.speech[0]}: holds noisy/clean pairs already; leave out --noise")
    training, validation, notes = separate(pool, named, seed, before or {})
    return Sources(
        build(training, mixing, cache.rate_hz),
        build(validation, mixing, cache.rate_hz),
        tuple(gatherer.found),
        tuple(notes),
        {
            "speakers": (training.speech_sets(), validation.speech_sets()),
            "noise": ((training.noise,), (validation.noise,)),
            "rooms": ((training.rooms,), (validation.rooms,)),
        },
    )


def separate(pool: Pool, named: Pool, seed: int, before: Split) -> tuple[Pool, Pool, list[str]]:
    """Training and validation without a common speaker, noise recording, room or content; and notes for the user.

    What is `named` for validation is taken out of the pool; where nothing is, a part of the pool is held out.
    """
    notes: list[str] = []
    if any(map(len, named.speech_sets())):
        (speech, lost), (clean, lost_pairs) = (apart(kind, named.speech_sets()) for kind in pool.speech_sets())
        ours, theirs = replace(pool, speech=speech, clean=clean), named
        if lost + lost_pairs:
            notes.append(f"{lost + lost_pairs} recordings are left out of training: validation has the speaker or file")
        if not any(map(len, ours.speech_sets())):
            raise CorpusError("validation has every speaker of --data; name another --valid-data, or none")
    else:
        speech, clean = joined(pool.speech_sets())
        pool, notes = distinct(replace(pool, speech=speech, clean=clean))
        groups = kept_apart(pool.speech_sets(), before.get("speakers", NOBODY)) or hold_out(pool.speech_sets(), seed)
        (speech, speech_held), (clean, clean_held) = (divide(kind, groups) for kind in pool.speech_sets())
        ours = replace(pool, speech=speech, clean=clean)
        theirs = Pool(speech_held, clean_held, pool.noisy)
        share = total(theirs.speech_sets()) / total(pool.speech_sets())
        if share > MUCH:
            notes.append(
                f"validation holds {share:.0%} of the speech, the smallest speaker; --valid-data names another"
            )
    if len(named.noise):
        noise, lost = apart(pool.noise, (named.noise,))
        valid_noise = named.noise
        if lost:
            notes.append(f"{lost} noises are left out of training: validation has the recording")
    else:
        noise, valid_noise = divide(pool.noise, held_out(pool.noise, before.get("noise", NOBODY), seed))
        if len(noise) and not len(valid_noise):
            notes.append("one noise recording is all there is, so validation uses generated noises")
    rooms, valid_rooms = divide(pool.rooms, held_out(pool.rooms, before.get("rooms", NOBODY), seed))
    ours = replace(ours, noisy=paired_noisy(pool.noisy, ours.clean), noise=noise, rooms=rooms)
    theirs = replace(theirs, noisy=paired_noisy(theirs.noisy, theirs.clean), noise=valid_noise, rooms=valid_rooms)
    return ours, theirs, notes


def held_out(recordings: Recordings, before: Groups, seed: int) -> Groups:
    """Groups of noises or rooms for validation: those of an earlier start that are there, or new ones."""
    return before & set(recordings.groups()) or hold_out((recordings,), seed)


def distinct(pool: Pool) -> tuple[Pool, list[str]]:
    """The pool with every file a group of its own where there is but one speaker; and a note that says so."""
    if len({group for kind in pool.speech_sets() for group in kind.groups()}) > 1:
        return pool, []
    if sum(map(len, pool.speech_sets())) < 2:
        raise CorpusError("one recording cannot be split for validation; give more, or name --valid-data")
    speech, clean = (
        Recordings(tuple(replace(recording, group=recording.name) for recording in kind.all))
        for kind in pool.speech_sets()
    )
    note = "one speaker is all there is, so validation holds out recordings: its scores are for a known voice"
    return replace(pool, speech=speech, clean=clean), [note]


def paired_noisy(noisy: Recordings, clean: Recordings) -> Recordings:
    """The noisy sides of some pairs."""
    return noisy.subset([noisy.places[recording.name] for recording in clean.all])


def total(kinds: Sequence[Recordings]) -> float:
    """Samples of several kinds together."""
    return sum(kind.samples() for kind in kinds)


def build(pool: Pool, mixing: MixingConfig, rate_hz: int) -> Source:
    """The source that one side of the split makes."""
    paired = PairedSource(pool.clean, pool.noisy, mixing, rate_hz)
    multi_speaker = len(pool.speech.groups()) > 1
    mixed = MixedSource(pool.speech, pool.noise, pool.rooms, mixing, rate_hz, multi_speaker)
    if not len(pool.speech):
        return paired
    return Blend(mixed, paired) if len(pool.clean) else mixed
