"""Click types for numbers with bounds."""

import math
import re
from typing import Any

import click

from segan_cli.system import MAX_JOBS


class Whole(click.IntRange):
    """A whole number between bounds."""

    name = "whole number"  # in messages


SEED = Whole(0, 2**63 - 1)
WORKERS = Whole(1, MAX_JOBS)
MAX_ACTORS = 100_000
MAX_SHARDS = 10**9 - 1
MAX_LEVEL_DB = 200.0
TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{0,9})?)", re.ASCII)


class Finite(click.FloatRange):
    """A finite number between bounds."""

    name = "number"  # in messages

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text to a number; fails if it is not finite or out of range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


def bounded(text: str, high: int) -> int | None:
    """Parse a whole number from 1 to `high`; None for anything else, also for thousands of digits."""
    short = text.isdecimal() and len(text) <= len(str(high))
    return int(text) if short and 1 <= int(text) <= high else None


class ActorCount(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """A number of actors N, or a range MIN:MAX."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Convert text to the least and the largest number."""
        if isinstance(value, tuple):
            return value
        low, colon, high = value.partition(":")
        min_actors, max_actors = bounded(low, MAX_ACTORS), bounded(high if colon else low, MAX_ACTORS)
        if min_actors is None or max_actors is None:
            self.fail(f"{value:.40}; give N or MIN:MAX, from 1 to {MAX_ACTORS}", param, ctx)
        if min_actors > max_actors:
            self.fail(f"{value}; MIN is larger than MAX", param, ctx)
        return min_actors, max_actors


class ShardNumber(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """Part I of N parts, as I/N."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Convert text to the number of the part and the number of parts."""
        if isinstance(value, tuple):
            return value
        before, _, after = value.partition("/")
        n = bounded(after, MAX_SHARDS)
        index = bounded(before, n or 0)
        if n is None or index is None:
            self.fail(f"{value:.40}; give I/N with I from 1 to N, such as 2/8", param, ctx)
        return index, n


class Time(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """A time in seconds, MM:SS or HH:MM:SS, as a number of seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert text to seconds."""
        if isinstance(value, float):
            return value
        found = TIME.fullmatch(value)
        if found is None:
            self.fail(f"{value:.40}; give seconds, MM:SS or HH:MM:SS, such as 90 or 1:30", param, ctx)
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


DECIBELS = Finite(-MAX_LEVEL_DB, MAX_LEVEL_DB)
