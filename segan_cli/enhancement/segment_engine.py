"""Enhancement of one signal in overlapping segments."""

import numpy as np

from segan_cli.arrays import Array, SampleQueue
from segan_cli.audio.filters import Emphasis, HoldingResampler
from segan_cli.backends.high_band import load_high_band
from segan_cli.backends.network import Network, check_output
from segan_cli.config.families.base import LARGEST_PEAK, LEAST_LEVEL
from segan_cli.enhancement.high_band import HighBand
from segan_cli.enhancement.linked_channels import SourceComparison, apply_transfer_function, mix_aligned
from segan_cli.enhancement.overlap_add import Finish, OverlapAdd
from segan_cli.enhancement.settings import Settings

RUMBLE_HZ = 65, 85  # sound below the first is removed as rumble, above the second kept
RUMBLE_RATIO = 4.0  # power of rumble over that of all other sound, above which it is removed
BLOCK_S = 0.005  # whose means have most of the energy of rumble, and a part of that of a low voice
MIN_BLOCK_SHARE = 0.4  # of the energy in these means, below which there is little rumble
LEVEL_FRAME = 256  # samples whose power is limited where it is an outlier
OUTLIER = 30.0  # power over that of MOST frames, to which it is limited
MOST = 90  # percent
MAX_OUTLIER_DB = 30.0  # by which they change the level
MAX_OUTLIERS = 3  # frames; more are an onset of sound, not a click
MIN_OFFSET = 0.1  # |mean| over standard deviation of a segment; lower ratios also occur without a DC offset


