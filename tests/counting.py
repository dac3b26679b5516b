"""Size and cost of networks, counted in the networks themselves."""

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segan_cli.config.model import ModelConfig
from segan_cli.networks.families import build_discriminator, build_generator


def parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in network.parameters())


def weights(model: ModelConfig) -> tuple[int, int]:
    """Number of weights of the generator and of the discriminator, counted without allocating them."""
    with torch.device("meta"):
        return parameters(build_generator(model.generator)), parameters(build_discriminator(model, 1))


def macs_per_second(model: ModelConfig) -> float:
    """Multiply-accumulate operations of the generator per second of audio, overlapping segments included."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        generator = build_generator(model.generator)
        z = model.generator.draw_latent(np.random.default_rng(), 1, model.segment_length)
        generator(torch.empty(1, 1, model.segment_length), None if z is None else torch.empty(z.shape))
    return float(counter.get_total_flops()) / 2 * model.sample_rate_hz / model.hop
