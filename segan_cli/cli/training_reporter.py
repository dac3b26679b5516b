"""Print the progress of `segan train`."""

import textwrap
from collections.abc import Callable

from rich.progress import Progress, TaskID
from torch import nn

from segan_cli.cli.console import say, stderr_console
from segan_cli.config.training import ValidationScore
from segan_cli.data.recordings import describe_corpus
from segan_cli.data.training_data import TrainingData
from segan_cli.losses.reconstruction import LOSSES
from segan_cli.text import counted
from segan_cli.training.adversary import StepMetrics
from segan_cli.training.log import Throughput
from segan_cli.training.run import TrainingRun
from segan_cli.training.state import TrainState
from segan_cli.training.validation import Scores

MAX_LISTED = 3  # skipped files to list; data.json has all
MAX_COLUMNS = 80
MAX_WAITING = 0.05  # share of the time that steps wait for data, from which the bar shows it
HEALTH = {
    "d_real": "D(clean)",
    "d_real_accuracy": "accuracy on clean",
    "d_fake": "D(enhanced)",
    "d_fake_accuracy": "accuracy on enhanced",
    "d_training_accuracy": "accuracy on training pairs",
    "d_held_out_accuracy": "on held-out pairs",
    "generator_gradient": "grad norm G",
    "discriminator_gradient": "grad norm D",
    "reconstruction_gradient": "output grad, reconstruction",
    "adversarial_gradient": "output grad, adversarial",
    "z_effect": "effect of z",
    "output_diversity": "output diversity",
    "quality_undefined": "undefined PESQ per step",
}
SCORES: dict[ValidationScore, str] = {"pesq_wb": "PESQ", "stoi": "STOI", "si_sdr_db": "SI-SDR"}


