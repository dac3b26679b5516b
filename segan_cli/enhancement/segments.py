"""The network on segments of a signal, with what lies around it: constant offsets, linked channels, level, latents."""

import numpy as np
from numpy.typing import NDArray

from segan_cli.backends.network import Network, is_sound
from segan_cli.enhancement.linked_channels import apply_transfer_function, downmix_mid
from segan_cli.enhancement.overlap_add import Finish
from segan_cli.errors import AudioError
from segan_cli.networks.latent import draw_latent

Array = NDArray[np.float32]

LEAST_OFFSET = 0.1  # mean of a segment, as a share of its standard deviation; that of sound alone is smaller


class SegmentEnhancer:
    """Enhances segments [N, channels, window] of one signal, which may still be in work when the call returns."""

    def __init__(self, network: Network, linked: bool, seed: int) -> None:
        """`linked` channels all get the filter that the network gives their mean; `seed` is that of the latents."""
        self.network, self.linked = network, linked
        self.input_rms = network.config.generator.input_rms
        self.rng = np.random.default_rng(seed)

    def __call__(self, noisy: Array) -> Finish:
        """Begin with segments [N, channels, window] → what waits for them enhanced, same shape."""
        if noisy.shape[1] > 1 and self.linked:
            mid = downmix_mid(noisy)
            wait = self._begin(mid)
            return lambda: apply_transfer_function(noisy, mid, wait())
        return self._begin(noisy)

    def _begin(self, noisy: Array) -> Finish:
        """Each channel of each segment through the network; channels share the latent z of their segment."""
        n, channels, length = noisy.shape
        z = draw_latent(self.network.config.generator, self.rng, n, length)
        if z is not None:
            z = np.repeat(z, channels, 0)
        alone = np.ascontiguousarray(noisy, np.float32).reshape(n * channels, 1, length)
        gain = level_gain(alone, self.input_rms) if self.input_rms else np.float32(1.0)
        wait = self.network.start(alone * gain, z)

        def finish() -> Array:
            enhanced = wait()
            if not is_sound(enhanced):
                raise AudioError(f"the model {self.network.name} gives samples that are not numbers; use another model")
            return (enhanced / gain).reshape(noisy.shape)

        return finish


def without_offset(noisy: Array, pre_emphasis: float) -> Array:
    """Segments [N, C, T] without their constant offset, which is noise, where it is larger than that of sound alone."""
    mean = noisy.mean(-1, keepdims=True)
    least = LEAST_OFFSET * (1 - pre_emphasis) * noisy.std(-1, keepdims=True)
    return noisy - np.where(np.abs(mean) > least, mean, np.float32(0.0))


def level_gain(noisy: Array, rms: float) -> Array:
    """Gain [B, 1, 1] that brings windows [B, 1, T] to an RMS, or less where the peak would pass 0.9."""
    level = np.sqrt(np.mean(np.square(noisy), axis=-1, keepdims=True))
    peak = np.abs(noisy).max(axis=-1, keepdims=True)
    return np.asarray(np.minimum(rms / np.maximum(level, 1e-6), 0.9 / np.maximum(peak, 1e-6)), np.float32)
