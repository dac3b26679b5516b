"""Where noisy and clean windows come from: each source draws a spec first and then renders it.

A spec names its recordings, so it can be written down as JSON and rendered again later.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import lfilter

from segan_cli.config.schema import from_dict
from segan_cli.config.training import MixingConfig, NoiseKind
from segan_cli.data.degradation import Degradation, damage, draw_degradation
from segan_cli.data.noises import generate
from segan_cli.data.recordings import Recording, Recordings
from segan_cli.data.rirs import LONGEST_S, apply_rir, response

Array = NDArray[np.float32]
NoisyClean = tuple[Array, Array]  # noisy [n] and clean [n]

LONGEST_UTTERANCE_S = 10.0
LARGEST_COEFFICIENT = 3 / 8  # of random filters
PEAK = 0.99  # mixtures are scaled down to this, noisy and clean alike


@dataclass(frozen=True)
class Excerpt:
    """A place in a recording."""

    name: str
    offset: int  # samples


@dataclass(frozen=True)
class Generated:
    """A noise to be generated."""

    kind: NoiseKind
    seed: int
    shape: Excerpt  # speech whose spectrum a speech-shaped noise takes


@dataclass(frozen=True)
class Spec:
    """Everything that was drawn for one window: a mixture, or an excerpt of a recorded pair."""

    length: int  # samples
    speech: Excerpt
    paired: bool  # the noisy side was recorded
    level_db: float  # active level of the speech in a mixture, gain of a pair
    snr_db: float = 0.0
    noises: tuple[Excerpt, ...] = ()  # from the noise recordings
    babble: tuple[Excerpt, ...] = ()  # from other speakers
    generated: Generated | None = None
    room: str | None = None
    damage: Degradation = field(default_factory=Degradation)
    shaping: tuple[float, ...] = ()  # coefficients of the filters of speech and of noise, four each
    speeds: tuple[float, float] = (1.0, 1.0)  # of speech and of what is heard beside it, 1 as recorded
    speechless: bool = False  # noise alone, at the level it would have beside the speech
    mirrored: int = 0  # samples before the recording's first, or with a minus after its last, that mirror those inside


def spec_from_dict(values: dict[str, Any]) -> Spec:
    """A spec that `schema.plain` made plain; raises ConfigError when it is none."""
    return from_dict(Spec, values)


class Source(Protocol):
    """Noisy and clean audio of one rate."""

    def draw(self, rng: np.random.Generator, length: int | None) -> Spec:
        """Draw `length` samples or, without it, a whole utterance."""

    def render(self, spec: Spec) -> NoisyClean:
        """Noisy [n] and clean [n] as drawn, the same every time."""


class MixedSource:
    """Clean speech and noise mixed on the fly, in rooms where responses are given."""

    def __init__(
        self,
        speech: Recordings,
        noise: Recordings,
        rooms: Recordings,
        config: MixingConfig,
        rate_hz: int,
        multi_speaker: bool = True,
    ) -> None:
        """`crowd`: there are several speakers to make babble of."""
        self.speech, self.noise, self.rooms = speech, noise, rooms
        self.config, self.rate_hz, self.multi_speaker = config, rate_hz, multi_speaker

    def draw(self, rng: np.random.Generator, length: int | None) -> Spec:
        """Draw speech, what is heard beside it, room, SNR, level and damage."""
        config = self.config
        speaker = self.speech.draw(rng)
        n = length or min(speaker.length, round(LONGEST_UTTERANCE_S * self.rate_hz))
        speech = Excerpt(speaker.name, int(rng.integers(max(1, speaker.length - n + 1))))
        noises: tuple[Excerpt, ...] = ()
        babble: tuple[Excerpt, ...] = ()
        generated = None
        if rng.random() < config.babble_probability and self.multi_speaker:
            babble = tuple(self._other(rng, speaker) for _ in range(rng.integers(3, 9)))
        elif not len(self.noise) or rng.random() < config.generated_probability:
            kind = config.generated[int(rng.integers(len(config.generated)))]
            generated = Generated(kind, int(rng.integers(2**31)), place(rng, self.speech.draw(rng)))
        else:
            count = 2 if rng.random() < config.second_noise_probability else 1
            noises = tuple(place(rng, self.noise.draw(rng)) for _ in range(count))
        room = None
        if len(self.rooms) and rng.random() < config.reverb_probability:
            room = self.rooms.draw(rng).name
        snr_db, level_db = float(rng.uniform(*config.snr_db)), float(rng.uniform(*config.level_db))
        degradation = draw_degradation(rng, config, n, self.rate_hz)
        spec = Spec(n, speech, False, level_db, snr_db, noises, babble, generated, room, degradation)
        if rng.random() < config.shaping_probability:
            shaping = rng.uniform(-LARGEST_COEFFICIENT, LARGEST_COEFFICIENT, 8)
            spec = replace(spec, shaping=tuple(shaping.tolist()))
        if length is None:  # whole utterances are there to be scored
            return spec
        one = rng.random()
        if rng.random() < config.speed_probability:
            of_speech, of_noise = rng.uniform(*config.speed, 2).tolist()
            spec = replace(spec, speeds=(of_speech, of_noise))
        spec = replace(spec, mirrored=draw_mirrored(rng, config, n))
        if one < config.clean_probability:
            return replace(spec, noises=(), babble=(), generated=None, room=None, damage=Degradation())
        return replace(spec, speechless=one > 1 - config.speechless_probability)

    def _other(self, rng: np.random.Generator, speaker: Recording) -> Excerpt:
        """A place in a recording of another speaker."""
        while (voice := self.speech.draw(rng)).group == speaker.group:
            pass
        return place(rng, voice)

    def render(self, spec: Spec) -> NoisyClean:
        """Scale speech to its level and the noise to its SNR below it.

        The SNR is the active level of the whole utterance over the RMS of the noise in the excerpt.
        """
        level = 10 ** (spec.level_db / 20)
        gain = level / self.speech[spec.speech.name].entry.level
        lead = round(LONGEST_S * self.rate_hz) if spec.room else 0
        speech = gain * self._speech(spec, lead)
        noise = self._noise(spec)
        if spec.shaping:
            speech, noise = shape(spec.shaping[:4], speech), shape(spec.shaping[4:], noise)
        heard = clean = speech
        if spec.room:
            room = response(self.rooms, spec.room, self.rate_hz)
            heard, clean = apply_rir(room, speech, lead, self.config.target)
        if spec.speechless:
            heard = clean = np.zeros(spec.length, np.float32)
        rms = max(float(np.sqrt(np.mean(np.square(noise)))), 0.1)  # of sounds at level 1: a pause is not blown up
        noisy, clean = scale_to_peak(heard + noise * (level * 10 ** (-spec.snr_db / 20) / rms), clean)
        noisy, clean = damage(spec.damage, noisy, clean, self.rate_hz)
        return mirror(spec.mirrored, noisy), mirror(spec.mirrored, clean)

    def _speech(self, spec: Spec, lead: int) -> Array:
        """`lead` samples of speech from before the excerpt, then the excerpt."""
        speed = spec.speeds[0]
        first = spec.speech.offset - round(lead * speed)
        return speed_perturb(speed, partial(self.speech.excerpt, spec.speech.name, first), lead + spec.length)

    def _noise(self, spec: Spec) -> Array:
        """All that is heard beside the speech, each sound at active level 1."""
        speed = spec.speeds[1]
        noise = np.zeros(spec.length, np.float32)
        for recordings, excerpts in ((self.noise, spec.noises), (self.speech, spec.babble)):
            for excerpt in excerpts:
                sound = speed_perturb(speed, partial(looped, recordings, excerpt), spec.length)
                noise += sound / recordings[excerpt.name].entry.level
        if spec.generated is not None:
            drawn = spec.generated
            voice = looped(self.speech, drawn.shape, 2 * self.rate_hz)
            noise += generate(drawn.kind, drawn.seed, spec.length, self.rate_hz, voice)
        return noise


class PairedSource:
    """Recorded pairs: the same name in `clean` and `noisy` is the same utterance, of the same length."""

    def __init__(self, clean: Recordings, noisy: Recordings, config: MixingConfig, rate_hz: int) -> None:
        self.clean, self.noisy, self.config, self.rate_hz = clean, noisy, config, rate_hz

    def draw(self, rng: np.random.Generator, length: int | None) -> Spec:
        """Draw a pair, a place in it, a gain and damage."""
        pair = self.clean.draw(rng)
        n = length or min(pair.length, round(LONGEST_UTTERANCE_S * self.rate_hz))
        speech = Excerpt(pair.name, int(rng.integers(max(1, pair.length - n + 1))))
        gain_db = float(rng.uniform(*self.config.pair_gain_db))
        spec = Spec(n, speech, True, gain_db, damage=draw_degradation(rng, self.config, n, self.rate_hz))
        return spec if length is None else replace(spec, mirrored=draw_mirrored(rng, self.config, n))

    def render(self, spec: Spec) -> NoisyClean:
        """Cut the same place out of both; the gain is lowered where it would clip."""
        noisy, clean = (
            side.excerpt(spec.speech.name, spec.speech.offset, spec.length) for side in (self.noisy, self.clean)
        )
        peak = max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)
        gain = np.float32(min(10 ** (spec.level_db / 20), max(1.0, PEAK / peak)))
        noisy, clean = damage(spec.damage, noisy * gain, clean * gain, self.rate_hz)
        return mirror(spec.mirrored, noisy), mirror(spec.mirrored, clean)


class Blend:
    """Mixtures and recorded pairs, each in proportion to the weighted seconds behind it."""

    def __init__(self, mixed: MixedSource, paired: PairedSource) -> None:
        self.mixed, self.paired = mixed, paired
        both = mixed.speech.samples(weighted=True), paired.clean.samples(weighted=True)
        self.share = both[1] / sum(both)  # of pairs

    def draw(self, rng: np.random.Generator, length: int | None) -> Spec:
        """Draw from one of the two."""
        return (self.paired if rng.random() < self.share else self.mixed).draw(rng, length)

    def render(self, spec: Spec) -> NoisyClean:
        """Render by the one it was drawn from."""
        return (self.paired if spec.paired else self.mixed).render(spec)


def scale_to_peak(noisy: Array, clean: Array) -> NoisyClean:
    """Both scaled down alike where one would clip."""
    scale = np.float32(min(1.0, PEAK / max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)))
    return (noisy * scale).astype(np.float32), (clean * scale).astype(np.float32)


def draw_mirrored(rng: np.random.Generator, config: MixingConfig, length: int) -> int:
    """How many of `length` samples mirror others: the first, or with a minus the last."""
    if rng.random() >= config.mirrored_probability:
        return 0
    return int(rng.integers(1, length // 2 + 1)) * int(rng.choice((1, -1)))


def mirror(n: int, samples: Array) -> Array:
    """Samples whose first n, or with a minus last n, give way to a mirror of those that then come first or last."""
    if n > 0:
        return np.concatenate((samples[:n][::-1], samples[:-n]))
    return np.concatenate((samples[-n:], samples[n:][::-1])) if n else samples


def shape(coefficients: Sequence[float], samples: Array) -> Array:
    """Samples [n] through (1 + a z⁻¹ + b z⁻²) / (1 + c z⁻¹ + d z⁻²), as loud as before."""
    a, b, c, d = coefficients
    filtered = np.asarray(lfilter([1.0, a, b], [1.0, c, d], samples), np.float32)
    power = max(float(np.mean(np.square(filtered))), 1e-20)
    return filtered * np.float32(np.sqrt(float(np.mean(np.square(samples))) / power))


def place(rng: np.random.Generator, recording: Recording) -> Excerpt:
    """Any sample of a recording."""
    return Excerpt(recording.name, int(rng.integers(recording.length)))


def looped(recordings: Recordings, excerpt: Excerpt, length: int) -> Array:
    """`length` samples from a place on, going round to the recording's start at its end."""
    n = recordings[excerpt.name].length
    parts = [recordings.excerpt(excerpt.name, excerpt.offset, min(length, n - excerpt.offset))]
    while (missing := length - sum(map(len, parts))) > 0:
        parts.append(recordings.excerpt(excerpt.name, 0, min(missing, n)))
    return np.concatenate(parts)


def speed_perturb(speed: float, read: Callable[[int], Array], length: int) -> Array:
    """`length` samples of what `read` gives of a recording, played at a speed: duration and pitch change together."""
    if speed == 1.0:
        return read(length)
    played: Array = soxr.resample(read(math.ceil(length * speed) + 1), speed, 1.0)
    return played[:length]


def draw_utterances(source: Source, n: int, seed: int) -> list[Spec]:
    """n whole utterances, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [source.draw(rng, None) for _ in range(n)]
