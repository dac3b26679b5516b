"""Levels of speech, and the gain that mixes noise into it at an SNR."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FRAME = 320  # samples, 20 ms at 16 kHz
ACTIVE_SHARE = 0.05  # of the mean power, -13 dB, from which a frame counts as active
MIN_NOISE_SHARE = 0.1  # of the level of a whole recording, -20 dB, that an excerpt of it counts as at least


def active_level(samples: Array) -> float:
    """RMS over active frames: frames of 320 samples with at least a twentieth of the mean power."""
    if not len(samples):
        return 0.0
    n_frames = len(samples) // FRAME
    frames = samples[: n_frames * FRAME].reshape(n_frames, FRAME) if n_frames else samples[None]
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= ACTIVE_SHARE * power.mean()].mean()))


def noise_gain(speech_level: float, snr_db: float, rms: float, noise_level: float) -> float:
    """Gain of an excerpt of noise for an SNR: the active level of the speech over the RMS of the excerpt.

    The excerpt counts as at most 20 dB below the active level of its whole recording, so pauses are not amplified.
    """
    return speech_level * 10 ** (-snr_db / 20) / max(rms, MIN_NOISE_SHARE * noise_level)
