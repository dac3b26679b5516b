"""Unexpected errors: one line, and the traceback with --debug."""

import logging
import sys

from segan_cli.printable import printable

LOG = logging.getLogger("segan_cli")


class _Plain(logging.StreamHandler):  # type: ignore[type-arg]
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


def show_tracebacks() -> None:
    """Print tracebacks that are logged by LOG.debug(…, exc_info=True) to standard error."""
    LOG.handlers = [_Plain(sys.stderr)]
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False


def shown() -> bool:
    """Whether tracebacks are printed."""
    return LOG.isEnabledFor(logging.DEBUG)


def in_words(error: Exception, place: str) -> str:
    """Describe an error in one line, and log its traceback."""
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
