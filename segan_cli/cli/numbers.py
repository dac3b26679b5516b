"""Types of options that are numbers, each with bounds beyond which nobody means what they say."""

import math
from typing import Any

import click

MOST_WORKERS = 1_024
SEED = click.IntRange(0, 2**63 - 1)
WORKERS = click.IntRange(1, MOST_WORKERS)
LOUDEST_DB = 200.0


class Finite(click.FloatRange):
    """A number between bounds, and a number it must be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; fails, naming the option, when it is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


DECIBELS = Finite(-LOUDEST_DB, LOUDEST_DB)
