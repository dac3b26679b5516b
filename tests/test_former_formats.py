"""Model files of format 2, as the shipped ones are, are read as what they meant."""

from segan_cli.config.families.spectral import SpectralConfig, SpectralDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import parse_metadata

FORMAT_2 = """{"format": 2, "config": {"preset": "segan-spectral", "generator": {"channels": 32, "embed_dim": 48,
"hidden": 32, "depth": 1, "blocks": 2, "bands": 16, "heads": 4, "frame": 512, "freq_stride": 8, "power": 0.3,
"max_gain": 4.0, "input_rms": 0.05, "zeroed_bins": 2, "family": "spectral"}, "discriminator":
{"channels": [16, 32, 64, 64], "frame": 512, "power": 0.3, "input_rms": 0.05, "leaky_slope": 0.2, "family": "spectral"},
"sample_rate_hz": 16000, "window": 16384, "hop": 5248, "pre_emphasis": 0.0}, "provenance": {"runs": [], "steps": 9}}"""


def test_the_config_of_an_earlier_model_is_read():
    assert parse_metadata(FORMAT_2)[0] == ModelConfig(
        "segan-spectral",
        SpectralConfig(32, 48, 32, freq_stride=8, zeroed_bins=2),
        SpectralDiscriminatorConfig((16, 32, 64, 64), (512,)),
        hop=5248,
        pre_emphasis=0.0,
    )
