"""Enhancing one recording, or an excerpt of it, from an input to an output, with a report of what was done."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from segan_cli.arrays import Array
from segan_cli.audio.files import NO_SAMPLES, STANDARD_MASKS, VIDEO, AudioInfo, check_writable
from segan_cli.audio.filters import Resampler
from segan_cli.audio.levels import Clip, TargetOptions, Warn, Write, normalised_loudness, normalised_peak
from segan_cli.audio.meter import MIN_LOUDNESS_HZ, PLACE_WEIGHTS, LevelMeter, loudness_weights
from segan_cli.audio.sinks import open_output_stream, open_target
from segan_cli.audio.sources import Source, cut, open_file, open_stream
from segan_cli.audio.wav import Encoding
from segan_cli.config.model import ModelConfig
from segan_cli.enhancement.plan import Job
from segan_cli.errors import AudioError, OutputError
from segan_cli.storage.atomic import writing
from segan_cli.storage.remote import is_remote
from segan_cli.storage.same_file import STREAM

Pairs = Iterator[tuple[Array, Array]]  # original and enhanced blocks [channels, n]

# The least that is read around an excerpt. The network above 8 kHz settles before it. Also, libsndfile fails when it
# seeks in the last page of a Vorbis file, which is shorter than this.
BEFORE_S, AFTER_S = 30.0, 3.0
Enhance = Callable[[Source], Pairs]
OnProgress = Callable[[float, float | None], None]  # seconds processed, and the total if known


@dataclass(frozen=True)
class Excerpt:
    """A part of a recording."""

    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end

    def first(self, rate_hz: int) -> int:
        """Return the first sample."""
        return round(self.start_s * rate_hz)

    def n_samples(self, rate_hz: int) -> int | None:
        """Return the number of samples; None: to the end."""
        return None if self.duration_s is None else max(1, round(self.duration_s * rate_hz))

    def within(self, info: AudioInfo, name: str) -> AudioInfo:
        """Return the properties of the part of a recording; raises AudioError when the recording ends before it."""
        wanted = self.n_samples(info.rate_hz)
        if info.n_samples is None:
            return info
        left = info.n_samples - self.first(info.rate_hz)
        if left <= 0:
            end_s = info.n_samples / info.rate_hz
            raise AudioError(f"{name}: --start {self.start_s:g} is beyond its end ({end_s:.2f} s)")
        return replace(info, n_samples=left if wanted is None else min(left, wanted))


def enhance_excerpt(enhance: Enhance, source: Source, excerpt: Excerpt, config: ModelConfig) -> Pairs:
    """Enhance the excerpt of an open recording, reading some sound before and after it.

    The reading starts where a segment of the network starts, so that all segments are those of the whole recording.
    """
    rate_hz = source.info.rate_hz
    segments_s = 2 * config.segment_length / config.sample_rate_hz  # more than one reaches from a border
    before_s, after_s = max(BEFORE_S, segments_s), max(AFTER_S, segments_s)
    first, n = excerpt.first(rate_hz), excerpt.n_samples(rate_hz)
    step = hop_in_samples(config, rate_hz)
    start = max(0, first - round(before_s * rate_hz)) // step * step
    end = None if n is None else first + n + round(after_s * rate_hz)
    pairs = map(np.stack, enhance(source.part(start, end)))  # [2, channels, n], so that they are cut alike
    return ((original, enhanced) for original, enhanced in cut(pairs, first - start, n))


def hop_in_samples(config: ModelConfig, rate_hz: int) -> int:
    """Return the least number of samples of a recording that are whole hops of the network."""
    return Fraction(config.hop * rate_hz, config.sample_rate_hz).numerator


@dataclass(frozen=True)
class OutputOptions:
    """How outputs are written; None keeps a property of the input."""

    raw: Encoding | None = None  # of standard input and output, in place of WAV
    rate_hz: int | None = None
    subtype: str | None = None  # libsndfile's encoding
    normalize_db: float | None = None  # peak relative to full scale
    loudness_lufs: float | None = None  # integrated loudness (ITU-R BS.1770-4), true peaks limited to -1 dB
    clip: Clip = "limit"  # for samples above full scale, unless they are stored as floats
    residual: Path | None = None  # file for the removed sound
    force: bool = False  # overwrite existing files
    skip_existing: bool = False  # an output that appears meanwhile is not an error
    allow_truncated: bool = False  # accept truncated recordings
    excerpt: Excerpt | None = None  # the part to enhance

    @property
    def releveled(self) -> bool:
        """Whether the level of a recording may change."""
        return self.normalize_db is not None or self.loudness_lufs is not None or self.clip == "scale"


@dataclass(frozen=True)
class Outcome:
    """The outcome for one recording; None is for what was not measured.

    Attributes:
        source: name of the input.
        target: name of the output, empty if it cannot have one.
        error: why it was not enhanced.
        skipped: whether the output existed and was kept.
        seconds: duration.
        rate_hz: sampling rate of the input.
        channels: number of channels.
        level_db: RMS level of the input relative to full scale.
        enhanced_level_db: RMS level after enhancement, before --normalize or --loudness.
        noise_reduction_db: reduction of the power of the pauses, the quietest tenth of the frames of 2 s or more.
        noise_reduction_low_db: the same below 8 kHz, if there is sound above.
        noise_reduction_high_db: the same above 8 kHz.
        real_time_factor: processing time over duration.
        warnings: about a wrong header, and what the output format cannot store.
        model: name or file of the model that enhanced it.
        model_sha256: SHA-256 of the file of the model.
        version: version of segan that enhanced it.
    """

    source: str
    target: str
    error: str | None = None
    skipped: bool = False
    seconds: float | None = None
    rate_hz: int | None = None
    channels: int | None = None
    level_db: float | None = None
    enhanced_level_db: float | None = None
    noise_reduction_db: float | None = None
    noise_reduction_low_db: float | None = None
    noise_reduction_high_db: float | None = None
    real_time_factor: float | None = None
    warnings: list[str] = field(default_factory=list)
    model: str | None = None
    model_sha256: str | None = None
    version: str | None = None


def enhance_recording(
    enhance: Enhance, config: ModelConfig, job: Job, options: OutputOptions, on_progress: OnProgress | None = None
) -> Outcome:
    """Enhance the source of a job into its target; after AudioError or OutputError, the target is unchanged."""
    started = time.monotonic()
    warnings: list[str] = []
    with ExitStack() as stack:
        noisy = stack.enter_context(open_source(job.source, options))
        info, excerpt = noisy.info, options.excerpt
        if excerpt is not None:
            if job.target.suffix.lower() in VIDEO:
                raise OutputError(
                    f"{job.target}: an excerpt of a video can only be written as audio; add --format wav, or give"
                    " -o FILE.wav"
                )
            info = excerpt.within(info, noisy.name)
            noisy = replace(noisy, first=excerpt.first(info.rate_hz))
        output_info = info.at(options.rate_hz or info.rate_hz)
        write_residual = None
        if options.residual is not None:  # opened first, so that it is completed only if the output is
            write_residual = stack.enter_context(open_residual(options.residual, info, options, warnings.append))
        write = stack.enter_context(open_job_target(job, output_info, noisy, options, warnings.append))
        write = stack.enter_context(normalised(options, noisy.name, output_info, write, warnings.append))
        resampler = Resampler(info.rate_hz, output_info.rate_hz, info.channels)
        meter, done = LevelMeter(info.rate_hz, info.channels), 0
        for original, enhanced in enhance_excerpt(enhance, noisy, excerpt, config) if excerpt else enhance(noisy):
            meter.push(original, enhanced)
            if write_residual is not None:
                write_residual(original - enhanced)
            write(resampler.push(enhanced))
            done += enhanced.shape[1]
            if on_progress is not None:
                on_progress(done / info.rate_hz, None if info.n_samples is None else info.n_samples / info.rate_hz)
        write(resampler.push(np.zeros((info.channels, 0), np.float32), last=True))
        if not done and excerpt is not None and excerpt.start_s:
            raise AudioError(f"{noisy.name}: --start {excerpt.start_s:g} is beyond its end")
        if not done:
            raise AudioError(f"{noisy.name}: {NO_SAMPLES}")
    seconds, (level_db, enhanced_level_db) = done / info.rate_hz, meter.levels_db()
    reduction_db, low_db, high_db = meter.noise_reductions_db()
    return Outcome(
        str(job.source), str(job.target), seconds=seconds, rate_hz=info.rate_hz, channels=info.channels,
        level_db=level_db, enhanced_level_db=enhanced_level_db, noise_reduction_db=reduction_db,
        noise_reduction_low_db=low_db, noise_reduction_high_db=high_db,
        real_time_factor=(time.monotonic() - started) / seconds,
        warnings=[*dict.fromkeys((*noisy.warnings, *warnings))],
    )  # fmt: skip


def normalised(
    options: OutputOptions, name: str, info: AudioInfo, write: Write, warn: Warn
) -> AbstractContextManager[Write]:
    """Write samples at the wanted peak level or loudness, if any; raises AudioError if it cannot be measured."""
    if options.normalize_db is not None:
        return normalised_peak(options.normalize_db, info.channels, write)
    if options.loudness_lufs is not None:
        mask = info.mask if info.channels > 2 and info.mask else STANDARD_MASKS.get(info.channels, 0)
        weights = loudness_weights(mask)
        if not 0 < sum(weight > 0 for weight in weights) <= len(PLACE_WEIGHTS):
            raise AudioError(f"{name}: --loudness supports one to five channels and an LFE, not these {info.channels}")
        if info.rate_hz < MIN_LOUDNESS_HZ:
            raise AudioError(f"{name}: --loudness needs a rate of at least {MIN_LOUDNESS_HZ} Hz, not {info.rate_hz}")
        return normalised_loudness(options.loudness_lufs, info.rate_hz, weights, write, warn)
    return nullcontext(write)


def open_source(path: Path, options: OutputOptions) -> AbstractContextManager[Source]:
    """Open a file, or standard input."""
    if path == STREAM:
        return open_stream(standard_input(), options.raw, allow_truncated=options.allow_truncated)
    return open_file(path, options.allow_truncated)


def open_job_target(
    job: Job, info: AudioInfo, original: Source, options: OutputOptions, warn: Warn
) -> AbstractContextManager[Write]:
    """Open the target of a job for writing, or standard output."""
    how = TargetOptions(options.subtype, options.force, options.clip, options.releveled, warn)
    if job.target == STREAM:
        return open_output_stream(sys.stdout.buffer, info, how, options.raw.subtype if options.raw else None)
    if not is_remote(job.target):
        with writing(job.target):
            job.target.parent.mkdir(parents=True, exist_ok=True)
    check_writable(job.target, options.force)
    return open_target(job.target, info, original, how)


def open_residual(path: Path, info: AudioInfo, options: OutputOptions, warn: Warn) -> AbstractContextManager[Write]:
    """Open the file for the removed sound."""
    check_writable(path, options.force)
    how = TargetOptions(force=options.force, clip=options.clip, warn=lambda line: warn(f"{path}: {line}"))
    return open_target(path, info, options=how)


def standard_input() -> BinaryIO:
    """Return standard input as bytes; raises AudioError if it is closed."""
    if sys.stdin is None:
        raise AudioError("standard input: is closed; give a file")
    return sys.stdin.buffer
