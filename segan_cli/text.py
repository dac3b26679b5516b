"""Untrusted text: escaping it for terminals and files, comparing names, and strict JSON."""

import json
import math
import unicodedata
from collections.abc import Callable
from typing import Any

LONGEST_LINE = 1_000  # characters of a message


def printable(text: str) -> str:
    """Escape control characters, line ends, direction marks and undecodable bytes.

    A byte that is not UTF-8 becomes `\\xe9`, a character `\\u202e`.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(ord(character)) for character in text)


def one_line(text: str) -> str:
    """Return a message as one printable line of limited length."""
    line = printable(" ".join(part.strip() for part in text.splitlines()))
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"


def composed(text: str) -> str:
    """Return a name in composed form, so that equal names compare equal: macOS writes ü as u and a diaeresis."""
    return unicodedata.normalize("NFC", text)


def counted(n: int, noun: str) -> str:
    """Return a number and its noun: 1 file, 2 files."""
    return f"{n} {noun}{'s' * (n != 1)}"


def utf8(text: str) -> str:
    """Escape undecodable bytes as `\\xe9`, so that the text can be encoded as UTF-8."""
    return "".join(_escape(ord(one)) if "\ud800" <= one <= "\udfff" else one for one in text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode has it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def read_json(text: str | bytes) -> Any:
    """Parse JSON; raises ValueError when it is not valid, too deeply nested, or has NaN or infinity."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8, byte {error.start}") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # of Python, for integers with thousands of digits
        raise ValueError(str(error).partition(";")[0]) from error


def write_json(value: Any, indent: int | None = None) -> str:
    """Serialise a value as ASCII JSON; numbers that are not finite become null."""
    return json.dumps(converted(value, finite), indent=indent, allow_nan=False)


def converted(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Convert all keys and values of nested data."""
    if isinstance(value, dict):
        return {leaf(key): converted(item, leaf) for key, item in value.items()}
    return [converted(item, leaf) for item in value] if isinstance(value, list | tuple) else leaf(value)


def finite(value: Any) -> Any:
    """Replace a number that is not finite by None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
