"""Unexpected errors: in a line, and with their traceback for those who ask."""

import logging
import sys

from segan_cli.printable import printable

LOG = logging.getLogger("segan_cli")


class _Plain(logging.StreamHandler):  # type: ignore[type-arg]
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


def show_tracebacks() -> None:
    """From now on LOG.debug(…, exc_info=True) reaches standard error."""
    LOG.handlers = [_Plain(sys.stderr)]
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False


def shown() -> bool:
    """Whether they are."""
    return LOG.isEnabledFor(logging.DEBUG)


def in_words(error: Exception, place: str) -> str:
    """An error of one file as a line; one that nobody expected is kept for those who debug."""
    LOG.debug(place, exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        named = error.filename.decode(errors="surrogateescape") if isinstance(error.filename, bytes) else error.filename
        return f"{named or place}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"{place}: there is not enough memory for it"
    words = str(error).strip().partition("\n")[0]
    return (
        f"{place}: {words if isinstance(error, RuntimeError) and words else f'{type(error).__name__} {words}'.strip()}"
    )
