"""Meters in constant memory: speech and noise levels, the effect of an enhancement, and loudness (ITU-R BS.1770-4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array

FRAME = 320  # samples, 20 ms at 16 kHz
ACTIVE_SHARE = 0.05  # of the mean power, -13 dB, from which a frame counts as active
MIN_NOISE_SHARE = 0.1  # -20 dB: a quieter excerpt counts as having this share of the level of its recording

FRAME_S = 0.032  # of a level
LOWEST_DB, HIGHEST_DB = -120, 100  # floats may be scaled like 16-bit integers
PAUSE_SHARE = 0.1  # of the frames: the quietest are the pauses
LOW_HZ, HIGH_HZ = 8_000, 8_500  # end of the lower band and start of the upper one, where nothing of the lower is left
MIN_FRAMES = 60  # of sound, two seconds: the pauses of less are a few frames, whose levels say little
AUDIBLE_DB = -90  # in the pauses of the upper band; below is what rounding to 16 bits leaves
CHUNK_S, BLOCK_S, WARM_UP_S = 60.0, 0.4, 1.0  # measured at a time; a block of the standard; until the filters settle
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
LFE, SIDES = 3, (4, 5, 9, 10)  # bits of a channel mask; the rear channels of 5.1 count as sides
PLACE_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)  # of the channels of pyloudnorm
MIN_LOUDNESS_HZ = 8_000  # below, the filters of the loudness meter are not stable


def active_level(samples: Array) -> float:
    """RMS of samples [n] at 16 kHz over active frames: frames of 20 ms with at least a twentieth of the mean power."""
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


class LevelMeter:
    """Measures levels before and after enhancement, and noise reduction in pauses, the quietest tenth of the frames."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rate_hz, self.frame = rate_hz, round(FRAME_S * rate_hz)
        self.partial = np.zeros((2, channels, 0), np.float32)  # samples of an unfinished frame, before and after
        self.energy, self.n = np.zeros(2), 0
        n_bins = HIGHEST_DB - LOWEST_DB + 1  # of 1 dB, by the level of the original
        self.n_frames, self.power = np.zeros(n_bins, np.int64), np.zeros((2, 3, n_bins))  # [side, all or band, bin]
        self.window = np.hanning(self.frame + 2)[1:-1].astype(np.float32)
        self.n_low, self.first_high = np.searchsorted(np.fft.rfftfreq(self.frame, 1 / rate_hz), (LOW_HZ, HIGH_HZ))

    def push(self, original: Array, enhanced: Array) -> None:
        """Measure a block, [channels, n] each."""
        self.energy += [np.einsum("cn,cn->", s, s, dtype=np.float64) / len(s) for s in (original, enhanced)]
        self.n += original.shape[1]
        samples = np.concatenate((self.partial, np.stack((original, enhanced))), axis=2)
        whole = samples.shape[2] - samples.shape[2] % self.frame
        self.partial = samples[:, :, whole:]
        powers = [self._powers(side[:, :whole].reshape(len(side), -1, self.frame)) for side in samples]
        bins = np.clip(np.round(decibels(powers[0][0])).astype(int), LOWEST_DB, HIGHEST_DB) - LOWEST_DB
        self.n_frames += np.bincount(bins, minlength=len(self.n_frames))
        for sums, power in zip(self.power, powers, strict=True):
            for band in range(3):
                sums[band] += np.bincount(bins, power[band], minlength=len(self.n_frames))

    def _powers(self, frames: Array) -> NDArray[np.float64]:
        """Return the power of frames [channels, k, frame]: all, of the lower and of the upper band, [3, k]."""
        power = np.einsum("ckn,ckn->k", frames, frames, dtype=np.float64) / (len(frames) * self.frame)
        if self.rate_hz <= 2 * HIGH_HZ:
            return np.stack((power, power, np.zeros_like(power)))
        spectrum = np.square(np.abs(np.fft.rfft(frames * self.window))).sum(axis=0, dtype=np.float64)
        bands = np.stack([spectrum[:, part].sum(axis=1) for part in (slice(self.n_low), slice(self.first_high, None))])
        return np.stack((power, *(power * bands / np.maximum(spectrum.sum(axis=1), 1e-30))))

    def levels_db(self) -> tuple[float, float]:
        """Return the RMS levels of the original and the enhanced signal, relative to full scale."""
        before, after = decibels(self.energy / max(1, self.n))
        return float(before), float(after)

    def noise_reductions_db(self) -> tuple[float | None, float | None, float | None]:
        """Return by how much the power of the pauses fell, in all and below and above 8 kHz.

        All are None for less than two seconds of sound, the last two if nothing is above 8 kHz.
        """
        if self.n_frames[1:].sum() < MIN_FRAMES:
            return None, None, None
        before, after = decibels(self._pauses())
        fell, low, high = (before - after).tolist()
        return (fell, None, None) if before[2] < AUDIBLE_DB else (fell, low, high)

    def _pauses(self) -> NDArray[np.float64]:
        """Return the power of the pauses, [side, all or band]."""
        counts = self.n_frames[1:]  # without digital silence
        n_bins = 2 + int(np.searchsorted(np.cumsum(counts), PAUSE_SHARE * counts.sum()))
        return np.asarray(self.power[:, :, 1:n_bins].sum(axis=2) / max(1, self.n_frames[1:n_bins].sum()))


