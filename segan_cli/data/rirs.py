"""Rooms: impulse responses, and speech as it sounds in them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segan_cli.data.recordings import Recordings

Array = NDArray[np.float32]

EARLY_S = 0.05  # reflections after the direct sound that help to understand
DIRECT_S = 0.0025  # of the direct sound itself
LONGEST_S = 1.0  # of a response


@dataclass(frozen=True)
class Response:
    """An impulse response from the direct sound on, its early part of energy 1."""

    samples: Array
    rate_hz: int

    def before(self, seconds: float) -> Array:
        """What of it comes within a time."""
        return self.samples[: max(1, round(seconds * self.rate_hz))]


def response(rooms: Recordings, name: str, rate_hz: int) -> Response:
    """The response of a recorded room: what lies before the direct sound, the highest peak, is cut off."""
    samples = rooms.excerpt(name, 0, rooms[name].length)
    direct = max(0, int(np.abs(samples).argmax()) - round(0.001 * rate_hz))
    whole = samples[direct : direct + round(LONGEST_S * rate_hz)]
    energy = float(np.sum(np.square(whole[: round(EARLY_S * rate_hz)])))
    return Response(np.asarray(whole / np.sqrt(max(energy, 1e-12)), np.float32), rate_hz)


def apply_rir(room: Response, speech: Array, lead: int, target: Literal["early", "dry"]) -> tuple[Array, Array]:
    """Speech [lead + n] → [n] as heard in the room, and [n] as a target: `lead` samples give the room its memory."""
    import torch
    from torchaudio.functional import fftconvolve

    kept = room.before(EARLY_S if target == "early" else DIRECT_S)
    heard, wanted = (
        fftconvolve(torch.from_numpy(speech), torch.from_numpy(taps))[lead : len(speech)].numpy()
        for taps in (room.samples, kept)
    )
    return heard, wanted
