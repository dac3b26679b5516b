"""segan: a command-line speech denoiser based on the speech enhancement GAN (arXiv 1703.09452)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segan_cli.enhancement.enhancer import Enhancer

__version__ = "0.1.0"
__all__ = ["Enhancer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import Enhancer on first use."""
    if name != "Enhancer":
        raise AttributeError(f"module 'segan_cli' has no attribute {name!r}")
    from segan_cli.enhancement.enhancer import Enhancer

    return Enhancer
