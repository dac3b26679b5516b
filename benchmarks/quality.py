"""Score the shipped models on mixes by SNR and by kind of noise, on clean speech and on noise alone.

python benchmarks/quality.py --data speech-valid/ --kind wind=noise/wind --kind typing=noise/keys,noise/typing

Babble of other voices of --data and generated white noise are kinds of their own; clean speech is that of --data and of
every --clean NAME=DIR. All shipped models are scored anew.
Writes benchmarks/results/quality.json and the tables in docs/quality.md.
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
from segan_cli.data.corpora import CorpusLoader
from segan_cli.data.mixing import MixtureSource, draw_excerpt, draw_utterances, read_looped
from segan_cli.data.recordings import Recordings
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.measures.catalog import CORE, measure_all
from segan_cli.measures.score import mean
from segan_cli.networks.checkpoint import load_model
from segan_cli.workers import worker_pool

Array = NDArray[np.float32]
Means = dict[str, float | None]  # of a measure, where it is defined
Cells = dict[str, dict[str, Means]]  # kind → condition → means

RATE_HZ = 16_000
SNRS_DB = (-5, 0, 5, 10, 15, 20)
LEVEL_DB = (-30.0, -20.0)  # active speech level
EACH = 8  # utterances a cell
CLEAN = 32  # clean utterances
ALONE_S = 6  # seconds of noise alone
NOISY = "noisy"
PLAIN = {"babble_probability": 0.0, "second_noise_probability": 0.0, "reverb_probability": 0.0, "level_db": LEVEL_DB}


@dataclass(frozen=True)
class Mix:
    """An utterance with a noise."""

    kind: str
    condition: str  # SNR in dB, or which clean speech
    noisy: Array
    clean: Array


def mixes(speech: Recordings, kinds: dict[str, Recordings], clean: dict[str, Recordings]) -> Iterator[Mix]:
    """Every kind of noise at every SNR, then each kind of clean speech; the same for the same recordings."""
    nothing = Recordings(())
    ways = {kind: (noise, PLAIN) for kind, noise in kinds.items()}
    ways["babble"] = nothing, PLAIN | {"babble_probability": 1.0}
    ways["white"] = nothing, PLAIN | {"generated": ("white",)}
    for kind, (noise, way) in ways.items():
        source = MixtureSource(speech, noise, nothing, MixingConfig(**way), RATE_HZ)  # type: ignore[arg-type]  # of many types
        for spec in draw_utterances(source, EACH, zlib.crc32(kind.encode())):  # the same voices at every SNR
            for snr_db in SNRS_DB:
                yield Mix(kind, str(snr_db), *source.render(replace(spec, snr_db=snr_db)))
    for condition, recordings in clean.items():
        source = MixtureSource(recordings, nothing, nothing, MixingConfig(**way), RATE_HZ)  # type: ignore[arg-type]
        for spec in draw_utterances(source, CLEAN, 0):  # whatever the noise, the speech alone is taken
            _, alone = source.render(spec)
            yield Mix("none", condition, alone, alone)


def score(mixed: Sequence[Mix], signals: Sequence[Array], pool: Executor) -> Cells:
    """Means of the measures by kind and condition, where they are defined."""
    rows = list(pool.map(measure_all, [mix.clean for mix in mixed], signals, chunksize=8))
    cells: Cells = {}
    for kind, condition in dict.fromkeys((mix.kind, mix.condition) for mix in mixed):
        here = [row for row, mix in zip(rows, mixed, strict=True) if (mix.kind, mix.condition) == (kind, condition)]
        cells.setdefault(kind, {})[condition] = {name: mean([row[name] for row in here]) for name in CORE}
    return cells


def attenuation(enhancer: Enhancer, kinds: dict[str, Recordings]) -> dict[str, float]:
    """By how many dB noise alone falls, over excerpts of each kind together."""
    result = {}
    for kind, noise in kinds.items():
        rng, before, after = np.random.default_rng(zlib.crc32(kind.encode())), 0.0, 0.0
        for _ in range(EACH):
            recording = noise.draw(rng)
            sound = read_looped(noise, draw_excerpt(rng, recording), ALONE_S * RATE_HZ) * (0.03 / recording.entry.level)
            before += float(np.sum(np.square(sound)))
            after += float(np.sum(np.square(enhancer.enhance(sound, RATE_HZ))))
        result[kind] = 10 * np.log10(before / max(after, 1e-12))
    return result


def over(cells: Cells, kinds: Sequence[str], conditions: Sequence[str]) -> str:
    """Means over kinds and conditions as a cell of a table."""
    means = [cells[kind][condition] for kind in kinds for condition in conditions]
    pesq, stoi, si_sdr = (float(np.mean([each[name] for each in means if each[name] is not None])) for name in CORE)
    return f"{pesq:.2f} / {stoi:.3f} / {si_sdr:.1f}"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by heading: by SNR, by kind, clean speech, noise alone."""
    noisy = results[NOISY]["cells"]
    models = {name: result for name, result in results.items() if name != NOISY}
    kinds, snrs = [kind for kind in noisy if kind != "none"], [str(snr_db) for snr_db in SNRS_DB]
    rows = {NOISY: noisy} | {name: model["cells"] for name, model in models.items()}

    def grid(places: dict[str, tuple[Sequence[str], Sequence[str]]]) -> list[list[str]]:
        return [[where, *(over(cells, *place) for cells in rows.values())] for where, place in places.items()]

    by_snr = grid({f"{snr} dB": (kinds, [snr]) for snr in snrs} | {"all": (kinds, snrs)})
    by_kind = grid({kind: ([kind], snrs) for kind in kinds})
    clean = [
        [f"{condition}, {name}", *(shown(value) for value in cells["none"][condition].values())]
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


def shown(value: float | None) -> str:
    """A mean as a cell of a table."""
    return "–" if value is None else f"{value:.3f}"


def worse(noisy: Cells, enhanced: Cells) -> list[str]:
    """Cells of kind and SNR in which a model loses on every measure."""
    return [
        f"{kind} at {condition} dB"
        for kind, conditions in noisy.items()
        for condition, before in conditions.items()
        if kind != "none" and all((enhanced[kind][condition][name] or 0) < (before[name] or 0) for name in CORE)
    ]


def main() -> None:
    """Score all shipped models, write the tables."""
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
            lost, alone = worse(noisy, cells), attenuation(enhancer, kinds)
            results[name] = {"cells": cells, "alone_db": alone, "worse_on_every_measure": lost}
            print(f"{name}: worse on every measure in {len(lost)} cells {lost}", flush=True)
    report.save("quality", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "quality.md", heading, text)


if __name__ == "__main__":
    main()
