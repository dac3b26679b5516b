"""The interface of the backends."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from segan_cli.arrays import Array
from segan_cli.config.model import ModelConfig
from segan_cli.errors import AudioError, CheckpointError, ConfigError

BackendName = Literal["auto", "torch", "onnx"]
Precision = Literal["fp32", "bf16"]

DEVICES = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,2})?")
MAX_OUTPUT = 1e9  # a thousand times the largest input
TEST_BATCH, TEST_FRAMES = 2, 3  # segments or signals, and frames; a graph must support more than one


class Runner(Protocol):
    """A generator that can be run: on whole segments, or frame by frame if it is causal."""

    config: ModelConfig

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """Enhance segments [B, 1, T] with the latents z that the config requires; same shape."""

    def step(self, spectra: Array, state: Array) -> tuple[Array, Array]:
        """Return mask [B, 2, N, F] and next state of a causal generator for the next frames and its state [B, S].

        `spectra` [B, 2, N, F] are real and imaginary parts; the first state is zero.
        """


class Network(Runner, Protocol):
    """A generator that is ready to run, also from several threads."""

    name: str  # of the model, for messages
    path: Path | None  # of its file
    description: str  # backend and device, for messages
    batch: int  # segments per call that are fast

    def __call__(self, noisy: Array, z: Array | None) -> Array:
        """Enhance segments [B, 1, T] with the latents z that the config requires; same shape."""
        return self.start(noisy, z)()

    def start(self, noisy: Array, z: Array | None) -> Callable[[], Array]:
        """Start on segments, asynchronously if possible; return a function that waits for the result."""


def check_device(name: str) -> None:
    """Raise ConfigError unless a name is that of a device, which this machine need not have."""
    if not isinstance(name, str) or not DEVICES.fullmatch(name):
        raise ConfigError(f"device {name}: unknown; use auto, cpu, cuda or mps")


def check_network(name: str, network: Runner) -> None:
    """Run a network on noise; raises CheckpointError when its output is not finite."""
    if not is_bounded(run_on_noise(network)):
        raise CheckpointError(f"{name}: the output of the model is not finite; use another model")


def run_on_noise(network: Runner) -> Array:
    """Return the output of a network for noise: enhanced segments, or the mask of frames if it is causal."""
    if network.config.generator.state_size():
        return network.step(*example_frames(network.config))[0]
    return network(*example_segments(network.config))


def example_segments(config: ModelConfig) -> tuple[Array, Array | None]:
    """Return noise [TEST_BATCH, 1, T] and the latents for it."""
    rng = np.random.default_rng(0)
    noisy = (0.1 * rng.standard_normal((TEST_BATCH, 1, config.segment_length))).astype(np.float32)
    return noisy, config.generator.draw_latent(rng, TEST_BATCH, config.segment_length)


def example_frames(config: ModelConfig) -> tuple[Array, Array]:
    """Return spectra of noise [TEST_BATCH, 2, TEST_FRAMES, F] and the first state [TEST_BATCH, S] of a causal model."""
    shape = TEST_BATCH, 2, TEST_FRAMES, config.generator.longest_frame() // 2 + 1
    spectra = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return spectra, np.zeros((TEST_BATCH, config.generator.state_size()), np.float32)


def check_output(name: str, samples: Array) -> None:
    """Raise AudioError when the output of a model is not finite."""
    if not is_bounded(samples):
        raise AudioError(f"the output of the model {name} is not finite; use another model")


def is_bounded(samples: Array) -> bool:
    """Whether all samples are finite and not absurdly large."""
    return bool((np.abs(samples) <= MAX_OUTPUT).all())
