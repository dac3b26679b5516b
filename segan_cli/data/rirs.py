"""Room impulse responses, and speech convolved with them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segan_cli.data.recordings import Recordings

Array = NDArray[np.float32]

EARLY_S = 0.05  # early reflections, which support intelligibility
DIRECT_S = 0.0025
MAX_RIR_S = 1.0  # longer responses are cut


@dataclass(frozen=True)
class RoomResponse:
    """An impulse response that starts at the direct sound, with an early part of unit energy."""

    samples: Array
    rate_hz: int

    def first(self, seconds: float) -> Array:
        """The first part of the response."""
        return self.samples[: max(1, round(seconds * self.rate_hz))]


def load_rir(rooms: Recordings, name: str, rate_hz: int) -> RoomResponse:
    """Load a room response from shortly before its highest peak, the direct sound."""
    samples = rooms.excerpt(name, 0, rooms[name].length)
    direct = max(0, int(np.abs(samples).argmax()) - round(0.001 * rate_hz))
    response = samples[direct : direct + round(MAX_RIR_S * rate_hz)]
    energy = float(np.sum(np.square(response[: round(EARLY_S * rate_hz)])))
    return RoomResponse(np.asarray(response / np.sqrt(max(energy, 1e-12)), np.float32), rate_hz)


def apply_rir(room: RoomResponse, speech: Array, lead: int, target: Literal["early", "dry"]) -> tuple[Array, Array]:
    """Convolve speech [lead + n] with a room response → reverberant speech [n] and the training target [n].

    Args:
        lead: Samples before the excerpt, so that it starts with the reverberation of earlier speech.
        target: "early" keeps direct sound and early reflections in the target, "dry" the direct sound alone.
    """
    import torch
    from torchaudio.functional import fftconvolve

    target_response = room.first(EARLY_S if target == "early" else DIRECT_S)
    reverberant, clean = (
        fftconvolve(torch.from_numpy(speech), torch.from_numpy(taps))[lead : len(speech)].numpy()
        for taps in (room.samples, target_response)
    )
    return reverberant, clean
