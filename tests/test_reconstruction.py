"""The reconstruction terms against their formulas."""

import math
from types import SimpleNamespace

import pytest
import torch

from segan_cli.config.presets import PRESETS
from segan_cli.config.recipe import load_recipe, recipe_text
from segan_cli.config.schema import override
from segan_cli.config.training import MIN_LENGTHS, Recipe, TrainingConfig
from segan_cli.errors import ConfigError
from segan_cli.losses.reconstruction import L1, LOSSES, CompressedSpectrum, MultiResolutionSTFT, Reconstruction
from segan_cli.losses.segments import Segments


def apply(term, enhanced, clean):
    """A term of waveforms [B, 1, T]."""
    return term(Segments(enhanced), Segments(clean))


def test_l1_is_the_mean_absolute_difference():
    assert float(apply(L1(), torch.zeros(2, 1, 4), torch.full((2, 1, 4), -0.5))) == 0.5


def test_compressed_spectrum_is_zero_for_equals_and_grows_with_the_difference():
    torch.manual_seed(0)
    loss, clean, noise = CompressedSpectrum(), torch.randn(2, 1, 4096), torch.randn(2, 1, 4096)
    values = [float(apply(loss, clean + scale * noise, clean)) for scale in (0.0, 0.1, 0.3, 1.0)]
    assert values[0] == 0.0
    assert values == sorted(values)


def test_compressed_spectrum_of_a_scaled_signal_is_exact():
    """|aX|^0.3 = a^0.3 |X|^0.3: a factor a costs (1 - a^0.3)^2 of the mean |X|^0.6, a turned sign 4 times its share."""
    torch.manual_seed(0)
    loss, clean = CompressedSpectrum(), torch.randn(1, 1, 8192)
    whole = loss.compress(Segments(clean))[0].square().mean()
    assert float(apply(loss, 0.5 * clean, clean)) == pytest.approx(float((1 - 0.5**0.3) ** 2 * whole), rel=1e-3)
    assert float(apply(loss, -clean, clean)) == pytest.approx(float(0.3 * 4 * whole), rel=1e-3)


@pytest.mark.parametrize("term", [CompressedSpectrum, MultiResolutionSTFT])
def test_gradients_are_finite_at_silence(term):
    silence = torch.zeros(1, 1, 4096, requires_grad=True)
    apply(term(), silence, torch.zeros(1, 1, 4096)).backward()
    assert torch.isfinite(silence.grad).all()


def test_multi_resolution_stft_of_a_scaled_signal_is_exact():
    """‖|Y| - a|Y|‖ / ‖|Y|‖ = 1 - a, and the logarithms differ by -log a, at every resolution and for either sign."""
    torch.manual_seed(0)
    loss, clean = MultiResolutionSTFT(), torch.randn(1, 1, 8192)
    for factor in (0.5, -0.5):
        assert float(apply(loss, factor * clean, clean)) == pytest.approx(0.5 + math.log(2), rel=1e-3)
    assert float(apply(loss, clean, clean)) == 0.0


def test_reconstruction_weighs_its_terms_by_name():
    torch.manual_seed(0)
    enhanced, clean = torch.randn(2, 2, 1, 4096)
    total, terms = Reconstruction({"l1": 100.0, "spectral": 0.0, "stft": 3.0})(enhanced, clean)
    assert set(terms) == {"l1", "stft"}
    assert float(terms["l1"]) == float(apply(L1(), enhanced, clean))
    assert float(total) == pytest.approx(100 * float(terms["l1"]) + 3 * float(terms["stft"]))
    nothing, terms = Reconstruction({"l1": 0.0})(enhanced.requires_grad_(), clean)
    nothing.backward()
    assert terms == {}
    assert not enhanced.grad.any()


def test_every_loss_has_a_weight_in_the_config():
    assert list(TrainingConfig().reconstruction()) == list(LOSSES)


