"""Models and training states of format 1, whose fields and weights had other names."""

from typing import Any

SPECTRAL_FIELDS = {
    "width": "embed_dim",
    "steps": "freq_stride",
    "largest_gain": "max_gain",
    "closed": "zeroed_bins",
}
TRAINING_FIELDS = {"accumulate": "gradient_accumulation_steps"}
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
    """A model's config of format 1 with the names of today."""
    generator = config.get("generator")
    if isinstance(generator, dict) and generator.get("family") == "spectral":
        generator = {SPECTRAL_FIELDS.get(name, name): value for name, value in generator.items()}
        return {**config, "generator": generator}
    return config


def renamed_training(config: dict[str, Any]) -> dict[str, Any]:
    """A training's config of format 1 with the names of today."""
    return {TRAINING_FIELDS.get(name, name): value for name, value in config.items()}


def renamed_weight(name: str) -> str:
    """The name of today of a generator's weight of format 1."""
    return ".".join(WEIGHTS.get(part, part) for part in name.split("."))
