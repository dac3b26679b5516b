"""Builds the networks of a config."""

from segan_cli.config.model import GeneratorConfig, ModelConfig, SpectralConfig, SpectralDiscriminatorConfig
from segan_cli.networks.discriminator import Discriminator
from segan_cli.networks.generator import Generator
from segan_cli.networks.spectral import SpectralGenerator
from segan_cli.networks.spectral_discriminator import SpectralDiscriminator

AnyGenerator = Generator | SpectralGenerator
AnyDiscriminator = Discriminator | SpectralDiscriminator


def build_generator(config: GeneratorConfig | SpectralConfig) -> AnyGenerator:
    """A generator with initial weights, of the family of its config."""
    return Generator(config) if isinstance(config, GeneratorConfig) else SpectralGenerator(config)


def build_discriminator(model: ModelConfig, reference_windows: int) -> AnyDiscriminator:
    """A discriminator with initial weights; `reference_windows` is the size of virtual batch norm's reference batch."""
    if isinstance(model.discriminator, SpectralDiscriminatorConfig):
        return SpectralDiscriminator(model.discriminator)
    return Discriminator(model.discriminator, model.window, reference_windows)
