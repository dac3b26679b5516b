"""Running a network on segments of a signal: DC offset, linked channels, level, latents."""

import numpy as np

from segan_cli.arrays import Array
from segan_cli.backends.network import Network, is_finite
from segan_cli.enhancement.linked_channels import apply_transfer_function, downmix_mid
from segan_cli.enhancement.overlap_add import Finish
from segan_cli.errors import AudioError

MIN_OFFSET = 0.1  # |mean| over standard deviation of a segment; lower ratios also occur without a DC offset


class SegmentEnhancer:
    """Enhances segments [N, channels, T] of one signal, asynchronously."""

    def __init__(self, network: Network, linked: bool, seed: int) -> None:
        """`linked` channels get the transfer function of their enhanced mean; `seed` is for the latents."""
        self.network, self.linked = network, linked
        self.input_rms = network.config.generator.input_rms
        self.rng = np.random.default_rng(seed)

    def __call__(self, noisy: Array) -> Finish:
        """Start on segments [N, channels, T]; return a function that waits for the result, same shape."""
        if noisy.shape[1] > 1 and self.linked:
            mid = downmix_mid(noisy)
            wait = self._start(mid)
            return lambda: apply_transfer_function(noisy, mid, wait())
        return self._start(noisy)

    def _start(self, noisy: Array) -> Finish:
        """Run the network on each channel of each segment; the channels of a segment share its latent z."""
        n, channels, length = noisy.shape
        z = self.network.config.generator.draw_latent(self.rng, n, length)
        if z is not None:
            z = np.repeat(z, channels, 0)
        mono = np.ascontiguousarray(noisy, np.float32).reshape(n * channels, 1, length)
        gain = level_gain(mono, self.input_rms) if self.input_rms else np.float32(1.0)
        wait = self.network.start(mono * gain, z)

        def finish() -> Array:
            enhanced = wait()
            if not is_finite(enhanced):
                raise AudioError(f"the output of the model {self.network.name} is not finite; use another model")
            return (enhanced / gain).reshape(noisy.shape)

        return finish


def remove_offset(noisy: Array, pre_emphasis: float) -> Array:
    """Remove the DC offset of segments [N, C, T] where it is larger than that of sound without one."""
    mean = noisy.mean(-1, keepdims=True)
    threshold = MIN_OFFSET * (1 - pre_emphasis) * noisy.std(-1, keepdims=True)
    return noisy - np.where(np.abs(mean) > threshold, mean, np.float32(0.0))


def level_gain(noisy: Array, rms: float) -> Array:
    """Return the gain [B, 1, 1] that brings segments [B, 1, T] to an RMS, less where the peak would exceed 0.9."""
    level = np.sqrt(np.mean(np.square(noisy), axis=-1, keepdims=True))
    peak = np.abs(noisy).max(axis=-1, keepdims=True)
    return np.asarray(np.minimum(rms / np.maximum(level, 1e-6), 0.9 / np.maximum(peak, 1e-6)), np.float32)
