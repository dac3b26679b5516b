"""What is done when the content of a recording disagrees with its header, or cannot be kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segan_cli.audio.files import AudioInfo
from segan_cli.errors import AudioError, TruncatedError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class IntegrityCheck:
    """Compares the content of a recording with its header: disagreement is a warning, missing content an error."""

    name: str
    allow_truncated: bool
    warnings: list[str]

    def on_missing(self, what: str) -> None:
        """Raise TruncatedError for missing content, or warn if that is allowed."""
        if not self.allow_truncated:
            raise TruncatedError(f"{self.name}: cut short: {what}")
        self.warn(f"cut short: {what}")

    def report(self, missing: str | None, note: str | None) -> None:
        """Report what is missing, if anything, and how header and content disagree otherwise."""
        if missing is not None:
            self.on_missing(missing)
        if note is not None:
            self.warn(note)

    def warn(self, message: str) -> None:
        """Add a warning once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def without_layout(self, info: AudioInfo, layout: str | None) -> AudioInfo:
        """Warn about a layout, if there is one, that no output keeps, and return the properties without it."""
        if layout is None:
            return info
        self.warn(f"its channels are {layout}, which is lost: players take them for loudspeakers")
        return replace(info, format="discrete", mask=0)  # in no order of loudspeakers

    def check_length(
        self, blocks: Iterator[Array], n_samples: int | None, rate_hz: int, first: int = 0
    ) -> Iterator[Array]:
        """Yield blocks [channels, n] from sample `first` on, of which `n_samples` samples are expected in all."""
        n = first
        try:
            for block in blocks:
                n += block.shape[1]
                yield block
        except AudioError as error:
            if n == first:
                raise
            self.on_missing(str(error).removeprefix(f"{self.name}: "))
            return
        if n_samples is not None and n < n_samples:
            self.on_missing(f"its header specifies {n_samples / rate_hz:.2f} s, the file has {n / rate_hz:.2f} s")
