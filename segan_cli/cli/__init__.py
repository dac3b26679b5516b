"""The command line: a module for each command, and one place that turns errors into messages and exit codes."""

import os
import shlex
import sys
from importlib import import_module
from pathlib import Path

import click

from segan_cli import __version__
from segan_cli.errors import LOG, SeganError, StoppedError, in_words, show_tracebacks
from segan_cli.process.standard_streams import prepare_streams
from segan_cli.process.stopping import BROKEN_PIPE, exit_on_signals_silently, exit_with, remove_unfinished
from segan_cli.system import extra_of, install_command
from segan_cli.text import one_line

SUMMARIES = {
    "enhance": "Remove noise from recordings of speech.",
    "live": "Remove noise from a microphone signal in real time.",
    "train": "Train a speech enhancement model.",
    "evaluate": "Score noisy and enhanced speech against clean speech.",
    "models": "List shipped models and presets.",
    "export": "Export a model to ONNX.",
}

debugging = click.option(
    "--debug", is_flag=True, expose_value=False, help="Print the traceback of errors.",
    callback=lambda context, option, given: show_tracebacks() if given else None,
)  # fmt: skip


class CommandGroup(click.Group):
    """A group that imports a command when it is used, and suggests one for a typo or a file name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in SUMMARIES and cmd_name not in self.commands:
            command = getattr(import_module(f"segan_cli.cli.{cmd_name}"), cmd_name)
            command.context_settings = self.context_settings  # also where it is used without the group
            self.commands[cmd_name] = debugging(command)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raises UsageError with a suggestion when there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            name = args[0]
            if Path(name).exists() or name == "-":
                raise click.UsageError(
                    f"{name!r} is not a command. Did you mean: segan enhance {shlex.quote(name)}", ctx
                ) from error
            if Path(name).suffix or os.sep in name:
                message = f"{name!r} is neither a command nor a file. To enhance a recording: segan enhance FILE"
                raise click.UsageError(message, ctx) from error
            from difflib import get_close_matches  # only needed for an error

            close = get_close_matches(name, self.list_commands(ctx), 1)
            if close:
                raise click.UsageError(f"No such command {name!r}. Did you mean {close[0]!r}?", ctx) from error
            raise


@debugging
@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="segan")
def segan() -> None:
    """Remove noise from speech, train models for it, and measure their quality.

    \b
    Example:
      segan enhance noisy.wav -o clean.wav
    """


def main() -> None:
    """Run the command line; the exit code is 0 for success, 1 when something failed, 2 for wrong options."""
    prepare_streams()
    try:
        segan.main(prog_name="segan", standalone_mode=False)
    except StoppedError as error:
        exit_on_signals_silently()
        remove_unfinished()
        if error.signal_number == BROKEN_PIPE:  # the reader is gone, as after `| head`
            exit_with(128 + error.signal_number)
        _fail(str(error), 128 + error.signal_number)
    except ModuleNotFoundError as error:
        LOG.debug("", exc_info=True)
        extra = extra_of(error.name or "")
        advice = f"run: {install_command(extra)}" if extra else "install segan-cli again"
        _fail(f"package {error.name} is not installed; {advice}", 1)
    except MemoryError:
        LOG.debug("", exc_info=True)
        _fail("there is not enough memory", 1)
    except SeganError as error:
        LOG.debug("", exc_info=True)
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "segan"
        message = error.format_message().rstrip(".")
        _fail(f"{message}{'' if message.endswith('?') else '.'} See '{command} --help'.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except OSError as error:
        _fail(in_words(error, "the operating system reports an error"), 1)
    except Exception as error:
        _fail(f"{in_words(error, 'unexpected error')} (a bug in segan; --debug prints the traceback)", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"segan: {one_line(message)}", err=True)
    exit_with(code)
