"""The Python interface: enhancing arrays, streams and files."""

import hashlib
import io
import warnings
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from segan_cli import __version__
from segan_cli.arrays import MAX_CHANNELS, Array
from segan_cli.audio.files import NO_SAMPLES, check_writable
from segan_cli.audio.sources import Source, open_copied, open_file
from segan_cli.backends.choice import open_network
from segan_cli.backends.network import BackendName, Network, Precision
from segan_cli.config.schema import check_int_range, short_repr, whole_rate
from segan_cli.enhancement.plan import Job, check_paths
from segan_cli.enhancement.recording import OnProgress, Outcome, OutputOptions, Pairs, enhance_recording
from segan_cli.enhancement.settings import Channels, HighBandPolicy, Settings
from segan_cli.enhancement.stream import EnhancerStream, as_samples
from segan_cli.errors import AudioError, ConfigError, ExistsError, TruncatedError
from segan_cli.storage.remote import as_path
from segan_cli.system import MAX_JOBS

if TYPE_CHECKING:
    from segan_cli.networks.checkpoint import Model

Readable = str | Path | bytes | bytearray | IO[bytes]  # a path, the content of a file, or an open file

MAX_LIVE_BLOCK = 1 << 20  # samples
AHEAD = 2  # batches in flight while the recording is read and earlier batches are overlap-added and written


