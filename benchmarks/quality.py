"""Score the shipped models by SNR and kind of noise, on clean speech, and on noise without speech.

python benchmarks/quality.py --data speech-valid/ --kind wind=noise/wind --kind typing=noise/keys,noise/typing

Babble of other speakers of --data and generated white noise are added as kinds. Clean speech is taken from --data and
from every --clean NAME=DIR. Writes benchmarks/results/quality.json and the tables in docs/quality.md.
"""

import argparse
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray

from segan_cli.backends.pretrained import find_model, shipped_models
from segan_cli.config.training import MixingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.mixing import ExampleSource, draw_position, draw_utterances, read_looped
from segan_cli.data.recordings import CorpusLoader, Recordings
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.measures.catalog import CORE, measure_all
from segan_cli.measures.score import mean
from segan_cli.networks.checkpoint import load_model
from segan_cli.process.workers import worker_pool

Array = NDArray[np.float32]
Means = dict[str, float | None]  # by measure; None if undefined
Cells = dict[str, dict[str, Means]]  # kind → condition → means

RATE_HZ = 16_000
SNRS_DB = (-5, 0, 5, 10, 15, 20)
LEVEL_DB = (-30.0, -20.0)  # active speech level
N_UTTERANCES = 8  # per cell
N_CLEAN = 32  # clean utterances
NOISE_S = 6  # duration of noise without speech
NOISY = "noisy"
BASE_CONFIG = {
    "babble_probability": 0.0,
    "second_noise_probability": 0.0,
    "reverb_probability": 0.0,
    "level_db": LEVEL_DB,
}


@dataclass(frozen=True)
class Mix:
    """A mix, or clean speech."""

    kind: str
    condition: str  # SNR in dB, or name of the clean speech
    noisy: Array
    clean: Array


def mixes(speech: Recordings, kinds: dict[str, Recordings], clean: dict[str, Recordings]) -> Iterator[Mix]:
    """Mixes of every kind of noise at every SNR, then clean speech; deterministic."""
    empty = Recordings(())
    settings = {kind: (noise, BASE_CONFIG) for kind, noise in kinds.items()}
    settings["babble"] = empty, BASE_CONFIG | {"babble_probability": 1.0}
    settings["white"] = empty, BASE_CONFIG | {"generated": ("white",)}
    for kind, (noise, config) in settings.items():
        source = ExampleSource(speech, noise, empty, MixingConfig(**config), RATE_HZ)  # type: ignore[arg-type]  # values of several types
        for spec in draw_utterances(
            source, N_UTTERANCES, zlib.crc32(kind.encode())
        ):  # the same utterances at every SNR
            for snr_db in SNRS_DB:
                yield Mix(kind, str(snr_db), *source.render(replace(spec, snr_db=snr_db)))
    for condition, recordings in clean.items():
        source = ExampleSource(recordings, empty, empty, MixingConfig(**config), RATE_HZ)  # type: ignore[arg-type]
        for spec in draw_utterances(source, N_CLEAN, 0):  # with any noise, which is discarded
            _, clean_only = source.render(spec)
            yield Mix("none", condition, clean_only, clean_only)


def score(mixed: Sequence[Mix], signals: Sequence[Array], pool: Executor) -> Cells:
    """Means of the defined scores by kind and condition."""
    rows = list(pool.map(measure_all, [mix.clean for mix in mixed], signals, chunksize=8))
    cells: Cells = {}
    for kind, condition in dict.fromkeys((mix.kind, mix.condition) for mix in mixed):
        selected = [row for row, mix in zip(rows, mixed, strict=True) if (mix.kind, mix.condition) == (kind, condition)]
        cells.setdefault(kind, {})[condition] = {name: mean([row[name] for row in selected]) for name in CORE}
    return cells


def attenuation(enhancer: Enhancer, kinds: dict[str, Recordings]) -> dict[str, float]:
    """Attenuation of noise without speech in dB, by kind."""
    result = {}
    for kind, noise in kinds.items():
        rng, before, after = np.random.default_rng(zlib.crc32(kind.encode())), 0.0, 0.0
        for _ in range(N_UTTERANCES):
            recording = noise.draw(rng)
            position = draw_position(rng, recording)
            sound = read_looped(noise, position, NOISE_S * RATE_HZ) * (0.03 / recording.entry.level)
            before += float(np.sum(np.square(sound)))
            after += float(np.sum(np.square(enhancer.enhance(sound, RATE_HZ))))
        result[kind] = 10 * np.log10(before / max(after, 1e-12))
    return result


