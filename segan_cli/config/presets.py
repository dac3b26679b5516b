"""Model presets."""

from dataclasses import replace

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.families.spectral import SpectralConfig, SpectralDiscriminatorConfig
from segan_cli.config.model import ModelConfig


def scaled(model: ModelConfig, width: float) -> ModelConfig:
    """Multiply all channel counts of a model by `width`."""
    return replace(model, generator=model.generator.scaled(width), discriminator=model.discriminator.scaled(width))


HALVED = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)  # channels of layers of stride 2
QUARTERED = (64, 128, 256, 512, 1024)  # of layers of stride 4

SEGAN = ModelConfig(  # as in the paper (arXiv 1703.09452)
    "segan",
    ConvolutionalConfig(HALVED, (2,) * 11, (1,) * 11, 31, latent_channels=1024),
    ConvolutionalDiscriminatorConfig(HALVED, (2,) * 11, 31),
)
SEGAN_PLUS = ModelConfig(  # the authors' second version
    "segan-plus",
    ConvolutionalConfig(QUARTERED, (4,) * 5, (1,) * 5, 31, latent_channels=1024, skip_scale="learned"),
    ConvolutionalDiscriminatorConfig(
        QUARTERED, (4,) * 5, 31, leaky_slope=None, norm="batch", phase_shuffle=5, hidden=(256, 128)
    ),
)
SEGAN_DILATED = ModelConfig(  # half the kernel size, a receptive field larger than a segment, and no sample skipped
    "segan-dilated",
    ConvolutionalConfig(QUARTERED, (4,) * 5, (1, 1, 3, 3, 5), 15, latent_channels=1024),
    ConvolutionalDiscriminatorConfig(QUARTERED, (4,) * 5, 31),
)
SEGAN_GATED = ModelConfig(  # faster than segan-slim, and trains sooner
    "segan-gated",
    ConvolutionalConfig(
        (16, 32, 64, 128, 256), (4,) * 5, (1,) * 5, 31, 0, skip_scale="gated", input_rms=0.05, high_pass=0.003
    ),
    ConvolutionalDiscriminatorConfig((8, 16, 32, 64, 64), (4,) * 5, 31),
)
SPECTRAL = SpectralConfig(channels=32, embed_dim=48, hidden=32, freq_stride=8, zeroed_bins=2)
PATCHES = SpectralDiscriminatorConfig((16, 32, 32, 32), frames=(1024, 512, 256), kernel_size=3, freq_stride=4)
SEGAN_SPECTRAL = ModelConfig(  # the default
    "segan-spectral",
    SPECTRAL,
    PATCHES,
    hop=5_248,  # an odd multiple of 128, so that frames of neighbouring segments interleave (docs/performance.md)
    pre_emphasis=0.0,
)
SEGAN_LIVE = ModelConfig(  # causal, with a delay of one frame, 32 ms
    "segan-live",
    replace(SPECTRAL, hidden=96, blocks=4, causal=True, learned_start=True),
    PATCHES,
    hop=16_384,  # a causal generator runs frame by frame, so segments need not overlap
    pre_emphasis=0.0,
)
SEGAN_SLIM = replace(scaled(SEGAN, 0.25), preset="segan-slim")

PRESETS = {
    model.preset: model
    for model in (SEGAN, SEGAN_SLIM, SEGAN_PLUS, SEGAN_DILATED, SEGAN_GATED, SEGAN_SPECTRAL, SEGAN_LIVE)
}
