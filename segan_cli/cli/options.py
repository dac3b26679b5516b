"""Options: types for numbers, times, files and models, sections of the help, and what several commands share."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from segan_cli.storage.remote import as_path, is_url
from segan_cli.storage.same_file import STREAM
from segan_cli.system import MAX_JOBS, MAX_LEVEL_DB

if TYPE_CHECKING:
    from segan_cli.cluster.pipeline import ActorOptions

MAX_FOLDERS = 1_000  # that are searched for files to complete a name
DEPTH = 2  # of the search: folders within folders of the one that was typed
MAX_ACTORS = 100_000
MAX_SHARDS = 10**9 - 1
TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{0,9})?)", re.ASCII)
F = TypeVar("F", bound=Callable[..., Any])


class Whole(click.IntRange):
    """A whole number between bounds."""

    name = "whole number"  # in messages


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


def actor_count(text: str) -> tuple[int, int]:
    """Parse a number of actors N, or a range MIN:MAX."""
    low, colon, high = text.partition(":")
    min_actors, max_actors = bounded(low, MAX_ACTORS), bounded(high if colon else low, MAX_ACTORS)
    if min_actors is None or max_actors is None:
        raise click.BadParameter(f"{text:.40}; give N or MIN:MAX, from 1 to {MAX_ACTORS}")
    if min_actors > max_actors:
        raise click.BadParameter(f"{text}; MIN is larger than MAX")
    return min_actors, max_actors


def shard_number(text: str) -> tuple[int, int]:
    """Parse part I of N parts, I/N."""
    before, _, after = text.partition("/")
    n = bounded(after, MAX_SHARDS)
    index = bounded(before, n or 0)
    if n is None or index is None:
        raise click.BadParameter(f"{text:.40}; give I/N with I from 1 to N, such as 2/8")
    return index, n


def seconds(text: str) -> float:
    """Parse a time in seconds, MM:SS or HH:MM:SS."""
    found = TIME.fullmatch(text)
    if found is None or (found[2] and float(found[3]) >= 60) or (found[1] and int(found[2]) >= 60):
        raise click.BadParameter(f"{text:.40}; give seconds, MM:SS or HH:MM:SS, such as 90 or 1:30")
    return 3600 * int(found[1] or 0) + 60 * int(found[2] or 0) + float(found[3])


class Name(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """The name of a file or folder, possibly with more before or after it."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text; fails if it is empty, which would mean the current folder."""
        return value if value != "" else self.fail("the name is empty; give a file or folder", param, ctx)


class Place(click.Path):
    """A path; unless it must be `local`, also a URL such as s3://bucket/folder; - may be a standard `stream`."""

    def __init__(self, local: bool = False, stream: bool = False) -> None:
        super().__init__(path_type=Path, readable=False)
        self.local, self.stream = local, stream

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text to a path; fails if it is empty or means a stream or URL that cannot be used."""
        NAME.convert(value, param, ctx)
        if value == "-" and not self.stream:
            self.fail("- is a standard stream; give a file or folder", param, ctx)
        if not (isinstance(value, str) and is_url(value)):
            path = super().convert(value, param, ctx)
            return path.absolute() if path == STREAM and value != "-" else path  # such as ./-
        if self.local:
            self.fail(f"{value} is a URL; give a local file", param, ctx)
        return as_path(value)


class ModelName(Name):
    """The name of a shipped model, or a file."""

    name = "model"

    def __init__(self, *extensions: str) -> None:
        """Files with these extensions are completed."""
        self.extensions = extensions

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the shipped models, and the files in or below the folder that was typed."""
        from segan_cli.backends.pretrained import shipped_models

        candidates = ["default", *shipped_models()[1], *sorted(self._files(incomplete))]
        return [CompletionItem(each) for each in candidates if each.startswith(incomplete)]

    def _files(self, incomplete: str) -> Iterator[str]:
        """Yield the files with the extensions, each beginning with the folder as it was typed."""
        typed = incomplete[: len(incomplete) - len(os.path.basename(incomplete))]  # noqa: PTH119  # keeps ./ and //
        root = os.path.expanduser(typed or ".")  # noqa: PTH111
        for place, folders, names in islice(os.walk(root), MAX_FOLDERS):
            inside = PurePath(place).relative_to(root)
            deeper = len(inside.parts) < DEPTH
            folders[:] = sorted(folder for folder in folders if deeper and folder[0] != ".")
            for name in names:
                if name[0] != "." and PurePath(name).suffix in self.extensions:
                    yield f"{typed}{(inside / name).as_posix()}"


