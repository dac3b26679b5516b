"""Where noisy and clean windows come from: each source draws a spec first and then renders it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segan_cli.config import MixingConfig
from segan_cli.data.corpus import Recordings

Array = NDArray[np.float32]

LONGEST = 160_000  # samples of a whole utterance
PEAK = 0.99  # mixtures are scaled down to this, noisy and clean alike


@dataclass(frozen=True)
class Excerpt:
    """A place in one of many recordings."""

    index: int
    offset: int  # samples


@dataclass(frozen=True)
class MixSpec:
    """Everything that was drawn for one mixture of speech and noise."""

    length: int  # samples
    speech: Excerpt
    noises: tuple[Excerpt, ...]  # from the noise recordings
    babble: tuple[Excerpt, ...]  # from the speech recordings
    snr_db: float
    level_db: float


@dataclass(frozen=True)
class PairSpec:
    """Everything that was drawn for one excerpt of a recorded pair."""

    length: int  # samples
    excerpt: Excerpt
    gain_db: float


class Source(Protocol):
    """Noisy and clean audio of one kind."""

    def sample(self, rng: np.random.Generator, length: int | None) -> tuple[Array, Array]:
        """Draw and render noisy [n] and clean [n]: `length` samples, or a whole utterance."""


class MixedSource:
    """Clean speech and noise mixed on the fly."""

    def __init__(self, speech: Recordings, noise: Recordings, config: MixingConfig) -> None:
        self.speech, self.noise, self.config = speech, noise, config
        self.speech_odds, self.noise_odds = by_length(speech), by_length(noise)

    def sample(self, rng: np.random.Generator, length: int | None) -> tuple[Array, Array]:
        """Draw and render one mixture, noisy [n] and clean [n]."""
        return self.render(self.draw(rng, length))

    def draw(self, rng: np.random.Generator, length: int | None) -> MixSpec:
        """Draw speech, noise (recordings or a crowd of voices), SNR and level."""
        config = self.config
        index = int(rng.choice(len(self.speech_odds), p=self.speech_odds))
        n = length or min(self.speech.lengths[index], LONGEST)
        speech = Excerpt(index, int(rng.integers(max(1, self.speech.lengths[index] - n + 1))))
        noises: tuple[Excerpt, ...] = ()
        babble: tuple[Excerpt, ...] = ()
        if rng.random() < config.babble_probability:
            babble = tuple(place(rng, self.speech, self.speech_odds) for _ in range(rng.integers(3, 9)))
        else:
            count = 2 if rng.random() < config.second_noise_probability else 1
            noises = tuple(place(rng, self.noise, self.noise_odds) for _ in range(count))
        return MixSpec(
            n, speech, noises, babble, float(rng.uniform(*config.snr_db)), float(rng.uniform(*config.level_db))
        )

    def render(self, spec: MixSpec) -> tuple[Array, Array]:
        """Scale speech to its level and the noise to its SNR below it.

        The SNR is the active level of the whole utterance over the RMS of the noise in the excerpt.
        """
        level = 10 ** (spec.level_db / 20)
        gain = level / self.speech.levels[spec.speech.index]
        clean = gain * self.speech.excerpt(spec.speech.index, spec.speech.offset, spec.length)
        noise = np.zeros(spec.length, np.float32)
        for recordings, excerpts in ((self.noise, spec.noises), (self.speech, spec.babble)):
            for excerpt in excerpts:
                noise += looped(recordings, excerpt, spec.length) / recordings.levels[excerpt.index]
        rms = max(float(np.sqrt(np.mean(np.square(noise)))), 0.1)  # of sounds at level 1: a pause is not blown up
        noisy = clean + noise * (level * 10 ** (-spec.snr_db / 20) / rms)
        scale = np.float32(min(1.0, PEAK / max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)))
        return (noisy * scale).astype(np.float32), (clean * scale).astype(np.float32)


class PairedSource:
    """Recorded pairs: the same index in `clean` and `noisy` is the same utterance, of the same length."""

    def __init__(self, clean: Recordings, noisy: Recordings) -> None:
        self.clean, self.noisy = clean, noisy
        self.odds = by_length(clean)

    def sample(self, rng: np.random.Generator, length: int | None) -> tuple[Array, Array]:
        """Draw and render one excerpt, noisy [n] and clean [n]."""
        return self.render(self.draw(rng, length))

    def draw(self, rng: np.random.Generator, length: int | None) -> PairSpec:
        """Draw a pair, a place in it and a gain within 6 dB."""
        index = int(rng.choice(len(self.odds), p=self.odds))
        n = length or min(self.clean.lengths[index], LONGEST)
        offset = int(rng.integers(max(1, self.clean.lengths[index] - n + 1)))
        return PairSpec(n, Excerpt(index, offset), float(rng.uniform(-6.0, 6.0)))

    def render(self, spec: PairSpec) -> tuple[Array, Array]:
        """Cut the same place out of both; the gain is lowered where it would clip."""
        noisy, clean = (
            r.excerpt(spec.excerpt.index, spec.excerpt.offset, spec.length) for r in (self.noisy, self.clean)
        )
        peak = max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)
        gain = np.float32(min(10 ** (spec.gain_db / 20), max(1.0, PEAK / peak)))
        return noisy * gain, clean * gain


def batch(source: Source, rng: np.random.Generator, n: int, length: int) -> tuple[Array, Array]:
    """Draw and render n windows: noisy [n, 1, length], clean [n, 1, length]."""
    pairs = [source.sample(rng, length) for _ in range(n)]
    noisy, clean = (np.stack(column)[:, None] for column in zip(*pairs, strict=True))
    return noisy, clean


def by_length(recordings: Recordings) -> NDArray[np.float64]:
    """Odds of each recording in proportion to its length, so that every second is as likely as any other."""
    lengths: NDArray[np.float64] = np.asarray(recordings.lengths, np.float64)
    return np.asarray(lengths / lengths.sum())


def place(rng: np.random.Generator, recordings: Recordings, odds: NDArray[np.float64]) -> Excerpt:
    """Any sample of any recording."""
    index = int(rng.choice(len(odds), p=odds))
    return Excerpt(index, int(rng.integers(recordings.lengths[index])))


def looped(recordings: Recordings, excerpt: Excerpt, length: int) -> Array:
    """`length` samples from a place on, going round to the recording's start at its end."""
    n = recordings.lengths[excerpt.index]
    parts = [recordings.excerpt(excerpt.index, excerpt.offset, min(length, n - excerpt.offset))]
    while (missing := length - sum(map(len, parts))) > 0:
        parts.append(recordings.excerpt(excerpt.index, 0, min(missing, n)))
    return np.concatenate(parts)


def draw_utterances(source: Source, n: int, seed: int) -> list[tuple[Array, Array]]:
    """n whole utterances as (noisy, clean), the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [source.sample(rng, None) for _ in range(n)]
