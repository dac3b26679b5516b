"""What `segan enhance` prints: progress, warnings, a line for each recording or a summary, JSON."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from segan_cli.cli.console import duration, print_json, progress_bar, say, standard_output
from segan_cli.errors import ExistsError, SeganError
from segan_cli.plain_json import write_json

if TYPE_CHECKING:
    from rich.progress import TaskID

    from segan_cli.enhancement.jobs import Job
    from segan_cli.enhancement.recording import Outcome


class BatchReporter:
    """Reports the progress and the outcomes of a batch of `n` recordings."""

    def __init__(
        self,
        n: int,
        *,
        as_json: bool,
        to_stream: bool,
        quiet: bool,
        verbose: bool,
        record: "Callable[[Outcome], object] | None" = None,
    ) -> None:
        """JSON goes to standard error if the samples go `to_stream`, standard output; `record` takes each outcome."""
        self.n, self.as_json, self.to_stream, self.quiet = n, as_json, to_stream, quiet
        self.record, self.stdout = record, standard_output()  # which Ray's messages must not reach
        self.each_line = verbose or (n == 1 and not to_stream)  # whether every recording gets a line
        self.enhanced = self.skipped = self.not_overwritten = self.failed = 0
        self.seconds = 0.0
        self.last_error = self.first_existing = ""
        self.bar = progress_bar(not quiet)
        self.total = self.bar.add_task("recordings", total=n, note="", visible=n > 1)
        self.tasks: dict[str, TaskID] = {}  # in progress, by target; threads of the batch add their own

    def __enter__(self) -> "BatchReporter":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def on_progress(self, job: "Job", done_s: float, total_s: float | None) -> None:
        """Show how far a recording is; called from the threads of the batch."""
        target = str(job.target)
        if target not in self.tasks:
            self.tasks[target] = self.bar.add_task(job.source.name, total=total_s, note="", unit="s")
        self.bar.update(self.tasks[target], completed=done_s, total=total_s)

    def on_existing(self, outcome: "Outcome") -> None:
        """Count a recording whose output exists already."""
        self.not_overwritten += 1
        self.first_existing = self.first_existing or outcome.target
        self._record(outcome)

    def report_existing(self) -> None:
        """Report all recordings whose output exists already in one line."""
        if self.not_overwritten and self.n > 1:
            say(
                f"segan: {self.not_overwritten} of {self.n} outputs exist already, such as {self.first_existing};"
                " add --force to overwrite them, or --skip-existing"
            )

    def on_outcome(self, outcome: "Outcome") -> None:
        """Report the outcome of a recording."""
        if outcome.target in self.tasks:
            self.bar.remove_task(self.tasks.pop(outcome.target))
        self.failed += outcome.error is not None
        self.skipped += outcome.skipped
        self.enhanced += outcome.error is None and not outcome.skipped
        self.seconds += outcome.seconds or 0.0
        self.last_error = outcome.error or self.last_error
        self._record(outcome)
        if outcome.error is not None:
            if self.n > 1:
                say(f"segan: {outcome.error}")
        elif self.each_line and not self.quiet:
            say(f"{outcome.target}: exists, skipped" if outcome.skipped else describe(outcome))
        if not self.quiet:
            for line in outcome.warnings:
                say(f"segan: {outcome.source}: {line}")

    def close(self) -> None:
        """Print the summary of several recordings; raises SeganError with it when one was not enhanced."""
        if self.n == 1:
            if self.not_overwritten:
                raise ExistsError(f"{self.first_existing}: exists already")
            if self.failed:
                raise SeganError(self.last_error)
            return
        sound = f" ({duration(self.seconds)} of sound)" if self.seconds else ""
        counts = {"skipped, as their output exists": self.skipped, "not overwritten": self.not_overwritten}
        parts = [f"{n} {what}" for what, n in {**counts, "failed": self.failed}.items() if n]
        summary = ", ".join([f"{self.enhanced} enhanced{sound}", *parts])
        if self.failed or self.not_overwritten:
            raise SeganError(summary)
        if not self.quiet:
            say(summary)

    def _record(self, outcome: "Outcome") -> None:
        """Advance the bar, and print the JSON of an outcome."""
        self.bar.update(self.total, advance=1)
        if self.record is not None:
            self.record(outcome)
        if self.as_json:
            print_json(write_json(asdict(outcome)), self.stdout, aside=self.to_stream)


def describe(outcome: "Outcome") -> str:
    """Describe an enhanced recording in one line."""
    seconds, factor, reduction = outcome.seconds or 0.0, outcome.real_time_factor, outcome.noise_reduction_db
    speed = f", {1 / factor:.0f} × real time" if factor else ""
    noise = f", noise in pauses reduced by {reduction:.0f} dB" if reduction is not None else ""
    low, high = outcome.noise_reduction_low_db, outcome.noise_reduction_high_db
    bands = "" if low is None or high is None else f" (below 8 kHz by {low:.0f} dB, above by {high:.0f} dB)"
    return f"{outcome.target}: {duration(seconds)}{speed}{noise}{bands}"
