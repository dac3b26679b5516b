"""Enhancing recordings one after the other or several at once: each with an account, none stopping the rest."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.files import AudioInfo, check_writable
from segan_cli.audio.filters import Resampler
from segan_cli.audio.layouts import order
from segan_cli.audio.meter import Meter
from segan_cli.audio.sinks import Warn, Write, normalising, open_output, open_target, placed
from segan_cli.audio.sources import Source, open_file, open_stream
from segan_cli.audio.streams import BYTES, Encoding
from segan_cli.backends.network import BackendName
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.jobs import STREAM, Job
from segan_cli.errors import AudioError, CheckpointError, SeganError, StoppedError
from segan_cli.tracebacks import LOG, in_words

Array = NDArray[np.float32]
Progress = Callable[[int, int | None], None]  # samples done, of so many
Watch = Callable[[Job, int, int | None], None]  # the same of a job


@dataclass(frozen=True)
class Request:
    """What a user asks of every recording."""

    model: str = "default"
    device: str = "auto"
    backend: BackendName = "auto"
    threads: int | None = None  # of the network, for each job
    settings: dict[str, Any] = field(default_factory=dict)  # of the Enhancer
    raw: Encoding | None = None  # of standard input and output, in place of WAV
    rate_hz: int | None = None  # of the output; none: the input's
    subtype: str | None = None  # libsndfile's encoding of the output; none: the input's
    normalize_db: float | None = None  # peak of the output relative to full scale; none: as it comes
    residual: Path | None = None  # file for what was removed
    force: bool = False  # overwrite
    skip_existing: bool = False
    allow_truncated: bool = False  # take what is there of recordings that are cut short


@dataclass(frozen=True)
class Outcome:
    """What became of one recording."""

    source: str
    target: str
    error: str | None = None
    skipped: bool = False
    seconds: float = 0.0
    rate_hz: int = 0
    channels: int = 0
    level_db: float = 0.0  # of the input, RMS relative to full scale
    enhanced_level_db: float = 0.0
    noise_reduction_db: float = 0.0  # by which the pauses became quieter: the frames of the lowest tenth
    real_time_factor: float = 0.0
    warnings: list[str] = field(default_factory=list)  # where its header is wrong, and what could not be kept


class Worker:
    """Enhances one recording after the other by one model."""

    def __init__(self, request: Request, jobs: int = 1) -> None:
        """`jobs` are done at once by the threads that call `run`."""
        self.request = request
        self.enhancer = Enhancer(
            request.model, request.device, request.backend, request.threads, jobs, **request.settings
        )

    def run(self, job: Job, progress: Progress) -> Outcome:
        """Do a job; what goes wrong with this recording is told in the outcome."""
        source, target = str(job.source), str(job.target)
        try:
            if job.target != STREAM and self.request.skip_existing and job.target.is_file():
                return Outcome(source, target, skipped=True)
            return self._enhance(job, progress)
        except (StoppedError, CheckpointError):  # no other recording can fare better with a model that fails
            raise
        except SeganError as error:
            LOG.debug(source, exc_info=error)
            return Outcome(source, target, error=str(error))
        except Exception as error:  # of whatever library: it is this recording's, and the others go on
            return Outcome(source, target, error=in_words(error, source))

    def _enhance(self, job: Job, progress: Progress) -> Outcome:
        request, began = self.request, time.monotonic()
        warnings: list[str] = []
        with ExitStack() as stack:
            noisy = stack.enter_context(self._source(job.source))
            info = noisy.info
            kept = info.at(request.rate_hz or info.rate_hz)
            write = stack.enter_context(self._target(job, kept, noisy, warnings.append))
            if request.normalize_db is not None:
                write = stack.enter_context(normalising(kept.channels, request.normalize_db, write))
            residual = None
            if request.residual is not None:
                check_writable(request.residual, request.force)
                residual = stack.enter_context(open_target(request.residual, info, force=request.force))
            rate = Resampler(info.rate_hz, kept.rate_hz, info.channels)
            before, after, done = Meter(info.rate_hz), Meter(info.rate_hz), 0
            for original, block in self.enhancer.through(noisy):
                before.push(original)
                after.push(block)
                if residual is not None:
                    residual(original - block)
                write(rate.push(block))
                done += len(block)
                progress(done, info.n_samples)
            write(rate.push(np.zeros((0, info.channels), np.float32), last=True))
            if not done:
                raise AudioError(f"{noisy.name}: holds no samples; nothing was recorded in it")
        seconds = done / info.rate_hz
        return Outcome(
            str(job.source), str(job.target), seconds=seconds, rate_hz=info.rate_hz, channels=info.channels,
            level_db=before.level_db(), enhanced_level_db=after.level_db(),
            noise_reduction_db=before.pauses_db() - after.pauses_db(),
            real_time_factor=(time.monotonic() - began) / seconds, warnings=[*noisy.warnings, *warnings],
        )  # fmt: skip

    @contextmanager
    def _source(self, place: Path) -> Iterator[Source]:
        if place == STREAM:
            with open_stream(
                standard("input").buffer, self.request.raw, allow_truncated=self.request.allow_truncated
            ) as source:
                yield source
        else:
            with open_file(place, self.request.allow_truncated) as source:
                yield source

    @contextmanager
    def _target(self, job: Job, info: AudioInfo, original: Source, warn: Warn) -> Iterator[Write]:
        if job.target == STREAM:
            subtype = self.request.subtype or info.subtype
            subtype = subtype if subtype in BYTES and subtype != "PCM_S8" else "PCM_16"
            raw = self.request.raw
            places, mask = order(info.channels, info.format, "WAV"), info.mask
            encoding = Encoding(info.rate_hz, info.channels, raw.subtype if raw else subtype, mask)
            with open_output(standard("output").buffer, encoding, raw is not None) as write:
                yield lambda samples: write(placed(samples, places))
            return
        if job.in_tree:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        check_writable(job.target, self.request.force)
        with open_target(job.target, info, original, self.request.subtype, self.request.force, warn) as write:
            yield write


def standard(name: str) -> Any:
    """Standard input or output; raises AudioError where the command has none."""
    stream = sys.stdin if name == "input" else sys.stdout
    if stream is None:
        raise AudioError(f"standard {name}: is closed; name a file")
    return stream


def run(
    worker: Worker,
    jobs: Sequence[Job],
    n_workers: int,
    told: Callable[[Outcome], None],
    watch: Watch,
    stopped: Callable[[], int],
) -> None:
    """Do all jobs, `n_workers` at once in threads, as the network runs without Python's lock.

    `told` is called for each when it is done, `watch` now and then with how far one is. What is not done is left once
    `stopped` gives a signal's number, or when an error comes to this thread.
    """
    leave = Event()

    def check() -> None:
        if leave.is_set() or stopped():
            raise StoppedError("stopped; what was not finished is removed", stopped() or signal.SIGTERM)

    def do(job: Job) -> Outcome:
        def progress(done: int, of: int | None) -> None:
            check()
            watch(job, done, of)

        outcome = worker.run(job, progress)
        if outcome.error is not None:
            check()  # a library that the signal cut short, or ffmpeg that heard it too, is no fault of the recording
        return outcome

    if n_workers == 1:
        for job in jobs:
            told(do(job))
        return
    pool = ThreadPoolExecutor(n_workers)
    try:
        for future in as_completed([pool.submit(do, job) for job in jobs]):
            told(future.result())
    finally:
        leave.set()
        pool.shutdown(cancel_futures=True)
