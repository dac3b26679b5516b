"""The latent z that is concatenated to the thought vector."""

import math

import numpy as np
from numpy.typing import NDArray

from segan_cli.config.model import GeneratorConfig, SpectralConfig


def latent_shape(
    config: GeneratorConfig | SpectralConfig, n_segments: int, n_samples: int
) -> tuple[int, int, int] | None:
    """Shape [B, C, T / stride] of z; None for a generator without a latent."""
    if isinstance(config, SpectralConfig) or not config.latent_channels:
        return None
    return n_segments, config.latent_channels, n_samples // math.prod(config.strides)


def draw_latent(
    config: GeneratorConfig | SpectralConfig, rng: np.random.Generator, n_segments: int, n_samples: int
) -> NDArray[np.float32] | None:
    """Random z [B, C, T / stride], normal or uniform, mean 0, deviation 1; None for a generator without a latent."""
    shape = latent_shape(config, n_segments, n_samples)
    if shape is None:
        return None
    if isinstance(config, GeneratorConfig) and config.latent == "uniform":
        return (rng.random(shape, dtype="float32") - 0.5) * math.sqrt(12)
    return rng.standard_normal(shape, dtype="float32")
