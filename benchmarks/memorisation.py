"""Whether a model memorises: are its outputs nearer to training speech than to the speech in their own mixes?

python benchmarks/memorisation.py --data clean/ --noise noise/ --valid-data valid/ --valid-noise vnoise/ --run runs/m

Compares the outputs for held-out mixes with their own clean speech, with the outputs for shuffled mixes, and with
every segment of the training speech. Writes benchmarks/results/memorisation.json and the table in docs/adversarial.md.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import report
import soxr
import torch
from speech import folders, mixes, open_folders
from torch import Tensor

from segan_cli import Enhancer
from segan_cli.data.recordings import Recordings
from segan_cli.training.diagnostics import cut_segments

SEGMENT, RATE_HZ, LOW_HZ = 16_384, 16_000, 4_000  # segments are compared at the low rate
N_SEGMENTS, BLOCK = 16, 64
QUIET = 1e-4  # RMS that counts as silence

Generate = Callable[[Tensor], Tensor]  # noisy [N, T] → enhanced [N, T]


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Largest |normalised cross-correlation| over all lags of every pair, [N, T] and [M, T] → [N, M]; 1: the same."""
    length = 2 * a.shape[1]
    a, b = (x / x.norm(dim=1, keepdim=True).clamp_min(QUIET * x.shape[1] ** 0.5) for x in (a, b))
    spectra = torch.fft.rfft(a, length).conj()[:, None]
    blocks = []
    for some in b.split(BLOCK):
        correlation = torch.fft.irfft(spectra * torch.fft.rfft(some, length), length)
        blocks.append(correlation.abs().amax(-1))
    return torch.cat(blocks, 1)


def memorisation(generate: Generate, noisy: Tensor, clean: Tensor, training: Tensor) -> dict[str, float]:
    """Mean similarities of the outputs for held-out mixes [N, T], given training speech [M, T].

    own: to the clean speech of the same mix. shuffled: to the output for another mix, 1 when the condition is
    ignored. training: to the nearest training segment. nearer: share of outputs that are nearer to a training segment
    than to their own clean speech.
    """
    outputs = generate(noisy)
    own = similarity(outputs, clean).diagonal()
    nearest = similarity(outputs, training).amax(1)
    return {
        "own": float(own.mean()),
        "shuffled": float(similarity(outputs, generate(noisy.roll(1, 0))).diagonal().mean()),
        "training": float(nearest.mean()),
        "nearer": float((nearest > own).float().mean()),
    }


def lookup(training: Tensor) -> Generate:
    """A generator that has learnt its training segments [M, T] by heart: the nearest to each noisy segment."""
    return lambda noisy: training[similarity(noisy, training).argmax(1)]


def given(noisy: Tensor, outputs: Tensor) -> Generate:
    """A generator whose outputs [N, T] for these noisy segments [N, T] are known."""
    return lambda rows: torch.stack([outputs[(noisy == row).all(1)][0] for row in rows])


def at_low_rate(samples: Tensor) -> Tensor:
    """Segments [N, T] at the rate of comparison."""
    return torch.from_numpy(np.stack([soxr.resample(row, RATE_HZ, LOW_HZ) for row in samples.numpy()]))


def training_segments(speech: Recordings) -> Tensor:
    """All training speech at the rate of comparison, in segments [M, T] that do not overlap."""
    length = SEGMENT * LOW_HZ // RATE_HZ
    rows = []
    for recording in speech.all:
        samples = soxr.resample(speech.excerpt(recording.name, 0, recording.length), RATE_HZ, LOW_HZ)
        samples = np.pad(samples, (0, -len(samples) % length))
        rows.append(torch.from_numpy(samples).view(-1, length))
    return torch.cat(rows)


def main() -> None:
    """Compare the shipped model with bounds on either side, write results and table."""
    parser = folders(__doc__ or "")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sources = open_folders(arguments)
    cut = cut_segments(mixes(sources, N_SEGMENTS), SEGMENT, 2 * N_SEGMENTS)
    assert cut is not None
    noisy, clean = (side[:, 0] for side in cut[:2])
    loud = clean.square().mean(1).topk(N_SEGMENTS).indices
    noisy, clean = noisy[loud], clean[loud]
    enhancer = Enhancer(arguments.model)
    enhanced = torch.from_numpy(np.stack([enhancer.enhance(row, RATE_HZ) for row in noisy.numpy()]))
    noisy, clean, enhanced = map(at_low_rate, (noisy, clean, enhanced))
    training = training_segments(sources.splits["speakers"][0])
    print(f"{len(training)} training segments", flush=True)
    generators: dict[str, Generate] = {
        "shipped model": given(noisy, enhanced),
        "clean speech itself": given(noisy, clean),
        "nearest training segment": lookup(training),
    }
    results: dict[str, Any] = {"segments": [len(noisy), len(training)]}
    for name, generate in generators.items():
        results[name] = memorisation(generate, noisy, clean, training)
        print(name, results[name], flush=True)
    report.save("memorisation", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "adversarial.md", heading, text)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown table of similarities."""
    headings = ["outputs", "own clean speech", "output for another mix", "nearest training segment",
                "nearer to training"]  # fmt: skip
    lines = [
        [name, *(f"{row[key]:.2f}" for key in ("own", "shuffled", "training")), f"{row['nearer']:.0%}"]
        for name, row in results.items()
        if name != "segments"
    ]
    return {"memorisation": report.table(headings, lines)}


if __name__ == "__main__":
    main()
