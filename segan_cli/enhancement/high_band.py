"""The band above the model's: its noise is estimated where the model finds no speech, and removed in speech too."""

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.filters import BandGain, Resampler
from segan_cli.enhancement.overlap_add import Finish, OverlapAdd

Array = NDArray[np.float32]

UPPER_HZ = 4_000, 7_500  # of the model's band: what is removed there is removed above it too
SPEECH_HZ = 300, 7_500  # whose gain tells whether the model finds speech
FRAME_S = 0.02
BAND_HZ = 1_000.0
BATCH = 32  # frames
SPEECH_SNR = 10**1.5  # a-priori SNR of a band in which there is speech, for the estimate of the noise
NOISE_SMOOTHING, PRESENCE_SMOOTHING, SNR_SMOOTHING = 0.8, 0.9, 0.7  # from frame to frame
PRESENCE = 0.05, 0.98  # bounds of the prior probability of speech
REMOVING, REMOVED = 0.6, 0.3  # the model's gain: below the first it removes noise, below the second all is noise
PEAK_DECAY = 0.998  # from frame to frame, of the loudest band so far
MASKED_DB, AUDIBLE_DB = 28.0, 13.0  # peak over noise: from here on noise is left alone, up to here it is removed
LEAST_WIENER_GAIN = 10 ** (-10.5 / 20)  # for noise while there is speech …
LEAST_GAIN = 10 ** (-16 / 20)  # … and while there is none
TINY = 1e-12