class TrainingReporter:
    """Prints data, losses, health and validation scores of training, and updates its progress bar."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task: TaskID | None = None
        self.best_by: ValidationScore = "pesq_wb"
        self.best, self.best_line = "", ""  # of the best validation, for the bar and for the end
        self.noisy_printed = self.is_worse_than_noisy = False

    def on_reading(self, place: str) -> Callable[[int, int], None]:
        """Show a progress bar for reading one corpus; returns what sets the numbers of files read and in total."""
        task = self.bar.add_task(f"reading {place}", total=None, note="")
        return lambda done, total: self.bar.update(task, completed=done, total=total)

    def on_data(self, data: TrainingData) -> None:
        """Print a summary of each corpus, its skipped files, and the split."""
        for corpus in data.corpora:
            say(describe_corpus(corpus))
            for note in corpus.notes:
                say(f"  note: {note}")
            for line in corpus.skipped[:MAX_LISTED]:
                say(f"  skipped: {line}")
            if len(corpus.skipped) > MAX_LISTED:
                say(f"  skipped: {len(corpus.skipped) - MAX_LISTED} more, see data.json")
        for kind, (training, validation) in data.splits.items():
            if len(training) + len(validation):
                say(
                    f"{kind}: {len(training.groups())} in {counted(len(training), 'recording')} for training,"
                    f" {len(validation.groups())} in {counted(len(validation), 'recording')} for validation"
                )
        for note in data.notes:
            say(f"note: {note}")

    def on_start(self, training: TrainingRun) -> None:
        """Print changed settings, networks, device and run folder, and start the progress bar."""
        state = training.state
        self.best_by = state.training.best_by
        processes, steps, first_step = state.processes, state.training.steps, state.step
        for line in training.changes:
            say(f"changed since the last start: {line}")
        for line in describe_networks(state):
            say(line)
        count = f" with {processes.world_size} processes" if processes.world_size > 1 else ""
        resumed = f", resuming at step {first_step} of {steps}" if first_step else ""
        say(f"training on {processes.device}{count}, run folder {training.options.run_dir}{resumed}")
        self.task = self.bar.add_task("training", total=steps, completed=first_step, note="")

    def on_step(self, step: int, metrics: StepMetrics, throughput: Throughput) -> None:
        """Update the progress bar."""
        speed = f"{throughput.steps_per_s:.3g} steps/s"
        if throughput.waiting > MAX_WAITING:
            speed += f", {throughput.waiting:.0%} waiting for data"
        if self.task is not None:
            self.bar.update(self.task, completed=step, note=f"{speed}{', best ' * bool(self.best)}{self.best}")

    def on_diagnostics(self, step: int, metrics: StepMetrics, failure_modes: dict[str, str]) -> None:
        """Print losses, health metrics and detected failure modes."""
        losses = [name for name in (*LOSSES, "adversarial", "discriminator") if name in metrics]
        say_wrapped(f"step {step}: {', '.join(f'{name} {metrics[name]:.4f}' for name in losses)}")
        health = [
            f"{label} {metrics[name]:{'.0%' if 'accuracy' in name else '.3g'}}"
            for name, label in HEALTH.items()
            if name in metrics
        ]
        if health:
            say_wrapped(f"  health: {', '.join(health)}")
        for advice in failure_modes.values():
            say(f"  warning: {advice}")

    def on_validation_start(self, step: int) -> None:
        """Show in the progress bar that the training waits for the validation."""
        if self.task is not None:
            self.bar.update(self.task, note="validating")
            self.bar.refresh()

    def on_validation(self, step: int, scores: Scores, noisy: Scores, best: bool) -> None:
        """Print validation scores, the first time after those of the noisy utterances."""
        if not self.noisy_printed:
            say(f"validation of the noisy mixes: {format_scores(noisy)}")
            self.noisy_printed = True
        if best:
            score, noisy_score = scores[self.best_by], noisy[self.best_by]
            self.is_worse_than_noisy = score is not None and noisy_score is not None and score < noisy_score
            self.best = f"{SCORES[self.best_by]} {format_score(score)}"
            self.best_line = f"step {step}: {format_scores(scores)}"
        say(f"validation at step {step}: {format_scores(scores)}{', best so far' if best else ''}")


def count_weights(network: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(weight.numel() for weight in network.parameters())


def describe_networks(state: TrainState) -> list[str]:
    """Describe both networks, a line each, and warn of schedules that are longer than the training."""
    training = state.training
    adversarial, steps = training.adversarial, training.steps
    full_strength = adversarial.start + adversarial.ramp_steps
    lines = [f"generator: {state.model_config.preset}, {count_weights(state.generator):,} weights"]
    if adversarial.weight and adversarial.start < steps:
        ramp = f", at full strength from step {full_strength}" if adversarial.ramp_steps else ""
        lines.append(
            f"discriminator: {adversarial.objective}, {count_weights(state.discriminator):,} weights,"
            f" from step {adversarial.start}{ramp}"
        )
    else:
        lines.append("discriminator: none")
    if adversarial.weight and full_strength and full_strength >= steps:
        lines.append(
            f"warning: the discriminator would be at full strength from step {full_strength}, but the training ends at"
            f" step {steps}; add --set training.adversarial.start=0 --set training.adversarial.ramp_steps={steps // 10}"
        )
    if training.warmup_steps and training.warmup_steps >= steps:
        lines.append(
            f"warning: the learning rates rise for {training.warmup_steps} steps, but the training ends at step"
            f" {steps}; add --set training.warmup_steps={steps // 10}"
        )
    return lines


def say_wrapped(line: str) -> None:
    """Print a line, wrapped to 80 columns on a terminal."""
    if not stderr_console.is_terminal:
        say(line)
        return
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    for part in textwrap.wrap(line, MAX_COLUMNS, subsequent_indent=indent, break_long_words=False):
        say(part)


def format_scores(scores: Scores) -> str:
    """Format PESQ, STOI and SI-SDR."""
    return ", ".join(f"{label} {format_score(scores[name])}" for name, label in SCORES.items()) + " dB"


def format_score(score: float | None) -> str:
    """Format a score; None is undefined."""
    return "undefined" if score is None else f"{score:.3f}"
