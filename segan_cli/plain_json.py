"""Strict JSON: one kind of error for anything that is not valid, finite numbers only."""

import json
import math
from typing import Any


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
    except ValueError as error:  # of Python, for integers of thousands of digits
        raise ValueError(str(error).partition(";")[0]) from error


def write_json(value: Any, indent: int | None = None) -> str:
    """Serialise a value as ASCII JSON; numbers that are not finite become null."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)


def finite(value: Any) -> Any:
    """Replace numbers that are not finite in nested data by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
