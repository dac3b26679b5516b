"""How `segan train` reports: lines, the bar, health and validation scores."""

from collections.abc import Iterable
from pathlib import Path

from rich.progress import Progress, TaskID

from segan_cli.cli.console import say
from segan_cli.data.gather import describe
from segan_cli.data.sources import Sources
from segan_cli.training.adversary import StepMetrics
from segan_cli.training.distributed import Processes
from segan_cli.training.throughput import Throughput
from segan_cli.training.validation import Scores

MOST_NAMED = 3  # files left out that are named on the screen; all are in data.json
LOSSES = ("l1", "spectral", "stft", "perceptual", "stoi", "adversarial", "discriminator")
HEALTH = {
    "d_real": "D(clean)",
    "d_real_accuracy": "accuracy on clean",
    "d_fake": "D(enhanced)",
    "d_fake_accuracy": "accuracy on enhanced",
    "d_training_accuracy": "on training pairs",
    "d_held_out_accuracy": "on held-out pairs",
    "generator_gradient": "gradient norm of G",
    "discriminator_gradient": "of D",
    "reconstruction_gradient": "at the output, reconstruction",
    "adversarial_gradient": "adversarial",
    "z_effect": "effect of z",
    "output_diversity": "output diversity",
    "quality_undefined": "undefined PESQ per step",
}
SCORES = {"pesq_wb": "PESQ", "stoi": "STOI", "si_sdr_db": "SI-SDR"}


class TrainingReporter:
    """Prints a training's data, check-ups and validation scores, and draws its bar."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task: TaskID | None = None
        self.best = ""

    def on_reading(self, place: str) -> "ReadingBar":
        """Show a bar for one place of the data."""
        return ReadingBar(self.bar, place)

    def on_data(self, sources: Sources) -> None:
        """Print what was found, what is left out and why, and how it is split."""
        for found in sources.found:
            say(describe(found))
            for note in found.notes:
                say(f"  note: {note}")
            for line in found.skipped[:MOST_NAMED]:
                say(f"  left out: {line}")
            if len(found.skipped) > MOST_NAMED:
                say(f"  left out: {len(found.skipped) - MOST_NAMED} more, listed in data.json")
        for kind, both in sources.sides.items():
            files = [sum(map(len, side)) for side in both]
            groups = [len({group for recordings in side for group in recordings.groups()}) for side in both]
            if any(files):
                say(
                    f"{kind}: {groups[0]} in {files[0]} files to train on,"
                    f" {groups[1]} others in {files[1]} to validate on"
                )
        for note in sources.notes:
            say(f"note: {note}")

    def on_change(self, line: str) -> None:
        """Print a setting that differs from that of the last start."""
        say(f"changed since the last start: {line}")

    def on_start(self, processes: Processes, run: Path, steps: int, first_step: int) -> None:
        """Print where the training runs, and begin its bar."""
        several = f" by {processes.world_size} processes" if processes.world_size > 1 else ""
        say(f"training on {processes.device}{several}, into {run}")
        self.task = self.bar.add_task("training", total=steps, completed=first_step, note="")

    def on_step(self, step: int, metrics: StepMetrics, throughput: Throughput) -> None:
        """Move the bar."""
        speed = (
            f"{throughput.steps_per_s:.2f} steps/s, {throughput.audio_per_s:.0f} h of audio/h,"
            f" {throughput.waiting:.0%} waiting"
        )
        if self.task is not None:
            self.bar.update(self.task, completed=step, note=f"{listed(metrics, LOSSES)}  {speed}  {self.best}")

    def on_checkup(self, step: int, metrics: StepMetrics, failure_modes: dict[str, str]) -> None:
        """Print losses, health and failure modes."""
        health = "  ".join(
            f"{word} {metrics[name]:{'.0%' if 'accuracy' in name else '.3g'}}"
            for name, word in HEALTH.items()
            if name in metrics
        )
        say(f"step {step}: {listed(metrics, LOSSES)}; health: {health}")
        for advice in failure_modes.values():
            say(f"  warning: {advice}")

    def on_validation(self, step: int, scores: Scores, noisy: Scores, best: bool) -> None:
        """Print scores beside those of the noisy utterances."""
        line = f"step {step}: " + ", ".join(
            f"{word} {number(scores[name])} (noisy {number(noisy[name])})" for name, word in SCORES.items()
        )
        if best:
            self.best = line
        say(f"validation of {line}{', the best so far' if best else ''}")


class ReadingBar:
    """A bar for one place of the data."""

    def __init__(self, bar: Progress, place: str) -> None:
        self.bar, self.task = bar, bar.add_task(f"reading {place}", total=None, note="")

    def __call__(self, done: int, total: int) -> None:
        """Files read, and files in all."""
        self.bar.update(self.task, completed=done, total=total)


def listed(metrics: StepMetrics, names: Iterable[str]) -> str:
    """The metrics of these names, those that are there, in one line."""
    return "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)


def number(score: float | None) -> str:
    """A score as it is printed."""
    return "undefined" if score is None else f"{score:.3f}"
