"""`segan` and `python -m segan_cli`: stop signals are handled before anything else is imported."""

import signal


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of the imports
    from segan_cli.process.stopping import exit_on_signals

    exit_on_signals()
    from segan_cli.cli import main as run

    run()


if __name__ == "__main__":
    main()
