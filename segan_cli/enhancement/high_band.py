"""Noise suppression above the band of the model: noise is estimated where the model finds no speech."""

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.filters import BandGain, Resampler
from segan_cli.enhancement.overlap_add import Finish, OverlapAdd

Array = NDArray[np.float32]

UPPER_HZ = 4_000, 7_500  # upper part of the model's band; its gain bounds the gain above it
SPEECH_HZ = 300, 7_500  # band whose gain shows whether the model finds speech
FRAME_S = 0.02
BAND_HZ = 1_000.0
BATCH = 32  # frames
SPEECH_SNR = 10**1.5  # a-priori SNR of a band with speech, for the noise estimate
NOISE_SMOOTHING, PRESENCE_SMOOTHING, SNR_SMOOTHING = 0.8, 0.9, 0.7  # from frame to frame
PRESENCE = 0.05, 0.98  # bounds of the prior probability of speech
REMOVING, REMOVED = 0.6, 0.3  # the model's gain below which it removes noise, and below which there is only noise
PEAK_DECAY = 0.998  # per frame, of the loudest band
MASKED_DB, AUDIBLE_DB = 28.0, 13.0  # peak over noise from which noise is left alone, and up to which it is removed
MIN_SPEECH_GAIN = 10 ** (-10.5 / 20)  # for noise in frames with speech …
MIN_GAIN = 10 ** (-16 / 20)  # … and in others
TINY = 1e-12