def decibels(power: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert power relative to full scale to dB, -120 at least."""
    return 10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10)))


def loudness_weights(mask: int) -> list[float]:
    """Return the weight of each channel of a mask in the loudness, as of ITU-R BS.1770-4; 0 for the LFE."""
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return [0.0 if bit == LFE else PLACE_WEIGHTS[-1] if bit in SIDES else 1.0 for bit in bits]


class LoudnessMeter:
    """Measures a recording block by block, by pyloudnorm in chunks of a minute, so that the memory does not grow."""

    def __init__(self, rate_hz: int, weights: Sequence[float]) -> None:
        """`weights` are of the channels; at most five are above 0."""
        import pyloudnorm

        self.rate_hz = rate_hz
        self.measured = [channel for channel, weight in enumerate(weights) if weight]
        of_places = PLACE_WEIGHTS[: len(self.measured)]
        self.gains = np.sqrt([weights[c] / own for c, own in zip(self.measured, of_places, strict=True)])
        self.meter: Any = pyloudnorm.Meter(rate_hz)
        self.pending = np.zeros((len(weights), 0), np.float32)
        self.n_warm_up = 0  # samples of `pending` that were measured before
        self.levels: list[float] = []  # loudness of each block, LUFS

    def push(self, block: Array) -> None:
        """Measure a block [channels, n]."""
        self.pending = np.concatenate((self.pending, block), axis=1)
        chunk = round((CHUNK_S + 3 * BLOCK_S / 4) * self.rate_hz)
        while self.pending.shape[1] - self.n_warm_up >= chunk:
            self._measure(self.n_warm_up + chunk)
            start = self.n_warm_up + round((CHUNK_S - WARM_UP_S) * self.rate_hz)
            self.pending, self.n_warm_up = self.pending[:, start:], round(WARM_UP_S * self.rate_hz)

    def loudness(self) -> float:
        """Return the integrated loudness in LUFS; minus infinity for silence and recordings below 0.4 s."""
        if self.pending.shape[1] - self.n_warm_up >= BLOCK_S * self.rate_hz:
            self._measure(self.pending.shape[1])
        levels = np.array(self.levels)
        levels = levels[levels >= ABSOLUTE_GATE_LUFS]
        if not len(levels):
            return -np.inf
        return mean_level(levels[levels > mean_level(levels) + RELATIVE_GATE_LU])

    def _measure(self, n: int) -> None:
        """Measure the first n pending samples."""
        chunk = self.pending[self.measured, :n].T * self.gains
        self.meter.integrated_loudness(chunk)
        step_s = BLOCK_S / 4
        self.levels += self.meter.blockwise_loudness[round(self.n_warm_up / self.rate_hz / step_s) :]


def mean_level(levels: NDArray[np.float64]) -> float:
    """Return the level of the mean power of levels in dB."""
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))
