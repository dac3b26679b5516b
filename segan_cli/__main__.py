"""`segan` and `python -m segan_cli`: stop signals are handled before anything else is imported."""

import os
import signal


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of the imports
    os.environ["PYTHONSAFEPATH"] = "1"  # worker processes import nothing from the current folder
    from segan_cli.process.stopping import exit_on_signals

    exit_on_signals()
    from segan_cli.cli import main as run

    run()


if __name__ == "__main__":
    main()
