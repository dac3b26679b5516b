"""`segan` and `python -m segan_cli`: stop signals are handled before anything else is imported."""

from segan_cli.process.stopping import exit_on_signals


def main() -> None:
    """Run the command line."""
    exit_on_signals()
    from segan_cli.cli import main as run

    run()


if __name__ == "__main__":
    main()
