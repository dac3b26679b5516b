"""Enhancement above the band of the model: a small recurrent network sets the gains of bands, frame by frame."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import soxr

from segan_cli.arrays import Array
from segan_cli.enhancement.frames import FrameAdder, FrameCutter, Spectra
from segan_cli.enhancement.overlap_add import mirrored

# features [C, n, 2 * FEATURES] and state (None: the first) → gains [C, n, N_HIGH] and the next state
GainNetwork = Callable[[Array, Array | None], tuple[Array, Array]]

HOP_S, HOP_STEP = 0.016, 48  # between frames, which overlap by half; in samples a multiple of 48, for a fast transform
LOW_EDGES_HZ = np.array((100, 300, 510, 770, 1_080, 1_480, 2_000, 2_700, 3_700, 5_300, 7_400))  # Bark, two by two
N_HIGH, HIGHEST_HZ = 16, 24_000  # bands above, each wider than the one below it by the same factor
HIGH_EDGES_HZ = LOW_EDGES_HZ[-1] * (HIGHEST_HZ / LOW_EDGES_HZ[-1]) ** (np.arange(N_HIGH + 1) / N_HIGH)
N_LOW = len(LOW_EDGES_HZ) - 1
N_TOP = 2  # highest low bands, 3.7 to 7.4 kHz; no gain above exceeds their mean gain
FEATURES = 2 * N_LOW + 2 * N_HIGH
LOOK_AHEAD = 8  # frames after its own that the network uses for a gain
BLOCK = 8  # frames per call of the network
MIN_GAIN = 0.1  # -20 dB, so that what is left of a noise is even
MAX_BLOCKS = 8  # transformed at once, so that they stay in the cache of the processor
PEAK_DECAY = 0.9995  # per frame, of the peak power, to which levels are relative
MAX_REMOVED = 10.0  # power over what the model leaves of it; a slam of more does not count for the peak
SMOOTHING = 0.7  # per frame, of the powers from which the noise floor is taken
FLOOR_RISE = 1.02  # per frame, of the noise floor: 5 dB/s
FLOOR = 1e-9  # power relative to the peak below which there is silence
MIN_POWER = 1e-12  # of the peak, so that digital silence has a level


class HighBand:
    """Applies gains to the sound above the band of the model, in frames of the recording.

    The changes of the model below tell the network where there is speech. No gain exceeds the mean gain of the model in
    its highest bands: the network could take a short noise that the model removes there for a fricative.
    """

    def __init__(self, network: GainNetwork | None, rate_hz: int, model_hz: int, channels: int, linked: bool) -> None:
        """Without a network, all sound above the band is removed. `linked` channels get the same gains."""
        self.network, self.linked = network, linked
        self.hop = hop_of(rate_hz)
        window = np.sin(np.pi * (np.arange(2 * self.hop) + 0.5) / (2 * self.hop))
        self.frames, self.adder = FrameCutter((2, channels), window), FrameAdder(channels, window)
        self.above, self.pooling, self.spreading = frequency_response(rate_hz, model_hz)
        self.features, self.has_begun = Features(self.pooling), False
        self.pending = np.zeros((1 if linked else channels, 0, FEATURES), np.float32)  # features without gains
        self.state: Array | None = None  # of the network
        self.pending_signals = np.zeros((2, channels, 0), np.float32)  # original and change that are not final
        self.spectra = np.zeros((channels, 0, self.hop + 1), np.complex64)  # above the band, of frames without gains

    def push(self, original: Array, change: Array, last: bool) -> tuple[Array, Array]:
        """Add samples of a recording and of the model's change, [channels, n]; return what is final of both.

        The results are [channels, m]; the second has the change above the band too.
        """
        block = np.stack((original, change))
        self.pending_signals = np.concatenate((self.pending_signals, block), axis=2)
        if block.size and not self.has_begun:
            self.frames.signals[:] = block[:, :, :1]  # before the start: no step, which would have high frequencies
            self.has_begun = True
        self.frames.push(block)
        if last:
            missing = self.frames.n_missing() + (LOOK_AHEAD + BLOCK + 1) * self.hop
            self.frames.push(mirrored(self.frames.signals, 0, missing)[:, :, -missing:])
        n_frames = self.frames.n_complete() // BLOCK * BLOCK
        step = MAX_BLOCKS * BLOCK
        parts = [np.zeros((block.shape[1], 0), np.float32)]
        parts += [self._change(min(step, n_frames - first)) for first in range(0, n_frames, step)]
        high = np.concatenate(parts, axis=1)[:, : self.pending_signals.shape[2]]
        n = high.shape[1]
        (original, change), self.pending_signals = np.split(self.pending_signals, [n], axis=2)
        return original, change + high

    def _change(self, n_frames: int) -> Array:
        """Return the change above the band that the next frames make final, [channels, m]."""
        spectra: Spectra = np.fft.rfft(self.frames.pop(n_frames)).astype(np.complex64)  # faster in NumPy from float64
        self.spectra = np.concatenate((self.spectra, spectra[0] * self.above), axis=1)
        gains = self._gains(spectra)
        done, self.spectra = np.split(self.spectra, [gains.shape[1]], axis=1)
        return self.adder.push(np.fft.irfft(done * ((gains - 1) @ self.spreading)))

    def _gains(self, spectra: Spectra) -> Array:
        """Return the gains that are known after n more frames, [channels or 1, m, N_HIGH].

        `spectra` [2, channels, n, F] are of the recording and of the model's change.
        """
        if self.network is None:
            return np.zeros((1, spectra.shape[2], N_HIGH), np.float32)
        powers = np.stack((power(spectra[0]), power(spectra[0] + spectra[1]), power(spectra[0] * self.above)))
        if self.linked:
            powers = powers.mean(1, keepdims=True)
        features = np.concatenate((self.pending, self.features(powers)), axis=1)
        n = max(0, features.shape[1] - LOOK_AHEAD)
        pairs = np.concatenate((features[:, :n], features[:, LOOK_AHEAD:][:, :n]), axis=2)
        self.pending = features[:, n:]
        gains = [np.zeros((len(features), 0, N_HIGH), np.float32)]
        for i in range(0, n, BLOCK):
            part = pairs[:, i : i + BLOCK]
            block, self.state = self.network(part, self.state)
            below = 10 ** part[:, :, 2 * N_LOW - N_TOP : 2 * N_LOW].mean(2, keepdims=True)  # gain of the model
            gains.append(np.minimum(block, np.maximum(below, MIN_GAIN)))
        return np.concatenate(gains, axis=1)


class Features:
    """The network's input for a frame: levels, gains of the model, and heights above the noise floor."""

    def __init__(self, pooling: Array) -> None:
        self.pooling = pooling
        self.peak: Array = np.full((1, 1), MIN_POWER, np.float32)
        self.smoothed: Array | None = None  # power of the bands above, relative to the peak …
        self.floor: Array | None = None  # … and its slowly rising minimum

    def __call__(self, powers: Array) -> Array:
        """Return features [C, n, FEATURES] of the next frames, scaled to about 1.

        `powers` [3, C, n, F] are of the recording, of the enhanced recording, and of the recording above the band.
        """
        low, enhanced = powers[:2] @ self.pooling[:, :N_LOW]
        kept = np.minimum(low.sum(2), MAX_REMOVED * enhanced.sum(2) + MIN_POWER)
        peaks = self._peaks(kept)[..., None]
        level, high = low / peaks + FLOOR, powers[2] @ self.pooling[:, N_LOW:] / peaks + FLOOR
        gain = np.log10((enhanced / peaks + FLOOR) / level)
        height = np.log10(high / self._floors(high))
        parts = np.log10(level) / 3 + 1, np.clip(gain, -4, 1) / 2, np.log10(high) / 3 + 2, np.clip(height, -1, 4)
        return np.concatenate(parts, axis=2)

    def _peaks(self, totals: Array) -> Array:
        """Return the slowly falling peak of powers [C, n], [C, n]."""
        peaks = np.empty_like(totals)
        for i, total in enumerate(totals.T):
            self.peak = np.maximum(self.peak * np.float32(PEAK_DECAY), total[:, None])
            peaks[:, i] = self.peak[:, 0]
        return peaks

    def _floors(self, powers: Array) -> Array:
        """Return the noise floor of powers [C, n, bands], same shape."""
        floors = np.empty_like(powers)
        for i in range(powers.shape[1]):
            power = powers[:, i]
            if self.smoothed is None or self.floor is None:
                self.smoothed = self.floor = power
            self.smoothed = np.float32(SMOOTHING) * self.smoothed + np.float32(1 - SMOOTHING) * power
            floors[:, i] = self.floor = np.minimum(self.floor * np.float32(FLOOR_RISE), self.smoothed)
        return floors


