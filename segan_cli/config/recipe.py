"""Recipes: TOML files with a model and its training, shipped or the user's own."""

import dataclasses
import tomllib
from pathlib import Path

from segan_cli.config.legacy import renamed_recipe
from segan_cli.config.model import ModelConfig
from segan_cli.config.presets import PRESETS
from segan_cli.config.schema import NONE, from_dict, merge, short_repr, to_dict
from segan_cli.config.training import Recipe
from segan_cli.errors import ConfigError, RecipeError
from segan_cli.system import data_dir
from segan_cli.text import converted

DEFAULT = "segan-spectral"


def shipped_recipes() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in data_dir("recipes").glob("*.toml"))


def recipe_for(model: ModelConfig) -> str:
    """The name of the shipped recipe for a model: the one of its preset, or else of its family."""
    return model.preset if model.preset in shipped_recipes() else model.generator.recipe


def load_recipe(name: str) -> Recipe:
    """Load a shipped recipe by name, or a TOML file; raises RecipeError, with file and key, if it is invalid."""
    shipped = name in shipped_recipes()
    path = data_dir("recipes") / f"{name}.toml" if shipped else Path(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig", errors="surrogateescape"))  # paths may be any bytes
    except OSError as error:
        known = ", ".join(shipped_recipes())
        raise RecipeError(f"{name}: cannot be read ({error.strerror}); give a TOML file or one of: {known}") from error
    except RecursionError as error:
        raise RecipeError(f"{name}: nested too deeply") from error
    except ValueError as error:  # invalid TOML, or an integer too long for Python
        raise RecipeError(f"{name}: not a TOML file ({str(error).partition(';')[0]})") from error
    model = values.get("model")
    if not isinstance(model, dict) or "preset" not in model:
        raise RecipeError(f"{name}: model.preset: missing; give one of {', '.join(PRESETS)}")
    if not isinstance(model["preset"], str):
        raise RecipeError(f"{name}: model.preset: {short_repr(model['preset'])}; give one of {', '.join(PRESETS)}")
    preset = PRESETS.get(model["preset"])
    if preset is None and "generator" not in model:
        raise RecipeError(f"{name}: model.preset: no preset {model['preset']!r}; give one of {', '.join(PRESETS)}")
    if preset is not None:
        values["model"] = merge(dataclasses.asdict(preset), model)
    try:
        return from_dict(Recipe, renamed_recipe(values))
    except ConfigError as error:
        raise RecipeError(f"{name}: {error}") from error


def recipe_text(recipe: Recipe) -> str:
    """Format a recipe with all fields as TOML, readable by `load_recipe`."""
    import tomli_w

    return tomli_w.dumps(converted(to_dict(recipe), lambda value: NONE if value is None else value))
