"""The interfaces of generators and discriminators, and building them from their configs."""

from contextlib import AbstractContextManager, nullcontext
from pkgutil import resolve_name

from torch import Tensor, nn

from segan_cli.config.families.base import GeneratorConfig
from segan_cli.config.model import ModelConfig


class Generator(nn.Module):
    """Maps noisy segments [B, 1, T] and the latent z that its config requires, or None, to enhanced ones [B, 1, T]."""

    def step(self, spectra: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mask and next state of a causal generator for the next frames, as `Runner.step` of the backends has it."""
        raise NotImplementedError  # only causal generators have it, and only they are run frame by frame

    def exportable(self) -> AbstractContextManager[None]:
        """Within this context the generator has only operations that ONNX supports."""
        return nullcontext()


class Discriminator(nn.Module):
    """Maps a candidate and its condition [B, 1, T] to logits [B] or [B, P]; appends hidden outputs to `features`."""

    needs_reference = False  # whether `set_reference` must be called before training

    def set_reference(self, candidate: Tensor, noisy: Tensor) -> None:
        """Set the reference batch: clean [R, 1, T] and noisy [R, 1, T]."""


def build_generator(config: GeneratorConfig) -> Generator:
    """A generator with initial weights, of the family of its config."""
    return resolve_name(config.module)(config)  # type: ignore[no-any-return]


def build_discriminator(model: ModelConfig, reference_segments: int) -> Discriminator:
    """A discriminator with initial weights; `reference_segments` is the size of its reference batch, if it has one."""
    network = resolve_name(model.discriminator.module)
    return network(model.discriminator, model.segment_length, reference_segments)  # type: ignore[no-any-return]