class SegmentEngine:
    """Resamples a signal to the model's rate, runs the model on segments, and resamples back.

    What the model changes is resampled back, so the input is unchanged where the model changes nothing: the change is
    back(model(x') - x') + h(x - back(x')), where x' is x at the model's rate and h the change above its band.
    """

    def __init__(self, network: Network, settings: Settings, rate_hz: int, channels: int, ahead: int = 0) -> None:
        """`ahead` batches may be in flight between calls; their output comes later."""
        config, linked = network.config, settings.channels == "linked"
        self.enhance_segments = SegmentEnhancer(network, linked, settings.seed)
        model_hz = config.sample_rate_hz
        self.to_model_rate = HoldingResampler(rate_hz, model_hz, channels)
        self.emphasis = Emphasis(config.pre_emphasis, channels)
        self.config, self.n_in = config, 0  # n_in: input samples so far, at the model's rate
        batch = max(1, (settings.batch or network.batch) // (1 if linked and channels <= 2 else channels))
        self.segments = OverlapAdd(self._start, channels, config.segment_length, config.hop, batch, ahead)
        self.deemphasis = Emphasis(config.pre_emphasis, channels, inverse=True)
        self.to_signal_rate = HoldingResampler(model_hz, rate_hz, channels)
        self.high_band: HighBand | None = None
        if rate_hz > model_hz and settings.high_band != "keep":
            above = load_high_band() if settings.high_band == "denoise" else None
            self.high_band = HighBand(above, rate_hz, model_hz, channels, linked)
        self.pending = SampleQueue(channels)  # input whose output is not final
        self.pending_low = SampleQueue(channels)  # the same at the model's rate

    def push(self, block: Array, last: bool) -> tuple[Array, Array]:
        """Add a block [channels, n]; return what is final now, original and change, [channels, m] each."""
        self.pending.push(block)
        noisy = self.to_model_rate.push(block, last)
        self.pending_low.push(noisy)
        self.n_in += noisy.shape[1]
        enhanced = self.segments.push(self.emphasis.push(noisy))
        if last:
            enhanced = np.concatenate((enhanced, self.segments.flush()), axis=1)
        enhanced = self.deemphasis.push(enhanced)
        noisy = self.pending_low.pop(enhanced.shape[1])
        change = self.to_signal_rate.push(enhanced - noisy, last)
        n = len(self.pending) if last else min(change.shape[1], len(self.pending))
        original = self.pending.pop(n)
        change = np.pad(change[:, :n], ((0, 0), (0, max(0, n - change.shape[1]))))  # resampling twice may lose a sample
        if self.high_band is not None:
            original, change = self.high_band.push(original, change, last)
        return original, change

    def _start(self, noisy: Array) -> Finish:
        """Start on segments [N, channels, T]."""
        if self.n_in >= self.config.hop:  # in shorter signals an offset cannot be told from sound
            noisy = remove_offset(noisy, self.config.pre_emphasis)
            noisy = remove_rumble(noisy, self.config.sample_rate_hz, self.config.pre_emphasis)
        return self.enhance_segments(noisy)


class SegmentEnhancer:
    """Enhances segments [N, channels, T] of one signal, asynchronously."""

    def __init__(self, network: Network, linked: bool, seed: int) -> None:
        """`linked` channels with common sources get the transfer function of their mean; `seed` is for the latents."""
        self.network, self.linked = network, linked
        self.input_rms = network.config.generator.input_rms
        self.level_gain = robust_level_gain if network.config.generator.tolerates_peaks else level_gain
        self.comparison = SourceComparison(network.config.sample_rate_hz, network.config.pre_emphasis)
        self.rng = np.random.default_rng(seed)

    def __call__(self, noisy: Array) -> Finish:
        """Start on segments [N, channels, T]; return a function that waits for the result, same shape."""
        z = self.network.config.generator.draw_latent(self.rng, len(noisy), noisy.shape[2])
        if noisy.shape[1] == 1 or not self.linked:
            return self._start(noisy, z)
        comparison = self.comparison.push(noisy)
        separate, linked = comparison.separate, ~comparison.separate
        mid = mix_aligned(noisy, comparison)[linked]
        wait_for_mid = self._start(mid, None if z is None else z[linked])
        wait = self._start(noisy[separate], None if z is None else z[separate])

        def finish() -> Array:
            enhanced = np.empty_like(noisy)
            enhanced[linked] = apply_transfer_function(noisy[linked], mid, wait_for_mid())
            enhanced[separate] = wait()
            return enhanced

        return finish

    def _start(self, noisy: Array, z: Array | None) -> Finish:
        """Run the network on each channel of each segment; the channels of a segment share its latent z."""
        n, channels, length = noisy.shape
        if not n:
            return lambda: noisy
        if z is not None:
            z = np.repeat(z, channels, 0)
        mono = np.ascontiguousarray(noisy, np.float32).reshape(n * channels, 1, length)
        gain = self.level_gain(mono, self.input_rms) if self.input_rms else np.float32(1.0)
        wait = self.network.start(mono * gain, z)

        def finish() -> Array:
            enhanced = wait()
            check_output(self.network.name, enhanced)
            return (enhanced / gain).reshape(noisy.shape)

        return finish


def remove_offset(noisy: Array, pre_emphasis: float) -> Array:
    """Remove the DC offset of segments [N, C, T] where it is larger than that of sound without one."""
    mean = noisy.mean(-1, keepdims=True)
    threshold = MIN_OFFSET * (1 - pre_emphasis) * noisy.std(-1, keepdims=True)
    return noisy - np.where(np.abs(mean) > threshold, mean, np.float32(0.0))


def remove_rumble(noisy: Array, rate_hz: int, pre_emphasis: float) -> Array:
    """Remove sound below voices, such as hum or wind, from segments [N, C, T] in which it is far louder than the rest.

    It would dominate their level, and models were not trained with that much.
    """
    length, block = noisy.shape[-1], round(BLOCK_S * rate_hz)
    means = noisy[..., : length // block * block].reshape(*noisy.shape[:2], -1, block).mean(-1)
    likely = np.square(means).mean(-1) > MIN_BLOCK_SHARE * np.square(noisy).mean(-1)  # [N, C]
    if not likely.any():
        return noisy
    mirrored = np.concatenate((noisy[likely], noisy[likely][:, ::-1]), axis=-1)
    spectra, hz = np.fft.rfft(mirrored), np.fft.rfftfreq(2 * length, 1 / rate_hz)
    response = np.cos(np.pi / 2 * np.clip((hz - RUMBLE_HZ[0]) / (RUMBLE_HZ[1] - RUMBLE_HZ[0]), 0, 1)) ** 2
    rumble = np.fft.irfft(spectra * response, 2 * length)[..., :length].astype(np.float32)
    rest, ratio = noisy[likely] - rumble, RUMBLE_RATIO * (1 - pre_emphasis)
    is_louder = np.square(rumble).sum(-1, keepdims=True) > ratio * np.square(rest).sum(-1, keepdims=True)
    without = noisy.copy()
    without[likely] = np.where(is_louder, rest, noisy[likely])
    return without


def robust_level_gain(noisy: Array, rms: float) -> Array:
    """Return the gain of `level_gain`, where a click or slam counts little, and its peak does not."""
    n_frames = max(1, noisy.shape[-1] // LEVEL_FRAME)
    frame = noisy.shape[-1] // n_frames
    powers = np.square(noisy[..., : n_frames * frame]).reshape(len(noisy), 1, n_frames, frame).mean(-1)
    limit = OUTLIER * np.percentile(powers, MOST, axis=-1, keepdims=True)
    mean, limited = (side.mean(-1, keepdims=True) for side in (powers, np.minimum(powers, limit)))
    limited = np.maximum(limited, mean * 10 ** (-MAX_OUTLIER_DB / 10))
    robust = rms / np.maximum(np.sqrt(limited), LEAST_LEVEL)
    has_click = (limited < mean) & ((powers > limit).sum(-1, keepdims=True) <= MAX_OUTLIERS)
    return np.asarray(np.where(has_click, robust, level_gain(noisy, rms)), np.float32)


def level_gain(noisy: Array, rms: float) -> Array:
    """Return the gain [B, 1, 1] that brings segments [B, 1, T] to an RMS, as in training."""
    level = np.sqrt(np.mean(np.square(noisy), axis=-1, keepdims=True))
    peak = np.abs(noisy).max(axis=-1, keepdims=True)
    gain = np.minimum(rms / np.maximum(level, LEAST_LEVEL), LARGEST_PEAK / np.maximum(peak, LEAST_LEVEL))
    return np.asarray(gain, np.float32)
