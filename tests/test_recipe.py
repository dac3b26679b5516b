"""Recipes: TOML that is read strictly, written in full, and says what the paper says."""

import dataclasses
import re
import tomllib

import pytest

from segan_cli.config.budget import LayerCost, check_budget
from segan_cli.config.presets import PRESETS
from segan_cli.config.recipe import DEFAULT, load_recipe, recipe_text, shipped_recipes
from segan_cli.config.schema import flatten, from_dict, merge, override, to_dict
from segan_cli.config.training import AdversarialConfig, DataConfig, Recipe, TrainingConfig
from segan_cli.errors import ConfigError
from segan_cli.system import data_dir


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_loaded_recipe_equals_the_saved_one(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.toml").write_text(recipe_text(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "again.toml")) == recipe


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_field_is_equal_after_toml_also_none(preset, tmp_path):
    training = TrainingConfig(clip_norm=None, adversarial=AdversarialConfig(gradient_share=0.3, start=7))
    recipe = Recipe(preset, training, DataConfig(speech=("a:2", 'b "c"'), noise=("ñ",)))
    (tmp_path / "a.toml").write_text(recipe_text(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "a.toml")) == recipe
    written = flatten(tomllib.loads(recipe_text(recipe)))
    assert set(written) == set(flatten(to_dict(recipe)))


def test_there_is_a_recipe_for_the_default_model_and_for_the_paper():
    assert set(shipped_recipes()) >= {DEFAULT, "segan-2017"}
    assert load_recipe(DEFAULT).model == PRESETS[DEFAULT]
    assert all((data_dir("recipes") / f"{name}.toml").is_file() for name in shipped_recipes())


def test_the_recipe_segan_2017_has_the_settings_of_the_paper():
    """arXiv 1703.09452, sections 3 and 5."""
    recipe = load_recipe("segan-2017")
    training, game = recipe.training, recipe.training.adversarial
    assert recipe.model.generator == PRESETS["segan"].generator
    assert recipe.model.discriminator == PRESETS["segan"].discriminator
    assert (recipe.model.segment_length, recipe.model.hop, recipe.model.pre_emphasis) == (16_384, 16_384, 0.95)
    assert (training.optimizer, training.generator_learning_rate, training.discriminator_learning_rate) == (
        "rmsprop", 2e-4, 2e-4,
    )  # fmt: skip
    assert (training.batch_size, training.l1_weight, training.spectral_weight, training.stft_weight) == (400, 100, 0, 0)
    assert (training.schedule, training.warmup_steps, training.clip_norm, training.ema_decay) == (
        "constant",
        0,
        None,
        0,
    )
    assert (game.objective, game.weight, game.gradient_share, game.start) == ("least-squares", 1.0, None, 0)
    assert not training.deemphasised_losses


def test_the_presets_of_the_shipped_models_are_these():
    assert to_dict(PRESETS["segan-spectral"]) == {
        "preset": "segan-spectral",
        "generator": {
            "channels": 32, "embed_dim": 48, "hidden": 32, "depth": 1, "blocks": 2, "bands": 16, "heads": 4,
            "frame": 512, "freq_stride": 8, "power": 0.3, "max_gain": 4.0, "input_rms": 0.05, "zeroed_bins": 2,
            "causal": False, "learned_start": False, "family": "spectral",
        },
        "discriminator": {
            "channels": [16, 32, 32, 32], "frames": [1024, 512, 256], "kernel_size": 3, "freq_stride": 4, "power": 0.3,
            "input_rms": 0.05, "leaky_slope": 0.2, "family": "spectral",
        },
        "sample_rate_hz": 16_000, "segment_length": 16_384, "hop": 5_248, "pre_emphasis": 0.0,
    }  # fmt: skip
    assert to_dict(PRESETS["segan-gated"]) == {
        "preset": "segan-gated",
        "generator": {
            "channels": [16, 32, 64, 128, 256], "strides": [4, 4, 4, 4, 4], "dilations": [1, 1, 1, 1, 1],
            "kernel_size": 31, "latent_channels": 0, "latent": "normal", "skip_merge": "concat", "skip_scale": "gated",
            "input_rms": 0.05, "high_pass": 0.003, "family": "convolutional",
        },
        "discriminator": {
            "channels": [8, 16, 32, 64, 64], "strides": [4, 4, 4, 4, 4], "kernel_size": 31, "leaky_slope": 0.3,
            "norm": "virtual", "spectral_norm": False, "phase_shuffle": 0, "hidden": [], "family": "convolutional",
        },
        "sample_rate_hz": 16_000, "segment_length": 16_384, "hop": 8_192, "pre_emphasis": 0.95,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cost", "quantity"),
    [
        (LayerCost(400_000_001, 0, 0), "4e+08 weights"),
        (LayerCost(0, 32_000_000_001, 0), "6.4e+10 multiply-accumulates per second of audio"),
        (LayerCost(0, 0, 67_108_865), "6.7e+07 activations of a layer"),
    ],
)
def test_a_network_above_the_budget_is_refused(cost, quantity):
    check_budget("generator", [LayerCost(400_000_000, 32_000_000_000, 67_108_864)], 2.0)
    with pytest.raises(ConfigError, match=re.escape(f"generator: {quantity}, above the limit")):
        check_budget("generator", [LayerCost(0, 0, 1), cost], 2.0)


def test_a_recipe_may_change_single_fields_of_a_preset(tmp_path):
    (tmp_path / "a.toml").write_text('[model]\npreset = "segan"\n[model.generator]\nlatent_channels = 0\n')
    recipe = load_recipe(str(tmp_path / "a.toml"))
    assert recipe.model.generator == dataclasses.replace(PRESETS["segan"].generator, latent_channels=0)
    assert recipe.training == TrainingConfig()


def test_a_recipe_with_names_of_format_1_is_read(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[model]\npreset = "segan-spectral"\n[model.generator]\nwidth = 24\nsteps = 4\nlargest_gain = 3.0\nclosed = 1\n'
        '[training]\nsteps = 70\naccumulate = 2\n[data]\nrooms = ["r"]\n'
    )
    recipe = load_recipe(str(path))
    generator = recipe.model.generator
    assert (generator.embed_dim, generator.freq_stride, generator.max_gain, generator.zeroed_bins) == (24, 4, 3.0, 1)
    assert (recipe.training.steps, recipe.training.gradient_accumulation_steps) == (70, 2)
    assert recipe.data.rirs == ("r",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nsteps = 3\n", "model.preset: missing"),
        (
            '[model]\npreset = "segan"\n[training.mixing]\nsnr = 3\n',
            r"training\.mixing\.snr: no such key; did you mean snr_db",
        ),
        (
            '[model]\npreset = "segan"\n[training]\nbatch_size = 2.5\n',
            r"training\.batch_size: 2\.5; it must be a whole",
        ),
        ('[model]\npreset = "segan"\n[trainings]\n', "trainings: no such key; did you mean training"),
        ('[model]\npreset = "segan"\n[data]\nspeech = "vctk"\n', r"data\.speech: 'vctk'; it must be a list"),
        ('[model]\npreset = "segan-spektral"\n', "no preset 'segan-spektral'; give one of segan, .*segan-spectral"),
        ('[model]\npreset = "new"\n[model.generator]\nfamily = "spectral"\n', "discriminator: missing"),
        ("steps = ", "not a TOML file"),
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_key(text, message, tmp_path):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(str(tmp_path / "a.toml"))
    assert str(tmp_path / "a.toml") in str(caught.value)


def test_overrides_reach_every_field():
    recipe = Recipe(PRESETS["segan"])
    assert override(recipe, ['data.speech=["a","b:2"]']).data.speech == ("a", "b:2")
    assert override(recipe, ["training.clip_norm=none"]).training.clip_norm is None
    assert override(recipe, ["training.clip_norm=null"]).training.clip_norm is None
    for name, value in flatten(to_dict(recipe)).items():
        if value is not None:
            import json

            assert override(recipe, [f"{name}={json.dumps(value)}"]) == recipe, name


def test_merging_keeps_what_is_not_changed():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "e": 6}) == {"a": {"b": 5, "c": 2}, "d": 3, "e": 6}
    assert from_dict(DataConfig, {"speech": ["a"]}) == DataConfig(("a",))


@pytest.mark.parametrize(
    "absurd",
    [
        "training.steps=1e12", "training.steps=1000000000000", "training.validation_mixes=1000000000000",
        "training.batch_size=1000000000", "training.seed=99999999999999999999", "training.seed=-1",
        "training.generator_learning_rate=1e31", "training.discriminator_learning_rate=1e31", "training.keep=10000000",
        "training.l1_weight=1e300", f"training.l1_weight={10**400}", "training.adversarial.unrolled_steps=1000000",
        "training.mixing.snr_db=[0,1e9]",
        "training.mixing.gap_ms=[1,1e12]", "model.segment_length=1099511627776", "model.hop=1",
        f"training.steps={'9' * 5_000}", "training.steps=" + "[" * 100_000,
    ],
)  # fmt: skip
def test_absurd_numbers_are_refused_in_one_short_line(absurd):
    with pytest.raises(ConfigError) as refused:
        override(load_recipe("segan-gated"), [absurd])
    assert absurd.partition("=")[0].split(".")[-1] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
