"""Frozen dataclasses to and from plain data: strict reading, single fields replaced, TOML."""

import dataclasses
import difflib
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from segan_cli.errors import ConfigError
from segan_cli.plain_json import read_json

T = TypeVar("T")

NONE = "none"  # how a field is said to be None where a format has no word for it
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
LONGEST_KEY = 100  # characters of one that a message shows
LARGEST = 2**63  # whole numbers lie below, as all that takes them counts in 64 bits


class _Short(reprlib.Repr):
    """Values as a message shows them, however long, deep or many they are."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 100, 100

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if abs(value) < LARGEST else f"a whole number of {value.bit_length()} bits"


short_repr = _Short().repr


def from_dict(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build a frozen config from JSON-like data; `where` is its own place in a larger one.

    Nested configs and tuples are converted. Raises ConfigError, naming the key, when one is unknown, missing or of
    another type.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # T is always a dataclass here
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key[:LONGEST_KEY], fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(fields)}"
            raise ConfigError(f"{where}{key[:LONGEST_KEY]}: no such key; {hint}")
    for name, f in fields.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}{name}: missing")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, where + key) for key, value in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """A JSON-like value as the field's type; the types are those that occur in the dataclasses of this package."""
    arguments = typing.get_args(kind)
    if type(None) in arguments:
        return None if value is None or value == NONE else _convert(arguments[0], value, where)
    if isinstance(kind, types.UnionType):  # of configs: `family` says which, the first where it says nothing
        families = {cls.family: cls for cls in arguments}
        family = value.get("family", next(iter(families))) if isinstance(value, dict) else None
        if family is not None and (not isinstance(family, str) or family not in families):
            raise ConfigError(f"{where}.family: {short_repr(family)}; it must be one of {', '.join(families)}")
        kind = families.get(family, arguments[0])
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: {short_repr(value)}; it has keys of its own, give one of them")
        return from_dict(typing.cast(type, kind), value, f"{where}.")
    if typing.get_origin(kind) is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ConfigError(f"{where}: {short_repr(value)}; it must be one of {', '.join(arguments)}")
        return value
    if typing.get_origin(kind) is tuple:
        endless = arguments[-1] is ...
        if not isinstance(value, list | tuple) or not (endless or len(value) == len(arguments)):
            raise ConfigError(
                f"{where}: {short_repr(value)}; it must be a list{'' if endless else f' of {len(arguments)}'}"
            )
        return tuple(_convert(arguments[0], item, where) for item in value)
    if type(value) is int and abs(value) >= LARGEST:
        raise ConfigError(f"{where}: {short_repr(value)}; it must be below 2^63")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ConfigError(f"{where}: {short_repr(value)}; it must be {NAMES[kind]}")
    return value


def override(config: T, assignments: Sequence[str]) -> T:
    """A config with fields replaced by `section.field=value`, the value as JSON or as plain text.

    Raises ConfigError, naming the assignment, when there is no such field or it cannot have that value.
    """
    values = dataclasses.asdict(config)  # type: ignore[call-overload]  # T is always a dataclass here
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *sections, name = path.split(".")
        place = values
        for section in sections:
            place = place.get(section, {}) if isinstance(place, dict) else {}
        if not equals or not isinstance(place, dict) or not place:
            raise ConfigError(f"{assignment}: give SECTION.FIELD=VALUE, such as training.batch_size=64")
        try:
            place[name] = read_json(text)
        except json.JSONDecodeError:
            place[name] = text
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
    return from_dict(type(config), values)


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries as one, `changes` before `base`."""
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def to_dict(config: Any) -> dict[str, Any]:
    """A frozen config as what JSON gives back of it: lists for tuples."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def none_as_text(value: Any) -> Any:
    """The same data with a word for None, for TOML."""
    if isinstance(value, dict):
        return {key: none_as_text(item) for key, item in value.items()}
    return NONE if value is None else value


def check_min(name: str, config: Any, **bounds: float) -> None:
    """Raise ConfigError unless every field is at least its bound."""
    for key, bound in bounds.items():
        if not getattr(config, key) >= bound:
            raise ConfigError(f"{name}: {key} {getattr(config, key)}; it must be {bound} or more")


def check_max(name: str, config: Any, **bounds: float) -> None:
    """Raise ConfigError unless every field is at most its bound."""
    for key, bound in bounds.items():
        if not getattr(config, key) <= bound:
            raise ConfigError(f"{name}: {key} {getattr(config, key)}; it must be {bound:,.15g} or less")


def check_int_range(name: str, values: Mapping[str, Any], low: int, high: int) -> None:
    """Raise ConfigError unless every value is a whole number between two bounds."""
    for key, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"{name}: {key} {short_repr(value)}; it must be a whole number between {low} and {high}")


def check_fractions(name: str, config: Any, *keys: str, highest: float = 1.0) -> None:
    """Raise ConfigError unless every field lies between 0 and `highest`."""
    for key in keys:
        if not 0 <= getattr(config, key) <= highest:
            raise ConfigError(f"{name}: {key} {getattr(config, key)}; it must lie between 0 and {highest:g}")


def check_ranges(name: str, config: Any, *keys: str, largest: float = math.inf) -> None:
    """Raise ConfigError unless every field's first bound is no higher than its second, and both within `largest`."""
    for key in keys:
        low, high = getattr(config, key)
        if max(abs(low), abs(high)) > largest:
            raise ConfigError(f"{name}: {key} [{low:g}, {high:g}]; it must lie within ±{largest:g}")
        if low > high:
            raise ConfigError(f"{name}: {key} [{low:g}, {high:g}]; the lower bound comes first")
