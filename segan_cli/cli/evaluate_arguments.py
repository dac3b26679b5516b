"""The arguments of `segan evaluate`: cases, systems, measures, and checks."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segan_cli.extras import require_extra
from segan_cli.remote import as_path, is_remote, is_url
from segan_cli.same_file import STREAM, Use, check_uses

if TYPE_CHECKING:
    from segan_cli.evaluation.cases import Cases

DEFAULT_SNRS_DB = (0.0, 10.0)


@dataclass(frozen=True)
class Arguments:
    """The options of the command."""

    noisy: Path | None
    clean: Path | None
    data: Path | None
    noise: Path | None
    snrs: tuple[float, ...]
    seed: int
    enhanced: tuple[str, ...]
    models: tuple[str, ...]
    measures: tuple[str, ...]
    full_band: bool
    dnsmos: bool
    columns: tuple[str, ...]
    align: bool
    as_json: bool
    csv_file: Path | None
    markdown_file: Path | None
    html_file: Path | None
    compare: tuple[Path, Path] | None
    jobs: int | None
    cache: Path | None
    no_cache: bool
    ray: str | None
    ray_actors: tuple[int, int] | None
    ray_cpus: int | None
    ray_gpus: float
    force: bool
    quiet: bool

    @property
    def outputs(self) -> dict[str, Path]:
        """The report files by option."""
        files = {"csv": self.csv_file, "markdown": self.markdown_file, "html": self.html_file}
        return {option: path for option, path in files.items() if path is not None}


def check_comparison(arguments: Arguments) -> None:
    """Raise UsageError for options that contradict --compare."""
    recordings = (arguments.noisy, arguments.clean, arguments.data, arguments.noise)
    if any((*recordings, arguments.enhanced, arguments.models, arguments.as_json, arguments.outputs)):
        raise click.UsageError("--compare takes two reports and no other options.")


def find_cases(arguments: Arguments) -> "Cases":
    """Find the cases that the options select; raises UsageError if the options do not fit together."""
    from segan_cli.evaluation.cases import from_folders, from_mixes, from_set

    noisy, clean, data, noise = arguments.noisy, arguments.clean, arguments.data, arguments.noise
    if data is not None:
        if noisy or clean or noise:
            raise click.UsageError("--data cannot be combined with --noisy, --clean or --noise.")
        return from_set(data)
    if noise is not None:
        if clean is None or noisy is not None:
            raise click.UsageError("--noise needs --clean, and cannot be combined with --noisy.")
        return from_mixes(clean, noise, arguments.snrs or DEFAULT_SNRS_DB, arguments.seed)
    if arguments.snrs:
        raise click.UsageError("--snr needs --noise.")
    if noisy is None:
        raise click.UsageError("Nothing to score; use --noisy and --clean, --data, or --clean and --noise.")
    return from_folders(noisy, clean)


def name_systems(arguments: Arguments) -> tuple[dict[str, Path], dict[str, str]]:
    """Folders and models by the name of the system; without NAME=, that of the folder, file or model.

    Raises UsageError if a name is already used or reserved, CheckpointError if there is no such model.
    """
    from segan_cli.backends.pretrained import check_model, find_model

    folders: dict[str, Path] = {}
    for entry in arguments.enhanced:
        name, place = split_name(entry)
        path = as_path(place)
        name = name or (path.name if is_remote(path) else path.resolve().name)
        folders[check_name(name, folders, "--enhanced")] = path
    models: dict[str, str] = {}
    for entry in arguments.models:
        name, model = split_name(entry)
        check_model(model)
        name = name or (model if model == "default" else find_model(model).stem)
        models[check_name(name, {*folders, *models}, "--model")] = model
    return folders, models


def check_name(name: str, used: Collection[str], option: str) -> str:
    """The name of a system; raises UsageError if it is already used or reserved."""
    if name in ("noisy", "clean"):
        raise click.BadParameter(f"{name}: this name is reserved; choose another by NAME=…", param_hint=option)
    if name in used:
        raise click.BadParameter(f"{name}: two systems have this name; give {option} NAME=…", param_hint=option)
    return name


def split_name(entry: str) -> tuple[str | None, str]:
    """Split NAME=PLACE; the name is None for a URL, or a file or folder that exists, whose own name may contain =."""
    name, _, place = entry.partition("=")
    whole = is_url(entry) or os.path.exists(entry)  # noqa: PTH110  # Path.exists raises for overlong names
    return (None, entry) if whole or not (name and place) else (name, place)


def select_measures(arguments: Arguments, cases: "Cases") -> tuple[str, ...]:
    """Names of the measures to compute; raises UsageError if one is unknown or needs a missing reference."""
    from segan_cli.measures.catalog import FULL_BAND, MEASURES, NON_INTRUSIVE, WITH_REFERENCE

    for name in arguments.measures:
        if name not in MEASURES:
            raise click.BadParameter(f"{name}; choose from {', '.join(MEASURES)}", param_hint="--measure")
    with_reference = all(case.clean is not None for case in cases.all)
    selected = set(arguments.measures or (WITH_REFERENCE if with_reference else ()))
    selected |= {*(FULL_BAND if arguments.full_band else ()), *(NON_INTRUSIVE if arguments.dnsmos else ())}
    if not with_reference and selected - set(NON_INTRUSIVE):
        raise click.UsageError(f"{min(selected - set(NON_INTRUSIVE))} needs --clean.")
    if not selected:
        raise click.UsageError("Without --clean only DNSMOS is available; add --dnsmos.")
    if selected & set(NON_INTRUSIVE):
        require_extra("dnsmos", "DNSMOS")
    return tuple(name for name in MEASURES if name in selected)


def check_columns(columns: Sequence[str], cases: "Cases") -> None:
    """Raise UsageError for a column that no case has."""
    available = list(dict.fromkeys(name for case in cases.all for name in case.labels))
    for column in columns:
        if column not in available:
            hint = f"choose from {', '.join(available)}" if available else "these recordings have no columns"
            raise click.BadParameter(f"{column}: no such column; {hint}", param_hint="--by")


def check_outputs(arguments: Arguments, cases: "Cases", folders: Collection[Path]) -> None:
    """Raise an error for a file, by its option, that exists, cannot be written, or is also read or written twice."""
    from segan_cli.atomic import check_place

    written = [Use(path, f"--{option}", written=True) for option, path in arguments.outputs.items()]
    for use in written:
        check_place(use.path, arguments.force)
    if arguments.cache is not None:
        written.append(Use(arguments.cache, "--cache", written=True))
    uses = [*files_read(arguments, cases, folders), *written, Use(STREAM, "the report", written=True)]
    check_uses(lambda: uses)


def files_read(arguments: Arguments, cases: "Cases", folders: Collection[Path]) -> Iterator[Use]:
    """Yield all files that the evaluation reads: cases, other recordings and tables of their folders, models.

    Remote folders are only listed if a report is remote too.
    """
    from segan_cli.backends.pretrained import model_files
    from segan_cli.data.folders import audio_below
    from segan_cli.data.spans import Part
    from segan_cli.evaluation.cases import NOISE_LOG
    from segan_cli.evaluation.signals import NoiseMix

    for case in cases.all:
        for side in (case.noisy.noise if isinstance(case.noisy, NoiseMix) else case.noisy, case.clean):
            if side is not None:
                yield Use(side.path if isinstance(side, Part) else side, "recording")
    remote = any(map(is_remote, arguments.outputs.values()))
    for place in (arguments.noisy, arguments.clean, arguments.data, arguments.noise, *folders):
        if place is None or is_remote(place) > remote:
            continue
        if place.is_dir():
            yield from (Use(path, "recording") for path in audio_below(place))
            yield from (Use(folder / NOISE_LOG, "table") for folder in (place, place.parent))
        else:
            yield Use(place, "manifest")
    for entry in arguments.models:
        yield from (Use(path, "model") for path in model_files(split_name(entry)[1]))
