"""The errors a user can meet; each message says what, where and what to do in one line."""


class SeganError(Exception):
    """Base of every error that the command line turns into one line and exit code 1."""


class AudioError(SeganError):
    """A recording cannot be read or written."""


class OutputError(SeganError):
    """A file cannot be written."""


class CorpusError(SeganError):
    """A folder of training or evaluation data does not hold what it should."""


class ConfigError(SeganError):
    """A configuration has unknown, missing or contradictory values."""


class CheckpointError(SeganError):
    """A model or a training state cannot be found, read or trusted."""


class TrainingError(SeganError):
    """A training cannot start or go on."""


class StoppedError(BaseException):  # as KeyboardInterrupt is: what handles any Exception lets it pass
    """A command was told to stop by a signal, and did so in good order."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