class HighBand:
    """Changes the band above the model's, [n, channels] at the recording's rate: removes its noise, or all of it.

    To remove noise, each frame's bands get the smaller of two gains: the Wiener gain over the estimated noise, and the
    gain that the model has left of the upper part of its own band.
    """

    def __init__(self, model_hz: int, rate_hz: int, channels: int, policy: str, linked: bool) -> None:
        """`policy` is "denoise" or "drop"; `linked` channels get the same gains."""
        self.model_hz, self.rate_hz, self.channels, self.policy = model_hz, rate_hz, channels, policy
        self.low = Resampler(model_hz, rate_hz, channels)
        self.model_gains = [BandGain(band, model_hz, channels) for band in (UPPER_HZ, SPEECH_HZ)]
        self.gains = np.ones((1, 2 * channels), np.float32)  # by sample at the model's rate, from `first` on …
        self.first, self.n = -1, 0  # … and how many samples of the recording have come
        frame = 2 ** round(np.log2(FRAME_S * rate_hz))
        suppressor = NoiseSuppressor(channels, frame, rate_hz, linked)
        self.frames = OverlapAdd(suppressor, 3 * channels, frame, frame // 2, BATCH)
        self.waiting = np.zeros((0, channels), np.float32)  # samples above the band that are not out yet

    def push(self, noisy: Array, enhanced: Array, original: Array, last: bool) -> Array:
        """The changes that are final now, [k, channels].

        noisy, enhanced [m, channels] are at the model's rate, original [n, channels] at the recording's.
        """
        low = self.low.push(noisy, last)[: len(original)]
        high = original - np.pad(low, ((0, len(original) - len(low)), (0, 0)))
        if self.policy == "drop":
            return -high
        self.waiting = np.concatenate((self.waiting, high))
        both = np.concatenate((high, self._gains(noisy, enhanced, len(original))), axis=1).T
        changed = self.frames.push(both)
        if last:
            changed = np.concatenate((changed, self.frames.flush()), axis=1)
        before, self.waiting = np.split(self.waiting, [changed.shape[1]])
        return np.asarray(changed[: self.channels].T - before, np.float32)

    def _gains(self, noisy: Array, enhanced: Array, n: int) -> Array:
        """The model's gains in both bands at each of the next n samples of the recording, [n, 2 · channels]."""
        both = np.concatenate([gain.push(noisy, enhanced) for gain in self.model_gains], axis=1)
        self.gains = np.concatenate((self.gains, both))
        times = (self.n + np.arange(n)) * self.model_hz // self.rate_hz
        gains = self.gains[np.minimum(times - self.first, len(self.gains) - 1)]
        self.n += n
        passed = min(self.n * self.model_hz // self.rate_hz - self.first, len(self.gains) - 1)
        self.gains, self.first = self.gains[passed:], self.first + passed
        return gains


class NoiseSuppressor:
    """Takes noise off the bands of a sound, frame by frame.

    The noise's power is an average weighted by the probability that a frame holds no speech (Gerkmann and Hendriks,
    IEEE TASLP 20(4), 2012), whose prior is the gain that the model left. The gain is that of power subtraction over an
    a-priori SNR by the decision-directed rule (Ephraim and Malah, IEEE TASSP 32(6), 1984). Noise far below the peaks of
    the sound, which masks it, is left alone.
    """

    def __init__(self, channels: int, frame: int, rate_hz: int, linked: bool) -> None:
        """`linked` channels get the same gains."""
        self.channels, self.linked = channels, linked
        self.band = (np.arange(frame // 2 + 1) * rate_hz / frame / BAND_HZ).astype(int)  # of each bin
        self.size = np.bincount(self.band)
        shape = 1 if linked else channels, len(self.size)
        self.noise = np.full(shape, TINY)  # power, [channels, bands]
        self.presence, self.speech = np.full(shape, 0.5), np.zeros(shape)  # probability and power of speech
        self.peak = np.zeros((shape[0], 1))

    def __call__(self, windows: Array) -> Finish:
        """Frames [N, 3 · channels, frame]: sound, the model's gains in both bands → enhanced, in the first third."""
        sound, upper, speech = np.split(windows, 3, axis=1)
        spectra = np.fft.rfft(sound)
        starts = np.concatenate(([0], np.cumsum(self.size)[:-1]))
        powers = np.add.reduceat(np.square(np.abs(spectra)), starts, axis=-1) / self.size + TINY
        gains = [np.clip(gain.mean(-1), 0.0, 1.0)[..., None] for gain in (upper, speech)]
        if self.linked:
            powers, *gains = (side.mean(1, keepdims=True) for side in (powers, *gains))
        gain = np.stack([self._gain(*frame) for frame in zip(powers, *gains, strict=True)])
        output = np.zeros_like(windows)
        output[:, : self.channels] = np.fft.irfft(spectra * gain[..., self.band], windows.shape[-1])
        return lambda: output

    def _gain(
        self, power: NDArray[np.float64], upper: NDArray[np.float64], speech: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Power [channels, bands] of one frame, the model's gains [channels, 1] → gain [channels, bands]."""
        noise = self.noise = self._track_noise(power, speech)
        a_priori = SNR_SMOOTHING * self.speech / noise + (1 - SNR_SMOOTHING) * np.maximum(power / noise - 1, 0)
        gain = np.maximum(np.sqrt(a_priori / (1 + a_priori)), LEAST_WIENER_GAIN)
        self.speech = np.square(gain) * power
        self.peak = np.maximum(self.peak * PEAK_DECAY, power.max(-1, keepdims=True))
        audible = (MASKED_DB - 10 * np.log10(self.peak / noise)) / (MASKED_DB - AUDIBLE_DB)
        gain = gain ** np.clip(audible, 0.0, 1.0)
        return np.maximum(np.minimum(gain, upper), LEAST_GAIN)

    def _track_noise(self, power: NDArray[np.float64], model_gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """The noise's power with one more frame; none is known before the model has removed something."""
        removed = np.clip((REMOVING - model_gain) / (REMOVING - REMOVED), 0.0, 1.0)
        snr = np.minimum(power / self.noise, 100.0)
        prior = np.clip(model_gain, *PRESENCE)
        odds = (1 - prior) / prior * (1 + SPEECH_SNR) * np.exp(-snr * SPEECH_SNR / (1 + SPEECH_SNR))
        speech = 1 / (1 + odds)
        self.presence += (1 - PRESENCE_SMOOTHING) * (speech - self.presence)
        speech = np.where(self.presence > 0.99, np.minimum(speech, 0.99), speech)  # the estimate never stands still
        speech = np.where(self.noise == TINY, 0.0, speech)  # the first frame of noise is taken as it is
        weight = (1 - speech) * removed
        tracked = NOISE_SMOOTHING * self.noise + (1 - NOISE_SMOOTHING) * (self.noise + weight * (power - self.noise))
        first = (self.noise == TINY) & (removed > 0)
        return np.maximum(np.where(first, power, np.minimum(tracked, np.maximum(power, self.noise))), TINY)
