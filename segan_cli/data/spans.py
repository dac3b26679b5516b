"""The part of a file that a row of a manifest uses, such as one utterance of a call."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segan_cli.errors import CorpusError

STARTS = ("offset", "start", "start_time", "start_s")
DURATIONS = ("duration", "duration_s")
ENDS = ("end", "end_time", "end_s")
COLUMNS = (*STARTS, *DURATIONS, *ENDS)
TOLERANCE_S = 0.05  # by which times may be rounded
MAX_TIME_S = 1e9
OTHER_SELECTIONS = re.compile(  # names of columns that select a part too, but in another way
    r"([a-z]+_)?(onset|begin|start|offset|end|stop)(_?(at|time|pos|sec|second|s|ms|msec|milli|sample|frame))*"
    r"|from|to|in|out|t[01]|[tx]_?(min|max)|seek|skip|crop|trim|window|region|segments?"
    r"|(time_?)?(spans?|stamps?|intervals?)"
)
LENGTHS = re.compile(  # columns of a length: beside a start, that of the part, otherwise that of the file
    r"(dur|duration|len|length|(num|n)_(samples|frames))(_?(time|sec|secs|seconds?|s|ms|msec|milli|samples?|frames?))*"
)
NUMERIC = tuple("0123456789.+-[{")  # first characters of numbers, lists and objects
CHANNELS = re.compile(r"(ch|channels?)(_(id|idx|index|selector))?")


@dataclass(frozen=True)
class Span:
    """A part of a file."""

    start_s: float
    end_s: float | None  # None: to the end of the file
    row: str  # that selects it, as manifest and line

    def __str__(self) -> str:
        return f"{self.start_s:.15g}-{'' if self.end_s is None else f'{self.end_s:.15g}'} s"

    def samples(self, n: int, rate_hz: int) -> slice:
        """The samples of this part in a file of n samples; raises CorpusError if it goes beyond the end."""
        first, last = round(self.start_s * rate_hz), n if self.end_s is None else round(self.end_s * rate_hz)
        if first >= n or last > n + TOLERANCE_S * rate_hz:
            raise CorpusError(f"{self.row}: the file has {n / rate_hz:.10g} s, but the row selects {self}")
        return slice(first, min(last, n))


def span_of(row: Mapping[str, str], place: str) -> Span | None:
    """The part that a row selects by times in seconds; None for the whole file. Raises CorpusError for bad times."""
    start = read_time(row, STARTS, place) or 0.0
    duration, end = read_time(row, DURATIONS, place), read_time(row, ENDS, place)
    if duration is not None:
        if end is not None and abs(start + duration - end) > TOLERANCE_S:
            raise CorpusError(f"{place}: start {start:g} and duration {duration:g} contradict end {end:g}")
        end = start + duration
    if end is not None and end <= start:
        raise CorpusError(f"{place}: ends at {end:g} s, which is not after its start at {start:g} s")
    return Span(start, end, place) if start or end is not None else None


def read_time(row: Mapping[str, str], names: Sequence[str], place: str) -> float | None:
    """The time in those of the columns that have a value; raises CorpusError if it is not one number from 0 on."""
    times_s = {}
    for name in names:
        if text := row.get(name):
            try:
                times_s[name] = float(text)
            except ValueError:
                times_s[name] = math.nan
            if not 0 <= times_s[name] <= MAX_TIME_S:
                raise CorpusError(f"{place}: {name} {text}; it must be a number of seconds from 0 on")
    if len({*times_s.values()}) > 1:
        raise CorpusError(f"{place}: {' and '.join(times_s)} contradict each other; give one of them")
    return next(iter(times_s.values()), None)


def is_selection(name: str) -> bool:
    """Whether a column selects, or may be meant to select, a part of a file."""
    return name in COLUMNS or any(pattern.fullmatch(plain(name)) for pattern in (OTHER_SELECTIONS, CHANNELS))


def plain(name: str) -> str:
    """The name of a column in small letters, its words joined by underscores."""
    return re.sub(r"[\s-]+", "_", name.lower())


def refuse_other_selections(path: str, rows: Sequence[tuple[int, Mapping[str, str]]]) -> None:
    """Raise CorpusError for columns that select a part of a file in a way that is not supported."""
    for line, row in rows:
        has_end = any(row.get(name) for name in (*DURATIONS, *ENDS))
        has_start = any(row.get(name) for name in STARTS)
        for name, value in row.items():
            if value[:1] not in NUMERIC or name in COLUMNS:
                continue
            is_length = has_start and not has_end and LENGTHS.fullmatch(plain(name))
            if is_length or OTHER_SELECTIONS.fullmatch(plain(name)):
                raise CorpusError(
                    f"{path}, line {line}: column {name}: unknown; give the part of each file by offset and duration,"
                    " or start and end, in seconds, or rename the column"
                )
            if CHANNELS.fullmatch(plain(name)) and value.strip("0"):
                raise CorpusError(
                    f"{path}, line {line}: column {name}: {value}; segan averages the channels of a file, so write each"
                    " channel to a file of its own, or rename the column"
                )
