"""Word error rate of an offline speech recogniser, by strength of the enhancement.

python benchmarks/recognition.py --noisy bench/noisy --clean bench/clean

Uses the sentences of VCTK that every speaker reads (1 to 24: the elicitation paragraph and the rainbow passage). Needs
pocketsphinx, which includes an English model
(`pip install 'segan-cli[benchmarks]'`). Writes benchmarks/results/recognition.json and the table in docs/recordings.md.
"""

import argparse
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import report
from numpy.typing import NDArray

from segan_cli import Enhancer
from segan_cli.audio.sources import read_mono

Array = NDArray[np.float32]

RATE_HZ = 16_000
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEXTS = (
    """
Please call Stella.
Ask her to bring these things with her from the store.
Six spoons of fresh snow peas, five thick slabs of blue cheese, and maybe a snack for her brother Bob.
We also need a small plastic snake and a big toy frog for the kids.
She can scoop these things into three red bags, and we will go meet her Wednesday at the train station.
When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow.
The rainbow is a division of white light into many beautiful colors.
These take the shape of a long round arch, with its path high above, and its two ends apparently beyond the horizon.
There is, according to legend, a boiling pot of gold at one end.
People look, but no one ever finds it.
When a man looks for something beyond his reach, his friends say he is looking for the pot of gold
 at the end of the rainbow.
Throughout the centuries people have explained the rainbow in various ways.
Some have accepted it as a miracle without physical explanation.
To the Hebrews it was a token that there would be no more universal floods.
The Greeks used to imagine that it was a sign from the gods to foretell war or heavy rain.
The Norsemen considered the rainbow as a bridge over which the gods passed from earth to their home in the sky.
Others have tried to explain the phenomenon physically.
Aristotle thought that the rainbow was caused by reflection of the sun's rays by the rain.
Since then physicists have found that it is not reflection, but refraction by the raindrops which causes the rainbows.
Many complicated ideas about the rainbow have been formed.
The difference in the rainbow depends considerably upon the size of the drops, and the width of the colored band
 increases as the size of the drops increases.
The actual primary rainbow observed is said to be the effect of super-imposition of a number of bows.
If the red of the second bow falls upon the green of the first, the result is to give a bow with an abnormally wide
 yellow band, since red and green light when mixed form yellow.
This is a very common type of bow, one showing mainly red and yellow, with little or no green or blue.
""".replace("\n ", " ")
    .strip()
    .splitlines()
)


def words(text: str) -> list[str]:
    """Split into lower-case words."""
    return re.findall(r"[a-z']+", text.lower().replace("-", ""))


def transcribe(signal: Array) -> list[str]:
    """Transcribe a signal to words."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=RATE_HZ, loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw((np.clip(signal, -1, 1) * 32_767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return words(hypothesis.hypstr) if hypothesis else []


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Minimum number of insertions, deletions and substitutions (Levenshtein distance)."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def tables(results: dict[str, dict[str, float]]) -> dict[str, str]:
    """Markdown tables by name."""
    rows = [[side, *(f"{results[side][f'{strength:g}']:.1%}" for strength in STRENGTHS)] for side in ("noisy", "clean")]
    return {"recognition": report.table(["input", *(f"strength {strength:g}" for strength in STRENGTHS)], rows)}


def main() -> None:
    """Compute word error rates, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    folders = vars(parser.parse_args())
    numbers = {path.name: int(path.stem.split("_")[1]) for path in sorted(folders["clean"].glob("*_0??.*"))}
    texts = {name: words(TEXTS[number - 1]) for name, number in numbers.items() if number <= len(TEXTS)}
    n_words = sum(map(len, texts.values()))
    results: dict[str, dict[str, float]] = {"size": {"recordings": len(texts), "words": n_words}}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for side in ("noisy", "clean"):
            signals = [read_mono(folders[side] / name, RATE_HZ)[0] for name in texts]
            results[side] = {}
            for strength in STRENGTHS:
                enhancer = Enhancer(strength=strength)
                transcripts = pool.map(transcribe, [enhancer.enhance(signal, RATE_HZ) for signal in signals])
                results[side][f"{strength:g}"] = sum(map(edit_distance, texts.values(), transcripts)) / n_words
            print(side, results[side], flush=True)
    report.save("recognition", results)
    for heading, text in tables(results).items():
        report.insert(report.ROOT / "docs" / "recordings.md", heading, text)


if __name__ == "__main__":
    main()
