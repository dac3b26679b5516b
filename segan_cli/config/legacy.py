"""Former names of fields and weights in models, training states and recipes; none has another meaning today."""

from typing import Any

NAMES = {  # by section: former name and current name
    "model": {"window": "segment_length"},
    "spectral": {"width": "embed_dim", "steps": "freq_stride", "largest_gain": "max_gain", "closed": "zeroed_bins"},
    "training": {
        "accumulate": "gradient_accumulation_steps", "reference_windows": "reference_segments",
        "log_windows": "log_segments",
    },
    "data": {"rooms": "rirs"},  # of recipes, and in split.json
    "mix": {"room": "rir", "damage": "degradation"},  # in validation.jsonl
    "weights": {
        "inward": "input_conv", "outward": "output_conv", "places": "band_embedding", "to_width": "to_embedding",
        "from_width": "from_embedding", "wide": "ffn_in", "narrow": "ffn_out",
    },
}  # fmt: skip


def renamed(values: Any, section: str) -> Any:
    """Rename the former keys of a section; a value that is not a section is returned as it is and refused later."""
    names = NAMES.get(section, {})
    return {names.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values


def renamed_model(config: dict[str, Any]) -> dict[str, Any]:
    """Convert a model config to current names; a network without a family is convolutional."""
    config = renamed(config, "model")
    for name in ("generator", "discriminator"):
        if isinstance(config.get(name), dict):
            config[name] = {"family": "convolutional", **config[name]}
    generator, discriminator = config.get("generator"), config.get("discriminator")
    if isinstance(generator, dict) and generator["family"] == "spectral":
        config["generator"] = renamed(generator, "spectral")
    if isinstance(discriminator, dict) and discriminator["family"] == "spectral" and "frame" in discriminator:
        discriminator["frames"] = [discriminator.pop("frame")]
    return config


def renamed_recipe(values: dict[str, Any]) -> dict[str, Any]:
    """Convert the tables of a recipe to current names."""
    return {name: renamed_model(table) if name == "model" else renamed(table, name) for name, table in values.items()}


def renamed_parts(parts: dict[str, Any], version: int) -> dict[str, Any]:
    """Convert the weights of a training state; the discriminator of formats 1 and 2 had one resolution."""
    parts = {"replay": {"kept": []}, **parts}  # earlier states have none
    if version == 1:
        parts["ema_generator"] = parts.pop("average")
        for name in ("generator", "ema_generator"):
            parts[name] = {renamed_weight(key): value for key, value in parts[name].items()}
    if version <= 2:
        parts["discriminator"] = {
            f"resolutions.0.{key}" if key.startswith(("layers.", "spectrogram.")) else key: value
            for key, value in parts["discriminator"].items()
        }
    return parts


def renamed_weight(name: str) -> str:
    """Convert the name of a generator weight of format 1."""
    return ".".join(NAMES["weights"].get(part, part) for part in name.split("."))
