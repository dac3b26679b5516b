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
    """Load a room impulse response from shortly before its highest peak."""
    samples = rirs.excerpt(name, 0, rirs[name].length)
    direct = max(0, int(np.abs(samples).argmax()) - round(BEFORE_S * rate_hz))
    return samples[direct : direct + round(MAX_RIR_S * rate_hz)]


def apply_rir(
    rir: Array, speech: Array, lead: int, target: Literal["early", "dry"], rate_hz: int
) -> tuple[Array, Array]:
    """Convolve speech [lead + n] with a room impulse response → reverberant speech [n] and the training target [n].

    The `lead` brings the reverberation of earlier speech, and reverberant speech has the power of `speech`. The target
    has early reflections too, or direct sound alone.
    """
    kept = round(TARGET_S[target] * rate_hz)
    reverberant, clean = (fftconvolve(speech, taps)[: len(speech)] for taps in (rir, rir[:kept]))
    gain = np.sqrt(np.sum(np.square(speech)) / max(float(np.sum(np.square(reverberant))), 1e-20))
    return np.float32(gain) * reverberant[lead:], np.float32(gain) * clean[lead:]
