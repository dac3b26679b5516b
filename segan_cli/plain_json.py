"""JSON of others, and our own: what cannot be is refused in one kind of error, numbers are finite."""

import json
import math
from typing import Any


def read_json(text: str | bytes) -> Any:
    """What a JSON text holds; raises ValueError, in a line, when it is none, too deep, or has numbers that are none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8, byte {error.start}") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # of Python, on whole numbers of thousands of digits
        raise ValueError(str(error).partition(";")[0]) from error


def write_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON in ASCII; numbers that are not finite become null."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)


def finite(value: Any) -> Any:
    """Nested data with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
