"""Errors for the user, each in one line: what is wrong, where, and what to do; also for unexpected errors."""

import errno
import logging
import sys

from segan_cli.text import printable

LOG = logging.getLogger("segan_cli")
ERRNO_MESSAGES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the size limit",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the disk is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an error",
    errno.EBADF: "it is closed",
}


class SeganError(Exception):
    """Base of all errors that the command line prints as one line."""

    exit_code = 1  # 2 if options are wrong, regardless of what the files contain

    @property
    def message(self) -> str:
        """What is wrong and where, without the hint."""
        return str(self.args[0])


class HintedError(SeganError):
    """An error with a hint, which differs between the command line and Python."""

    hint: str

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class AudioError(SeganError):
    """A recording cannot be read, or sound is not valid."""


class TruncatedError(HintedError, AudioError):
    """A recording has less content than its header specifies."""

    hint = "segan enhance --allow-truncated reads what is left"


class OutputError(SeganError):
    """A file cannot be written."""


class SameFileError(OutputError):
    """A file would be written over one that the same command reads or writes."""

    exit_code = 2


class ExistsError(HintedError, OutputError):
    """A file exists and is not to be overwritten."""

    hint = "add --force to overwrite it"


class CorpusError(SeganError):
    """Data for training or evaluation are missing or not valid."""


class ConfigError(SeganError):
    """Options or a configuration have unknown, missing or contradictory values."""

    exit_code = 2


class RecipeError(ConfigError):
    """A recipe file cannot be read or is not valid."""

    exit_code = 1


class CheckpointError(SeganError):
    """A model or a training state cannot be found, is not valid or does not work."""


class TrainingError(SeganError):
    """Training cannot start or continue."""


class StoppedError(BaseException):  # like KeyboardInterrupt, not caught by `except Exception`
    """A signal stopped a command, which has cleaned up."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class _Plain(logging.StreamHandler):  # type: ignore[type-arg]
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


def show_tracebacks() -> None:
    """Print tracebacks that are logged by LOG.debug(…, exc_info=True) to standard error."""
    LOG.handlers = [_Plain(sys.stderr)]
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False


def tracebacks_shown() -> bool:
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