def split_name(entry: str) -> tuple[str | None, str]:
    """Split NAME=PLACE; the name is None for a URL, or a file or folder that exists, whose own name may contain =."""
    name, _, place = entry.partition("=")
    whole = is_url(entry) or os.path.exists(entry)
    return (None, entry) if whole or not (name and place) else (name, place)


MODEL = ModelName(".safetensors", ".onnx")
MODEL_TO_TRAIN = ModelName(".safetensors", ".pt")
SEED, WORKERS = Whole(0, 2**63 - 1), Whole(1, MAX_JOBS)
DECIBELS = Finite(-MAX_LEVEL_DB, MAX_LEVEL_DB)
NAME, PATH, PATH_OR_URL, PATH_OR_STREAM = Name(), Place(local=True), Place(), Place(stream=True)


def option(usage: str, text: str, type: Any = None, **attributes: Any) -> Callable[[F], F]:
    """Return a decorator that adds an option, by its names and what it takes, such as `-j --jobs N`, and its help."""
    words = usage.split()
    names = [word for word in words if word.startswith("-")]
    metavar = " ".join(words[len(names) :]) or None
    destination = attributes.pop("name", None)
    return click.option(*names, *filter(None, [destination]), type=type, metavar=metavar, help=text, **attributes)


def flag(usage: str, text: str, **attributes: Any) -> Callable[[F], F]:
    """Return a decorator that adds an option that takes nothing."""
    return option(usage, text, is_flag=True, **attributes)


def choice(usage: str, values: Sequence[str], text: str) -> Callable[[F], F]:
    """Return a decorator that adds an option that takes one of some values, by default the first."""
    return option(usage, text, click.Choice(values), default=values[0], show_default=True)


def section(title: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds options, in this order, under a heading of the help."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", []))
        for add in reversed(options):
            function = add(function)
        for parameter in function.__click_params__[before:]:  # type: ignore[attr-defined]
            parameter.section = title
        return function

    return decorate


def raise_first(mistakes: Mapping[str, bool]) -> None:
    """Raise UsageError with the first message that applies."""
    for message, applies in mistakes.items():
        if applies:
            raise click.UsageError(message)


def cluster_section(function: F) -> F:
    """Add the options for a Ray cluster."""
    return section(
        "Cluster",
        option("--ray ADDRESS", "Run on Ray: local, auto or [ray://]HOST:PORT."),
        option("--ray-actors N|MIN:MAX", "Number of actors.  [default: all that fit]", actor_count),
        option("--ray-cpus N", "CPUs and threads per actor.  [default: 1]", WORKERS),
        option("--ray-gpus X", "Number of GPUs per actor.  [default: 0]", Finite(0, 64), default=0.0),
    )(function)


def check_cluster_usage(arguments: SimpleNamespace, here: Mapping[str, object], streams: bool = False) -> None:
    """Raise UsageError for options that contradict --ray or need it; `here` are options that do not work with --ray."""
    needing = {"--ray-actors": arguments.ray_actors, "--ray-cpus": arguments.ray_cpus}
    needing["--ray-gpus"] = arguments.ray_gpus or None
    if arguments.ray is None:
        raise_first({f"{name} needs --ray.": value is not None for name, value in needing.items()})
        return
    instead = {"--jobs": "; give --ray-actors", "--threads": "; give --ray-cpus"}
    raise_first({
        f"{name} cannot be combined with --ray{instead.get(name, '')}.": value is not None
        for name, value in here.items()
    } | {"--ray enhances files, not standard input; give files or folders.": streams})  # fmt: skip


def actor_options(arguments: SimpleNamespace) -> "ActorOptions":
    """Return the actors that the options ask for, by default as many of one CPU as fit."""
    from segan_cli.cluster.pipeline import ActorOptions

    return ActorOptions(arguments.ray_cpus or 1, arguments.ray_gpus, *(arguments.ray_actors or (1, None)))


class SectionedCommand(click.Command):
    """A command whose help lists its options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, those that all commands have last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Help"), []).append(record)
        sections["Help"] = sections.pop("Help")
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
