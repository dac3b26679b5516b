"""Files of earlier formats, as they were written, are read as what they meant."""

import json
from dataclasses import replace

import pytest
import torch

from segan_cli.config.families.convolutional import ConvolutionalConfig, ConvolutionalDiscriminatorConfig
from segan_cli.config.families.spectral import SpectralConfig, SpectralDiscriminatorConfig
from segan_cli.config.model import ModelConfig
from segan_cli.config.modelfile import parse_metadata
from segan_cli.config.recipe import load_recipe
from segan_cli.config.training import AdversarialConfig, DataConfig, MixingConfig, TrainingConfig
from segan_cli.data.degradation import Degradation
from segan_cli.data.mixing import ExampleSpec, Position, spec_from_dict
from segan_cli.data.training_data import load_split
from segan_cli.training.state import TrainState

WITHOUT_FORMAT = """{"config": {"preset": "segan-gated", "generator": {"channels": [16, 32, 64, 128, 256],
"strides": [4, 4, 4, 4, 4], "dilations": [1, 1, 1, 1, 1], "kernel_size": 31, "latent_channels": 0, "latent": "normal",
"skip_merge": "concat", "skip_scale": "gated", "input_rms": 0.05}, "discriminator": {"channels": [8, 16, 32, 64, 64],
"strides": [4, 4, 4, 4, 4], "kernel_size": 31, "leaky_slope": 0.3, "norm": "virtual", "spectral_norm": false,
"phase_shuffle": 0, "hidden": []}, "sample_rate_hz": 16000, "window": 16384, "hop": 8192, "pre_emphasis": 0.95},
"provenance": {"runs": [], "steps": 11000}}"""
FORMAT_1 = """{"format": 1, "config": {"preset": "segan-spectral", "generator": {"channels": 32, "width": 48,
"hidden": 40, "depth": 1, "blocks": 2, "bands": 16, "heads": 4, "frame": 512, "steps": 4, "power": 0.3,
"largest_gain": 3.0, "input_rms": 0.05, "closed": 2, "family": "spectral"}, "discriminator":
{"channels": [16, 32, 64, 64], "frame": 256, "power": 0.3, "input_rms": 0.05, "leaky_slope": 0.2, "family": "spectral"},
"sample_rate_hz": 16000, "window": 8192, "hop": 4096, "pre_emphasis": 0.0}, "provenance": {"runs": [], "steps": 500}}"""
FORMAT_2 = """{"format": 2, "config": {"preset": "segan-spectral", "generator": {"channels": 32, "embed_dim": 48,
"hidden": 32, "depth": 1, "blocks": 2, "bands": 16, "heads": 4, "frame": 512, "freq_stride": 8, "power": 0.3,
"max_gain": 4.0, "input_rms": 0.05, "zeroed_bins": 2, "family": "spectral"}, "discriminator":
{"channels": [16, 32, 64, 64], "frame": 512, "power": 0.3, "input_rms": 0.05, "leaky_slope": 0.2, "family": "spectral"},
"sample_rate_hz": 16000, "window": 16384, "hop": 5248, "pre_emphasis": 0.0}, "provenance": {"runs": [], "steps": 9}}"""
MODELS = {
    WITHOUT_FORMAT: ModelConfig(
        "segan-gated",
        ConvolutionalConfig((16, 32, 64, 128, 256), (4,) * 5, (1,) * 5, 31, 0, skip_scale="gated", input_rms=0.05),
        ConvolutionalDiscriminatorConfig((8, 16, 32, 64, 64), (4,) * 5, 31),
    ),
    FORMAT_1: ModelConfig(
        "segan-spectral",
        SpectralConfig(32, 48, 40, freq_stride=4, max_gain=3.0, zeroed_bins=2),
        SpectralDiscriminatorConfig((16, 32, 64, 64), (256,)),
        segment_length=8192,
        hop=4096,
        pre_emphasis=0.0,
    ),
    FORMAT_2: ModelConfig(
        "segan-spectral",
        SpectralConfig(32, 48, 32, freq_stride=8, zeroed_bins=2),
        SpectralDiscriminatorConfig((16, 32, 64, 64), (512,)),
        hop=5248,
        pre_emphasis=0.0,
    ),
}


@pytest.mark.parametrize(("text", "config"), MODELS.items(), ids=["without a format", "format 1", "format 2"])
def test_the_config_of_an_earlier_model_is_read(text, config):
    assert parse_metadata(text)[0] == config


