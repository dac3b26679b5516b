"""Noisy audio to enhanced audio: array to array, stream to stream, file to file."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.files import check_writable
from segan_cli.audio.sinks import open_target
from segan_cli.audio.sources import Source, open_file
from segan_cli.backends.choice import open_network
from segan_cli.backends.network import BackendName, Network
from segan_cli.config.schema import check_int_range
from segan_cli.enhancement.jobs import Job, check
from segan_cli.enhancement.stream import EnhancerStream, Settings, samples
from segan_cli.errors import AudioError
from segan_cli.system import MAX_JOBS

if TYPE_CHECKING:
    from segan_cli.networks.checkpoint import Model

Array = NDArray[np.float32]

AHEAD = 2  # batches in flight while a recording is read, put back together and written


class Enhancer:
    """Runs a model on audio of any length, rate and channel count; one may serve several threads."""

    def __init__(
        self,
        model: "Model | str | Path" = "default",
        device: str = "auto",
        backend: BackendName = "auto",
        threads: int | None = None,
        jobs: int = 1,
        **settings: Any,
    ) -> None:
        """`model` is a shipped model's name, a file or a model; `settings` are the fields of `Settings`.

        `backend` is "torch", "onnx", or "auto" for the one that suits. The network has `threads` for each of the `jobs`
        that use it at once, unasked all cores together. Raises CheckpointError when there is no such model, ConfigError
        when a setting cannot be.
        """
        self.settings = Settings(**settings)
        check_int_range("enhancer", {"threads": 1 if threads is None else threads, "jobs": jobs}, 1, MAX_JOBS)
        if isinstance(model, str | Path):
            self.network: Network = open_network(model, device, backend, self.settings.precision, threads, jobs)
        else:
            from segan_cli.backends.pytorch import TorchNetwork

            self.network = TorchNetwork(model, device, self.settings.precision, threads, jobs)

    def stream(self, rate_hz: int, channels: int = 1) -> "EnhancerStream":
        """A fresh stream for one signal; raises ConfigError for a rate or a number of channels that none has."""
        return EnhancerStream(self.network, self.settings, rate_hz, channels)

    def enhance(self, noisy: Array, rate_hz: int) -> Array:
        """noisy [n] or [n, channels] at `rate_hz`, floats, full scale 1 → enhanced, same shape, float32.

        Raises AudioError for an array that is no signal, ConfigError for a rate that none has.
        """
        signal = samples(noisy)
        if signal.ndim not in (1, 2):
            raise AudioError(f"an array of shape {list(signal.shape)}; give samples [n] or [n, channels]")
        if not signal.size:
            return signal
        channels = signal.reshape(len(signal), -1)
        stream = EnhancerStream(self.network, self.settings, rate_hz, channels.shape[1], AHEAD)
        return np.concatenate((stream.push(channels), stream.flush())).reshape(signal.shape)

    def enhance_file(
        self, source: str | Path, target: str | Path, force: bool = False, allow_truncated: bool = False
    ) -> None:
        """Write the enhanced `source` to `target`: same rate, channels and length, memory independent of length.

        Raises AudioError or OutputError when either cannot be used, where there is a target already without `force`, or
        where the source is cut short and that is not allowed; what was there then stays. Warns where a header is wrong,
        and of what the target cannot hold, such as some tags.
        """
        source, target = Path(source), Path(target)
        check([Job(source, target)])
        check_writable(target, force)

        def warn(line: str) -> None:
            warnings.warn(f"{source}: {line}", stacklevel=4)

        with (
            open_file(source, allow_truncated) as noisy,
            open_target(target, noisy.info, noisy, None, force, warn) as write,
        ):
            for _, block in self.through(noisy):
                write(block)
        for line in noisy.warnings:
            warnings.warn(f"{source}: {line}", stacklevel=2)

    def through(self, source: Source) -> Iterator[tuple[Array, Array]]:
        """All of a recording, as pairs of original and enhanced [n, channels].

        Raises AudioError, by the recording's name, where it holds no numbers.
        """
        stream = EnhancerStream(
            self.network, self.settings, source.info.rate_hz, source.info.channels, 0 if source.live else AHEAD
        )
        for block in source.blocks:
            try:
                original, enhanced = stream.step(block)
            except AudioError as error:
                raise AudioError(f"{source.name}: {error}") from error
            if len(enhanced):
                yield original, enhanced
        yield stream.end()
