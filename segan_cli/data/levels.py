"""Levels of speech, and the gain that mixes noise into it at an SNR."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def active_level(samples: Array) -> float:
    """RMS over active frames: frames of 320 samples with at least a twentieth of the mean power."""
    if not len(samples):
        return 0.0
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320) if len(samples) >= 320 else samples[None]
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= 0.05 * power.mean()].mean()))


def noise_gain(speech_level: float, snr_db: float, rms: float, noise_level: float) -> float:
    """Gain of an excerpt of noise for an SNR: the active level of the speech over the RMS of the excerpt.

    The excerpt counts as at most 20 dB below the active level of its whole recording, so pauses are not amplified.
    """
    return speech_level * 10 ** (-snr_db / 20) / max(rms, 0.1 * noise_level)
