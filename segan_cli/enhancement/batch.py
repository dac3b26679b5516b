"""Enhancing many recordings, one or several at a time; an error in one does not stop the others."""

import signal
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import replace
from threading import Event

from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.plan import Job
from segan_cli.enhancement.recording import OnProgress, Outcome, OutputOptions, enhance_recording
from segan_cli.errors import LOG, CheckpointError, ExistsError, SeganError, StoppedError, in_words

QUEUED_PER_THREAD = 4  # jobs that wait, of which there may be millions

RunJob = Callable[[Job, OnProgress], Outcome]
OnJobProgress = Callable[[Job, float, float | None], None]  # seconds processed, and the total if known


def run_job(enhancer: Enhancer, job: Job, options: OutputOptions, on_progress: OnProgress) -> Outcome:
    """Enhance one recording, whose error goes into the outcome; raises StoppedError, and CheckpointError."""
    failed = Outcome(str(job.source), str(job.target))
    try:
        config = enhancer.network.config
        return enhancer.add_provenance(enhance_recording(enhancer.enhance_source, config, job, options, on_progress))
    except (StoppedError, CheckpointError):
        raise
    except ExistsError as error:
        skipped = options.skip_existing and job.target.is_file()  # and not the file for the removed sound
        return replace(failed, skipped=True) if skipped else replace(failed, error=str(error))
    except SeganError as error:
        LOG.debug(failed.source, exc_info=error)
        return replace(failed, error=str(error))
    except Exception as error:  # of any library; the other recordings go on
        return replace(failed, error=in_words(error, failed.source))


def run_batch(
    run: RunJob, jobs: Iterable[Job], n_threads: int, on_outcome: Callable[[Outcome], None],
    on_progress: OnJobProgress, stopped: Callable[[], int],
) -> None:  # fmt: skip
    """Run jobs in `n_threads`, until the last or until `stopped` returns a signal; the network holds no Python lock."""
    leave = Event()

    def check_stopped() -> None:
        if leave.is_set() or stopped():
            raise StoppedError("stopped; unfinished outputs were removed", stopped() or signal.SIGTERM)

    def do(job: Job) -> Outcome:
        def progress(done: float, total: float | None) -> None:
            check_stopped()
            on_progress(job, done, total)

        outcome = run(job, progress)
        if outcome.error is not None:
            check_stopped()  # the error may come from the signal, which a library or ffmpeg got too
        return outcome

    if n_threads == 1:
        for job in jobs:
            on_outcome(do(job))
        return
    pool = ThreadPoolExecutor(n_threads)
    running: set[Future[Outcome]] = set()
    try:
        for job in jobs:
            running.add(pool.submit(do, job))
            if len(running) >= QUEUED_PER_THREAD * n_threads:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    on_outcome(future.result())
        for future in as_completed(running):
            on_outcome(future.result())
    finally:
        leave.set()
        pool.shutdown(cancel_futures=True)
