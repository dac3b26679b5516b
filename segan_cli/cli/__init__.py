"""The command line: a module per command, and the conversion of errors to messages and exit codes."""

import io
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
from segan_cli.printable import one_line
from segan_cli.stopping import leave_in_silence, leave_when_told, remove_unfinished
from segan_cli.tracebacks import LOG, in_words, show_tracebacks

debugging = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show tracebacks of errors.",
    callback=lambda context, option, given: show_tracebacks() if given else None,
)  # fmt: skip


@debugging
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="segan")
def segan() -> None:
    """Remove noise from speech, and train and evaluate speech enhancement models.

    \b
    Example:
      segan enhance noisy.wav -o clean.wav
    """


for command in (enhance, train, evaluate, models, export):
    segan.add_command(debugging(command))


def main() -> None:
    """Run the command line; exit 0 when all is done, 1 when something failed, 2 on wrong usage."""
    leave_when_told()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where it knows few characters
    try:
        segan.main(prog_name="segan", standalone_mode=False)
    except StoppedError as error:
        leave_in_silence()
        remove_unfinished()
        if error.signal_number == signal.SIGPIPE:  # nobody listens, as after `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + error.signal_number)
        _fail(str(error), 128 + error.signal_number)
    except SeganError as error:
        LOG.debug("", exc_info=True)
        _fail(str(error), 1)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "segan"
        _fail(f"{error.format_message().rstrip('.')}. See '{command} --help'.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except OSError as error:
        _fail(in_words(error, "system"), 1)
    except Exception as error:
        _fail(f"{in_words(error, 'unexpected error')} (a fault of segan; --debug tells where)", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"segan: {one_line(message)}", err=True)
    sys.exit(code)