def power(spectra: Spectra) -> Array:
    """Return |X|²."""
    return np.square(spectra.real) + np.square(spectra.imag)


def hop_of(rate_hz: int) -> int:
    """Return the number of samples between frames."""
    return HOP_STEP * round(rate_hz * HOP_S / HOP_STEP)


@lru_cache(maxsize=4)
def frequency_response(rate_hz: int, model_hz: int) -> tuple[Array, Array, Array]:
    """Return the share of each bin that is above the model's band [F], and matrices [F, bands] and [bands, F].

    The first matrix averages the powers of the bins of a band (0 if there are none), the second interpolates the gains
    of the bands above. The part of a bin that resampling to the model's rate and back removes is above its band.
    """
    hop = hop_of(rate_hz)
    impulse = np.zeros(16 * hop, np.float32)
    impulse[8 * hop] = 1.0
    below = soxr.resample(soxr.resample(impulse, rate_hz, model_hz), model_hz, rate_hz)
    response = np.abs(np.fft.rfft(np.pad(below, (0, max(0, len(impulse) - len(below))))[: len(impulse)]))[::8]
    hz = np.arange(hop + 1) * rate_hz / (2 * hop)
    edges = np.concatenate((LOW_EDGES_HZ, HIGH_EDGES_HZ[1:]))
    inside = (hz[:, None] >= edges[:-1]) & (hz[:, None] < edges[1:])
    centres = (HIGH_EDGES_HZ[:-1] + HIGH_EDGES_HZ[1:]) / 2
    spreading = np.stack([np.interp(hz, centres, unit) for unit in np.eye(N_HIGH)])
    pooling = inside / np.maximum(inside.sum(0), 1)
    return tuple(np.asarray(array, np.float32) for array in (1 - np.clip(response, 0, 1), pooling, spreading))  # type: ignore[return-value]