class HighBand:
    """Removes the noise above the band of the model, or everything there.

    To remove noise, each band of a frame gets the smaller of two gains: that of power subtraction for the estimated
    noise, and the gain of the model in the upper part of its own band.
    """

    def __init__(self, model_hz: int, rate_hz: int, channels: int, policy: str, linked: bool) -> None:
        """`policy` is "denoise" or "drop"; `linked` channels get the same gains."""
        self.model_hz, self.rate_hz, self.channels, self.policy = model_hz, rate_hz, channels, policy
        self.low = Resampler(model_hz, rate_hz, channels)
        self.model_gains = [BandGain(band, model_hz, channels) for band in (UPPER_HZ, SPEECH_HZ)]
        self.gains = np.ones((2 * channels, 1), np.float32)  # at the model's rate, from sample `first` on
        self.first, self.n = -1, 0  # n: samples of the recording so far
        frame = 2 ** round(np.log2(FRAME_S * rate_hz))
        suppressor = NoiseSuppressor(channels, frame, rate_hz, linked)
        self.frames = OverlapAdd(suppressor, 3 * channels, frame, frame // 2, BATCH)
        self.pending = np.zeros((channels, 0), np.float32)  # samples above the band whose change is not final

    def push(self, noisy: Array, enhanced: Array, original: Array, last: bool) -> Array:
        """Return the changes that are final now, [channels, k].

        noisy and enhanced [channels, m] are at the model's rate, original [channels, n] at that of the recording.
        """
        # both resamplers get the same blocks, so this differs from `original` by a sample at the end only
        low = self.low.push(noisy, last)[:, : original.shape[1]]
        high = original - np.pad(low, ((0, 0), (0, original.shape[1] - low.shape[1])))
        if self.policy == "drop":
            return -high
        self.pending = np.concatenate((self.pending, high), axis=1)
        changed = self.frames.push(np.concatenate((high, self._gains(noisy, enhanced, original.shape[1]))))
        if last:
            changed = np.concatenate((changed, self.frames.flush()), axis=1)
        before, self.pending = np.split(self.pending, [changed.shape[1]], axis=1)
        return np.asarray(changed[: self.channels] - before, np.float32)

    def _gains(self, noisy: Array, enhanced: Array, n: int) -> Array:
        """Return the model's gains in both bands for the next n samples of the recording, [2 * channels, n]."""
        both = np.concatenate([gain.push(noisy, enhanced) for gain in self.model_gains])
        self.gains = np.concatenate((self.gains, both), axis=1)
        times = (self.n + np.arange(n)) * self.model_hz // self.rate_hz
        gains = self.gains[:, np.minimum(times - self.first, self.gains.shape[1] - 1)]
        self.n += n
        done = min(self.n * self.model_hz // self.rate_hz - self.first, self.gains.shape[1] - 1)
        self.gains, self.first = self.gains[:, done:], self.first + done
        return gains


class NoiseSuppressor:
    """Suppresses noise in frequency bands, frame by frame.

    The noise power is an average weighted by the probability of speech absence (Gerkmann and Hendriks, IEEE TASLP
    20(4), 2012), whose prior is the gain of the model. The gain is that of power subtraction for an a-priori SNR by the
    decision-directed rule (Ephraim and Malah, IEEE TASSP 32(6), 1984). Noise far below the peaks, which mask it, is
    left alone.
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

    def __call__(self, frames: Array) -> Finish:
        """Suppress noise in frames [N, 3 * channels, frame] of sound and the model's gains in both bands.

        The first third of the result is the enhanced sound.
        """
        sound, upper, speech = np.split(frames, 3, axis=1)
        spectra = np.fft.rfft(sound)
        starts = np.concatenate(([0], np.cumsum(self.size)[:-1]))
        powers = np.add.reduceat(np.square(np.abs(spectra)), starts, axis=-1) / self.size + TINY
        gains = [np.clip(gain.mean(-1), 0.0, 1.0)[..., None] for gain in (upper, speech)]
        if self.linked:
            powers, *gains = (side.mean(1, keepdims=True) for side in (powers, *gains))
        gain = np.stack([self._gain(*frame) for frame in zip(powers, *gains, strict=True)])
        output = np.zeros_like(frames)
        output[:, : self.channels] = np.fft.irfft(spectra * gain[..., self.band], frames.shape[-1])
        return lambda: output

    def _gain(
        self, power: NDArray[np.float64], upper: NDArray[np.float64], speech: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the gain [channels, bands] for one frame of power [channels, bands] and model gains [channels, 1]."""
        noise = self.noise = self._track_noise(power, speech)
        a_priori = SNR_SMOOTHING * self.speech / noise + (1 - SNR_SMOOTHING) * np.maximum(power / noise - 1, 0)
        gain = np.maximum(np.sqrt(a_priori / (1 + a_priori)), MIN_SPEECH_GAIN)
        self.speech = np.square(gain) * power
        self.peak = np.maximum(self.peak * PEAK_DECAY, power.max(-1, keepdims=True))
        audible = (MASKED_DB - 10 * np.log10(self.peak / noise)) / (MASKED_DB - AUDIBLE_DB)
        gain = gain ** np.clip(audible, 0.0, 1.0)
        return np.maximum(np.minimum(gain, upper), MIN_GAIN)

    def _track_noise(self, power: NDArray[np.float64], model_gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the noise power after one more frame; it is unknown until the model removes something."""
        removed = np.clip((REMOVING - model_gain) / (REMOVING - REMOVED), 0.0, 1.0)
        snr = np.minimum(power / self.noise, 100.0)
        prior = np.clip(model_gain, *PRESENCE)
        odds = (1 - prior) / prior * (1 + SPEECH_SNR) * np.exp(-snr * SPEECH_SNR / (1 + SPEECH_SNR))
        speech = 1 / (1 + odds)
        self.presence += (1 - PRESENCE_SMOOTHING) * (speech - self.presence)
        speech = np.where(self.presence > 0.99, np.minimum(speech, 0.99), speech)  # so that the estimate never freezes
        speech = np.where(self.noise == TINY, 0.0, speech)  # the first frame of noise initialises the estimate
        weight = (1 - speech) * removed
        tracked = NOISE_SMOOTHING * self.noise + (1 - NOISE_SMOOTHING) * (self.noise + weight * (power - self.noise))
        first = (self.noise == TINY) & (removed > 0)
        return np.maximum(np.where(first, power, np.minimum(tracked, np.maximum(power, self.noise))), TINY)
