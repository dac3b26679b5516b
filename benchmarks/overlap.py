"""Quality of the default model with more or less overlap of its segments, on mixes of held-out data.

python benchmarks/overlap.py --clean speech-valid/ --noise noise-valid/

Writes benchmarks/results/overlap.json and the table in docs/performance.md.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import report

from segan_cli import Enhancer
from segan_cli.backends.pretrained import find_model
from segan_cli.evaluation.cases import NOISY, Cases, from_mixes
from segan_cli.evaluation.report import summarise_system
from segan_cli.evaluation.run import evaluate
from segan_cli.measures.catalog import CORE
from segan_cli.networks.checkpoint import Model, load_model

HOPS = {
    "none": 16_384, "an eighth": 14_336, "a quarter": 12_288, "three eighths": 10_240, "half": 8_192,
    "half, frames interleaved": 8_064, "two thirds": 5_376, "two thirds, frames interleaved": 5_248,
    "three quarters": 4_096, "three quarters, frames interleaved": 4_032,
}  # fmt: skip  # samples
SNRS_DB = (0.0, 10.0)
EVERY = 5  # use every fifth mix; odd, to include both SNRs


def main() -> None:
    """Score the default model with each hop, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, required=True, help="clean speech that no model was trained on")
    parser.add_argument("--noise", type=Path, required=True)
    arguments = parser.parse_args()
    cases = Cases(from_mixes(arguments.clean, arguments.noise, SNRS_DB, seed=1).all[::EVERY])
    model = load_model(find_model("default"))
    enhancers, rates = {}, {}
    for name, hop in HOPS.items():
        config = replace(model.config, hop=hop)
        enhancers[name] = Enhancer(Model(model.generator, config, model.provenance), device="cpu")
        rates[name] = config.sample_rate_hz / config.hop
    evaluation = evaluate(cases, tuple(CORE), enhancers)
    results: dict[str, Any] = {"mixes": len(cases.all)}
    for system in (NOISY, *HOPS):
        means = {
            name: value["mean"]
            for name, value in summarise_system(evaluation.cases, system, evaluation.measures).items()
        }
        results[system] = {"segments_per_s": rates.get(system), **means}
    report.save("overlap", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "performance.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Markdown tables by name."""
    rows = [
        [
            name, f"{row['segments_per_s']:.2f}" if row["segments_per_s"] else "–",
            f"{row['pesq_wb']:.3f}", f"{row['stoi']:.3f}", f"{row['si_sdr_db']:.2f}",
        ]
        for name, row in results.items() if name != "mixes"
    ]  # fmt: skip
    return {"overlap": report.table(["overlap", "segments per second", "PESQ-WB", "STOI", "SI-SDR (dB)"], rows)}


if __name__ == "__main__":
    main()