def test_a_package_may_register_a_loss(tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text(
        "from torch import nn\n"
        "class Overshoot(nn.Module):\n"
        "    def forward(self, enhanced, clean):\n"
        "        return (enhanced.waveform - clean.waveform).clamp_min(0).mean()\n"
    )
    (tmp_path / "my_losses-0.1.dist-info").mkdir()
    (tmp_path / "my_losses-0.1.dist-info" / "METADATA").write_text("Name: my-losses\nVersion: 0.1\n")
    (tmp_path / "my_losses-0.1.dist-info" / "entry_points.txt").write_text(
        "[segan_cli.losses]\novershoot = my_losses:Overshoot\n"
    )
    recipe = override(Recipe(PRESETS["segan-gated"]), ["training.plugin_weights.overshoot=50", "training.l1_weight=0"])
    (tmp_path / "recipe.toml").write_text(recipe_text(recipe))
    assert load_recipe(str(tmp_path / "recipe.toml")) == recipe
    weights = recipe.training.reconstruction()
    with pytest.raises(ConfigError, match=r"plugin_weights\.overshoot: no installed package"):
        Reconstruction(weights)
    monkeypatch.syspath_prepend(tmp_path)
    clean = torch.zeros(1, 1, 4096)
    total, terms = Reconstruction({**weights, "spectral": 0.0})(clean + torch.tensor([0.2, -0.6]).repeat(2048), clean)
    assert list(terms) == ["plugin_overshoot"]
    assert float(total) == pytest.approx(50 * 0.1)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("training.plugin_weights.l1=1", "is a loss of segan; set l1_weight"),
        ("training.plugin_weights.mine=-1", "must lie between 0 and"),
        ('training.plugin_weights={"my loss": 1}', "my loss"),
        ("training.plugin_weights.mine=much", "must be a number"),
        ("training.plugin_weights=3", "is a section"),
        ("training.absent.mine=3", "SECTION.FIELD=VALUE"),
    ],
)
def test_bad_weights_of_plugins_are_refused(assignment, says):
    with pytest.raises(ConfigError, match=says):
        override(Recipe(PRESETS["segan-gated"]), [assignment])


@pytest.mark.parametrize(("name", "length"), MIN_LENGTHS.items())
def test_a_loss_is_refused_for_segments_shorter_than_it_can_use(name, length):
    def loss(n):
        clean = torch.randn(2, 1, n, generator=torch.Generator().manual_seed(0))
        return LOSSES[name]()(Segments(0.9 * clean), Segments(clean))

    assert torch.isfinite(loss(length))
    with pytest.raises(RuntimeError):
        loss(length - 1)
    training = TrainingConfig(**{f"{other}_weight": float(other == name) for other in LOSSES})
    long_enough, short = (
        SimpleNamespace(segment_length=n, discriminator=PRESETS["segan"].discriminator) for n in (length, length - 1)
    )
    Recipe(long_enough, training)
    with pytest.raises(ConfigError, match=f"{name}_weight: this loss needs a segment_length of {length} or more"):
        Recipe(short, training)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def broken(:", "cannot be imported"),
        ("other = 1", "cannot be imported"),
        ("from torch import nn\nclass Mine(nn.Module):\n    def __init__(self, x): pass", "cannot be imported"),
        (
            "from torch import nn\nclass Mine(nn.Module):\n    def forward(self, x, y): return x.waveform",
            r"plugin_weights.mine: returned a tensor of shape \[1, 1, 64\], not a scalar",
        ),
    ],
)
def test_a_faulty_loss_of_a_package_is_named(tmp_path, monkeypatch, code, says):
    (tmp_path / f"mine_{len(code)}.py").write_text(code)
    place = tmp_path / "mine-0.1.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Name: mine\nVersion: 0.1\n")
    (place / "entry_points.txt").write_text(f"[segan_cli.losses]\nmine = mine_{len(code)}:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=says):
        Reconstruction({"mine": 1.0})(torch.ones(1, 1, 64), torch.ones(1, 1, 64))