TRAINING_1 = """{"steps": 4600, "batch_size": 16, "accumulate": 2, "precision": "fp32", "compile": false,
"optimizer": "adamw", "generator_learning_rate": 0.0015, "discriminator_learning_rate": 0.0005, "warmup_steps": 100,
"schedule": "cosine", "l1_weight": 200.0, "spectral_weight": 20.0, "deemphasised_losses": true, "stft_weight": 0.0,
"perceptual_weight": 0.5, "stoi_weight": 2.0, "reference_windows": 4, "ema_decay": 0.999, "clip_norm": 5.0,
"log_every": 50, "log_windows": true, "validate_every": 400, "validation_mixes": 48, "best_by": "pesq_wb", "keep": 3,
"seed": 7, "adversarial": {"objective": "metricgan", "weight": 1.0, "gradient_share": 0.1, "start": 3600},
"mixing": {"snr_db": [-5.0, 25.0], "level_db": [-45.0, -14.0]}}"""
TRAINING = TrainingConfig(
    steps=4600, gradient_accumulation_steps=2, optimizer="adamw", generator_learning_rate=0.0015,
    discriminator_learning_rate=0.0005, warmup_steps=100, l1_weight=200.0, perceptual_weight=0.5, stoi_weight=2.0,
    reference_segments=4, log_segments=True, validate_every=400, keep=3, seed=7,
    adversarial=AdversarialConfig("metricgan", gradient_share=0.1, start=3600),
    mixing=MixingConfig((-5.0, 25.0), (-45.0, -14.0)),
)  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_a_training_state_of_an_earlier_format_is_resumed(version, tmp_path):
    model = MODELS[FORMAT_1 if version == 1 else FORMAT_2]
    state = TrainState(model, TRAINING)
    state.step = 3
    state.save(tmp_path / "last.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    training = json.loads(TRAINING_1)
    if version == 2:
        training["gradient_accumulation_steps"] = training.pop("accumulate")
    config = json.loads(FORMAT_1 if version == 1 else FORMAT_2)["config"]
    about = {**json.loads(content["about"]), "format": version, "model": config, "training": training}
    content["about"] = json.dumps(about)
    content["discriminator"] = {
        name.removeprefix("resolutions.0."): weights for name, weights in content["discriminator"].items()
    }
    if version == 1:
        content["average"] = content.pop("ema_generator")
        former = {
            "input_conv": "inward", "output_conv": "outward", "band_embedding": "places", "to_embedding": "to_width",
            "from_embedding": "from_width", "ffn_in": "wide", "ffn_out": "narrow",
        }  # fmt: skip
        for part in ("generator", "average"):
            content[part] = {
                ".".join(former.get(word, word) for word in name.split(".")): weights
                for name, weights in content[part].items()
            }
        assert {"inward.convolution.weight", "places", "blocks.1.narrow.bias"} < set(content["generator"])
    torch.save(content, tmp_path / "last.pt")
    resumed = TrainState(model, replace(TRAINING, seed=8))
    assert resumed.load(tmp_path / "last.pt") == ["training.seed: 7 before, 8 now"]
    assert resumed.step == 3
    for name in ("generator", "ema_generator", "discriminator"):
        for key, weights in getattr(state, name).state_dict().items():
            assert torch.equal(getattr(resumed, name).state_dict()[key], weights), key


RECIPE = """
[model]
preset = "segan-spectral"
sample_rate_hz = 16000
window = 8192
hop = 4096
pre_emphasis = 0.0
[model.generator]
channels = 32
width = 48
hidden = 40
steps = 4
largest_gain = 3.0
closed = 2
family = "spectral"
[model.discriminator]
channels = [16, 32, 64, 64]
frame = 256
kernel_size = 5
freq_stride = 2
family = "spectral"
[training]
steps = 70
accumulate = 2
reference_windows = 4
log_windows = true
[data]
rooms = ["r"]
"""


def test_the_recipe_of_an_earlier_run_folder_is_read(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    recipe = load_recipe(str(tmp_path / "recipe.toml"))
    assert recipe.model == MODELS[FORMAT_1]
    assert recipe.training == TrainingConfig(
        steps=70, gradient_accumulation_steps=2, reference_segments=4, log_segments=True
    )
    assert recipe.data == DataConfig(rirs=("r",))


FORMER_SPEC = """{"length": 16000, "speech": {"name": "a.wav", "offset": 5}, "paired": false, "level_db": -20.5,
"snr_db": 3.5, "noises": [{"name": "n.wav", "offset": 7}], "babble": [], "generated": null, "room": "r.wav",
"damage": {"band_hz": 4000.0, "clipping_db": null, "codec": "gsm", "compression": 0.0, "gaps": [[1, 2]]},
"shaping": [], "speeds": [1.0, 1.0], "speechless": false, "mirrored": 0}"""


def test_a_validation_mix_with_room_and_damage_is_read():
    assert spec_from_dict(json.loads(FORMER_SPEC)) == ExampleSpec(
        16_000, Position("a.wav", 5), False, -20.5, 3.5, (Position("n.wav", 7),), rir="r.wav",
        degradation=Degradation(band_hz=4_000.0, codec="gsm", gaps=((1, 2),)),
    )  # fmt: skip


def test_a_split_with_rooms_is_read(tmp_path):
    (tmp_path / "split.json").write_text(
        '{"speakers": {"training": ["a"], "validation": ["b"]}, "noise": {"training": ["n"], "validation": []},'
        ' "rooms": {"training": ["r"], "validation": ["q"]}}'
    )
    assert load_split(tmp_path / "split.json") == {
        "speakers": frozenset({"b"}), "noise": frozenset(), "rirs": frozenset({"q"})
    }  # fmt: skip
