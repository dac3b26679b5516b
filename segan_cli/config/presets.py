"""The presets: the SEGAN family as configs."""

from dataclasses import replace

from segan_cli.config.model import (
    DiscriminatorConfig,
    GeneratorConfig,
    ModelConfig,
    SpectralConfig,
    SpectralDiscriminatorConfig,
)


def scaled(model: ModelConfig, width: float) -> ModelConfig:
    """The same networks with every number of channels, and the latent's, multiplied by `width`."""

    def scale(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(width * c)) for c in channels)

    g, d = model.generator, model.discriminator
    generator: GeneratorConfig | SpectralConfig
    if isinstance(g, SpectralConfig):
        channels, hidden, per_head = scale((g.channels, g.hidden, g.embed_dim // g.heads))
        generator = replace(g, channels=channels, hidden=hidden, embed_dim=per_head * g.heads)
    else:
        generator = replace(g, channels=scale(g.channels), latent_channels=round(width * g.latent_channels))
    if isinstance(d, DiscriminatorConfig):
        d = replace(d, hidden=scale(d.hidden))
    discriminator = replace(d, channels=scale(d.channels))
    return replace(model, generator=generator, discriminator=discriminator)


def segan() -> ModelConfig:
    """The paper's 11 layers of kernel 31 and stride 2 (arXiv 1703.09452)."""
    channels = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)
    strides = (2,) * len(channels)
    return ModelConfig(
        preset="segan",
        generator=GeneratorConfig(channels, strides, (1,) * len(channels), 31, latent_channels=1024),
        discriminator=DiscriminatorConfig(channels, strides, 31),
    )


def segan_plus() -> ModelConfig:
    """The authors' second version: 5 layers of stride 4, a learned weight on every channel of the skips.

    Its discriminator has batch norm, phase shuffle and a head of two hidden layers.
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
    """Five dilated layers of half the taps: the receptive field grows by dilation, the length shrinks by stride.

    Dilations are odd and strides even, so every sample reaches the thought vector; its frames cover more than a window.
    """
    channels, strides = (64, 128, 256, 512, 1024), (4,) * 5
    return ModelConfig(
        preset="segan-dilated",
        generator=GeneratorConfig(channels, strides, (1, 1, 3, 3, 5), 15, latent_channels=1024),
        discriminator=DiscriminatorConfig(channels, strides, 31),
    )


def segan_gated() -> ModelConfig:
    """Five layers of stride 4 with gated skips and without z: a faster relative of segan-slim that learns sooner."""
    strides = (4,) * 5
    return ModelConfig(
        preset="segan-gated",
        generator=GeneratorConfig((16, 32, 64, 128, 256), strides, (1,) * 5, 31, 0, skip_scale="gated", input_rms=0.05),
        discriminator=DiscriminatorConfig((8, 16, 32, 64, 64), strides, 31),
    )


def segan_spectral() -> ModelConfig:
    """A mask on the compressed spectrum by a small dual-path network: the default."""
    return ModelConfig(
        preset="segan-spectral",
        generator=SpectralConfig(channels=32, embed_dim=48, hidden=32, freq_stride=8, zeroed_bins=2),
        discriminator=SpectralDiscriminatorConfig((16, 32, 64, 64)),
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
