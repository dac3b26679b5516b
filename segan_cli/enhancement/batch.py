"""Enhancing many recordings, one or several at a time; an error in one does not stop the others."""

import signal
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from queue import SimpleQueue
from threading import Event, Thread

from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.enhancement.plan import Job
from segan_cli.enhancement.recording import OnProgress, Outcome, OutputOptions
from segan_cli.errors import LOG, CheckpointError, ExistsError, SeganError, StoppedError, in_words
from segan_cli.process.stopping import ABANDONED

QUEUED_PER_THREAD = 4  # jobs that wait, of which there may be millions
END_OF_THREADS_S = 3.0  # after an error or a signal; a thread may wait for data, or be in a library

RunJob = Callable[[Job, OnProgress], Outcome]
OnJobProgress = Callable[[Job, float, float | None], None]  # seconds processed, and the total if known


def run_job(enhancer: Enhancer, job: Job, options: OutputOptions, on_progress: OnProgress) -> Outcome:
    """Enhance one recording, whose error goes into the outcome; raises StoppedError, and CheckpointError."""
    failed = Outcome(str(job.source), str(job.target))
    try:
        return enhancer.enhance_job(job, options, on_progress)
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
    with closing(in_threads(do, jobs, n_threads, leave)) as outcomes:
        for outcome in outcomes:
            on_outcome(outcome)


def in_threads(
    do: Callable[[Job], Outcome], jobs: Iterable[Job], n_threads: int, leave: Event
) -> Generator[Outcome, None, None]:
    """Yield the outcomes of jobs as they come; raises what a job raises. `leave` is set at the end.

    The threads are daemons, as those of an executor keep the process alive while they wait for data. After an error or
    a signal, they have END_OF_THREADS_S to end; then they are abandoned.
    """
    todo: SimpleQueue[Job | None] = SimpleQueue()
    done: SimpleQueue[Outcome | BaseException] = SimpleQueue()

    def work() -> None:
        while (job := todo.get()) is not None and not leave.is_set():
            try:
                done.put(do(job))
            except BaseException as error:
                done.put(error)

    def next_outcome() -> Outcome:
        result = done.get()
        if isinstance(result, BaseException):
            raise result
        return result

    threads, n_running = [Thread(target=work, daemon=True) for _ in range(n_threads)], 0
    try:
        for thread in threads:
            thread.start()
        for job in jobs:
            todo.put(job)
            n_running += 1
            if n_running >= QUEUED_PER_THREAD * n_threads:
                yield next_outcome()
                n_running -= 1
        for _ in range(n_running):
            yield next_outcome()
    finally:
        leave.set()
        end = time.monotonic() + END_OF_THREADS_S
        for _ in threads:
            todo.put(None)
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))
        ABANDONED.extend(thread for thread in threads if thread.is_alive())
