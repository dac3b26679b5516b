"""Conversion between frozen dataclasses and JSON or TOML data, with strict checks and overrides of single fields."""

import dataclasses
import difflib
import json
import math
import reprlib
import typing
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from segan_cli.arrays import RATES_HZ
from segan_cli.errors import ConfigError
from segan_cli.text import read_json

T = TypeVar("T")

NONE = "none"  # stands for None in TOML
TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
MAX_KEY = 100  # characters of a key shown in a message
FAMILIES = "segan_cli.families"  # group of entry points, each a module that is to be imported
INT_LIMIT = 2**63  # integers must fit into 64 bits


class _ShortRepr(reprlib.Repr):
    """Abbreviated values for messages."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 100, 100

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if abs(value) < INT_LIMIT else f"a whole number of {value.bit_length()} bits"


short_repr = _ShortRepr().repr


class Selected:
    """Base of configs whose class is selected by the field `family`; a subclass with a value of it is registered."""

    family: str
    families: ClassVar[dict[str, type["Selected"]]]

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "family"):
            cls.families[cls.family] = cls
        else:
            cls.families = {}

    @classmethod
    def of_family(cls, family: Any, where: str) -> type["Selected"]:
        """The config class of a family, of segan or of an installed package with an entry point in FAMILIES."""
        if isinstance(family, str) and family not in cls.families:
            for plugin in entry_points(group=FAMILIES, name=family):
                try:
                    plugin.load()
                except Exception as error:  # of another package
                    raise ConfigError(
                        f"{where}.family: {family} cannot be imported ({error}); install its package again"
                    ) from error
        if not isinstance(family, str) or family not in cls.families:
            raise ConfigError(
                f"{where}.family: {short_repr(family)}; it must be one of {', '.join(sorted(cls.families))}, or of an"
                " installed package"
            )
        return cls.families[family]


def from_dict(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build a config from JSON-like data, `where` is its place in a larger one; raises ConfigError, with the key."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # T is always a dataclass here
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key[:MAX_KEY], fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(fields)}"
            raise ConfigError(f"{where}{key[:MAX_KEY]}: no such key; {hint}")
    for name, f in fields.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}{name}: missing")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, where + key) for key, value in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Convert a JSON-like value to the type of a field, raising ConfigError if it does not fit."""
    arguments = typing.get_args(kind)
    if type(None) in arguments:
        return None if value is None or value == NONE else _convert(arguments[0], value, where)
    selected = isinstance(kind, type) and issubclass(kind, Selected)
    is_config = selected or dataclasses.is_dataclass(kind)
    if (is_config or typing.get_origin(kind) is dict) and not isinstance(value, dict):
        raise ConfigError(f"{where}: {short_repr(value)}; it is a section; set one of its keys")
    if is_config:
        if selected:
            kind = kind.of_family(value.get("family"), where)
        return from_dict(typing.cast(type, kind), value, f"{where}.")
    if typing.get_origin(kind) is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ConfigError(f"{where}: {short_repr(value)}; it must be one of {', '.join(arguments)}")
        return value
    if typing.get_origin(kind) is tuple:
        variable = arguments[-1] is ...
        if not isinstance(value, list | tuple) or not (variable or len(value) == len(arguments)):
            raise ConfigError(
                f"{where}: {short_repr(value)}; it must be a list{'' if variable else f' of {len(arguments)}'}"
            )
        kinds = arguments[:1] * len(value) if variable else arguments
        return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if typing.get_origin(kind) is dict:  # of numbers by name
        return {name: _convert(arguments[1], item, f"{where}.{name[:MAX_KEY]}") for name, item in value.items()}
    if kind not in TYPE_NAMES:
        raise ConfigError(f"{where}: a field of a config cannot be of type {kind}")
    if type(value) is int and abs(value) >= INT_LIMIT:
        raise ConfigError(f"{where}: {short_repr(value)}; it must be below 2^63")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ConfigError(f"{where}: {short_repr(value)}; it must be {TYPE_NAMES[kind]}")
    return value


def override(config: T, assignments: Sequence[str]) -> T:
    """Override fields by `section.field=value`, JSON or plain text; raises ConfigError, with the assignment."""
    values = dataclasses.asdict(config)  # type: ignore[call-overload]  # T is always a dataclass here
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *sections, name = path.split(".")
        section_values: Any = values
        for section in sections:
            section_values = section_values.get(section) if isinstance(section_values, dict) else None
        if not equals or not isinstance(section_values, dict):
            raise ConfigError(f"{assignment}: give SECTION.FIELD=VALUE, such as training.batch_size=64")
        try:
            section_values[name] = read_json(text)
        except json.JSONDecodeError:
            section_values[name] = text
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
    return from_dict(type(config), values)


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge nested dictionaries; `changes` take precedence."""
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries, joining keys by dots."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a config to JSON data, with lists for tuples."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def check_bounds(name: str, config: Any, **bounds: tuple[float, float]) -> None:
    """Raise ConfigError if a field that is not None is below or above its bounds."""
    for key, (low, high) in bounds.items():
        value = getattr(config, key)
        if value is not None and not low <= value <= high:
            bound = f"{low} or more" if value < low else f"{high:,.15g} or less"
            raise ConfigError(f"{name}: {key} {value}; it must be {bound}")


def check_int_range(name: str, values: Mapping[str, Any], low: int, high: int) -> None:
    """Raise ConfigError if a value is not an integer between two bounds."""
    for key, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"{name}: {key} {short_repr(value)}; it must be a whole number between {low} and {high}")


def whole_rate(rate_hz: object) -> int:
    """Return a sampling rate as an int; raises ConfigError when it is not a whole number in range."""
    low, high = RATES_HZ
    number = rate_hz if isinstance(rate_hz, int | float | np.number) and not isinstance(rate_hz, bool) else None
    if number is None or not low <= number <= high or number != int(number):
        raise ConfigError(f"rate_hz {short_repr(rate_hz)}; it must be a whole number between {low} and {high}")
    return int(number)
