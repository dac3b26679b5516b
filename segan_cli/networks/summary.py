"""What a network costs: its weights and its arithmetic."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segan_cli.config.model import ModelConfig
from segan_cli.networks.families import build_discriminator, build_generator
from segan_cli.networks.latent import latent_shape


def parameters(network: nn.Module) -> int:
    """Number of weights that are trained."""
    return sum(p.numel() for p in network.parameters())


def weights(model: ModelConfig) -> tuple[int, int]:
    """Number of weights of the generator and of the discriminator; nothing is allocated."""
    with torch.device("meta"):
        return parameters(build_generator(model.generator)), parameters(build_discriminator(model, 1))


def macs_per_second(model: ModelConfig) -> float:
    """Multiply-accumulate operations of the generator for a second of audio, the overlap of windows included."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        generator = build_generator(model.generator)
        shape = latent_shape(model.generator, 1, model.window)
        generator(torch.empty(1, 1, model.window), None if shape is None else torch.empty(shape))
    return float(counter.get_total_flops()) / 2 * model.sample_rate_hz / model.hop
