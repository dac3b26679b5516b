"""DNSMOS, which predicts listener ratings without a clean reference, from the package speechmos."""

import numpy as np
from numpy.typing import NDArray

from segan_cli.measures.score import RATE_HZ, Score, Undefined
from segan_cli.runtime import load_onnxruntime

Array = NDArray[np.float32]

MIN_LENGTH_S = 1.0
SCORES = ("sig_mos", "bak_mos", "ovrl_mos", "p808_mos")


def dnsmos(samples: Array) -> dict[str, Score]:
    """P.835 ratings of signal, background and overall quality, and the P.808 rating, 1 … 5.

    The model takes 9 s at a time; shorter recordings are repeated. Source: arXiv 2110.01763, arXiv 2010.15258.

    Args:
        samples: [n] at 16 kHz.
    """
    load_onnxruntime()
    from speechmos import dnsmos as package

    reason = None
    if not samples.any():
        reason = "silent signal"
    elif len(samples) < MIN_LENGTH_S * RATE_HZ:
        reason = "shorter than 1 s"
    elif np.abs(samples).max() > 1:
        reason = "samples above full scale"
    if reason is not None:
        return dict.fromkeys(SCORES, Undefined(reason))
    return {name: float(score) for name, score in package.run(samples, RATE_HZ).items()}
