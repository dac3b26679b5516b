"""Batches of network inputs: pre-emphasis, level normalisation, latents, micro-batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchaudio.functional import fftconvolve, preemphasis

from segan_cli.data.loader import Key
from segan_cli.data.random_streams import Purpose, random_stream
from segan_cli.networks.layers import level_gain
from segan_cli.training.state import TrainState

INAUDIBLE = 1e-9  # level, relative to full scale, at which the impulse response of the de-emphasis is truncated
FFT_BLOCK = 2048  # samples, to whose multiples the response is extended, for a fast FFT length


@dataclass
class Batch:
    """Segments after pre-emphasis and level normalisation, and intermediate results of one training step."""

    noisy: Tensor  # [B, 1, T]
    clean: Tensor  # [B, 1, T]
    z: Tensor | None = None  # [B, C, T / stride], where the generator takes one
    enhanced: Tensor | None = None  # [B, 1, T] with its graph, where one forward pass serves both networks' steps
    quality: Tensor | None = None  # [B, 2] of enhanced and of noisy, for a metric objective

    def micro_batches(self, n: int) -> list["Batch"]:
        """The segments in n parts, equal where n divides their number."""
        noisy = self.noisy.tensor_split(n)
        latents: Sequence[Tensor | None] = [None] * n if self.z is None else self.z.tensor_split(n)
        return [Batch(*part) for part in zip(noisy, self.clean.tensor_split(n), latents, strict=True)]


def prepare(state: TrainState, noisy: Tensor, clean: Tensor, keys: Sequence[Key]) -> Batch:
    """A batch of audio [B, 1, segment_length + 1], whose first sample only initialises the pre-emphasis."""
    model, device = state.model_config, state.device
    noisy, clean = (
        preemphasis(side.to(device, non_blocking=True), model.pre_emphasis)[..., 1:] for side in (noisy, clean)
    )
    if model.generator.input_rms:
        gain = level_gain(noisy, model.generator.input_rms)
        noisy, clean = noisy * gain, clean * gain
    rngs = [random_stream(state.training.seed, Purpose.LATENT, *key) for key in keys]
    latents = [model.generator.draw_latent(rng, 1, model.segment_length) for rng in rngs]
    drawn = [torch.from_numpy(z) for z in latents if z is not None]
    return Batch(noisy, clean, torch.cat(drawn).to(device) if drawn else None)


def deemphasise(segments: Tensor, pre_emphasis: float) -> Tensor:
    """Inverts the pre-emphasis, [B, 1, T] → same shape, by FFT convolution with its truncated impulse response."""
    if not pre_emphasis:
        return segments
    taps = 1 + FFT_BLOCK * math.ceil(math.log(INAUDIBLE) / math.log(pre_emphasis) / FFT_BLOCK)
    response = pre_emphasis ** torch.arange(taps, device=segments.device, dtype=segments.dtype)
    return fftconvolve(segments, response[None, None])[..., : segments.shape[-1]]  # type: ignore[no-any-return]
