"""`python -m segan_cli`."""

from segan_cli.cli import main

if __name__ == "__main__":
    main()
