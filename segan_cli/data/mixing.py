"""The source of noisy/clean training examples. It first draws a spec, then renders it.

A spec names its recordings, so it can be saved as JSON and rendered again.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import soxr
from scipy.signal import lfilter

from segan_cli.arrays import Array
from segan_cli.audio.meter import noise_gain
from segan_cli.config.legacy import renamed
from segan_cli.config.schema import from_dict
from segan_cli.config.training import MixingConfig, NoiseKind
from segan_cli.data.degradation import Degradation, degrade, draw_degradation
from segan_cli.data.noise import generate
from segan_cli.data.recordings import Recording, Recordings
from segan_cli.data.rooms import MAX_RIR_S, apply_rir, load_rir

NoisyClean = tuple[Array, Array]  # noisy [n], clean [n]

MAX_UTTERANCE_S = 10.0  # of validation mixes
BABBLE_SPEAKERS = (3, 8)  # fewest and most at once
MAX_DRAWS = 100  # of another speaker from all speech
SHAPE_S = 2.0  # of the speech that gives speech-shaped noise its spectrum
MAX_COEFFICIENT = 3 / 8  # of random filters (arXiv 1709.08243)
PEAK = 0.99  # of full scale; examples are scaled down to this, noisy and clean alike


@dataclass(frozen=True)
class Position:
    """A position in a recording, from which an excerpt is read."""

    name: str
    offset: int  # samples


@dataclass(frozen=True)
class GeneratedNoise:
    """A noise to generate."""

    kind: NoiseKind
    seed: int
    shape: Position  # speech that gives speech-shaped noise its spectrum


@dataclass(frozen=True)
class ExampleSpec:
    """All random choices for one example: a mix, or an excerpt of a recorded pair."""

    length: int  # samples
    speech: Position
    paired: bool  # the noisy signal is a recording
    level_db: float  # active speech level of a mix, or gain of a pair
    snr_db: float = 0.0
    noises: tuple[Position, ...] = ()  # of noise recordings
    babble: tuple[Position, ...] = ()  # of other speakers
    generated: GeneratedNoise | None = None
    rir: str | None = None
    degradation: Degradation = field(default_factory=Degradation)
    shaping: tuple[float, ...] = ()  # four filter coefficients for speech, then four for noise
    speeds: tuple[float, float] = (1.0, 1.0)  # speed perturbation of speech and of noise
    speechless: bool = False  # noise only, at the level it would have with the speech
    mirrored: int = 0  # mirrored samples at the start, or, if negative, at the end


def spec_from_dict(values: dict[str, Any]) -> ExampleSpec:
    """A spec from the JSON form that `schema.to_dict` gives it; raises ConfigError if it is invalid."""
    return from_dict(ExampleSpec, renamed(values, "mix"))


class ExampleSource:
    """Examples of one rate, drawn by weighted duration: speech mixed with noise, and excerpts of recorded pairs."""

    def __init__(
        self, speech: Recordings, noise: Recordings, rirs: Recordings, config: MixingConfig, rate_hz: int
    ) -> None:
        """`speech` may have pairs among it."""
        self.speech = speech.where(lambda recording: recording.noisy is None)
        self.pairs = speech.where(lambda recording: recording.noisy is not None)
        self.noise, self.rirs, self.config, self.rate_hz = noise, rirs, config, rate_hz
        self.multi_speaker = len({recording.voice for recording in self.speech.all}) > 1  # so babble can be made
        self.others: dict[str, Recordings] = {}  # the speech of all other speakers, for speakers with most of it
        n_speech, n_pairs = self.speech.n_samples(weighted=True), self.pairs.n_samples(weighted=True)
        self.pair_share = n_pairs / ((n_speech + n_pairs) or 1.0)

    def draw(self, rng: np.random.Generator, length: int | None) -> ExampleSpec:
        """Draw a segment of `length` samples or, without a length, a whole utterance."""
        paired = not len(self.speech) or (len(self.pairs) > 0 and rng.random() < self.pair_share)
        recording = (self.pairs if paired else self.speech).draw(rng)
        n = length or min(recording.length, round(MAX_UTTERANCE_S * self.rate_hz))
        position = Position(recording.name, int(rng.integers(max(1, recording.length - n + 1))))
        if not paired:
            return self._draw_mix(rng, recording, position, n, whole=length is None)
        gain_db = float(rng.uniform(*self.config.pair_gain_db))
        spec = ExampleSpec(n, position, True, gain_db, degradation=draw_degradation(rng, self.config, n, self.rate_hz))
        return spec if length is None else replace(spec, mirrored=draw_mirrored(rng, self.config, n))

    def _draw_mix(
        self, rng: np.random.Generator, recording: Recording, speech: Position, n: int, whole: bool
    ) -> ExampleSpec:
        """Draw noise, room impulse response, SNR, level and degradations."""
        config = self.config
        noises, babble, generated = self._draw_noise(rng, recording)
        rir = None
        if len(self.rirs) and rng.random() < config.reverb_probability:
            rir = self.rirs.draw(rng).name
        snr_db, level_db = float(rng.uniform(*config.snr_db)), float(rng.uniform(*config.level_db))
        degradation = draw_degradation(rng, config, n, self.rate_hz)
        spec = ExampleSpec(n, speech, False, level_db, snr_db, noises, babble, generated, rir, degradation)
        if rng.random() < config.shaping_probability:
            shaping = rng.uniform(-MAX_COEFFICIENT, MAX_COEFFICIENT, 8)
            spec = replace(spec, shaping=tuple(shaping.tolist()))
        if whole:  # for validation, without the options below
            return spec
        chance = rng.random()
        if rng.random() < config.speed_probability:
            speech_speed, noise_speed = rng.uniform(*config.speed, 2).tolist()
            spec = replace(spec, speeds=(speech_speed, noise_speed))
        spec = replace(spec, mirrored=draw_mirrored(rng, config, n))
        # no draw if it is 0, so that the random numbers of earlier trainings stay the same
        if config.onset_probability and rng.random() < config.onset_probability:
            spec = replace(spec, speech=Position(recording.name, -int(rng.integers(n // 2))))
        if chance < config.clean_probability:
            return replace(spec, noises=(), babble=(), generated=None, rir=None, degradation=Degradation())
        return replace(spec, speechless=chance > 1 - config.speechless_probability)

    def _draw_noise(
        self, rng: np.random.Generator, speech: Recording
    ) -> tuple[tuple[Position, ...], tuple[Position, ...], GeneratedNoise | None]:
        """Draw noise recordings, babble or generated noise; two of the three are empty."""
        config = self.config
        if rng.random() < config.babble_probability and self.multi_speaker:
            n_speakers = rng.integers(*BABBLE_SPEAKERS, endpoint=True)
            return (), tuple(self._draw_other_speaker(rng, speech) for _ in range(n_speakers)), None
        if not len(self.noise) or rng.random() < config.generated_probability:
            kind = config.generated[int(rng.integers(len(config.generated)))]
            seed = int(rng.integers(2**31))
            return (), (), GeneratedNoise(kind, seed, draw_position(rng, self.speech.draw(rng)))
        count = 2 if rng.random() < config.second_noise_probability else 1
        return tuple(draw_position(rng, self.noise.draw(rng)) for _ in range(count)), (), None

    def _draw_other_speaker(self, rng: np.random.Generator, speech: Recording) -> Position:
        """Draw a position in the speech of another speaker."""
        for _ in range(MAX_DRAWS):
            if (other := self.speech.draw(rng)).voice != speech.voice:
                return draw_position(rng, other)
        if speech.voice not in self.others:
            self.others[speech.voice] = self.speech.where(lambda recording: recording.voice != speech.voice)
        return draw_position(rng, self.others[speech.voice].draw(rng))

    def render(self, spec: ExampleSpec) -> NoisyClean:
        """Render a spec as noisy [n] and clean [n]; deterministic."""
        noisy, clean = (self._render_pair if spec.paired else self._render_mix)(spec)
        noisy, clean = degrade(spec.degradation, noisy, clean, self.rate_hz)
        return mirror(spec.mirrored, noisy), mirror(spec.mirrored, clean)

    def _render_pair(self, spec: ExampleSpec) -> NoisyClean:
        """Read the same excerpt of both signals; the gain is lowered if it would clip."""
        noisy, clean = (
            self.pairs.excerpt(spec.speech.name, spec.speech.offset, spec.length, noisy) for noisy in (True, False)
        )
        peak = max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)
        gain = np.float32(min(10 ** (spec.level_db / 20), max(1.0, PEAK / peak)))
        return noisy * gain, clean * gain

    def _render_mix(self, spec: ExampleSpec) -> NoisyClean:
        """Scale the speech to its level, and the noise to the SNR.

        The SNR is the active level of the whole utterance over the RMS of the noise in the excerpt.
        """
        level = 10 ** (spec.level_db / 20)
        gain = level / self.speech[spec.speech.name].entry.level
        lead = round(MAX_RIR_S * self.rate_hz) if spec.rir else 0
        speech = gain * self._render_speech(spec, lead)
        noise = self._render_noise(spec)
        if spec.shaping:
            speech, noise = apply_filter(spec.shaping[:4], speech), apply_filter(spec.shaping[4:], noise)
        source = clean = speech
        if spec.rir:
            rir = load_rir(self.rirs, spec.rir, self.rate_hz)
            source, clean = apply_rir(rir, speech, lead, self.config.target, self.rate_hz)
        if spec.speechless:
            source = clean = np.zeros(spec.length, np.float32)
        rms = float(np.sqrt(np.mean(np.square(noise))))
        noisy = source + noise * noise_gain(level, spec.snr_db, rms, noise_level=1.0)
        scale = np.float32(min(1.0, PEAK / max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)))
        return (noisy * scale).astype(np.float32), (clean * scale).astype(np.float32)

    def _render_speech(self, spec: ExampleSpec, lead: int) -> Array:
        """The speech excerpt, preceded by `lead` samples."""
        speed = spec.speeds[0]
        first = spec.speech.offset - round(lead * speed)
        return speed_perturb(speed, partial(self.speech.excerpt, spec.speech.name, first), lead + spec.length)

    def _render_noise(self, spec: ExampleSpec) -> Array:
        """The sum of all noises, each at active level 1."""
        speed = spec.speeds[1]
        noise = np.zeros(spec.length, np.float32)
        for recordings, positions in ((self.noise, spec.noises), (self.speech, spec.babble)):
            for position in positions:
                samples = speed_perturb(speed, partial(read_looped, recordings, position), spec.length)
                noise += samples / recordings[position.name].entry.level
        if spec.generated is not None:
            generated = spec.generated
            speech = read_looped(self.speech, generated.shape, round(SHAPE_S * self.rate_hz))
            noise += generate(generated.kind, generated.seed, spec.length, self.rate_hz, speech)
        return noise


def draw_mirrored(rng: np.random.Generator, config: MixingConfig, length: int) -> int:
    """Draw how many samples to mirror at the start (positive) or at the end (negative)."""
    if rng.random() >= config.mirrored_probability:
        return 0
    return int(rng.integers(1, length // 2 + 1)) * int(rng.choice((1, -1)))


def mirror(n: int, samples: Array) -> Array:
    """Shift samples by n and fill the start with their mirror image; if n is negative, the end."""
    if n > 0:
        return np.concatenate((samples[:n][::-1], samples[:-n]))
    return np.concatenate((samples[-n:], samples[n:][::-1])) if n else samples


def apply_filter(coefficients: Sequence[float], samples: Array) -> Array:
    """Filter samples [n] by (1 + a z⁻¹ + b z⁻²) / (1 + c z⁻¹ + d z⁻²), keeping their power."""
    a, b, c, d = coefficients
    filtered = np.asarray(lfilter([1.0, a, b], [1.0, c, d], samples), np.float32)
    power = max(float(np.mean(np.square(filtered))), 1e-20)
    return filtered * np.float32(np.sqrt(float(np.mean(np.square(samples))) / power))


def draw_position(rng: np.random.Generator, recording: Recording) -> Position:
    """Draw a position in a recording."""
    return Position(recording.name, int(rng.integers(recording.length)))


def read_looped(recordings: Recordings, position: Position, length: int) -> Array:
    """Samples [length] from a position on, looping the recording at its end."""
    n = recordings[position.name].length
    parts = [recordings.excerpt(position.name, position.offset, min(length, n - position.offset))]
    while (missing := length - sum(map(len, parts))) > 0:
        parts.append(recordings.excerpt(position.name, 0, min(missing, n)))
    return np.concatenate(parts)


def speed_perturb(speed: float, read: Callable[[int], Array], length: int) -> Array:
    """Samples [length] played at another speed, which changes duration and pitch; `read(n)` gives n samples."""
    if speed == 1.0:
        return read(length)
    resampled: Array = soxr.resample(read(math.ceil(length * speed) + 1), speed, 1.0)
    return resampled[:length]


def draw_utterances(source: ExampleSource, n: int, seed: int) -> list[ExampleSpec]:
    """Draw n whole utterances."""
    rng = np.random.default_rng(seed)
    return [source.draw(rng, None) for _ in range(n)]
