"""Click types for numbers with bounds."""

import math
from typing import Any

import click

from segan_cli.system import MAX_JOBS

SEED = click.IntRange(0, 2**63 - 1)
WORKERS = click.IntRange(1, MAX_JOBS)
MAX_LEVEL_DB = 200.0


class Finite(click.FloatRange):
    """A finite number between bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text to a number; fails if it is not finite or out of range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


DECIBELS = Finite(-MAX_LEVEL_DB, MAX_LEVEL_DB)