def format_means(cells: Cells, kinds: Sequence[str], conditions: Sequence[str]) -> str:
    """A table cell with means over kinds and conditions."""
    means = [cells[kind][condition] for kind in kinds for condition in conditions]
    pesq, stoi, si_sdr = (float(np.mean([row[name] for row in means if row[name] is not None])) for name in CORE)
    return f"{pesq:.2f} / {stoi:.3f} / {si_sdr:.1f}"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    noisy = results[NOISY]["cells"]
    models = {name: result for name, result in results.items() if name != NOISY}
    kinds, snrs = [kind for kind in noisy if kind != "none"], [str(snr_db) for snr_db in SNRS_DB]
    rows = {NOISY: noisy} | {name: model["cells"] for name, model in models.items()}

    def grid(places: dict[str, tuple[Sequence[str], Sequence[str]]]) -> list[list[str]]:
        return [[where, *(format_means(cells, *place) for cells in rows.values())] for where, place in places.items()]

    by_snr = grid({f"{snr} dB": (kinds, [snr]) for snr in snrs} | {"all": (kinds, snrs)})
    by_kind = grid({kind: ([kind], snrs) for kind in kinds})
    clean = [
        [f"{condition}, {name}", *(format_mean(value) for value in cells["none"][condition].values())]
        for condition in noisy["none"]
        for name, cells in rows.items()
        if name != NOISY
    ]
    alone = [
        [kind, *(f"{model['alone_db'][kind]:.1f} dB" for model in models.values())]
        for kind in next(iter(models.values()))["alone_db"]
    ]
    return {
        "by SNR": report.table(["SNR", *rows], by_snr),
        "by kind of noise": report.table(["kind", *rows], by_kind),
        "clean speech": report.table(["speech", "PESQ-WB", "STOI", "SI-SDR (dB)"], clean),
        "noise alone": report.table(["kind", *models], alone),
    }


def format_mean(value: float | None) -> str:
    """A table cell with a mean."""
    return "–" if value is None else f"{value:.3f}"


def losing_cells(noisy: Cells, enhanced: Cells) -> list[str]:
    """Cells in which a model is worse than noisy on every measure."""
    return [
        f"{kind} at {condition} dB"
        for kind, conditions in noisy.items()
        for condition, before in conditions.items()
        if kind != "none" and all((enhanced[kind][condition][name] or 0) < (before[name] or 0) for name in CORE)
    ]


def main() -> None:
    """Score all shipped models, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clean speech that no model was trained on")
    parser.add_argument("--kind", action="append", required=True, metavar="NAME=DIR[,DIR]", help="noise; repeatable")
    parser.add_argument("--clean", action="append", default=[], metavar="NAME=DIR", help="more speech")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    arguments = parser.parse_args()
    loader = CorpusLoader(Cache(arguments.cache, RATE_HZ), None)
    named = dict(kind.split("=", 1) for kind in arguments.kind)
    kinds = {kind: loader.load((), places.split(","), (), "validation").noise for kind, places in named.items()}
    speech = loader.load((arguments.data,), (), (), "validation").speech
    more = (kind.split("=", 1) for kind in arguments.clean)
    clean = {kind: loader.load((folder,), (), (), "validation").speech for kind, folder in more}
    mixed = list(mixes(speech, kinds, {"of the mixes": speech, **clean}))
    with worker_pool() as pool:
        noisy = score(mixed, [mix.noisy for mix in mixed], pool)
        results: dict[str, Any] = {NOISY: {"cells": noisy}}
        for name in shipped_models()[1]:
            enhancer = Enhancer(load_model(find_model(name)))
            cells = score(mixed, [enhancer.enhance(mix.noisy, RATE_HZ) for mix in mixed], pool)
            lost, alone = losing_cells(noisy, cells), attenuation(enhancer, kinds)
            results[name] = {"cells": cells, "alone_db": alone, "worse_on_every_measure": lost}
            print(f"{name}: worse on every measure in {len(lost)} cells {lost}", flush=True)
    report.save("quality", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "quality.md", heading, text)


if __name__ == "__main__":
    main()
