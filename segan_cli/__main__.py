"""`segan` and `python -m segan_cli`: what asks to stop is heard before anything else is loaded."""

from segan_cli.stopping import leave_when_told


def main() -> None:
    """Run the command line."""
    leave_when_told()
    from segan_cli.cli import main as run

    run()


if __name__ == "__main__":
    main()
