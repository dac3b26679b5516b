"""Rooms: impulse responses, and speech in them."""

from typing import Literal

import numpy as np
from scipy.signal import fftconvolve

from segan_cli.arrays import Array
from segan_cli.data.recordings import Recordings

MAX_RIR_S = 1.0  # longer responses are cut
BEFORE_S = 0.001  # kept before the direct sound, the highest peak
TARGET_S = {  # of a response, that the training target keeps
    "early": 0.05,  # early reflections support intelligibility: the numerator of C50, ISO 3382-1
    "dry": 0.0025,  # the direct sound, as in the DNS Challenge's reverberation targets
}


def load_rir(rirs: Recordings, name: str, rate_hz: int) -> Array:
    """Load a room impulse response from shortly before its highest peak, with an early part of unit energy."""
    samples = rirs.excerpt(name, 0, rirs[name].length)
    direct = max(0, int(np.abs(samples).argmax()) - round(BEFORE_S * rate_hz))
    response = samples[direct : direct + round(MAX_RIR_S * rate_hz)]
    energy = float(np.sum(np.square(response[: round(TARGET_S["early"] * rate_hz)])))
    return np.asarray(response / np.sqrt(max(energy, 1e-12)), np.float32)


def apply_rir(
    rir: Array, speech: Array, lead: int, target: Literal["early", "dry"], rate_hz: int
) -> tuple[Array, Array]:
    """Convolve speech [lead + n] with a room impulse response → reverberant speech [n] and the training target [n].

    The `lead` brings the reverberation of earlier speech; the target has early reflections too, or direct sound alone.
    """
    reverberant, clean = (
        fftconvolve(speech, taps)[lead : len(speech)] for taps in (rir, rir[: round(TARGET_S[target] * rate_hz)])
    )
    return reverberant, clean
