"""Enhancement of one signal frame by frame, by a causal model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.arrays import Array, SampleQueue
from segan_cli.audio.filters import DcBlocker
from segan_cli.backends.network import Network, check_output
from segan_cli.config.model import ModelConfig
from segan_cli.enhancement.frames import FrameAdder, FrameCutter, Spectra
from segan_cli.enhancement.linked_channels import SourceComparison, refine_lags
from segan_cli.enhancement.settings import Settings

MAX_FRAMES = 64  # per call of the network
COMPARED_FRAMES = 64  # 1 s, whose channels are compared …
COMPARED_EVERY = 20  # … after so many frames, a third of a second, …
COMPARED_HZ = 8_000  # … at least at this rate, and at most …
FINEST_HZ = 48_000  # … at this one
RUMBLE_HZ = 47  # highest frequency of sound that the model gets as silence in frames …
RUMBLE_RATIO = 100.0  # … in which its power is larger than that of all other sound by this factor
HIGHEST_HZ = 2_000  # of the model's band at its upper end, whose gain is that of sound above


class FrameEngine:
    """Multiplies the spectra of overlapping frames by the mask of a causal model.

    Frames have the duration of the model's at every sampling rate, so its bins are the lowest of each frame and nothing
    is resampled. A sample is final once the two frames that it is in are complete.
    """

    def __init__(self, network: Network, settings: Settings, rate_hz: int, channels: int) -> None:
        self.network, self.channels = network, channels
        self.policy = settings.high_band
        model_frame = network.config.generator.longest_frame()
        self.hop = frame_hop(network.config, rate_hz)
        self.dc_blocker = DcBlocker(rate_hz, channels, self.hop)
        window = np.sin(np.pi * np.arange(2 * self.hop) / (2 * self.hop)).astype(np.float32)
        self.frames, self.adder = FrameCutter((channels,), window), FrameAdder(channels, window)
        self.n_bins = model_frame // 2 + 1  # of the model
        self.n_rumble = RUMBLE_HZ * model_frame // network.config.sample_rate_hz + 1
        self.n_highest = round(HIGHEST_HZ * model_frame / network.config.sample_rate_hz)
        self.scale = np.float32((model_frame / 2 / self.hop) ** 0.5)  # from spectra of frames to those of the model's
        linked = settings.channels == "linked" and channels > 1
        self.reduction = max(1, rate_hz // COMPARED_HZ)
        self.finer_lags = range(1 - self.reduction, self.reduction, max(1, rate_hz // FINEST_HZ))
        self.comparison = SourceComparison(rate_hz // self.reduction) if linked else None
        self.separate = True  # whether each channel has a mask and a state of its own
        self.rotation = np.zeros((channels, 1, self.hop + 1), np.complex64)  # which aligns linked channels
        self.state = np.zeros((channels, network.config.generator.state_size()), np.float32)
        self.recent = np.zeros((channels, COMPARED_FRAMES * self.hop), np.float32)  # to be compared
        self.added: list[Array] = []  # samples since the latest comparison
        self.n_frames = 0  # so far
        self.pending = SampleQueue(channels)  # input whose output is not final

    def push(self, block: Array, last: bool) -> tuple[Array, Array]:
        """Add a block [channels, n]; return what is final now, original and change, [channels, m] each."""
        self.pending.push(block)
        self.frames.push(self.dc_blocker.push(block, last))
        if last:
            self.frames.push(np.zeros((self.channels, self.frames.n_missing() + self.hop), np.float32))
        parts = [np.zeros((self.channels, 0), np.float32)]
        while n := self.frames.n_complete():
            most = MAX_FRAMES if self.comparison is None else COMPARED_EVERY - self.n_frames % COMPARED_EVERY
            parts.append(self._enhance(min(most, n)))
        enhanced = np.concatenate(parts, axis=1)[:, : len(self.pending)]
        original = self.pending.pop(enhanced.shape[1])
        return original, enhanced - original

    def _enhance(self, n: int) -> Array:
        """Return the samples that the next n frames make final, [channels, m]."""
        added = self.frames.signals[:, self.hop : (n + 1) * self.hop]
        frames = self.frames.pop(n)
        spectra = fourier(frames)
        masked = spectra * self._mask(self._mixed(spectra))
        self.n_frames += n
        if self.comparison is not None:
            self.added.append(added)
            if self.n_frames % COMPARED_EVERY == 0:
                self._compare(self.comparison)
        return self.adder.push(np.fft.irfft(masked, 2 * self.hop, norm="ortho"))

    def _mixed(self, spectra: Spectra) -> Spectra:
        """Return the spectra of frames that get a mask: of each channel, or of the mean of aligned channels."""
        return spectra if self.separate else np.asarray((spectra * self.rotation).mean(0, keepdims=True))

    def _compare(self, comparison: SourceComparison) -> None:
        """Decide whether the channels of the next frames are linked, by the latest second."""
        n = self.recent.shape[1]
        self.recent = np.concatenate((self.recent, *self.added), axis=1)[:, -n:]
        self.added.clear()
        parts = self.recent[:, : n // self.reduction * self.reduction].reshape(self.channels, -1, self.reduction)
        compared = comparison.push(parts.mean(2)[None])
        separate = compared.separate.item()
        if not separate:
            lags = refine_lags(self.recent, self.reduction * compared.lags[0], compared.signs[0], self.finer_lags)
            angles = np.pi * np.outer(lags, np.arange(self.hop + 1)) / self.hop
            self.rotation[:, 0] = compared.signs[0][:, None] * np.exp(1j * angles)
        if separate == self.separate:
            return
        self.separate = separate
        loudest = np.square(self.recent).sum(1).argmax()
        self.state = np.repeat(self.state, self.channels, 0) if separate else self.state[loudest : loudest + 1]
        if self.n_frames <= COMPARED_FRAMES:
            self.state[:] = 0.0  # the latest second is all there was
        recent = FrameCutter((self.channels,), self.frames.window)
        recent.push(self.recent)
        frames = recent.pop(COMPARED_FRAMES)[:, -self.n_frames :]
        self._mask(self._mixed(fourier(frames)))  # for the state after that second

    def _mask(self, spectra: Spectra) -> NDArray[Any]:
        """Return the complex gains of all bins for spectra [C, n, F]; same shape."""
        low = spectra[:, :, : self.n_bins] * self.scale
        powers = np.square(np.abs(low))
        rumble, rest = powers[..., : self.n_rumble].sum(-1), powers[..., self.n_rumble :].sum(-1)
        low[..., : self.n_rumble] *= (rumble <= RUMBLE_RATIO * rest)[..., None]  # it would dominate the level
        parts = np.stack((low.real, low.imag), 1)
        missing = self.n_bins - low.shape[2]
        mask, self.state = self.network.step(np.pad(parts, ((0, 0),) * 3 + ((0, missing),)), self.state)
        check_output(self.network.name, mask)
        gains = (mask[:, 0] + np.complex64(1j) * mask[:, 1])[:, :, : low.shape[2]]
        above = np.broadcast_to(self._gains_above(mask), (*gains.shape[:2], spectra.shape[2] - low.shape[2]))
        return np.concatenate((gains, above), axis=2)

    def _gains_above(self, mask: Array) -> Array:
        """Return the gains above the model's band [C, n, 1]: those of its highest bins, if sound there is denoised."""
        if self.policy != "denoise":
            return np.full((1, 1, 1), self.policy == "keep", np.float32)
        highest = mask[:, :, :, -self.n_highest :]
        return np.asarray(np.hypot(highest[:, 0], highest[:, 1]).mean(-1, keepdims=True))


def frame_hop(config: ModelConfig, rate_hz: int) -> int:
    """Return the number of samples between frames at a sampling rate; frames overlap by half."""
    return rate_hz * config.generator.longest_frame() // (2 * config.sample_rate_hz)


def fourier(frames: Array) -> Spectra:
    """Return the spectra of frames along the last axis."""
    return np.asarray(np.fft.rfft(frames, norm="ortho"), np.complex64)
