"""Noisy audio to enhanced audio: array to array, stream to stream, file to file."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segan_cli.audio import Emphasis, Resampler, atomic_writer, probe, read_blocks
from segan_cli.checkpoint import Model
from segan_cli.errors import AudioError
from segan_cli.framing import OverlapAdd
from segan_cli.networks.layers import level_gain

Array = NDArray[np.float32]

BLOCK_S = 10.0  # seconds read from a file at a time


class Enhancer:
    """Runs a model on audio of any length, rate and channel count."""

    def __init__(self, model: Model, batch: int = 16, seed: int = 0) -> None:
        """`batch` windows, of all channels together, go through at once; `seed` starts the draw of every signal's z."""
        self.model, self.batch, self.seed = model, batch, seed

    def stream(self, rate_hz: int, channels: int) -> "EnhancerStream":
        """A fresh stream for one signal."""
        return EnhancerStream(self, rate_hz, channels)

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] or [n, channels] at `rate_hz` → enhanced, same shape."""
        signal = noisy.reshape(len(noisy), -1)
        stream = self.stream(rate_hz, signal.shape[1])
        return np.concatenate((stream.push(signal), stream.flush())).reshape(noisy.shape)

    def enhance_file(self, source: Path, target: Path) -> None:
        """Write the enhanced `source` to `target`: same rate, channels and length, memory independent of length.

        Raises AudioError when either cannot be used; `target` then stays as it was.
        """
        info = probe(source)
        stream = self.stream(info.rate_hz, info.channels)
        with atomic_writer(target, info.rate_hz, info.channels, like=info) as file:
            for block in read_blocks(source, BLOCK_S):
                if not np.isfinite(block).all():
                    raise AudioError(f"{source}: holds samples that are not numbers (NaN or infinity); repair it first")
                file.write(stream.push(block))
            file.write(stream.flush())


class EnhancerStream:
    """One signal on its way: resampled, emphasised, framed, enhanced, de-emphasised, resampled back."""

    def __init__(self, enhancer: Enhancer, rate_hz: int, channels: int) -> None:
        config = enhancer.model.config
        self.generator = enhancer.model.generator
        self.device = next((weight.device for weight in self.generator.parameters()), torch.device("cpu"))
        self.input_rms = config.generator.input_rms
        self.rng = np.random.default_rng(enhancer.seed)
        self.owed = 0  # samples taken in that have not come out yet
        self.channels = channels
        self.inward = Resampler(rate_hz, config.sample_rate_hz, channels)
        self.emphasis = Emphasis(config.pre_emphasis, channels)
        self.frames = OverlapAdd(self._network, channels, config.window, config.hop, max(1, enhancer.batch // channels))
        self.deemphasis = Emphasis(config.pre_emphasis, channels, inverse=True)
        self.outward = Resampler(config.sample_rate_hz, rate_hz, channels)

    def push(self, block: Array) -> Array:
        """block [n, channels] → the output that is final now, [m, channels]."""
        self.owed += len(block)
        core = self.frames.push(self.emphasis.push(self.inward.push(block).T))
        return self._settle(self.outward.push(self.deemphasis.push(core).T))

    def flush(self) -> Array:
        """The rest of the output, after which as many samples have come out as went in."""
        nothing = np.zeros((0, self.channels), np.float32)
        core = self.frames.push(self.emphasis.push(self.inward.push(nothing, last=True).T))
        core = np.concatenate((core, self.frames.flush()), axis=1)
        rest = self.outward.push(self.deemphasis.push(core).T, last=True)
        return self._settle(np.pad(rest, ((0, max(0, self.owed - len(rest))), (0, 0))))

    def _settle(self, output: Array) -> Array:
        """Count what goes out; two changes of rate can round the length up by a sample, which is cut here."""
        output = output[: self.owed]
        self.owed -= len(output)
        return output

    def _network(self, windows: Array) -> Array:
        """[N, channels, window] → enhanced; channels are separate signals that share the latent z of their window."""
        n, channels, samples = windows.shape
        z = self.generator.draw_latent(self.rng, n, samples)
        if z is not None:
            z = z.repeat_interleave(channels, 0).to(self.device)
        with torch.inference_mode():
            noisy = torch.from_numpy(windows).reshape(n * channels, 1, samples).to(self.device)
            gain = level_gain(noisy, self.input_rms) if self.input_rms else 1.0
            enhanced = self.generator(noisy * gain, z) / gain
        return enhanced.reshape(n, channels, samples).cpu().numpy()  # type: ignore[no-any-return]
