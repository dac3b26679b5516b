"""Errors of remote file systems: the message for the user, and which calls are repeated."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from segan_cli.errors import LOG, SeganError

T = TypeVar("T")

WAITS_S = (0.5, 1.0, 2.0)  # before a call is repeated
RETRY_LIMIT_S = 20.0  # no call is repeated later than this after the first
TOO_MANY = 429
MISSING = (404, 410)
STATUSES = {401: "access denied, credentials are needed", 403: "access denied"}
STATUSES |= {408: "the server does not answer", TOO_MANY: "too many requests, try again later"}
TRANSIENT_ERRORS = (TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
TRANSIENT_ERROR_NAMES = ("ServerDisconnectedError", "ClientPayloadError", "NoSuchUpload")
REASONS = {  # of errors of aiohttp and botocore
    "ClientPayloadError": "the connection was lost before the end",
    "ConnectTimeoutError": "the server does not answer",
    "ReadTimeoutError": "the server does not answer",
    "NoSuchUpload": "the server lost the upload",
    "NonHttpUrlRedirectClientError": "the server redirects to an address that is not on the web",
    "TooManyRedirects": "the server redirects in a loop",
}


@contextmanager
def explained(path: Path | str, what: str, kind: type[SeganError]) -> Iterator[None]:
    """Raise any error of the block as a SeganError that names the path."""
    try:
        yield
    except (SeganError, MemoryError):
        raise
    except Exception as error:
        LOG.debug(path, exc_info=True)
        raise kind(f"{path}: cannot be {what} ({reason_of(error)})") from error


def retried(call: Callable[[], T]) -> T:
    """Call a file system, and again a few times while it fails with an error that may pass."""
    end = time.monotonic() + RETRY_LIMIT_S
    for pause_s in WAITS_S:
        try:
            return call()
        except Exception as error:
            pause_s = max(pause_s, retry_after_s(error))
            if not is_transient(error) or time.monotonic() + pause_s > end:
                raise
            LOG.debug("trying again in %g s", pause_s, exc_info=True)
        time.sleep(pause_s)
    return call()


def is_transient(error: BaseException) -> bool:
    """Whether an error is transient: the server is busy or failed, or the connection was lost."""
    status = http_status(error)
    if status is not None and status not in MISSING:
        return status == TOO_MANY or status >= 500
    return any(
        isinstance(cause, TRANSIENT_ERRORS) or type(cause).__name__ in TRANSIENT_ERROR_NAMES for cause in causes(error)
    )


def is_missing(error: FileNotFoundError) -> bool:
    """Whether there is no such file; fsspec says so for any answer of a web server, and for none."""
    status = http_status(error)
    if status is not None:
        return status in MISSING
    return isinstance(error.__cause__, LookupError | FileNotFoundError | None)


def reason_of(error: BaseException) -> str:
    """Describe an error of a file system in a few words."""
    status = http_status(error)
    if status is not None and status not in MISSING:
        kind = STATUSES.get(status) or ("the server failed, try again later" if status >= 500 else "refused")
        return f"{kind}: HTTP status {status}"
    for name in (type(cause).__name__ for cause in causes(error)):
        if name in REASONS:
            return REASONS[name]
    if isinstance(error, FileNotFoundError):
        return "no such file, or a folder" if is_missing(error) else reason_of(error.__cause__ or error)
    if isinstance(error, PermissionError):
        return "access denied"
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return str(error).strip().replace(":\n", ": ").partition("\n")[0] or type(error).__name__


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that caused an error of any file system; None if none did."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        details = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}  # of botocore
        for status in (
            details.get("HTTPStatusCode"),
            *(getattr(cause, name, None) for name in ("status", "status_code")),
        ):
            if isinstance(status, int) and 400 <= status < 600:
                return status
    return None


def retry_after_s(error: BaseException) -> float:
    """Return how long the server asks to wait; 0 if it does not."""
    for cause in causes(error):
        text = str((getattr(cause, "headers", None) or {}).get("Retry-After", ""))
        if text.isdecimal():
            return float(text[:9])
    return 0.0


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
