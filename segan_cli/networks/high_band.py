"""The network for sound above the band of the models: a GRU that maps features of frames to gains of bands."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class HighBandGenerator(nn.Module):
    """Gives the gains of the bands above 8 kHz, frame by frame.

    All bands share one GRU. Its input, for a frame and a later one, is the levels of a band and its neighbours, their
    heights above the noise floor, and the features of all bands below.
    """

    def __init__(self, n_low: int, n_bands: int, min_gain: float, channels: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.n_low, self.n_bands, self.min_gain, self.hidden = n_low, n_bands, min_gain, hidden
        self.below = nn.Linear(2 * n_low, channels)
        self.above = nn.Conv1d(4, channels, 5, padding=2)
        self.position = nn.Parameter(torch.zeros(n_bands, channels))
        self.gru, self.output = nn.GRU(channels, hidden), nn.Linear(hidden, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.constant_(self.output.bias, 3.0)  # gains begin near 1

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, B, 2 * (n_low + 2 * bands)] and state [1, B * bands, H] → gains [n, B, bands], next state."""
        n_frames, n_signals, _ = features.shape
        sides = features.reshape(n_frames, n_signals, 2, -1)
        below = self.below(sides[..., : self.n_low].flatten(2))
        levels = sides[..., self.n_low :].reshape(n_frames * n_signals, 4, self.n_bands)
        above = self.above(levels).transpose(1, 2).reshape(n_frames, n_signals, self.n_bands, -1)
        h = silu(above + below[:, :, None] + self.position)
        h, state = self.gru(h.flatten(1, 2), state)
        gains = torch.sigmoid(self.output(h)).reshape(n_frames, n_signals, self.n_bands)
        return self.min_gain + (1 - self.min_gain) * gains, state
