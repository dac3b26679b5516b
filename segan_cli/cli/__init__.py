"""The command line: one file a command, and one place that turns errors into words and exit codes."""

import os
import signal
import sys

import click

from segan_cli import __version__
from segan_cli.cli.enhance import enhance
from segan_cli.cli.evaluate import evaluate
from segan_cli.cli.export import export
from segan_cli.cli.models import models
from segan_cli.cli.train import train
from segan_cli.errors import SeganError, StoppedError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="segan")
def segan() -> None:
    """Remove noise from speech, train models that do, and measure how well they do it.

    \b
    Example:
      segan enhance noisy.wav -o clean.wav
    """


segan.add_command(enhance)
segan.add_command(train)
segan.add_command(evaluate)
segan.add_command(models)
segan.add_command(export)


def main() -> None:
    """Run the command line; exit 0 when all is done, 1 when something failed, 2 on wrong usage."""
    try:
        segan.main(prog_name="segan", standalone_mode=False)
    except StoppedError as error:
        if error.signal_number == signal.SIGPIPE:  # nobody listens, as after `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + error.signal_number)
        _fail(str(error), 128 + error.signal_number)
    except SeganError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "segan"
        _fail(f"{error.format_message()} See '{command} --help'.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)


def _fail(message: str, code: int) -> None:
    click.echo(f"segan: {' '.join(message.split())}", err=True)
    sys.exit(code)
