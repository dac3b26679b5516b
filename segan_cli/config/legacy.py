"""Field and weight names of models, training states and recipes in formats 1 and 2."""

from typing import Any

SPECTRAL_FIELDS = {
    "width": "embed_dim",
    "steps": "freq_stride",
    "largest_gain": "max_gain",
    "closed": "zeroed_bins",
}
TRAINING_FIELDS = {"accumulate": "gradient_accumulation_steps"}
DATA_FIELDS = {"rooms": "rirs"}
WEIGHTS = {
    "inward": "input_conv",
    "outward": "output_conv",
    "places": "band_embedding",
    "to_width": "to_embedding",
    "from_width": "from_embedding",
    "wide": "ffn_in",
    "narrow": "ffn_out",
}


def renamed_model(config: dict[str, Any]) -> dict[str, Any]:
    """Convert a model config of formats 1 and 2 to current names."""
    generator, discriminator = config.get("generator"), config.get("discriminator")
    if isinstance(generator, dict) and generator.get("family") == "spectral":
        generator = {SPECTRAL_FIELDS.get(name, name): value for name, value in generator.items()}
        config = {**config, "generator": generator}
    if isinstance(discriminator, dict) and "frame" in discriminator:
        others = {name: value for name, value in discriminator.items() if name != "frame"}
        config = {**config, "discriminator": {**others, "frames": [discriminator["frame"]]}}
    return config


def renamed_training(config: dict[str, Any]) -> dict[str, Any]:
    """Convert a training config of format 1 to current names."""
    return {TRAINING_FIELDS.get(name, name): value for name, value in config.items()}


def renamed_recipe(values: dict[str, Any]) -> dict[str, Any]:
    """Convert the tables of a recipe with names of format 1 to current names.

    Recipes have no format number; no name of format 1 has another meaning today.
    """
    training, data = values.get("training"), values.get("data")
    renamed: dict[str, Any] = {"model": renamed_model(values["model"])}
    if isinstance(training, dict):
        renamed["training"] = renamed_training(training)
    if isinstance(data, dict):
        renamed["data"] = {DATA_FIELDS.get(key, key): value for key, value in data.items()}
    return {**values, **renamed}


def renamed_discriminator_weight(name: str) -> str:
    """Convert the name of a weight of the spectral discriminator in formats 1 and 2, which had one resolution."""
    return f"resolutions.0.{name}" if name.startswith(("layers.", "spectrogram.")) else name


def renamed_weight(name: str) -> str:
    """Convert the name of a generator weight of format 1."""
    return ".".join(WEIGHTS.get(part, part) for part in name.split("."))