class Enhancer:
    """Removes noise from speech of any length, sampling rate and number of channels; usable from several threads."""

    def __init__(
        self,
        model: "Model | str | Path" = "default",
        *,
        strength: float = 1.0,
        channels: Channels = "linked",
        high_band: HighBandPolicy = "denoise",
        device: str = "auto",
        backend: BackendName = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        jobs: int = 1,
        batch: int | None = None,
        seed: int = 0,
    ) -> None:
        """Load a model.

        Args:
            model: name of a shipped model, a file that `segan train` or `segan export` wrote, or a loaded model.
            strength: from 0, the input, to 1, the output of the model.
            channels: "linked" filters all channels alike and keeps the stereo image; "independent" filters each alone.
            high_band: for sound above the band of the model, 8 kHz: "denoise", "keep" or "drop".
            device: "auto", "cpu", "cuda" or "mps".
            backend: "onnx", "torch" or "auto", which is ONNX Runtime on the CPU if the model is available as ONNX.
            precision: of the layers of the network, "fp32" or "bf16".
            threads: threads of the network per job; by default the jobs share all cores. The torch backend sets this
                for the whole process.
            jobs: number of threads that will use this object at the same time.
            batch: segments per call of the network; by default chosen for the device.
            seed: seed of the latents, for models that have them.

        Raises:
            CheckpointError: there is no such model, or it is not valid.
            ConfigError: an argument is out of range, or the backend does not support it.
        """
        options = {"device": device, "backend": backend, "threads": threads, "jobs": jobs}
        self.settings = Settings(strength, channels, high_band, precision, batch, seed)
        check_int_range("enhancer", {"threads": 1 if threads is None else threads, "jobs": jobs}, 1, MAX_JOBS)
        is_loaded = hasattr(model, "generator") and hasattr(model, "config")
        if not (isinstance(model, str | Path) or is_loaded):
            raise ConfigError(f"model {short_repr(model)}; give a name, a path or a loaded model")
        if is_loaded and backend not in ("auto", "torch"):
            raise ConfigError(f"backend {short_repr(backend)}; a loaded model runs on torch, so omit it")
        self.model = str(model) if isinstance(model, str | Path) else model.config.preset
        self.arguments = (model, {**vars(self.settings), **options})  # to make it again in another process
        if isinstance(model, str | Path):
            self.network: Network = open_network(model, device, backend, precision, threads, jobs)
        else:
            from segan_cli.backends.pytorch import TorchNetwork

            self.network = TorchNetwork(model, device, precision, threads, jobs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the arguments; the network is opened again from them."""
        model, options = self.arguments
        return partial(type(self), **options), (model,)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self.settings).items())
        return f"Enhancer({self.model!r}, {settings}) on {self.network.description}"

    @overload
    def __call__(self, noisy: Readable) -> tuple[Array, int]: ...

    @overload
    def __call__(self, noisy: ArrayLike, rate_hz: int) -> Array: ...

    def __call__(self, noisy: ArrayLike | Readable, rate_hz: int | None = None) -> Array | tuple[Array, int]:
        """Enhance an array as `enhance` does, or read and enhance a file: a path, an open binary file, or its bytes.

        For a file, returns the samples, [n] if mono or else [channels, n], and their rate.
        """
        is_file = isinstance(noisy, str | Path | bytes | bytearray) or hasattr(noisy, "read")
        if is_file != (rate_hz is None):
            raise AudioError(
                "a file has its own sampling rate; omit rate_hz"
                if is_file
                else "an array has no sampling rate; pass rate_hz"
            )
        if rate_hz is not None:
            return self.enhance(cast(ArrayLike, noisy), rate_hz)
        try:
            with open_recording(cast(Readable, noisy)) as source:
                blocks = [enhanced for _, enhanced in self.enhance_source(source)]
        except TruncatedError as error:
            error.hint = "enhance_file reads it with allow_truncated=True"
            raise
        samples = np.concatenate(blocks, axis=1)
        if not samples.size:
            raise AudioError(f"{source.name}: {NO_SAMPLES}")
        return (samples[0] if len(samples) == 1 else samples), source.info.rate_hz

    def enhance(self, noisy: ArrayLike, rate_hz: int) -> Array:
        """Enhance samples; full scale is 1.

        Args:
            noisy: floats [n], [channels, n] or [n, channels]: an array, a list, or a torch tensor on the CPU.
            rate_hz: sampling rate.

        Returns:
            The enhanced samples, same shape, float32.

        Raises:
            AudioError: not a signal, or samples that are not finite or far beyond full scale.
            ConfigError: the rate is not a whole number between 1000 and 768000.
        """
        samples, rate_hz = as_samples(noisy), whole_rate(rate_hz)
        if not samples.size and samples.ndim in (1, 2):
            return samples
        axis = channel_axis(samples.shape)
        channels_first = np.moveaxis(samples, axis, 0) if samples.ndim == 2 else samples[None]
        stream = EnhancerStream(self.network, self.settings, rate_hz, len(channels_first), AHEAD)
        enhanced = np.concatenate((stream.push(channels_first), stream.flush()), axis=1)
        return np.ascontiguousarray(np.moveaxis(enhanced, 0, axis)) if samples.ndim == 2 else enhanced[0]

    def stream(self, rate_hz: int, channels: int = 1, *, live: bool = False, block: int = 1) -> EnhancerStream:
        """Return a stream that enhances one signal block by block.

        Args:
            rate_hz: sampling rate.
            channels: number of channels.
            live: return as many samples as each block has, delayed by the attribute `delay` of the stream, in samples.
            block: a number of samples of which the length of every block is a multiple; the delay of a live stream
                depends on it, and is smallest, 16 ms after the block, for multiples of 16 ms.

        Raises:
            ConfigError: a number is out of range, or the model of a live stream is not causal.
        """
        check_int_range("stream", {"block": block}, 1, MAX_LIVE_BLOCK)
        return EnhancerStream(self.network, self.settings, rate_hz, channels, live_block=block if live else 0)

    def enhance_file(
        self, source: str | Path, target: str | Path, *, force: bool = False, allow_truncated: bool = False
    ) -> Outcome:
        """Enhance a file, keeping rate, channels, length and tags; memory use does not grow with the length.

        Args:
            source: any recording that `segan enhance` reads, a file or a URL.
            target: file or URL to write; its extension gives the format.
            force: overwrite an existing target.
            allow_truncated: accept a truncated source.

        Returns:
            What was done: duration, rate, channels, levels, noise reduction, time, warnings.

        Raises:
            AudioError: the source cannot be read, or is truncated and `allow_truncated` is not given.
            OutputError: the target cannot be written, or exists and `force` is not given; it is then left unchanged.
        """
        job = Job(as_path(str(source)), as_path(str(target)))
        check_paths([job])
        try:
            check_writable(job.target, force)
            options = OutputOptions(force=force, allow_truncated=allow_truncated)
            outcome = self.enhance_job(job, options)
        except TruncatedError as error:
            error.hint = "pass allow_truncated=True to read what is left"
            raise
        except ExistsError as error:
            error.hint = "pass force=True to overwrite it"
            raise
        for line in outcome.warnings:
            warnings.warn(f"{source}: {line}", stacklevel=2)
        return outcome

    def enhance_source(self, source: Source) -> Pairs:
        """Yield original and enhanced blocks [channels, n] of a recording; raises AudioError."""
        ahead = 0 if source.live else AHEAD
        stream = EnhancerStream(self.network, self.settings, source.info.rate_hz, source.info.channels, ahead)
        end = np.zeros((source.info.channels, 0), np.float32)
        for block in chain(source.blocks, [end]):
            try:
                original, enhanced = stream.step(block, last=block is end)
            except AudioError as error:
                raise AudioError(f"{source.name}: {error}") from error
            if enhanced.shape[1] or block is end:
                yield original, enhanced

    @cached_property
    def model_sha256(self) -> str | None:
        """SHA-256 of the file of the model; None for a model that was passed as an object."""
        return hashlib.sha256(self.network.path.read_bytes()).hexdigest() if self.network.path else None

    def enhance_job(self, job: Job, options: OutputOptions, on_progress: OnProgress | None = None) -> Outcome:
        """Enhance a file; the outcome has the name, hash and version of the model too. Raises SeganError."""
        outcome = enhance_recording(self.enhance_source, self.network.config, job, options, on_progress)
        return replace(outcome, model=self.model, model_sha256=self.model_sha256, version=__version__)


def open_recording(noisy: Readable) -> AbstractContextManager[Source]:
    """Open a file by its path, its content, or from where an open binary file stands, which stays open."""
    if isinstance(noisy, str | Path):
        return open_file(as_path(str(noisy)))
    if isinstance(noisy, bytes | bytearray):
        return open_copied(io.BytesIO(noisy), "these bytes")
    return open_copied(noisy, str(getattr(noisy, "name", "this file")))


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of the channels of [n], [channels, n] or [n, channels]; raises AudioError if it is unclear."""
    if len(shape) == 1:
        return 0
    if len(shape) != 2:
        raise AudioError(f"an array of shape {list(shape)}; give samples [n], [channels, n] or [n, channels]")
    if min(shape) > MAX_CHANNELS:
        raise AudioError(f"an array of shape {list(shape)}; up to {MAX_CHANNELS} channels are supported")
    if min(shape) > 1 and max(shape) <= MAX_CHANNELS:
        raise AudioError(f"an array of shape {list(shape)}: too short to tell channels from samples; use stream()")
    return int(np.argmin(shape))
