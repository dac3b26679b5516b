"""Model presets."""

from dataclasses import replace

from segan_cli.config.model import (
    DiscriminatorConfig,
    GeneratorConfig,
    ModelConfig,
    SpectralConfig,
    SpectralDiscriminatorConfig,
)


def scaled(model: ModelConfig, width: float) -> ModelConfig:
    """Multiply all channel counts of a model by `width`."""

    def scale(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(width * c)) for c in channels)

    generator, discriminator = model.generator, model.discriminator
    if isinstance(generator, SpectralConfig):
        channels, hidden, per_head = scale(
            (generator.channels, generator.hidden, generator.embed_dim // generator.heads)
        )
        generator = replace(generator, channels=channels, hidden=hidden, embed_dim=per_head * generator.heads)
    else:
        latent_channels = round(width * generator.latent_channels)
        generator = replace(generator, channels=scale(generator.channels), latent_channels=latent_channels)
    if isinstance(discriminator, DiscriminatorConfig):
        discriminator = replace(discriminator, hidden=scale(discriminator.hidden))
    discriminator = replace(discriminator, channels=scale(discriminator.channels))
    return replace(model, generator=generator, discriminator=discriminator)


def segan() -> ModelConfig:
    """SEGAN as in the paper: 11 layers with kernel size 31 and stride 2 (arXiv 1703.09452)."""
    channels = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)
    strides = (2,) * len(channels)
    return ModelConfig(
        preset="segan",
        generator=GeneratorConfig(channels, strides, (1,) * len(channels), 31, latent_channels=1024),
        discriminator=DiscriminatorConfig(channels, strides, 31),
    )


def segan_plus() -> ModelConfig:
    """The authors' second version: 5 layers with stride 4, and skips with a learned weight per channel.

    The discriminator has batch norm, phase shuffle and a head with two hidden layers.
    """
    channels, strides = (64, 128, 256, 512, 1024), (4,) * 5
    return ModelConfig(
        preset="segan-plus",
        generator=GeneratorConfig(channels, strides, (1,) * 5, 31, latent_channels=1024, skip_scale="learned"),
        discriminator=DiscriminatorConfig(
            channels, strides, 31, leaky_slope=None, norm="batch", phase_shuffle=5, hidden=(256, 128)
        ),
    )


def segan_dilated() -> ModelConfig:
    """Five dilated layers with half the kernel size, and a receptive field larger than a segment.

    Dilations are odd and strides even, so that no sample is skipped.
    """
    channels, strides = (64, 128, 256, 512, 1024), (4,) * 5
    return ModelConfig(
        preset="segan-dilated",
        generator=GeneratorConfig(channels, strides, (1, 1, 3, 3, 5), 15, latent_channels=1024),
        discriminator=DiscriminatorConfig(channels, strides, 31),
    )


def segan_gated() -> ModelConfig:
    """Five layers with stride 4, gated skips and no latent: faster than segan-slim, and trains sooner."""
    strides = (4,) * 5
    return ModelConfig(
        preset="segan-gated",
        generator=GeneratorConfig((16, 32, 64, 128, 256), strides, (1,) * 5, 31, 0, skip_scale="gated", input_rms=0.05),
        discriminator=DiscriminatorConfig((8, 16, 32, 64, 64), strides, 31),
    )


def segan_spectral() -> ModelConfig:
    """The default: a small dual-path network that masks the compressed spectrum.

    The hop of segments is not a multiple of the hop of frames, so that the frames of overlapping segments interleave
    and their errors differ (docs/performance.md).
    """
    return ModelConfig(
        preset="segan-spectral",
        generator=SpectralConfig(channels=32, embed_dim=48, hidden=32, freq_stride=8, zeroed_bins=2),
        discriminator=SpectralDiscriminatorConfig(
            (16, 32, 32, 32), frames=(1024, 512, 256), kernel_size=3, freq_stride=4
        ),
        hop=5_248,
        pre_emphasis=0.0,
    )


PRESETS: dict[str, ModelConfig] = {
    "segan": segan(),
    "segan-slim": replace(scaled(segan(), 0.25), preset="segan-slim"),
    "segan-plus": segan_plus(),
    "segan-dilated": segan_dilated(),
    "segan-gated": segan_gated(),
    "segan-spectral": segan_spectral(),
}
